"""Where workers in other processes come in: the worker protocol over a connection of the control socket.

A connection is the lease. What it was handed is lost with it, at once: a new attempt is offered, calls that were open
are forfeited. A connection that says nothing for a minute counts as gone, so a worker that is stopped, rather than
dead, holds nothing up either. A worker that comes back reports on a new connection, and is fenced by its attempts.

Requests of a connection run side by side, for one may wait for money that another one frees; so what waits is never a
reason not to read on. An activity that the worker has not got is done by the owner itself, which alone has its state.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from headgate.client.frames import LINE_BYTES_MAX, Answer, Request, WireError, error_of
from headgate.client.worker_frames import PROTOCOL, SILENCE_SECONDS_MAX, WORKER_VERBS, Hello, SentAdmission, Welcome
from headgate.core.errors import HeadgateError, Invalid, Refused, Unavailable
from headgate.core.values import Assignment, Failure
from headgate.ports import Failed, WorkerHost

__all__ = ["REQUESTS_MAX", "WorkerDoor"]

REQUESTS_MAX = 4_096
"""Of one worker, under way at a time; one more is refused with `unavailable`, and to be made again."""
WORKERS_MAX = 128

logger = logging.getLogger("headgate.workers")
_encoder = msgspec.json.Encoder()
_requests = msgspec.json.Decoder(Request)


class WorkerDoor:
    """One per control socket. `lose` takes claims whose worker is gone, and why; `keep` takes assignments that only the
    owner can work on."""

    def __init__(
        self,
        protocol: WorkerHost,
        *,
        lose: Callable[[Sequence[str], str], Awaitable[None]],
        keep: Callable[[Sequence[Assignment]], None],
    ) -> None:
        self.protocol = protocol
        self.lose = lose
        self.keep = keep
        self.closing = False
        """The owner is going: what its workers have in hand stays theirs until the next owner looks."""
        self.workers: set[str] = set()

    async def serve(self, hello: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk to a worker until its connection ends."""
        try:
            greeting = self._greeting(hello)
        except HeadgateError as error:
            await _send(writer, Answer(hello.id, error=error_of(error)))
            return
        await _send(writer, Answer(hello.id, result=msgspec.Raw(_encoder.encode(Welcome(os.getpid())))))
        session = _Session(self, greeting, writer)
        self.workers.add(greeting.worker_id)
        logger.info("worker %s has come", greeting.worker_id)
        try:
            await session.read(reader)
        except OSError:
            pass  # whoever was there has gone
        finally:
            self.workers.discard(greeting.worker_id)
            await session.close()

    def _greeting(self, request: Request) -> Hello:
        try:
            hello = msgspec.convert(request.arguments, Hello)
        except msgspec.ValidationError as error:
            raise Invalid(f"work: {error}.") from None
        if hello.protocol != PROTOCOL:
            raise Refused(
                f"Worker {hello.worker_id} speaks revision {hello.protocol} of the worker protocol, this owner "
                f"{PROTOCOL}. Give both the same release of Headgate."
            )
        if hello.worker_id in self.workers:
            # Its connection before may not be noticed to have ended yet: so it may try again.
            raise Unavailable(f"A worker {hello.worker_id!r} is here already. Give each a name of its own (--id).")
        if len(self.workers) >= WORKERS_MAX:
            raise Unavailable(f"{WORKERS_MAX} workers are here already; try again in a moment.")
        return hello


