"""The audit: a fresh process opens what a repetition wrote, and finds every fault in it that it can.

`python -m bench.audit DATABASE EVIDENCE` prints the counts and the faults as JSON; EVIDENCE (JSON) is what the process
that wrote the database (a file, or a PostgreSQL address) says it did. It trusts neither: every row is read and decoded,
every chain computed again.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import apsw

from headgate.core.codec import decode
from headgate.core.events import ActivityCompleted, ActivityScheduled, Event
from headgate.engine.audit import Fault, verify
from headgate.ports import EventRow, RunRow
from headgate.stores.postgres import PostgresLog
from headgate.stores.sqlite import SqliteLog

__all__ = ["audit", "log_of"]

SYNCHRONOUS_FULL = 2
FAULTS_SHOWN_MAX = 10
PAGE_RUNS = 500


def audit(path: str, evidence: dict[str, Any]) -> dict[str, Any]:
    """Return `{"runs", "events", "faults"}`; `faults` is empty when the database is as the evidence says it must be."""
    faults = _faults_of_writing(evidence)
    bare = "bare_runs" in evidence
    counts = _audit_bare(Path(path), evidence, faults) if bare else _audit_runs(path, evidence, faults)
    return counts | {"faults": faults[:FAULTS_SHOWN_MAX], "fault_count": len(faults)}


def _faults_of_writing(evidence: dict[str, Any]) -> list[str]:
    faults: list[str] = [f"the engine failed: {failure}" for failure in evidence.get("engine_failures", ())]
    if "fsync" in evidence:
        names = [name for name in ("fsync", "synchronous_commit") if evidence[name] != "on"]
        return faults + [f"the server's {name} reads {evidence[name]!r}, not 'on'" for name in names]
    if evidence["synchronous"] != SYNCHRONOUS_FULL:
        faults.append(f"the writer's `pragma synchronous` reads {evidence['synchronous']}, not 2 (FULL)")
    if evidence["journal_mode"] != "wal":
        faults.append(f"the writer's journal mode is {evidence['journal_mode']!r}, not 'wal'")
    if evidence["syncs"] is not None and evidence["syncs"] < evidence["commits"]:
        faults.append(f"{evidence['commits']} batches were acknowledged, but only {evidence['syncs']} syncs were made")
    return faults


# --- Runs of the engine ----------------------------------------------------------------------------------------------


def _audit_runs(path: str, evidence: dict[str, Any], faults: list[str]) -> dict[str, Any]:
    runs: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    found, histories = _read(path, evidence.get("schema", ""))
    faults.extend(map(str, found))
    for row, events in histories:
        runs[row.workflow] += 1
        kinds = _audit_history(row, events, evidence.get("worker", ""), faults)
        totals.update(kinds)
        if "activities" in evidence:
            native = evidence.get("native", {}).get(row.workflow, 0)
            _audit_course(row, kinds, evidence["activities"].get(row.workflow, 0), native, faults)
    if dict(runs) != evidence["runs"]:
        faults.append(f"expected runs {evidence['runs']}, the database holds {dict(runs)}")
    if "claims" in evidence:
        completed = totals["activity_completed"]
        if not evidence["claims"] == evidence["reports"] == completed:
            faults.append(
                f"{completed} activities are completed in the log, but the worker protocol counted "
                f"{evidence['claims']} claims and {evidence['reports']} reports"
            )
    if "events" in evidence and evidence["events"] != totals.total():
        faults.append(f"expected {evidence['events']} events, the database holds {totals.total()}")
    return {"runs": runs.total(), "events": totals.total()}


def _read(path: str, schema: str) -> tuple[list[Fault], list[tuple[RunRow, list[EventRow]]]]:
    """Return what Headgate's own audit finds (chains, digests, columns, heads), and every run with its events."""

    async def read() -> tuple[list[Fault], list[tuple[RunRow, list[EventRow]]]]:
        log = log_of(path, schema)
        histories: list[tuple[RunRow, list[EventRow]]] = []
        before = None
        while page := await log.runs(limit=PAGE_RUNS, before=before):
            histories += [(row, await log.events(row.key)) for row in page]
            before = page[-1].key
        found = await verify(log)
        if isinstance(log, PostgresLog):
            left = await log.tasks.missing(1 << 62, FAULTS_SHOWN_MAX)
            left += [row.id for row in await log.busy(0, FAULTS_SHOWN_MAX)]
            found += [Fault(run_id, 0, "it is at work still, or a task of it is left") for run_id in left]
        await log.close()
        return found, histories

    return asyncio.run(read())


