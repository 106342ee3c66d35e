"""The worker's end of the worker protocol: one connection to the owner, all requests on it, made anew when it breaks.

What the owner promises holds with its connection: when that ends, this worker has lost what it had in hand. What was
being asked is asked again on the next one, as far as it may be asked twice: admissions, settlements, effects and
reports may, under the ids that they bear. A result that comes too late is told so by the owner, and discarded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from headgate.client.address import Address, open_address
from headgate.client.frames import LINE_BYTES_MAX, Answer, OwnerGone, Request, as_error
from headgate.client.stream_pieces import StreamPieces
from headgate.client.worker_frames import WORKER_VERBS, Hello, SentAdmission, SentReport, Welcome
from headgate.core.errors import HeadgateError, Invalid, Refused, StaleAttempt, Unavailable
from headgate.core.values import Assignment
from headgate.ports import Acknowledged, Admission, CallRequest, Report, Settlement

__all__ = ["SocketProtocol"]

REQUESTS_MAX = 4_000
"""Under way at a time; one more is refused."""
OWNER_SECONDS_MAX = 60.0
"""What may be asked twice is asked again for so long, while nobody answers; then it has failed."""
OWNER_PAUSE_SECONDS = 0.25
"""How often is looked whether there is an owner now."""
HEARTBEAT_SECONDS = 10.0
STREAM_BYTES_MAX = 4 * 1024 * 1024
"""Of bytes that the owner has not taken yet; streamed text on top of them is dropped, for the result has it."""

logger = logging.getLogger("headgate.worker")
_encoder = msgspec.json.Encoder()
_answers = msgspec.json.Decoder(Answer)


class SocketProtocol:
    """`ports.WorkerProtocol` over the control socket that `find` names; it names none where there is no owner.

    Every method raises what the owner raised, and `OwnerGone` (unavailable) when nobody answers. `poll` raises
    `Refused` where the owner will not have this worker.
    """

    def __init__(self, find: Callable[[], Address | None], *, worker_id: str, activities: Sequence[str]) -> None:
        self._find = find
        self._hello = Hello(worker_id, tuple(activities))
        self._link: _Link | None = None
        self._linking = asyncio.Lock()
        self._pieces = StreamPieces(self._send_text)
        self._over: set[str] = set()
        """Claims of which the owner said that they are no longer ours: nothing is reported of them."""

    # --- ports.WorkerProtocol ------------------------------------------------------------------------------------

    async def poll(self, queues: Sequence[str], *, worker_id: str, count: int, wait_seconds: float) -> list[Assignment]:
        """Return tasks; while there is no owner, wait for one as for a task."""
        now = asyncio.get_running_loop().time
        until = now() + wait_seconds
        while True:
            try:
                left = max(0.0, until - now())
                return await self._ask("poll", queues=list(queues), count=count, wait_seconds=left)
            except OwnerGone as error:
                if now() >= until:
                    raise
                logger.info("waiting for an owner: %s", error)
                await asyncio.sleep(OWNER_PAUSE_SECONDS)

    async def heartbeat(self, activity_id: str, *, worker_id: str, progress: Any = None) -> float:
        """Return the seconds until the next one. While there is no owner there is no lease to keep: try again then."""
        try:
            return await self._ask("heartbeat", activity_id=activity_id, progress=progress)
        except StaleAttempt:
            self._over.add(activity_id)
            raise
        except Unavailable:
            return HEARTBEAT_SECONDS

    async def report(self, reports: Sequence[Report], *, worker_id: str) -> list[Acknowledged]:
        sent = [report for report in reports if report.activity_id not in self._over]
        for report in sent:
            self._pieces.end(report.activity_id)
        found = await self._insist("report", reports=[SentReport.of(report) for report in sent]) if sent else []
        known = {one.activity_id: one for one in found}
        for report in reports:
            self._over.discard(report.activity_id)
        return [
            known.get(one.activity_id) or Acknowledged(one.activity_id, "it was not ours any more") for one in reports
        ]

    async def admit(self, activity_id: str, *, call_id: str, request: CallRequest) -> Admission:
        sent: SentAdmission = await self._insist("admit", activity_id=activity_id, call_id=call_id, request=request)
        return sent.admission

    async def settle(self, activity_id: str, *, call_id: str, settlement: Settlement) -> None:
        await self._insist("settle", activity_id=activity_id, call_id=call_id, settlement=settlement)

    async def begin_effect(self, activity_id: str, *, what: str) -> None:
        await self._insist("begin_effect", activity_id=activity_id, what=what)

    def stream(self, activity_id: str, text: str) -> None:
        if self._link is not None and not self._link.crowded:
            self._pieces.add(activity_id, text)
        else:
            self._pieces.drop(activity_id, text)

    def restart_stream(self, activity_id: str) -> None:
        offset = self._pieces.restart(activity_id)
        if self._link is not None and not self._link.crowded:
            self._link.tell("restart_stream", {"activity_id": activity_id, "offset": offset})

    async def close(self) -> None:
        """Leave. What this worker still has in hand is offered to others at once."""
        self._pieces.flush()
        if self._link is not None:
            await self._link.close()

    def _send_text(self, activity_id: str, text: str, offset: int) -> None:
        if self._link is not None and not self._link.crowded:
            self._link.tell("stream", {"activity_id": activity_id, "text": text, "offset": offset})

    # --- Requests ------------------------------------------------------------------------------------------------

    async def _insist(self, verb: str, **arguments: Any) -> Any:
        """Ask what may be asked twice, again while nobody answers."""
        until = asyncio.get_running_loop().time() + OWNER_SECONDS_MAX
        while True:
            try:
                return await self._ask(verb, **arguments)
            except Unavailable:
                if asyncio.get_running_loop().time() >= until:
                    raise
            await asyncio.sleep(OWNER_PAUSE_SECONDS)

    async def _ask(self, verb: str, **arguments: Any) -> Any:
        return await (await self._linked()).ask(verb, arguments)

    async def _linked(self) -> _Link:
        async with self._linking:
            if self._link is None or self._link.ended:
                self._link = None
                address = self._find()
                if address is None:
                    raise OwnerGone("Nobody owns the database now.")
                self._link = await _Link.to(address, self._hello)
            return self._link


class _Link:
    """One connection, and who waits for what on it."""

    def __init__(self, address: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._address = address
        self._reader = reader
        self._writer = writer
        self._number = 0
        self._waiting: dict[int, tuple[str, asyncio.Future[Any], list[Any]]] = {}
        self._reading: asyncio.Task[None] | None = None
        self.ended = False

    @classmethod
    async def to(cls, address: Address, hello: Hello) -> _Link:
        reader, writer = await open_address(address)
        link = cls(address, reader, writer)
        try:
            link.tell("work", msgspec.to_builtins(hello))
            msgspec.convert(await link.welcome(), Welcome)
        except BaseException:
            await link.close()
            raise
        link._reading = asyncio.get_running_loop().create_task(link._read(), name="headgate-worker-link")
        return link

    async def welcome(self) -> Any:
        answer = await self._line()
        if answer.error is not None:
            raise as_error(answer.error)
        if answer.result is msgspec.UNSET:
            raise Refused("The owner of the database takes no workers. Give both the same release of Headgate.")
        return msgspec.json.decode(answer.result)

    @property
    def crowded(self) -> bool:
        return self.ended or self._writer.transport.get_write_buffer_size() > STREAM_BYTES_MAX

    def tell(self, verb: str, arguments: dict[str, Any]) -> int:
        """Send a request; return its number. Raises `Invalid` for one that is too long."""
        self._number += 1
        line = _encoder.encode(Request(self._number, verb, arguments, self._address.token)) + b"\n"
        if len(line) > LINE_BYTES_MAX:
            raise Invalid(f"The request {verb} has {len(line)} bytes; expected at most {LINE_BYTES_MAX}.")
        self._writer.write(line)
        return self._number

    async def ask(self, verb: str, arguments: dict[str, Any]) -> Any:
        if self.ended:
            raise _owner_gone()
        if len(self._waiting) >= REQUESTS_MAX:
            raise Unavailable(f"{REQUESTS_MAX} requests of this worker wait for an answer; try again in a moment.")
        number = self.tell(verb, arguments)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = (verb, future, [])
        try:
            with suppress(OSError):  # then the reading end says why
                await self._writer.drain()
            return await future
        except asyncio.CancelledError:
            if not self.ended and verb in ("poll", "admit"):
                self.tell("cancel", {"request": number})
            raise
        finally:
            self._waiting.pop(number, None)

    async def _read(self) -> None:
        try:
            while True:
                self._take(await self._line())
        except HeadgateError:
            pass
        finally:
            self.ended = True
            for _, future, _ in self._waiting.values():
                if not future.done():
                    future.set_exception(_owner_gone())
            self._writer.close()

    def _take(self, answer: Answer) -> None:
        verb, future, updates = self._waiting.get(answer.id, ("", None, []))
        if future is None or future.done():
            return  # it was given up meanwhile
        if answer.error is not None:
            future.set_exception(as_error(answer.error))
        elif answer.update is not msgspec.UNSET:
            updates.append(msgspec.json.decode(answer.update, type=WORKER_VERBS[verb][1]))
        elif answer.end:
            future.set_result(updates)
        elif answer.result is not msgspec.UNSET:
            future.set_result(msgspec.json.decode(answer.result, type=WORKER_VERBS[verb][1]))
        else:
            future.set_result(None)

    async def _line(self) -> Answer:
        try:
            return _answers.decode(await self._reader.readuntil(b"\n"))
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, msgspec.MsgspecError) as error:
            raise _owner_gone() from error

    async def close(self) -> None:
        self.ended = True
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


def _owner_gone() -> OwnerGone:
    return OwnerGone("The process that owns the database has ended, or has ended this connection.")
