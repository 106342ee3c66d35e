"""Requests over sockets that stay open, to a server that answers byte by byte as a test has it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.certificates import self_signed

from headgate.client import connections
from headgate.client.connections import Connections, Reply
from headgate.client.http_line import HttpLine
from headgate.core.errors import Invalid

LONG = 30.0
"""Seconds that no test waits for."""
PLAIN = b"HTTP/1.1 200 OK\r\nX-Name: Ada\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
LAST = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"


class Server:
    """Answers each request with the next of `answers` (the last of them ever after); notes what it was sent."""

    def __init__(self, *answers: bytes | list[bytes], let: asyncio.Event | None = None) -> None:
        self._answers = list(answers)
        self._let = let
        self.received: list[bytes] = []
        self.connections = 0
        self.asked = asyncio.Event()
        self.closed = asyncio.Event()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int((head.lower().partition(b"content-length: ")[2] or b"0").partition(b"\r\n")[0])
                self.received.append(head + await reader.readexactly(length))
                self.asked.set()
                if self._let is not None:
                    await asyncio.wait(
                        [asyncio.ensure_future(self._let.wait()), asyncio.ensure_future(reader.read(1))],
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                await self._answer(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.closed.set()
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        for piece in answer if isinstance(answer, list) else [answer]:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if answer in (b"", LAST) or answer[-1:] == [b""]:
            raise ConnectionResetError


def play(server: Server, scene: Callable[[Connections], Awaitable[None]], tls: ssl.SSLContext | None = None) -> None:
    async def whole() -> None:
        listening = await asyncio.start_server(server.talk, "127.0.0.1", 0, ssl=tls)
        port = listening.sockets[0].getsockname()[1]
        pool = Connections(f"{'https' if tls else 'http'}://127.0.0.1:{port}/there")
        async with asyncio.timeout(LONG):
            try:
                await scene(pool)
            finally:
                await pool.close()
                listening.close()

    asyncio.run(whole())


async def ask(pool: Connections, seconds: float = LONG, content: bytes = b"body", **headers: str) -> Reply:
    return await pool.ask("POST", "/a%20b?c=d", headers=headers, content=content, seconds=seconds)


def test_a_request_is_what_was_asked_and_an_answer_what_was_answered():
    server = Server(PLAIN)

    async def scene(pool: Connections) -> None:
        reply = await ask(pool, name="value")
        await pool.ask("GET", "/x", headers={}, seconds=LONG)

        assert (reply.status, reply.headers["x-name"], reply.content) == (200, "Ada", b"hello")
        sent, looked = server.received
        assert sent.startswith(b"POST /there/a%20b?c=d HTTP/1.1\r\nhost: 127.0.0.1:")
        assert sent.endswith(b"\r\nname: value\r\ncontent-length: 4\r\n\r\nbody")
        assert b"content-length" not in looked

    play(server, scene)


@pytest.mark.parametrize(
    "answer", [PLAIN, CHUNKED, b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN], ids=["plain", "chunked", "continue"]
)
def test_an_answer_is_the_same_wherever_it_is_cut(answer: bytes):
    cuts = [[answer[:at], answer[at:]] for at in range(1, len(answer))]
    server = Server(*cuts, [answer[n : n + 1] for n in range(len(answer))])

    async def scene(pool: Connections) -> None:
        for _ in range(len(cuts) + 1):
            assert (await ask(pool)).content == b"hello"
        assert server.connections == 1

    play(server, scene)


def test_as_many_as_ask_at_a_time_have_a_connection_each_and_share_them_afterwards():
    server = Server(PLAIN)

    async def scene(pool: Connections) -> None:
        for _ in range(3):
            await asyncio.gather(*(ask(pool) for _ in range(7)))
        assert (server.connections, len(server.received)) == (7, 21)

    play(server, scene)


def test_beyond_the_maximum_requests_wait_for_a_connection(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connections, "CONNECTIONS_MAX", 2)
    server = Server(PLAIN)

    async def scene(pool: Connections) -> None:
        replies = await asyncio.gather(*(ask(pool) for _ in range(9)))
        assert (server.connections, len(replies)) == (2, 9)

    play(server, scene)


def test_of_those_that_are_free_only_so_many_stay_open(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connections, "KEPT_OPEN_MAX", 2)
    server = Server(PLAIN)

    async def scene(pool: Connections) -> None:
        await asyncio.gather(*(ask(pool) for _ in range(5)))
        await asyncio.sleep(0)
        assert len(pool._open) == 2

    play(server, scene)


def test_one_that_has_been_free_for_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connections, "KEPT_SECONDS_MAX", 0.0)
    server = Server(PLAIN)

    async def scene(pool: Connections) -> None:
        for _ in range(3):
            await ask(pool)
        assert server.connections == 3

    play(server, scene)


def test_one_that_the_server_closes_is_not_used_again():
    server = Server(LAST)

    async def scene(pool: Connections) -> None:
        for _ in range(3):
            assert (await ask(pool)).content == b"ok"
        assert server.connections == 3

    play(server, scene)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "ended before the answer did"),
        ([PLAIN[:-2], b""], "ended before the answer did"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"x" * 300_000, "more than"),
    ],
)
def test_where_no_answer_comes_it_is_said_why(answer: bytes | list[bytes], why: str):
    server = Server(answer, PLAIN)

    async def scene(pool: Connections) -> None:
        with pytest.raises(OSError, match=why):
            await ask(pool)

        assert (await ask(pool)).content == b"hello"  # on another connection
        assert server.connections == 2

    play(server, scene)


def test_a_server_that_is_silent_is_given_up():
    server = Server(PLAIN, let=asyncio.Event())

    async def scene(pool: Connections) -> None:
        with pytest.raises(TimeoutError):
            await ask(pool, seconds=0.01, content=b"")
        await server.closed.wait()

    play(server, scene)


def test_whoever_gives_up_closes_the_connection_so_that_the_server_knows():
    server = Server(PLAIN, let=asyncio.Event())

    async def scene(pool: Connections) -> None:
        asking = asyncio.ensure_future(ask(pool))
        await server.asked.wait()

        asking.cancel()

        await server.closed.wait()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert not pool._open

    play(server, scene)


def test_what_is_asked_when_all_are_closed_has_no_answer():
    server = Server(PLAIN, let=asyncio.Event())

    async def scene(pool: Connections) -> None:
        asking = asyncio.ensure_future(ask(pool))
        await server.asked.wait()

        await pool.close()

        with pytest.raises(OSError, match="ended before"):
            await asking

    play(server, scene)


@pytest.mark.parametrize("value", ["a\r\nx-more: b", "Straße", "a\0"])
def test_what_cannot_stand_in_a_header_is_refused_and_not_shown(value: str):
    server = Server(PLAIN)

    async def scene(pool: Connections) -> None:
        with pytest.raises(Invalid, match="'secret' to be of printable ASCII") as caught:
            await ask(pool, secret=value)
        assert value not in str(caught.value)
        assert server.received == []

    play(server, scene)


@pytest.mark.parametrize("url", ["http://x:port", "http://" + "a" * 80 + ".example"])
def test_an_address_that_is_none_is_refused(url: str):
    with pytest.raises(Invalid, match="no address of a server"):
        Connections(url)


def test_over_tls_the_server_must_be_whom_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    certificate, key = self_signed(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)

    async def stranger(pool: Connections) -> None:
        with pytest.raises(OSError, match="certificate"):
            await ask(pool)

    async def known(pool: Connections) -> None:
        assert (await ask(pool)).content == b"hello"
        assert (await ask(pool)).content == b"hello"

    server = Server(PLAIN)
    play(server, stranger, tls)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    play(server, known, tls)
    assert len(server.received) == 2


def test_requests_go_through_the_proxy_that_the_environment_names(monkeypatch: pytest.MonkeyPatch):
    server = Server(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]")

    async def whole() -> None:
        listening = await asyncio.start_server(server.talk, "127.0.0.1", 0)
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
        line = HttpLine("http://headgate.example/api/v1", login="token")
        async with asyncio.timeout(LONG):
            assert await line.get("/runs", list, limit=3, contents=True) == []
        await line.close()
        listening.close()

    asyncio.run(whole())
    (request,) = server.received
    assert request.startswith(b"GET http://headgate.example/api/v1/runs?limit=3&contents=true HTTP/1.1\r\n")
    assert b"bearer token" in request.lower()
