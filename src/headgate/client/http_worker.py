"""The worker's end of the worker protocol over HTTP: the same activities, wherever the server is.

A claim is kept by heartbeats, not by a connection: what a worker has in hand stays its own while it beats, over
connections that break and servers that are started again. What may be asked twice (admissions, settlements, effects,
reports, under the ids that they bear) is asked again until the line's patience is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

import msgspec

from headgate.client.gathered_reports import GatheredReports
from headgate.client.http_line import HttpLine, Patience
from headgate.client.stream_pieces import StreamPieces
from headgate.client.worker_frames import SentReport
from headgate.core.errors import HeadgateError, Invalid, StaleAttempt, Unavailable
from headgate.core.values import Assignment, Failure
from headgate.ports import Acknowledged, Admission, Admitted, CallRequest, Denied, Hit, Report, Settlement

__all__ = ["PATIENCE_SECONDS", "HttpProtocol"]

TASKS_MAX = 100
HEARTBEAT_SECONDS = 10.0
PATIENCE_SECONDS = 60.0
WAITS_SECONDS = 3_600.0
"""So long an admission may be held back, for money or a person; then it is asked again."""
STREAMS_MAX = 64
"""Requests with streamed text under way; more text is dropped meanwhile, for the result has it."""

logger = logging.getLogger("headgate.worker")


class _Beaten(msgspec.Struct):
    next_heartbeat_seconds: float = HEARTBEAT_SECONDS


class _Answer(msgspec.Struct):
    decision: str
    model: str | None = None
    reservation: int | None = None
    skipped: tuple[str, ...] = ()
    answers: tuple[Any, ...] = ()
    error: Failure | None = None


class HttpProtocol:
    """`ports.WorkerProtocol` at the server that a line leads to. `activities` are those that this worker has.

    Every method raises what the server raised, and `ServerAway` (unavailable) when nobody has answered for as long as
    patience lasts.
    """

    def __init__(self, line: HttpLine, *, activities: Sequence[str]) -> None:
        self._line = line
        self._activities = tuple(activities)
        self._pieces = StreamPieces(self._send_text)
        self._reports: dict[str, GatheredReports] = {}
        """By the worker that reports."""
        self._sending: set[asyncio.Task[None]] = set()
        self._last: dict[str, asyncio.Task[None]] = {}
        """Of each claim, the text that was sent last: what comes after it goes after it."""

    async def poll(self, queues: Sequence[str], *, worker_id: str, count: int, wait_seconds: float) -> list[Assignment]:
        body = {
            "queues": list(queues),
            "worker_id": worker_id,
            "max_activities": min(count, TASKS_MAX),
            "wait_seconds": wait_seconds,
            "lease": True,
            "activities": self._activities,
        }
        return await self._line.post("/workers/tasks", body, list[Assignment], wait_seconds=wait_seconds)

    async def heartbeat(self, activity_id: str, *, worker_id: str, progress: Any = None) -> float:
        """Return the seconds until the next one. While nobody answers, try again: the lease outlives some of them."""
        try:
            body = {"worker_id": worker_id, "progress": progress}
            beaten = await self._line.post(_of(activity_id, "heartbeat"), body, _Beaten)
        except StaleAttempt:
            raise
        except Unavailable as error:
            logger.warning("a heartbeat was not heard: %s", error)
            return HEARTBEAT_SECONDS / 2
        return beaten.next_heartbeat_seconds

    async def report(self, reports: Sequence[Report], *, worker_id: str) -> list[Acknowledged]:
        for report in reports:
            self._pieces.end(report.activity_id)
        await asyncio.gather(*(self._last[one.activity_id] for one in reports if one.activity_id in self._last))
        if worker_id not in self._reports:
            self._reports[worker_id] = GatheredReports(partial(self._report, worker_id))
        return await self._reports[worker_id].report(reports)

    async def _report(self, worker_id: str, reports: Sequence[Report]) -> list[Acknowledged]:
        body = {"worker_id": worker_id, "reports": [SentReport.of(report) for report in reports]}
        return await self._line.post("/workers/reports", body, list[Acknowledged])

    async def admit(self, activity_id: str, *, call_id: str, request: CallRequest) -> Admission:
        body = {"call_id": call_id, **msgspec.to_builtins(request)}
        patience = Patience(PATIENCE_SECONDS)
        while True:
            try:
                path = _of(activity_id, "calls")
                return _admission(await self._line.post(path, body, _Answer, wait_seconds=WAITS_SECONDS))
            except Unavailable as error:
                await patience.pause(error, None)

    async def settle(self, activity_id: str, *, call_id: str, settlement: Settlement) -> None:
        await self._line.post(_of(activity_id, f"calls/{_segment(call_id)}/settle"), settlement, None)

    async def begin_effect(self, activity_id: str, *, what: str) -> None:
        await self._line.post(_of(activity_id, "effects"), {"what": what}, None)

    def stream(self, activity_id: str, text: str) -> None:
        if len(self._sending) < STREAMS_MAX:
            self._pieces.add(activity_id, text)
        else:
            self._pieces.drop(activity_id, text)

    def restart_stream(self, activity_id: str) -> None:
        self._send_after(activity_id, "ws/restart", {"offset": self._pieces.restart(activity_id)})

    async def close(self) -> None:
        """Send what was streamed, and close the connections."""
        self._pieces.flush()
        await asyncio.gather(*self._sending, return_exceptions=True)
        await self._line.close()

    # --- Streams -------------------------------------------------------------------------------------------------

    def _send_text(self, activity_id: str, text: str, offset: int) -> None:
        self._send_after(activity_id, "ws/token", {"token": text, "offset": offset})

    def _send_after(self, activity_id: str, verb: str, body: Any) -> None:
        """Send one thing after the other of each claim, so that its text stays in order."""
        sending = asyncio.get_running_loop().create_task(
            self._send(self._last.get(activity_id), _of(activity_id, verb), body)
        )
        self._last[activity_id] = sending
        self._sending.add(sending)
        sending.add_done_callback(lambda ended: self._sent(activity_id, ended))

    def _sent(self, activity_id: str, sending: asyncio.Task[None]) -> None:
        self._sending.discard(sending)
        if self._last.get(activity_id) is sending:
            del self._last[activity_id]

    async def _send(self, before: asyncio.Task[None] | None, path: str, body: Any) -> None:
        if before is not None:
            await asyncio.wait({before})
        try:
            await self._line.post(path, body, None)
        except HeadgateError as error:
            logger.info("streamed text was not taken: %s", error)


def _of(activity_id: str, verb: str) -> str:
    return f"/activities/{_segment(activity_id)}/{verb}"


def _segment(opaque: str) -> str:
    """Return an id as one segment of a path."""
    return quote(opaque.replace("/", "~"), safe="~")


def _admission(answer: _Answer) -> Admission:
    if answer.decision == "admitted" and answer.model is not None:
        return Admitted(answer.model, answer.reservation or 0, answer.skipped)
    if answer.decision == "hit" and answer.model is not None:
        return Hit(answer.model, answer.answers)
    if answer.error is None:
        raise Invalid(f"The server answered an admission with {answer.decision!r}, which means nothing here.")
    return Denied(answer.error)
