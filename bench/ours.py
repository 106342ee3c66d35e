"""The engine under a load: runs are started as others finish, until the count is reached, in one process."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from bench.figures import latency_figures, rounded
from bench.shapes import MeasuredLog, RecordingLog
from bench.syncs import SyncCounter
from bench.workflows import Load
from headgate.app import App
from headgate.engine.start import Start
from headgate.process import tune_process

__all__ = ["deeds_of", "evidence_of", "measure", "opened", "record_shape"]

WARM_UP_SECONDS = 0.4


@asynccontextmanager
async def opened(
    path: Path, *, counter: SyncCounter | None = None, record: bool = False, **more: Any
) -> AsyncGenerator[App, None]:
    """Open an engine the way the command line does, on a database that counts its syncs."""
    log_class = RecordingLog if record else MeasuredLog
    log = log_class(path, vfs=counter.name if counter else None)
    tune_process()
    async with App(log, environment={}, **more) as app:
        yield app


async def measure(load: Load, path: Path, *, seconds_min: float, counted: bool = True) -> dict[str, Any]:
    """Return the figures of one repetition that lasted at least `seconds_min`, after a warm-up."""
    counter = SyncCounter() if counted else None
    async with opened(path, counter=counter) as app:
        await app.engine.definitions.deploy(load.definition)
        count, total = await _warm_up(app, load, seconds_min)
        figures = await _timed(app, load, count)
        total += count
        while figures["seconds"] < seconds_min:
            count = int(count * max(1.3, 1.15 * seconds_min / figures["seconds"])) + 1
            figures = await _timed(app, load, count)
            total += count
        return figures | {"evidence": evidence_of(app, {load.name: total}, {load.name: load}, counter)}


async def _warm_up(app: App, load: Load, seconds_min: float) -> tuple[int, int]:
    """Return how many runs should last long enough, and how many were made to find out."""
    count, total, begin = 1 if load.in_flight == 1 else load.in_flight, 0, time.perf_counter()
    while True:
        figures = await _timed(app, load, count)
        total += count
        if time.perf_counter() - begin >= min(WARM_UP_SECONDS, seconds_min):
            rate = count / figures["seconds"]
            return max(load.in_flight, int(rate * seconds_min * 1.15) + 1), total
        count *= 2


async def _timed(app: App, load: Load, count: int) -> dict[str, Any]:
    latencies: list[float] = []
    left = iter(range(count))

    async def client() -> None:
        for _ in left:
            begin = time.perf_counter()
            row = await app.engine.start(Start(workflow=load.definition.name, input=load.input))
            await app.engine.finished(row.id)
            latencies.append(time.perf_counter() - begin)

    appender = app.engine.appender
    commits, items = appender.commits, appender.items
    processor, begin = time.process_time(), time.perf_counter()
    await asyncio.gather(*(client() for _ in range(min(load.in_flight, count))))
    seconds = time.perf_counter() - begin
    processor = time.process_time() - processor
    commits, items = appender.commits - commits, appender.items - items
    return {
        "runs": count,
        "seconds": seconds,
        "runs_per_second": rounded(count / seconds),
        "activities_per_second": rounded(count * load.activities / seconds),
        "ms_per_activity": rounded(seconds * 1_000 / count / load.activities),
        "processor_us_per_run": rounded(processor * 1e6 / count),
        "processor_us_per_activity": rounded(processor * 1e6 / count / load.activities),
        "latency": latency_figures(latencies),
        "appends_per_run": rounded(items / count),
        "items_per_commit": rounded(items / commits),
        "commits_per_run": rounded(commits / count),
    }


def evidence_of(app: App, runs: dict[str, int], loads: dict[str, Load], counter: SyncCounter | None) -> dict[str, Any]:
    """Return what the audit in a fresh process needs to know beside the database: what this process says it did."""
    log = app.engine.log
    assert isinstance(log, MeasuredLog)
    settings = log.writer_settings()
    return deeds_of(app, runs, loads) | {
        "syncs": counter.syncs if counter else None,
        "synchronous": settings["synchronous"],
        "journal_mode": settings["journal_mode"],
    }


def deeds_of(app: App, runs: dict[str, int], loads: dict[str, Load]) -> dict[str, Any]:
    """Return the part of it that is the same whatever the log is kept in."""
    return {
        "runs": {loads[name].definition.name: count for name, count in runs.items()},
        "activities": {loads[name].definition.name: loads[name].activities for name in runs},
        "claims": app.protocol.claims,
        "reports": app.protocol.reports,
        "commits": app.engine.appender.commits,
        "engine_failures": [repr(failure) for failure in app.engine.failures],
        "memory_peak_mb": rounded(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024),
    }


async def record_shape(load: Load, path: Path) -> dict[str, Any]:
    """Return what one finished run of the load really wrote, append by append (see `shapes`)."""
    async with opened(path, record=True) as app:
        await app.engine.definitions.deploy(load.definition)
        await _timed(app, load, load.in_flight * 4)
        log = app.engine.log
        assert isinstance(log, RecordingLog)
        return msgspec.to_builtins(await log.usual_shape())
