"""What a connection may send, and for how long; and what becomes of answers that are held back when the server ends."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.certificates import self_signed

from headgate.api.http import HttpApplication, HttpServer, bounded_protocol, exchange
from headgate.api.http.server import Tls
from headgate.api.http.table import ROUTES
from headgate.app import App
from headgate.stores.memory import MemoryLog

HEAD = b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\n"
SLOW = "name: slow\nactivities: {work: {use: anything, queue: nobody}}"


async def until_closed(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionError:
        return b""


def play_raw(play: Any, scene: Any) -> None:
    """Play a scene with a bare connection to the server."""

    async def whole(desk: Any) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", desk.client.base_url.port)
        await scene(reader, writer)
        writer.close()
        assert (await desk.get("/health")).status_code == 200, "others are served on"

    play(whole)


@pytest.mark.parametrize("more", [b"X-More: " + b"a" * 8_000 + b"\r\n", b"a" * 8_000], ids=["many", "a long one"])
def test_a_flood_of_headers_is_cut_off(more: bytes, play: Any):
    async def scene(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"X-More: ")
        answer = asyncio.ensure_future(until_closed(reader))
        sent = 0
        while not answer.done() and sent < 100:
            writer.write(more)
            await asyncio.gather(writer.drain(), return_exceptions=True)
            await asyncio.wait({answer}, timeout=0.01)
            sent += 1

        assert sent < 100
        answered = await answer
        assert not answered or answered.startswith(b"HTTP/1.1 431 "), "it may be lost with the connection"

    play_raw(play, scene)


@pytest.mark.parametrize("begun", [b"", HEAD], ids=["nothing", "half a head"])
def test_a_head_that_does_not_come_in_time_ends_the_connection(
    begun: bytes, play: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bounded_protocol, "HEAD_SECONDS_MAX", 0.05)

    async def scene(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(begun)

        assert await until_closed(reader) == b""

    play_raw(play, scene)


def test_of_a_second_request_the_head_has_its_time_too(play: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bounded_protocol, "HEAD_SECONDS_MAX", 0.05)

    async def scene(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"\r\n" + HEAD)

        assert (await until_closed(reader)).count(b"HTTP/1.1 200 ") == 1

    play_raw(play, scene)


def test_a_body_that_does_not_come_in_time_is_refused(play: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(exchange, "BODY_SECONDS_MAX", 0.05)

    async def scene(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"POST /api/v1/workflows HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")

        assert b" 400 " in await reader.readline()

    play_raw(play, scene)


def test_trailers_without_end_are_cut_off(play: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bounded_protocol, "MESSAGE_BYTES_MAX", 10_000)

    async def scene(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"POST /api/v1/workflows HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n")
        writer.write(b"X-More: 1\r\n" * 1_000)

        assert await until_closed(reader) == b""

    play_raw(play, scene)


# --- The end -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def serving_a_slow_run(app: App, client: httpx2.AsyncClient) -> AsyncGenerator[str]:
    """Serve, as long as the block goes on, a run that nobody carries out; yield its path for the client."""
    async with HttpServer(HttpApplication(ROUTES, app.doors), "127.0.0.1", 0) as server:
        client.base_url = f"{server.url}/api/v1"
        await client.post("/workflow_definitions", content=SLOW)
        run = (await client.post("/workflows", json={"definition_name": "slow"})).json()
        yield f"/workflows/{run['workflow_id']}"


def play_with_client(scene: Callable[[App, httpx2.AsyncClient], Coroutine[Any, Any, None]]) -> None:
    """Play a scene that starts and ends the server itself; its client outlives that."""

    async def whole() -> None:
        async with (
            App(MemoryLog(), environment={}, work=False) as app,
            httpx2.AsyncClient(timeout=30) as client,
        ):
            await scene(app, client)

    asyncio.run(whole())


def test_answers_that_are_held_back_are_given_when_the_server_ends():
    async def scene(app: App, client: httpx2.AsyncClient) -> None:
        async with serving_a_slow_run(app, client) as run:
            looking = asyncio.ensure_future(client.get(f"{run}?wait=60"))
            body = {"worker": "empty", "worker_id": "w", "wait_seconds": 60}
            polling = asyncio.ensure_future(client.post("/workers/poll", json=body))
            while len(app.doors.patience._waits) < 2:  # noqa: ASYNC110 - nothing tells of a wait that began
                await asyncio.sleep(0)
        looked, polled = await asyncio.gather(looking, polling)

        assert (looked.status_code, looked.json()["status"]) == (200, "running")
        assert (polled.status_code, polled.json()) == (200, {"activities": [], "count": 0})

    play_with_client(scene)


def test_an_event_stream_that_is_open_ends_whole_when_the_server_ends(caplog: pytest.LogCaptureFixture):
    async def scene(app: App, client: httpx2.AsyncClient) -> None:
        async with serving_a_slow_run(app, client) as run:
            asked = client.build_request("GET", f"{run}/events", headers={"Accept": "text/event-stream"})
            told = await client.send(asked, stream=True)
            lines = told.aiter_lines()
            assert await anext(lines) == "id: 1"

        rest = [line async for line in lines]  # httpx raises where an answer is not whole

        assert "event: end" not in rest, "the run goes on, so its reader comes back"
        assert not caplog.records

    play_with_client(scene)


def test_a_look_at_the_head_of_a_stream_is_answered_and_done():
    async def scene(app: App, client: httpx2.AsyncClient) -> None:
        async with serving_a_slow_run(app, client) as run, asyncio.timeout(20):
            headers = {"Accept": "text/event-stream", "Connection": "close"}
            answer = await client.head(f"{run}/events", headers=headers)
            reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
            writer.write(
                f"HEAD /api/v1{run}/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
                f"Connection: close\r\n\r\n".encode()
            )
            assert (await reader.read()).startswith(b"HTTP/1.1 200 "), "and the connection ends"
            writer.close()

        assert answer.headers["content-type"] == "text/event-stream"

    play_with_client(scene)


def test_whoever_asks_after_the_end_has_begun_is_not_held():
    async def scene() -> None:
        async with App(MemoryLog(), environment={}, work=False) as app:
            app.doors.patience.close()
            async with asyncio.timeout(30), app.doors.patience.wait():
                await asyncio.Event().wait()

    asyncio.run(scene())


# --- TLS and proxies -----------------------------------------------------------------------------------------------


def test_over_tls_a_session_cookie_is_secure(tmp_path: Path):
    certificate, key = self_signed(tmp_path)

    async def scene() -> None:
        async with App(MemoryLog(), environment={}, work=False) as app:
            await app.auth.users.create("default", "ann", "viewer", "correct horse battery", by="test")
            door = HttpApplication(ROUTES, app.doors, identify=app.auth.identify)
            async with HttpServer(door, "127.0.0.1", 0, tls=Tls(str(certificate), str(key))) as server:
                trust = ssl.create_default_context(cafile=str(certificate))
                async with httpx2.AsyncClient(base_url=server.url, verify=trust, timeout=30) as client:
                    body = {"name": "ann", "password": "correct horse battery", "cookie": True}
                    answer = await client.post("/api/v1/login", json=body)

        assert server.url.startswith("https://")
        assert answer.headers["set-cookie"].endswith("; Secure")

    asyncio.run(scene())


@pytest.mark.parametrize(("trusted", "secure"), [(("127.0.0.1",), True), ((), False), (("10.0.0.1",), False)])
def test_what_a_proxy_says_is_believed_where_it_is_trusted_only(trusted: tuple[str, ...], secure: bool):
    async def scene() -> None:
        async with App(MemoryLog(), environment={}, work=False) as app:
            await app.auth.users.create("default", "ann", "viewer", "correct horse battery", by="test")
            door = HttpApplication(ROUTES, app.doors, identify=app.auth.identify)
            async with (
                HttpServer(door, "127.0.0.1", 0, trusted_proxies=trusted) as server,
                httpx2.AsyncClient(base_url=server.url, timeout=30) as client,
            ):
                answer = await client.post(
                    "/api/v1/login",
                    json={"name": "ann", "password": "correct horse battery", "cookie": True},
                    headers={"x-forwarded-proto": "https", "x-forwarded-for": "192.0.2.7"},
                )
                wrong = await client.post(
                    "/api/v1/login",
                    json={"name": "ann", "password": "wrong"},
                    headers={"x-forwarded-for": "192.0.2.7"},
                )

                assert answer.headers["set-cookie"].endswith("; Secure") is secure
                assert wrong.status_code == 401
                counted = {address for _, address in app.auth._attempts._counts}
                assert ("192.0.2.7" in counted) is secure

    asyncio.run(scene())
