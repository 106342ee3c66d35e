"""The log alone: 1,000 writers, one event per append, version-checked, hash-chained, synced, through the appender.

Each writer appends its next event when the one before it is durable. The event is a signal with a content of its own:
encoded, digested and chained as the engine does it; row and hash together about 300 bytes.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, Literal

from bench.figures import latency_figures, rounded
from bench.shapes import MeasuredLog
from bench.syncs import SyncCounter
from headgate.core import events as e
from headgate.core.codec import GENESIS, chain, content_bytes, digest, encode
from headgate.engine.appender import Appender
from headgate.ports import Append, Head, Log, Offer, Outcome, RunRow
from headgate.process import tune_process

__all__ = ["events_through", "measure_events"]

WRITERS = 1_000
NOTE = "an ordinary remark of some length, as signals carry them"
WARM_UP_EACH = 5

Tasks = Literal["none", "in hand", "rows"]
"""Of each run one at a time: in the run's own row (a log of many nodes), or in one of its own."""


class _Writer:
    """One run's events, one after the other; `latencies` gets the seconds of each append."""

    def __init__(
        self, number: int, log: Log, appender: Appender, latencies: list[float], *, tasks: Tasks = "none"
    ) -> None:
        self._tasks = tasks
        self._appender = appender
        self._latencies = latencies
        self._hash = GENESIS
        self._version = 0
        self._key = log.new_key()
        self._content_key = number.to_bytes(16, "big")
        self._run_id = f"{number:020}"
        self._trace_id = f"{number:032x}"
        self._left = 0
        self.finished: asyncio.Future[None]

    def write(self, count: int) -> asyncio.Future[None]:
        """Append `count` events; the future is done when the last is durable."""
        self._left = count
        self.finished = asyncio.get_running_loop().create_future()
        self._next()
        return self.finished

    def _next(self) -> None:
        self._begun = time.perf_counter()
        now = time.time_ns() // 1_000
        version = self._version + 1
        content = content_bytes({"number": version, "note": NOTE})
        event = e.SignalReceived(
            *(self._run_id, version, now, "default", self._trace_id, "client", "", "", 0, "", (), ""),
            name="remark",
        )
        data = encode(event, digest(self._content_key, content))
        self._hash = chain(self._hash, data)
        goes_on = self._tasks != "none" and self._left > 1
        head = Head("running", version, self._hash, None, int(goes_on), 0, 0, now, None, "")
        row = (self._key, version, now, event.type, data, self._hash, content)
        item = Append(self._key, self._version, [row], head, size=len(data) + len(content))
        if version == 1:
            item.new = self._listed(now, head)
        if goes_on:
            item.offers = [Offer(self._run_id, "a", version, "std", version, "bench", held=self._tasks == "in hand")]
        if self._tasks != "none":
            item.over = [(self._run_id, "a", version - 1)]
        self._version = version
        self._appender.append(item, self._written)

    def _listed(self, now: int, head: Head) -> RunRow:
        return RunRow(
            key=self._key,
            id=self._run_id,
            tenant="default",
            workflow="events",
            definition="",
            trace_id=self._trace_id,
            parent="",
            unique_key="",
            labels="{}",
            limit=None,
            content_key=self._content_key,
            created_at=now,
            head=head,
        )

    def _written(self, _item: Append, outcome: Outcome) -> None:
        if outcome != "accepted":
            self.finished.set_exception(RuntimeError(f"append {self._version} of {self._run_id}: {outcome}"))
            return
        self._latencies.append(time.perf_counter() - self._begun)
        self._left -= 1
        if self._left:
            self._next()
        else:
            self.finished.set_result(None)


async def measure_events(path: Path, *, seconds_min: float, counted: bool = True) -> dict[str, Any]:
    """Return the figures of one repetition that lasted at least `seconds_min`, after a warm-up."""
    counter = SyncCounter() if counted else None
    log = MeasuredLog(path, vfs=counter.name if counter else None)
    tune_process()
    figures = await events_through(log, seconds_min=seconds_min)
    settings = log.writer_settings()
    evidence = {
        "runs": {"events": WRITERS},
        "events": figures.pop("total"),
        "commits": figures.pop("commits"),
        "syncs": counter.syncs if counter else None,
        "synchronous": settings["synchronous"],
        "journal_mode": settings["journal_mode"],
    }
    await log.close()
    return figures | {"evidence": evidence}


async def events_through(log: Log, *, seconds_min: float, tasks: Tasks = "none") -> dict[str, Any]:
    """Return the figures of the appender in front of a log; with `tasks` each event ends one and schedules one."""
    appender = Appender(log)
    appender.start()
    latencies: list[float] = []
    writers = [_Writer(number, log, appender, latencies, tasks=tasks) for number in range(1, WRITERS + 1)]
    each = WARM_UP_EACH
    figures = await _timed(writers, each, appender, latencies)
    total = each
    while total == WARM_UP_EACH or figures["seconds"] < seconds_min:
        each = int(each * max(1.3, 1.15 * seconds_min / figures["seconds"])) + 1
        figures = await _timed(writers, each, appender, latencies)
        total += each
    await appender.close()
    return figures | {"total": total * WRITERS, "commits": appender.commits}


async def _timed(writers: list[_Writer], each: int, appender: Appender, latencies: list[float]) -> dict[str, Any]:
    latencies.clear()
    commits, items = appender.commits, appender.items
    begin = time.perf_counter()
    await asyncio.gather(*(writer.write(each) for writer in writers))
    seconds = time.perf_counter() - begin
    commits, items = appender.commits - commits, appender.items - items
    return {
        "events": items,
        "seconds": seconds,
        "events_per_second": rounded(items / seconds),
        "latency": latency_figures(latencies),
        "items_per_commit": rounded(items / commits),
    }