def log_of(path: str, schema: str) -> Any:
    """Return the log that lies there: on a PostgreSQL server, or in a file."""
    return PostgresLog(path, schema=schema) if path.startswith("postgresql:") else SqliteLog(Path(path), read_only=True)


def _audit_history(row: RunRow, events: list[EventRow], worker: str, faults: list[str]) -> Counter[str]:
    """Check that versions have no gap up to the head, and that what was completed had been scheduled, once each; by
    this `worker`, where it is named."""
    kinds: Counter[str] = Counter()
    scheduled: set[tuple[str, int]] = set()
    completed: set[tuple[str, int]] = set()
    for expected, stored in enumerate(events, 1):
        event, _ = decode(stored.data)
        where = f"run {row.id}, event {expected}"
        if not stored.version == event.version == expected:
            faults.append(f"{where}: its row says version {stored.version}, its data {event.version}")
        if event.trace_id != row.trace_id:
            faults.append(f"{where}: it has the trace id of another run")
        _follow(event, scheduled, completed, where, faults)
        if worker and isinstance(event, ActivityCompleted) and event.worker != worker:
            faults.append(f"{where}: it was completed by {event.worker!r}, not by {worker!r}")
        kinds[event.type] += 1
    if row.head.version != len(events):
        faults.append(f"run {row.id}: its head says version {row.head.version}, its events end at {len(events)}")
    return kinds


def _follow(
    event: Event, scheduled: set[tuple[str, int]], completed: set[tuple[str, int]], where: str, faults: list[str]
) -> None:
    attempt = (event.place, event.attempt)
    if isinstance(event, ActivityScheduled):
        if attempt in scheduled:
            faults.append(f"{where}: {attempt} was scheduled twice")
        scheduled.add(attempt)
    elif isinstance(event, ActivityCompleted):
        if attempt not in scheduled or attempt in completed:
            faults.append(f"{where}: {attempt} was completed twice, or never scheduled")
        if not event.worker or not event.started_at:
            faults.append(f"{where}: {attempt} was completed by no worker")
        completed.add(attempt)


def _audit_course(row: RunRow, kinds: Counter[str], activities: int, native: int, faults: list[str]) -> None:
    """Check that the run went the whole way: started, every activity scheduled and completed, completed.

    `native` activities are scheduled as well, but are completed by the engine and not by a worker.
    """
    wanted = {
        "run_started": 1,
        "activity_scheduled": activities + native,
        "activity_completed": activities,
        "run_completed": 1,
    }
    found = {kind: kinds[kind] for kind in wanted}
    if found != wanted or row.head.status != "completed":
        faults.append(f"run {row.id} ({row.workflow}) is {row.head.status}: expected {wanted}, found {found}")


# --- The bare baseline -----------------------------------------------------------------------------------------------


def _audit_bare(path: Path, evidence: dict[str, Any], faults: list[str]) -> dict[str, Any]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    count = "select count(*) from runs where finished_at is not null and version = ?"
    runs = connection.execute(count, (evidence["rows"],)).get
    columns = "+".join(f"length({column})" for column in ("type", "data", "hash", "coalesce(content, '')"))
    rows, size = connection.execute(f"select count(*), sum({columns}) from events").get
    connection.close()
    expected = (evidence["bare_runs"], evidence["bare_runs"] * evidence["rows"])
    if (runs, rows) != expected or size != evidence["bare_runs"] * evidence["bytes"]:
        faults.append(f"expected {expected} finished runs and rows, found {(runs, rows)} with {size} bytes")
    return {"runs": runs, "events": rows}


if __name__ == "__main__":
    print(json.dumps(audit(sys.argv[1], json.loads(sys.argv[2]))))
