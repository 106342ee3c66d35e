"""Answers that leave in one piece, on a bare connection: the same head, order, length and end as by ASGI's messages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any

import httpx2
import pytest
from tests.api.conftest import Desk

from headgate.api.http.bounded_protocol import TOGETHER_BYTES_MAX
from headgate.api.http.errors import TooLarge
from headgate.api.http.exchange import WHOLE, Exchange, Whole
from headgate.api.patience import Patience

SMALL, LARGE = "/api/v1/health", "/api/v1/openapi.json"

Play = Callable[[Callable[[Desk], Any]], None]


class Connection:
    """One that writes what it is told, and reads answer after answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def ask(self, path: str, method: str = "GET", more: str = "", version: str = "1.1") -> None:
        self.writer.write(f"{method} {path} HTTP/{version}\r\nHost: 127.0.0.1\r\n{more}\r\n".encode())

    async def head(self) -> tuple[int, httpx2.Headers]:
        async with asyncio.timeout(30):
            status, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = httpx2.Headers([(name, value) for name, _, value in (line.partition(": ") for line in lines)])
        return int(status.split()[1]), headers

    async def answer(self) -> tuple[int, httpx2.Headers, bytes]:
        status, headers = await self.head()
        async with asyncio.timeout(30):
            return status, headers, await self.reader.readexactly(int(headers["content-length"]))

    async def ended(self) -> bool:
        async with asyncio.timeout(30):
            return await self.reader.read() == b""


def play_on_a_connection(play: Play, scene: Callable[[Connection], Awaitable[None]]) -> None:
    async def whole(desk: Desk) -> None:
        url = desk.client.base_url
        reader, writer = await asyncio.open_connection(url.host, url.port)
        with closing(writer):
            await scene(Connection(reader, writer))

    play(whole)


def test_requests_that_come_at_once_are_answered_in_their_order_and_the_last_ends_the_connection(play: Play):
    async def scene(line: Connection) -> None:
        paths = [SMALL, "/api/v1/nowhere", LARGE, SMALL] * 5
        for number, path in enumerate(paths):
            line.ask(path, more=f"X-Request-Id: r{number}\r\n")
        line.ask(SMALL, more="Connection: close\r\nX-Request-Id: last\r\n")

        answers = [await line.answer() for _ in range(len(paths) + 1)]

        assert [headers["x-request-id"] for _, headers, _ in answers] == [*(f"r{n}" for n in range(20)), "last"]
        assert [status for status, _, _ in answers] == [200, 404, 200, 200] * 5 + [200]
        assert [headers.get("connection") for _, headers, _ in answers] == [None] * 20 + ["close"]
        assert await line.ended()

    play_on_a_connection(play, scene)


def test_small_and_large_answers_have_the_same_head(play: Play):
    async def scene(line: Connection) -> None:
        for path in (SMALL, LARGE):
            line.ask(path)
        (_, small, data), (_, large, more) = [await line.answer() for _ in range(2)]

        assert len(data) < TOGETHER_BYTES_MAX < len(more)
        assert sorted(small) == sorted(large)
        assert "date" in small

    play_on_a_connection(play, scene)


def test_the_head_alone_has_the_length_and_no_body(play: Play):
    async def scene(line: Connection) -> None:
        line.ask(SMALL)
        _, _, body = await line.answer()
        line.ask(SMALL, method="HEAD")
        line.ask(SMALL, more="X-Request-Id: next\r\n")

        status, headers = await line.head()
        assert (status, int(headers["content-length"])) == (200, len(body))
        assert (await line.answer())[1]["x-request-id"] == "next"

    play_on_a_connection(play, scene)


def test_whoever_speaks_http_1_0_is_told_that_the_connection_ends(play: Play):
    async def scene(line: Connection) -> None:
        line.ask(SMALL, version="1.0")

        status, headers, _ = await line.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert await line.ended()

    play_on_a_connection(play, scene)


def test_a_body_in_pieces_is_asked_for_and_taken(play: Play):
    async def scene(line: Connection) -> None:
        body = b"name: piecewise\nactivities: {a: {use: echo}}\n"
        more = f"Expect: 100-continue\r\nContent-Length: {len(body)}\r\nContent-Type: application/yaml\r\n"
        line.ask("/api/v1/workflow_definitions", method="POST", more=more)

        assert (await line.head())[0] == 100
        for byte in body:
            line.writer.write(bytes([byte]))
            await line.writer.drain()
        status, _, data = await line.answer()
        assert status == 201, data

    play_on_a_connection(play, scene)


def test_whoever_does_not_read_gets_all_answers_when_he_does(play: Play):
    async def scene(line: Connection) -> None:
        for number in range(300):
            line.ask(LARGE if number % 3 else SMALL, more=f"X-Request-Id: r{number}\r\n")
        await asyncio.sleep(0.1)  # the server's buffers fill up

        answers = [await line.answer() for _ in range(300)]
        assert [headers["x-request-id"] for _, headers, _ in answers] == [f"r{number}" for number in range(300)]

    play_on_a_connection(play, scene)


class Server(Whole):
    """One that has the whole of a request's body, or not."""

    def __init__(self, body: bytes | None) -> None:
        self._body = body

    def take_body(self) -> bytes | None:
        return self._body


def body_of(server: Server, *pieces: bytes, most: int) -> bytes:
    """Return the body of a request, with what comes of it in messages."""
    left = list(pieces)

    async def receive() -> Any:
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message: Any) -> None:
        raise AssertionError("nothing is answered")

    scope = {"headers": [], "extensions": {WHOLE: server}}
    return asyncio.run(Exchange(scope, receive, send, Patience()).body(most))


def test_a_body_that_is_here_is_taken_without_messages_within_its_bound():
    assert body_of(Server(b"123"), most=3) == b"123"
    assert body_of(Server(b""), most=3) == b""
    with pytest.raises(TooLarge, match="The body has 4 bytes; at most 3 are taken"):
        body_of(Server(b"1234"), most=3)


def test_a_body_that_is_not_here_comes_in_messages_within_its_bound():
    assert body_of(Server(None), b"1", b"2", b"3", most=3) == b"123"
    with pytest.raises(TooLarge, match="more than 3 bytes"):
        body_of(Server(None), b"12", b"34", b"5", most=3)


def test_under_a_server_without_extensions_the_messages_of_asgi_are_sent(play: Play):
    async def scene(desk: Desk) -> None:
        sent: list[dict[str, Any]] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "http.request", "body": b""}

        scope = {"type": "http", "method": "GET", "scheme": "http", "path": SMALL, "query_string": b"", "headers": []}
        assert desk.application is not None
        await desk.application(scope | {"extensions": None}, receive, send)

        assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
        assert sent[0]["status"] == 200

    play(scene)
