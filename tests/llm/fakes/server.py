"""A small HTTP server on the loopback interface: real sockets, answers from a list, and it notices who hangs up.

Each request takes the next `Reply`; a reply is raw bytes in chunks, so that a test decides how the answer is cut up,
where it ends, and whether it ends at all.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["FakeServer", "Reply", "Seen", "json_reply"]


@dataclass
class Seen:
    """A request as the server saw it."""

    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Reply:
    """What the server sends. After the chunks it may hang up (`cut`), or send nothing more (`silent`)."""

    chunks: Iterable[bytes]
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    silent: bool = False


Answer = Reply | Callable[[Seen], Reply]


class FakeServer:
    """The server, as an async context. `requests` are what it was asked, over how many `connections`.

    `received` is set with each request; `hung_up` when a caller closed a connection in the middle of an answer. When
    the replies are used up, the last is given again. A reply may be made from the request.
    """

    def __init__(self, *replies: Answer, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Seen] = []
        self.connections = 0
        self.open = 0
        self.received = asyncio.Event()
        self.hung_up = asyncio.Event()
        self._replies = list(replies)
        self._tls = tls
        self._serving: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> FakeServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in tuple(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._server.wait_closed()

    def will(self, *replies: Answer) -> None:
        """Answer the next requests with these."""
        self._replies = list(replies)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self.connections += 1
        self.open += 1
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            self._serving.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.requests.append(Seen(head[0].split(" ")[1], headers, json.loads(body) if body else None))
        self.received.set()
        answer = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        reply = answer if isinstance(answer, Reply) else answer(self.requests[-1])
        leaving = asyncio.ensure_future(self._notice_hanging_up(reader))
        try:
            answering = asyncio.ensure_future(self._answer(reply, writer))
            await asyncio.wait({leaving, answering}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                answering.cancel()
                self.hung_up.set()
                return False
            answering.result()
        finally:
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
        return not reply.cut

    async def _notice_hanging_up(self, reader: asyncio.StreamReader) -> None:
        """Return when the caller closes its side; it sends nothing before the answer is complete."""
        while not reader.at_eof() and not reader._buffer:  # to look without taking
            await reader._wait_for_data("looking")

    async def _answer(self, reply: Reply, writer: asyncio.StreamWriter) -> None:
        if not (reply.silent and not reply.chunks):
            lines = [f"HTTP/1.1 {reply.status} Whatever", "transfer-encoding: chunked"]
            lines += [f"{name}: {value}" for name, value in reply.headers.items()]
            writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        for chunk in filter(None, reply.chunks):  # an empty chunk would be the end
            writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            await writer.drain()
        if reply.silent:
            await asyncio.Event().wait()
        if not reply.cut:
            writer.write(b"0\r\n\r\n")
        await writer.drain()


def json_reply(body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    """Return a reply with a whole body; text and bytes go out as they are."""
    raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return Reply([raw], status, {"content-type": "application/json", **(headers or {})})
