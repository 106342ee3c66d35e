"""A small OpenAI-compatible server on the loopback interface: real sockets, real HTTP, answers from a list.

Each request takes the next `Reply`; a reply is raw bytes in chunks, so that a test decides how the answer is
cut up, where it ends, and whether it ends at all.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

__all__ = ["FakeOpenAI", "Reply", "Request", "completion", "event", "events", "json_reply", "stream_reply"]

DONE = b"data: [DONE]\n\n"


@dataclass
class Request:
    """A request as the server saw it."""

    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Reply:
    """What the server sends. After the chunks it may hang up (`cut`), or send nothing more (`silent`)."""

    chunks: list[bytes]
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    silent: bool = False


class FakeOpenAI:
    """The server, as an async context. `requests` are what it was asked, over how many `connections`."""

    def __init__(self, *replies: Reply) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.received = asyncio.Event()
        self._replies = list(replies)
        self._closing = asyncio.Event()

    async def __aenter__(self) -> FakeOpenAI:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.base_url = f"http://127.0.0.1:{port}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.requests.append(Request(head[0].split(" ")[1], headers, json.loads(body)))
        self.received.set()
        reply = self._replies.pop(0)
        if reply.silent and not reply.chunks:
            await self._closing.wait()
            return False
        lines = [f"HTTP/1.1 {reply.status} Whatever", "transfer-encoding: chunked"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        for chunk in reply.chunks:
            writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            await writer.drain()
        if reply.silent:
            await self._closing.wait()
        if reply.cut or reply.silent:
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


def json_reply(body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    """Return a reply with a whole body; text and bytes go out as they are."""
    raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return Reply([raw], status, {"content-type": "application/json", **(headers or {})})


def stream_reply(*chunks: bytes, cut: bool = False) -> Reply:
    """Return a reply as an event stream, sent in these chunks."""
    return Reply(list(chunks), headers={"content-type": "text/event-stream; charset=utf-8"}, cut=cut)


def completion(content: str | None, **fields: Any) -> dict[str, Any]:
    """Return the body of a chat completion; `usage` and `message` may be replaced, or left out with None."""
    message = {"role": "assistant", "content": content, **fields.pop("message", {})}
    choice = {"index": 0, "message": message, "finish_reason": fields.pop("finish_reason", "stop")}
    usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    body = {"id": "c1", "model": "gpt-4o-2024-08-06", "choices": [choice], "usage": usage, **fields}
    return {name: value for name, value in body.items() if value is not None}


def event(delta: dict[str, Any] | None = None, *, finish: str | None = None, **fields: Any) -> bytes:
    """Return one event of a streamed completion; without `delta` and `finish` it has no choices."""
    choices = [] if delta is None and finish is None else [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    body = {"id": "c1", "model": "gpt-4o-2024-08-06", "choices": choices, **fields}
    return f"data: {json.dumps(body)}\n\n".encode()


def events(*texts: str, finish: str = "stop", usage: dict[str, Any] | None = None) -> bytes:
    """Return a whole stream that says `texts`; with usage if given, and with its end."""
    said = b"".join(event({"content": text}) for text in texts)
    return said + event(finish=finish) + (event(usage=usage) if usage else b"") + DONE