class _Session:
    """One worker: its requests under way, and what it has in hand."""

    def __init__(self, door: WorkerDoor, hello: Hello, writer: asyncio.StreamWriter) -> None:
        self._door = door
        self._protocol = door.protocol
        self._worker_id = hello.worker_id
        self._activities = frozenset(hello.activities)
        self._writer = writer
        self._held: dict[str, None] = {}
        """Claims that it was handed, or brought along from a connection before, and has not reported."""
        self._under_way: dict[int, asyncio.Task[None]] = {}

    async def read(self, reader: asyncio.StreamReader) -> None:
        while True:
            try:
                async with asyncio.timeout(SILENCE_SECONDS_MAX):
                    line = await reader.readuntil(b"\n")
            except asyncio.IncompleteReadError:
                return
            except TimeoutError:
                logger.warning("worker %s has said nothing for %s s", self._worker_id, SILENCE_SECONDS_MAX)
                return
            except asyncio.LimitOverrunError:
                too_long = Invalid(f"The line is longer than {LINE_BYTES_MAX} bytes.")
                await _send(self._writer, Answer(0, error=error_of(too_long)))
                return
            await self._take(line)

    async def _take(self, line: bytes) -> None:
        try:
            request = _requests.decode(line)
        except msgspec.MsgspecError as error:
            await _send(self._writer, Answer(0, error=error_of(Invalid(f"expected a request: {error}"))))
            return
        try:
            arguments = self._checked(request)
        except HeadgateError as error:
            await _send(self._writer, Answer(request.id, error=error_of(error)))
            return
        if request.verb == "stream":
            with suppress(HeadgateError):
                self._protocol.stream(arguments.activity_id, arguments.text, arguments.offset)
        elif request.verb == "restart_stream":
            with suppress(HeadgateError):
                self._protocol.restart_stream(arguments.activity_id, arguments.offset)
        elif request.verb == "cancel":
            if (task := self._under_way.get(arguments.request)) is not None:
                task.cancel()
        elif len(self._under_way) >= REQUESTS_MAX or request.id in self._under_way:
            much = Unavailable(f"{len(self._under_way)} requests of this worker are under way; ask again in a moment.")
            await _send(self._writer, Answer(request.id, error=error_of(much)))
        else:
            task = asyncio.get_running_loop().create_task(self._answer(request, arguments))
            self._under_way[request.id] = task
            task.add_done_callback(lambda ended: self._ended(request.id, ended))

    def _checked(self, request: Request) -> Any:
        if request.verb not in WORKER_VERBS:
            raise Invalid(f"A worker has no verb {request.verb!r}; it has {', '.join(WORKER_VERBS)}.")
        try:
            return msgspec.convert(request.arguments, WORKER_VERBS[request.verb][0])
        except msgspec.ValidationError as error:
            raise Invalid(f"{request.verb}: {error}.") from None

    def _ended(self, request_id: int, task: asyncio.Task[None]) -> None:
        self._under_way.pop(request_id, None)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, OSError):
            logger.error("a request of worker %s failed", self._worker_id, exc_info=error)

    async def close(self) -> None:
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._held and not self._door.closing:
            await self._door.lose(list(self._held), f"the connection of worker {self._worker_id} has ended")

    # --- Requests ------------------------------------------------------------------------------------------------

    async def _answer(self, request: Request, arguments: Any) -> None:
        try:
            if request.verb == "poll":
                await self._poll(request.id, arguments)
                return
            result = await getattr(self, f"_{request.verb}")(arguments)
            await _send(self._writer, Answer(request.id, result=msgspec.Raw(_encoder.encode(result))))
        except HeadgateError as error:
            await _send(self._writer, Answer(request.id, error=error_of(error)))
        except OSError:
            raise
        except Exception as error:
            text = f"A fault in Headgate: {type(error).__name__}: {error}. The owner's log has more."
            await _send(self._writer, Answer(request.id, error=WireError("internal", "unavailable", text)))
            raise

    async def _poll(self, request_id: int, asked: Any) -> None:
        """Hand out tasks. What is handed out is this connection's from before it is sent."""
        assignments = await self._protocol.poll(
            asked.queues, worker_id=self._worker_id, count=asked.count, wait_seconds=asked.wait_seconds
        )
        theirs = [task for task in assignments if task.activity_name in self._activities]
        self._held.update(dict.fromkeys(task.activity_id for task in theirs))
        if len(theirs) < len(assignments):
            self._door.keep([task for task in assignments if task.activity_name not in self._activities])
        for task in theirs:
            line = _encoder.encode(Answer(request_id, update=msgspec.Raw(_encoder.encode(task)))) + b"\n"
            if len(line) > LINE_BYTES_MAX:
                await self._too_large(task, len(line))
                continue
            self._writer.write(line)
            await self._writer.drain()
        await _send(self._writer, Answer(request_id, end=True))

    async def _too_large(self, task: Assignment, size: int) -> None:
        message = f"The parameters have {size} bytes; a worker in another process takes at most {LINE_BYTES_MAX}."
        failed = Failed(task.activity_id, Failure("invalid_parameters", message, retryable=False))
        await self._protocol.report([failed], worker_id=self._worker_id)
        self._held.pop(task.activity_id, None)

    async def _heartbeat(self, asked: Any) -> float:
        return await self._protocol.heartbeat(asked.activity_id, worker_id=self._worker_id, progress=asked.progress)

    async def _report(self, asked: Any) -> Any:
        reports = [sent.report for sent in asked.reports]
        acknowledged = await self._protocol.report(reports, worker_id=self._worker_id)
        for one in acknowledged:
            self._held.pop(one.activity_id, None)
        return acknowledged

    async def _admit(self, asked: Any) -> SentAdmission:
        self._held[asked.activity_id] = None
        admission = await self._protocol.admit(asked.activity_id, call_id=asked.call_id, request=asked.request)
        return SentAdmission.of(admission)

    async def _settle(self, asked: Any) -> None:
        await self._protocol.settle(asked.activity_id, call_id=asked.call_id, settlement=asked.settlement)

    async def _begin_effect(self, asked: Any) -> None:
        self._held[asked.activity_id] = None
        await self._protocol.begin_effect(asked.activity_id, what=asked.what)


async def _send(writer: asyncio.StreamWriter, answer: Answer) -> None:
    line = _encoder.encode(answer) + b"\n"
    if len(line) > LINE_BYTES_MAX:
        much = Refused(f"The answer has {len(line)} bytes, more than {LINE_BYTES_MAX}.")
        line = _encoder.encode(Answer(answer.id, error=error_of(much))) + b"\n"
    writer.write(line)
    await writer.drain()
