"""The control socket's server: a door that carries each verb from a line of JSON to a client object and back.

It knows no engine and no store: whatever stands behind it is a `ports.Client`. Who may connect is decided by the
socket file's mode (0600) or, at a loopback port, by the token.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, Self, cast

import msgspec

from headgate.api.worker_door import WorkerDoor
from headgate.client.address import Address
from headgate.client.client_frames import VERBS
from headgate.client.frames import LINE_BYTES_MAX, Answer, Request, WireError, error_of
from headgate.core.errors import HeadgateError, Invalid, Refused, Unavailable
from headgate.ports import Client, Documents, Update

__all__ = ["SocketServer"]

CONNECTIONS_MAX = 256
REQUESTS_MAX = 64
"""Of one connection, under way at a time; what comes beyond that is read later."""
ACCEPTING_TURNS = 4
"""So many turns of the loop may pass from a connection's arrival to its task."""

logger = logging.getLogger("headgate.socket")

_encoder = msgspec.json.Encoder()
_requests = msgspec.json.Decoder(Request)


class SocketServer:
    """`async with SocketServer(client, address):` answers until the block ends; connections end with it.

    A socket file that a dead owner left is replaced: only who holds the database's lock may start a server.
    """

    def __init__(
        self,
        client: Client,
        address: Address,
        workers: WorkerDoor | None = None,
        documents: Documents | None = None,
    ) -> None:
        self._client = client
        self.documents = documents
        self.workers = workers
        self.address = address
        self.handed: list[str] = []
        """The runs that were started through this socket, oldest first."""
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def __aenter__(self) -> Self:
        address = self.address
        try:
            if address.path:
                _remove(address.path)
                self._server = await self._listen_at_path(address.path)
            else:
                self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=LINE_BYTES_MAX)
                port = self._server.sockets[0].getsockname()[1]
                self.address = msgspec.structs.replace(address, port=port)
        except OSError as error:
            raise Unavailable(f"No socket can be made at {address.path}: {error.strerror or error}.") from error
        return self

    async def _listen_at_path(self, path: str) -> asyncio.Server:
        # The mode must be right before the first connection, not a moment later.
        before = os.umask(0o177)
        try:
            return await asyncio.start_unix_server(self._accept, path, limit=LINE_BYTES_MAX)
        finally:
            os.umask(before)

    async def __aexit__(self, *_: object) -> None:
        if self._server is None:
            return
        self._server.close()
        if self.workers is not None:
            self.workers.closing = True
        for _turn in range(ACCEPTING_TURNS):  # what was just accepted gets its task, and is closed with the others
            await asyncio.sleep(0)
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await asyncio.sleep(0)  # transports close themselves in the next turn of the loop
        if self.address.path:
            _remove(self.address.path)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._open[task] = writer
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._open.pop(task).close()  # also when the task was cancelled before it began; once more is harmless

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self, self._client, writer)
        try:
            if len(self._open) > CONNECTIONS_MAX:
                busy = Unavailable(f"{CONNECTIONS_MAX} connections are open already; try again in a moment.")
                await connection.send(Answer(0, error=error_of(busy)))
                return
            await connection.read(reader)
        except OSError:
            return  # whoever was there has gone
        finally:
            await connection.close()


class _Connection:
    """One connection: its requests run side by side, and end when it does."""

    def __init__(self, server: SocketServer, client: Client, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._client = client
        self._writer = writer
        self._room = asyncio.Semaphore(REQUESTS_MAX)
        self._under_way: set[asyncio.Task[None]] = set()

    async def read(self, reader: asyncio.StreamReader) -> None:
        first = True
        while True:
            try:
                line = await reader.readuntil(b"\n")
            except asyncio.IncompleteReadError:
                return
            except asyncio.LimitOverrunError:
                too_long = Invalid(f"The line is longer than {LINE_BYTES_MAX} bytes.")
                await self.send(Answer(0, error=error_of(too_long)))
                return
            if first and self._server.workers is not None and (hello := self._hello(line)) is not None:
                await self._server.workers.serve(hello, reader, self._writer)
                return
            first = False
            await self._room.acquire()
            task = asyncio.get_running_loop().create_task(self._answer(line))
            self._under_way.add(task)
            task.add_done_callback(self._ended)

    def _hello(self, line: bytes) -> Request | None:
        """Return what a worker begins with: from then on the connection is its. Any other line is None."""
        try:
            request = _requests.decode(line)
            if request.verb == "work":
                self._check_token(request)
                return request
        except (msgspec.MsgspecError, Refused):
            pass  # told when the line is answered
        return None

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._room.release()
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, OSError):
            logger.error("a request of the control socket failed", exc_info=error)

    async def close(self) -> None:
        for task in list(self._under_way):
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    async def send(self, answer: Answer) -> None:
        line = _encoder.encode(answer) + b"\n"
        if len(line) > LINE_BYTES_MAX:
            much = Refused(f"The answer has {len(line)} bytes, more than {LINE_BYTES_MAX}; ask for less of it.")
            line = _encoder.encode(Answer(answer.id, error=error_of(much))) + b"\n"
        self._writer.write(line)
        await self._writer.drain()

    async def _answer(self, line: bytes) -> None:
        try:
            request = _requests.decode(line)
        except msgspec.MsgspecError as error:
            await self.send(Answer(0, error=error_of(Invalid(f"expected a request as a line of JSON: {error}"))))
            return
        try:
            arguments = self._checked(request)
            if request.verb == "watch":
                await self._watch(request.id, arguments)
                return
            result = await self._function(request.verb)(**arguments)
            if request.verb == "start":
                self._server.handed.append(result.id)
            await self.send(Answer(request.id, result=msgspec.Raw(_encoder.encode(result))))
        except HeadgateError as error:
            await self.send(Answer(request.id, error=error_of(error)))
        except OSError:
            raise
        except Exception as error:
            text = f"A fault in Headgate: {type(error).__name__}: {error}. The owner's log has more."
            await self.send(Answer(request.id, error=WireError("internal", "unavailable", text)))
            raise

    def _checked(self, request: Request) -> dict[str, Any]:
        """Return the arguments of a request as the client's method takes them. Raises `Refused`, `Invalid`."""
        self._check_token(request)
        shape = VERBS.get(request.verb)
        if shape is None:
            raise Invalid(f"There is no verb {request.verb!r}; there are {', '.join(VERBS)}.")
        try:
            arguments = msgspec.convert(request.arguments, shape)
        except msgspec.ValidationError as error:
            raise Invalid(f"{request.verb}: {error}.") from None
        return {field: getattr(arguments, field) for field in arguments.__struct_fields__}

    def _check_token(self, request: Request) -> None:
        token = self._server.address.token
        if token and not secrets.compare_digest(token, request.token):
            raise Refused("The token is not that of the lock file beside the database.")

    def _function(self, verb: str) -> Any:
        of_documents = verb.removeprefix("documents.")
        return getattr(self._client, verb) if of_documents == verb else getattr(self._server.documents, of_documents)

    async def _watch(self, request_id: int, arguments: dict[str, Any]) -> None:
        updates = cast("AsyncGenerator[Update]", self._client.watch(**arguments))
        async with aclosing(updates):  # a reader that goes in the middle of a line ends the watch at once
            async for update in updates:
                await self.send(Answer(request_id, update=msgspec.Raw(_encoder.encode(update))))
        await self.send(Answer(request_id, end=True))


def _remove(path: str) -> None:
    Path(path).unlink(missing_ok=True)
