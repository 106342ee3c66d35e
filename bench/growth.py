"""What a run leaves behind and what it costs to take up again: bytes per event, resume, memory, by the run's length.

One process writes as many runs as make the same number of activities in all, each output 2 KB; the last run has an
approval at its end, and is left waiting for it; a fresh process opens the database, approves, and sees
the run to its end.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw

from bench.figures import rounded
from bench.ours import evidence_of, opened
from bench.syncs import SyncCounter
from bench.workflows import Load, gated_chain, text_chain
from headgate.app import App
from headgate.core.decision import Decision
from headgate.core.events import ActivitySuspended
from headgate.engine.lane import Lane
from headgate.engine.start import Start
from headgate.stores.sqlite import SqliteLog

__all__ = ["measure_resume", "measure_size"]

OUTPUT_BYTES = 2_000
IN_FLIGHT = 10


async def measure_size(path: Path, *, length: int, activities: int) -> dict[str, Any]:
    """Write `activities / length` runs of `length` activities; return bytes per event in pages that are in use."""
    given = {"text": "x" * OUTPUT_BYTES}
    count = activities // length
    plain = Load("plain", text_chain(length), length, IN_FLIGHT, given)
    gated = Load("gated", gated_chain(length), length, 1, given)
    loads = {load.name: load for load in ((plain, gated) if count > 1 else (gated,))}
    async with App(SqliteLog(path), environment={}, work=False) as app:
        await _deploy(app, loads)
    pages_before = _used_pages(path)
    counter = SyncCounter()
    async with opened(path, counter=counter) as app:
        await _deploy(app, loads)
        begin = time.perf_counter()
        await _write(app, plain, count - 1)
        waiting_run = await _write_gated(app, gated)
        seconds = time.perf_counter() - begin
        runs = {"plain": count - 1, "gated": 1} if count > 1 else {"gated": 1}
        evidence = evidence_of(app, runs, loads, counter)
    pages, page_size, events = _used_pages(path) - pages_before, *_page_size_and_events(path)
    return {
        "runs": count,
        "events": events,
        "seconds": seconds,
        "bytes_per_event": rounded(pages * page_size / events),
        "ms_per_activity": rounded(seconds * 1_000 / activities),
        "waiting_run": waiting_run,
        "write_memory_peak_mb": evidence["memory_peak_mb"],
        "evidence": evidence | {"native": {gated.definition.name: 1}},
    }


async def _deploy(app: App, loads: dict[str, Load]) -> None:
    for load in loads.values():
        await app.engine.definitions.deploy(load.definition)


async def _write(app: App, load: Load, count: int) -> None:
    left = iter(range(count))

    async def client() -> None:
        for _ in left:
            row = await app.engine.start(Start(workflow=load.definition.name, input=load.input))
            await app.engine.finished(row.id)

    await asyncio.gather(*(client() for _ in range(load.in_flight)))


async def _write_gated(app: App, load: Load) -> str:
    """Start the last run; return its id when it waits for its approval."""
    waits = asyncio.Event()

    def listener(_lane: Lane, decisions: Sequence[Decision]) -> None:
        if any(type(event) is ActivitySuspended for decision in decisions for event in decision.events):
            waits.set()

    app.engine.listen(listener)
    row = await app.engine.start(Start(workflow=load.definition.name, input=load.input))
    await waits.wait()
    return row.id


async def measure_resume(path: Path, *, run_id: str) -> dict[str, Any]:
    """Return how long a fresh process takes from opening the database to the end of the run that waited."""
    processor, begin = time.process_time(), time.perf_counter()
    async with opened(path) as app:
        opened_at = time.perf_counter()
        lane = await app.engine.lane(run_id)
        loaded_at = time.perf_counter()
        events = lane.run.version
        await app.desk.decide(run_id, key="gate", approved=True, by="bench")
        row = await app.engine.finished(run_id)
        finished_at = time.perf_counter()
        processor = time.process_time() - processor
    assert row.head.status == "completed", row.head
    return {
        "events_folded": events,
        "open_ms": rounded((opened_at - begin) * 1_000),
        "load_ms": rounded((loaded_at - opened_at) * 1_000),
        "resume_ms": rounded((finished_at - begin) * 1_000),
        "resume_processor_ms": rounded(processor * 1_000),
        "resume_memory_peak_mb": rounded(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024),
    }


def _used_pages(path: Path) -> int:
    """Return the pages in use: pages that are free inside the file do not count, pages of the WAL are in the file."""
    connection = apsw.Connection(str(path))
    connection.execute("pragma wal_checkpoint(truncate)")
    used = connection.pragma("page_count") - connection.pragma("freelist_count")
    connection.close()
    return used


def _page_size_and_events(path: Path) -> tuple[int, int]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    events = connection.execute("select count(*) from events").get
    page_size = connection.pragma("page_size")
    connection.close()
    return page_size, events
