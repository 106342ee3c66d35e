"""On PostgreSQL: events through the appender, runs through the engine, and two nodes on one database.

`python -m bench postgres` starts a server of its own with `fsync` on, beside the folder of the databases. With
`+2 ms` the server waits that long before each flush of its log (`commit_delay`, `commit_siblings=0`), as a disk of a
cloud would make it. What a client was told is looked for afterwards by a fresh connection: every run is there and has
ended, each attempt once, no row of a task is left.

Two nodes are compared with one twice. On the quick disk the cores are full: a thousand runs are in flight, on one node
or on both, and the second can only cost. On the slow one each node has ten runs of its own, which wait for the disk and
leave the cores idle: the second node should add what the first one does.
"""

from __future__ import annotations

import asyncio
import json
import resource
import secrets
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.events import events_through
from bench.figures import latency_figures, median, rounded
from bench.others.postgres import postgres_server
from bench.workflows import LOADS, Load
from headgate.app import App
from headgate.engine.start import Start
from headgate.process import run_serving, tune_process
from headgate.stores.postgres import PostgresLog

__all__ = ["ROOT", "measure_postgres", "measured_alone", "server"]

ROOT = Path(__file__).parent.parent
SLOW_DISK = "-c commit_delay=2000 -c commit_siblings=0"
IN_FLIGHT_ON_FULL_CORES = 1_000
IN_FLIGHT_ON_A_SLOW_DISK = 10
PROCESS_SECONDS_MAX = 300


def measure_postgres(folder: Path, *, seconds_min: float, repetitions: int) -> dict[str, Any]:
    """Return the median of each figure, and every repetition's."""
    found: dict[str, Any] = {}
    for disk, options in (("quick disk", ""), ("+2 ms per sync", SLOW_DISK)):
        with server(folder, options) as url:
            for name in ("appender", "appender, rows", "wide", "seq5", "one node", "two nodes"):
                each = [_one(url, name, seconds_min, slow=bool(options)) for _ in range(repetitions)]
                found[f"{name}, {disk}"] = {
                    key: median([one[key] for one in each]) for key in each[0] if isinstance(each[0][key], int | float)
                } | {"repetitions": each}
        one, two = (found[f"{name}, {disk}"]["runs_per_second"] for name in ("one node", "two nodes"))
        found[f"two nodes, {disk}"]["ratio"] = rounded(two / one)
    return found


@contextmanager
def server(folder: Path, options: str) -> Generator[str]:
    with postgres_server(folder, options) as url:
        if url is None:
            raise RuntimeError("there is no PostgreSQL to measure: pip install -r requirements/dev.txt")
        yield url


def _one(url: str, name: str, seconds_min: float, *, slow: bool) -> dict[str, Any]:
    schema = f"bench_{secrets.token_hex(6)}"
    if name not in ("one node", "two nodes"):
        return measured_alone(url, schema, name, seconds_min)
    count = 1 if name == "one node" else 2
    in_flight = IN_FLIGHT_ON_A_SLOW_DISK if slow else IN_FLIGHT_ON_FULL_CORES // count
    nodes = [_start(url, schema, "node", seconds_min, in_flight) for _ in range(count)]
    figures = [_read(node) for node in nodes]
    rate = sum(one["runs"] for one in figures) / max(one["seconds"] for one in figures)
    _read(_start(url, schema, "audit", 0.0))
    return {"runs_per_second": rounded(rate)}


def measured_alone(url: str, schema: str, name: str, seconds_min: float) -> dict[str, Any]:
    """Return the figures of one load in a process of its own; another has audited what it left."""
    figures = _read(_start(url, schema, name, seconds_min))
    _read(_start(url, schema, "audit", 0.0))
    return figures


def _start(url: str, schema: str, name: str, seconds_min: float, in_flight: int = 0) -> subprocess.Popen[str]:
    asked = json.dumps([url, schema, name, seconds_min, in_flight])
    command = [sys.executable, "-m", "bench.postgres", asked]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _read(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, said = process.communicate(timeout=PROCESS_SECONDS_MAX)
    if process.returncode:
        raise RuntimeError(said[-4_000:])
    return json.loads(out)


# --- In a process of its own -----------------------------------------------------------------------------------------


async def perform(url: str, schema: str, name: str, seconds_min: float, in_flight: int) -> dict[str, Any]:
    log = PostgresLog(url, schema=schema)
    match name:
        case "audit":
            return await _audit(log)
        case "appender" | "appender, rows":
            tune_process()
            return await events_through(log, seconds_min=seconds_min, tasks="rows" if "rows" in name else "in hand")
        case "node":
            return await _runs(log, LOADS["wide"], in_flight, seconds_min)
        case _:
            return await _runs(log, LOADS[name], LOADS[name].in_flight, seconds_min)


async def _runs(log: PostgresLog, load: Load, in_flight: int, seconds_min: float) -> dict[str, Any]:
    """Start runs as others finish, for so many seconds after a warm-up of one."""
    tune_process()
    async with App(log, environment={}) as app:
        await app.engine.definitions.deploy(load.definition)
        latencies: list[float] = []

        async def client(until: float) -> None:
            while time.perf_counter() < until:
                begin = time.perf_counter()
                row = await app.engine.start(Start(workflow=load.definition.name, input=load.input))
                await app.engine.finished(row.id)
                latencies.append(time.perf_counter() - begin)

        for seconds in (1.0, seconds_min):
            latencies.clear()
            appender = app.engine.appender
            commits, items = appender.commits, appender.items
            begin, processor = time.perf_counter(), time.process_time()
            await asyncio.gather(*(client(begin + seconds) for _ in range(in_flight)))
            taken, processor = time.perf_counter() - begin, time.process_time() - processor
        assert not app.engine.failures, app.engine.failures
        events = 2 + 2 * load.activities
        return {
            "runs": len(latencies),
            "seconds": rounded(taken),
            "runs_per_second": rounded(len(latencies) / taken),
            "events_per_second": rounded(len(latencies) / taken * events),
            "processor_us_per_run": rounded(processor * 1e6 / len(latencies)),
            "items_per_commit": rounded((appender.items - items) / (appender.commits - commits)),
            "memory_peak_mb": rounded(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024),
            "settings": await log.server_settings(),
            **latency_figures(latencies),
        }


async def _audit(log: PostgresLog) -> dict[str, Any]:
    """Raise where the database is not as what was measured must have left it."""
    rows = await log.server_settings()
    assert rows["fsync"] == rows["synchronous_commit"] == "on", rows
    assert await log.count_runs() > 0
    faults = await log.tasks.missing(1 << 62, 10)
    faults += [row.id for row in await log.busy(0, 10)]
    await log.close()
    assert not faults, f"not at an end: {faults}"
    return {}


if __name__ == "__main__":
    print(json.dumps(run_serving(perform(*json.loads(sys.argv[1])))))
