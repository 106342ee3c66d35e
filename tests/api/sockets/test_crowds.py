"""What one reader at a socket may not do to others."""

from __future__ import annotations

import asyncio
import itertools
import socket as sockets
from contextlib import suppress
from typing import Any

import pytest
from tests.api.sockets.watchers import ASKING, TALKING, beat_all, frames, say, taken, watching
from websockets.exceptions import ConnectionClosed

from headgate.api.http import socket as socket_module


def test_every_connection_gets_a_ping_and_one_that_is_not_heard_is_cut_off(play: Any):
    async def scene(desk: Any) -> None:
        async with watching(desk, "/workflow_events/ws") as connection:
            for _ in range(3):
                beat_all(desk)
                (ping,) = await frames(connection, until="ping")
                assert set(ping) == {"type", "timestamp"}
                await connection.ping()  # its own: when that is answered, the server has had our pong
                await (await connection.ping())
        raw = await raw_socket(desk, "/workflow_events/ws")
        beat_all(desk)
        beat_all(desk)
        assert closing_code(await until_closed(raw)) == 1011

    play(scene)


def test_a_slow_reader_is_told_so_and_the_others_hear_everything(play: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(socket_module, "BUFFER_BYTES_MAX", 200_000)

    async def scene(desk: Any) -> None:
        await desk.deploy(TALKING)
        run = (await desk.start("talking"))["workflow_id"]
        task, path = await taken(desk), f"/workflows/{run}/activities/say/ws"
        await say(desk, task, ".")
        slow = await raw_socket(desk, path, receive_buffer=4_096)
        async with watching(desk, path) as quick:
            told = await frames(quick, until="token")
            while desk.application.sockets.connections == 2:
                await say(desk, task, "x" * 60_000)
                told += await frames(quick, until="token")
            await desk.post(f"{task}/complete", {"worker_id": "w", "output": ""})
            told += await frames(quick)
        assert [frame["type"] for frame in told].count("restart") == 0
        tokens = [frame for frame in told if frame["type"] == "token"]
        assert all(
            after["offset"] == before["offset"] + len(before["text"]) for before, after in itertools.pairwise(tokens)
        )
        assert closing_code(await until_closed(slow)) == 4002

    play(scene)


def test_one_that_has_read_nothing_between_two_pings_is_too_slow(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(TALKING)
        run = (await desk.start("talking"))["workflow_id"]
        task = await taken(desk)
        slow = await raw_socket(desk, f"/workflows/{run}/activities/say/ws", receive_buffer=4_096)
        (connection,) = desk.application.sockets._share_of
        while connection._transport.get_write_buffer_size() < 500_000:
            await say(desk, task, "x" * 60_000)
        beat_all(desk)
        connection.heard = True
        beat_all(desk)
        assert closing_code(await until_closed(slow)) == 4002

    play(scene)


def test_a_client_that_floods_is_closed(play: Any):
    async def scene(desk: Any) -> None:
        async with watching(desk, "/workflow_events/ws") as connection:
            with suppress(ConnectionClosed):
                for _ in range(10_000):
                    await connection.send("x")
            await frames(connection)
            assert connection.close_code == 1008
        async with watching(desk, "/workflow_events/ws") as connection:
            await connection.send("x" * 5_000)
            await frames(connection)
            assert connection.close_code == 1009

    play(scene)


def test_when_the_server_ends_it_says_so_to_everybody(play: Any):
    async def scene(desk: Any) -> None:
        async with watching(desk, "/workflow_events/ws") as connection:
            await desk.server.__aexit__()
            await frames(connection)
            assert connection.close_code == 1001

    play(scene)


def test_an_event_is_written_once_for_all_who_are_told(play: Any, monkeypatch: pytest.MonkeyPatch):
    from headgate.api.http import event_sockets

    made: list[str] = []

    def counted(run: str, event: Any) -> bytes:
        made.append(event.type)
        return frame_of(run, event)

    frame_of = event_sockets._frame
    monkeypatch.setattr(event_sockets, "_frame", counted)

    async def scene(desk: Any) -> None:
        await desk.deploy(ASKING)
        run = (await desk.start("asking"))["workflow_id"]
        readers = []
        for _ in range(10):
            context = watching(desk, f"/workflow_events/ws?workflow_id={run}")
            readers.append((context, await context.__aenter__()))
        for _, connection in readers:
            await frames(connection, until="activity_suspended")
        made.clear()
        await desk.post(f"/approvals/{run}~ask", {"approved": True})
        for context, connection in readers:
            await frames(connection)
            await context.__aexit__(None, None, None)
        assert made.count("run_completed") == 1

    play(scene)


async def raw_socket(desk: Any, path: str, *, receive_buffer: int = 0) -> sockets.socket:
    """Return a connection that answers nothing by itself, after its handshake."""
    raw = sockets.socket()
    if receive_buffer:
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, receive_buffer)
    raw.setblocking(False)
    loop = asyncio.get_running_loop()
    port = desk.client.base_url.port
    await loop.sock_connect(raw, ("127.0.0.1", port))
    head = (
        f"GET /api/v1{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    await loop.sock_sendall(raw, head.encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += await loop.sock_recv(raw, 1)
    assert answer.startswith(b"HTTP/1.1 101")
    return raw


async def until_closed(raw: sockets.socket) -> bytes:
    """Return all that comes up to the end, of which the last is the frame that says why."""
    loop = asyncio.get_running_loop()
    received = b""
    with raw:
        while data := await loop.sock_recv(raw, 1 << 20):
            received = (received + data)[-200:]
    return received


def closing_code(received: bytes) -> int:
    at = received.rindex(b"\x88")
    return int.from_bytes(received[at + 2 : at + 4], "big")
