"""A small HTTP server of our own on the loopback interface, and attempts of http_request against it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from headgate.activities.http_request import HttpSettings, http_request
from headgate.activities.private_addresses import close_clients
from headgate.core.values import Assignment, Failure
from headgate.ports import Attempt

__all__ = [
    "CLOSED",
    "HANG_UP",
    "OPEN",
    "TASK",
    "TRACE",
    "Answer",
    "Context",
    "Outcome",
    "Request",
    "Server",
    "answers_by_name",
    "attempt",
    "attempts",
    "hang_up",
    "respond",
    "say_hello",
]

OPEN = HttpSettings(private_addresses="all")
CLOSED = HttpSettings(private_addresses="none")
TRACE = "0af7651916cd43dd8448eb211c80319c"
TASK = Assignment(
    activity_id="claim-1",
    workflow_id="run-1",
    activity_key="call",
    place="call",
    activity_name="http_request",
    trace_id=TRACE,
)


@dataclass
class Context:
    """The context of an attempt, as far as http_request uses it."""

    task: Assignment
    begun: list[str] = field(default_factory=list)

    async def begin_effect(self, what: str) -> None:
        self.begun.append(what)


@dataclass
class Request:
    """A request as the server saw it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclass
class Outcome:
    """What came of an attempt: a value or a failure, and what the server saw."""

    value: Any = None
    failure: Failure | None = None
    requests: list[Request] = field(default_factory=list)


HANG_UP = b"\0hang up"
Answer = Callable[[Request], bytes | Awaitable[bytes | None] | None]


class Server:
    """An HTTP/1.1 server whose answers are bytes. None: it hangs up without a word."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.connections = 0
        self.talks: set[asyncio.Task[None]] = set()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.talks.add(asyncio.current_task())
        self.connections += 1
        connection = self.connections
        try:
            while request := await self._request(reader, connection):
                self.requests.append(request)
                answer = self.answer(request)
                content = await answer if asyncio.iscoroutine(answer) else answer
                if content is None:
                    return
                writer.write(content.removesuffix(HANG_UP))
                await writer.drain()
                if content.endswith(HANG_UP):
                    return
        except (ConnectionError, ssl.SSLError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, connection: int) -> Request | None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("utf-8").splitlines()
        except asyncio.IncompleteReadError:
            return None
        method, target, _ = head[0].split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        return Request(method, target, headers, body, connection)


def respond(status: int = 200, body: bytes | str = b"", *headers: str) -> bytes:
    content = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} Some Phrase", f"Content-Length: {len(content)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + content


def say_hello(_request: Request) -> bytes:
    return respond(200, '{"hello": [1, 2.5, null]}', "Content-Type: application/json; charset=utf-8")


def hang_up(_request: Request) -> None:
    return None


def attempt(
    parameters: dict[str, Any],
    answer: Answer = say_hello,
    *,
    settings: HttpSettings = OPEN,
    task: Assignment = TASK,
    resolve: Callable[[str, int], Awaitable[list[str]]] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Outcome:
    """Run one attempt; `{port}` in the URL is the server's."""
    return attempts([parameters], answer, settings=settings, task=task, resolve=resolve, tls=tls)[0]


def attempts(
    each: list[dict[str, Any]],
    answer: Answer = say_hello,
    *,
    settings: HttpSettings = OPEN,
    task: Assignment = TASK,
    resolve: Callable[[str, int], Awaitable[list[str]]] | None = None,
    tls: ssl.SSLContext | None = None,
) -> list[Outcome]:
    async def story() -> list[Outcome]:
        server = Server(answer)
        listening = await asyncio.start_server(server.talk, "127.0.0.1", 0, ssl=tls)
        port = listening.sockets[0].getsockname()[1]
        request = http_request(settings, resolve=resolve)
        try:
            return [await one(request, server, parameters, port) for parameters in each]
        finally:
            await close_clients()
            listening.close()
            for talk in server.talks:
                talk.cancel()
            await asyncio.gather(*server.talks)

    async def one(request: Any, server: Server, parameters: dict[str, Any], port: int) -> Outcome:
        filled = {"url": "http://127.0.0.1:{port}/things", **parameters}
        if isinstance(filled["url"], str):
            filled["url"] = filled["url"].replace("{port}", str(port))
        try:
            return Outcome(await request(filled, Context(task)), None, server.requests)
        except Attempt as failed:
            return Outcome(None, failed.failure, server.requests)

    return asyncio.run(story())


def answers_by_name(*addresses: str) -> Callable[[str, int], Awaitable[list[str]]]:
    async def resolve(_host: str, _port: int) -> list[str]:
        return list(addresses)

    return resolve
