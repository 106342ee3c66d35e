"""`bench worker`: a worker in a process of its own, over HTTP, beside the worker that is built in.

Server, client and worker are three processes of one machine. Each load is put on a server with its own worker and on
one without, in turns, on a fresh database; what was written is audited by a fresh process, also that the worker outside
has completed every activity. `within` is the time from when a task was durable to when the worker outside had it.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from bench.figures import latency_figures, median, rounded
from bench.http import ROOT, Site, ask_client, serving
from bench.http_client import HttpLoad
from bench.http_server import ServerOrder
from bench.http_worker import WORKER_ID
from bench.postgres import server
from bench.workflows import LOADS

__all__ = ["measure_worker"]

END_SECONDS_MAX = 60
HALF_CONNECTIONS = 100

Audit = Callable[[Any, dict[str, Any]], None]


def measure_worker(
    folder: Path, fresh: Callable[[], Any], audit: Audit, *, repetitions: int, seconds: float
) -> dict[str, Any]:
    """Return the figures on SQLite and on PostgreSQL. `fresh` gives a file, `audit` raises for what is not right."""
    result: dict[str, Any] = {}
    with server(folder, "") as url:
        for store, place in (("sqlite", fresh), ("postgresql", lambda: nullcontext(url))):
            bench = WorkerBench(place, audit, seconds, on_postgres=store == "postgresql")
            found = [bench.repetition(outside_first=number % 2 == 1) for number in range(repetitions)]
            result |= {f"{store} {name}": _medians([each[name] for each in found]) for name in found[0]}
    return result


def _medians(found: list[dict[str, float]]) -> dict[str, float]:
    return {name: median([each[name] for each in found]) for name in found[0]}


class WorkerBench:
    """The loads on one kind of store."""

    def __init__(self, place: Callable[[], Any], audit: Audit, seconds: float, *, on_postgres: bool) -> None:
        self._place = place
        self._audit = audit
        self._seconds = seconds
        self._on_postgres = on_postgres

    def repetition(self, *, outside_first: bool) -> dict[str, dict[str, float]]:
        """Return the figures of each load, once."""
        first, second = (True, False) if outside_first else (False, True)

        def pair(load: HttpLoad) -> tuple[dict[str, Any], dict[str, Any]]:
            found = {outside: self._one(load, outside=outside) for outside in (first, second)}
            return found[True], found[False]

        outside, builtin = pair(self._load("hc3", LOADS["hc3"].in_flight))
        throughput = _shown(outside) | {"builtin_per_second": builtin["per_second"]}
        half = outside["per_second"] / 2
        outside, builtin = pair(self._load("hc3", HALF_CONNECTIONS, rate=half))
        added = (outside["latency"]["p50_ms"] - builtin["latency"]["p50_ms"]) / LOADS["hc3"].activities
        at_half = _shown(outside) | {
            "builtin_p50_ms": builtin["latency"]["p50_ms"],
            "added_ms_per_activity": rounded(added),
        }
        outside, builtin = pair(self._load("naps", LOADS["naps"].in_flight))
        naps = _shown(outside) | {
            "builtin_per_second": builtin["per_second"],
            "ratio": rounded(outside["per_second"] / builtin["per_second"]),
        }
        alone = self._one(self._load("hc3", 1), outside=True, stamps=True)
        return {"hc3": throughput, "half": at_half, "naps": naps, "dispatch": alone["within"]}

    def _load(self, name: str, connections: int, *, rate: float = 0.0) -> HttpLoad:
        return HttpLoad(kind="wait", connections=connections, load=name, seconds_min=self._seconds, rate=rate)

    def _one(self, load: HttpLoad, *, outside: bool, stamps: bool = False) -> dict[str, Any]:
        with self._place() as database:
            schema = f"bench_{secrets.token_hex(6)}" if self._on_postgres else ""
            order = ServerOrder(database=str(database), schema=schema, work=not outside, stamps=stamps)
            with serving(order) as site:
                figures = _outside(site, load) if outside else ask_client(site, load)
                figures["evidence"] = site.end({load.load: figures["runs_made"]})
            if outside:
                figures["evidence"]["worker"] = WORKER_ID
            due = figures["evidence"].pop("due")
            self._audit(database, figures)
            if stamps:
                figures["within"] = _within(due, figures["worker"]["given"])
            return figures


def _outside(site: Site, load: HttpLoad) -> dict[str, Any]:
    """Put the load on a server that leaves all to a worker outside; return the client's figures and the worker's."""
    with _worker(site.port) as worker:
        load.worker = worker.pid
        figures = ask_client(site, load)
        said, _ = worker.communicate("", timeout=END_SECONDS_MAX)
        if worker.returncode != 0:
            raise RuntimeError(f"the worker ended with status {worker.returncode}")
    return figures | {"worker": json.loads(said)}


@contextmanager
def _worker(port: int) -> Generator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "bench.http_worker", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n", "the worker has not begun"
        yield process
    finally:
        process.kill()
        process.wait()


def _shown(figures: dict[str, Any]) -> dict[str, float]:
    names = ("per_second", "server_processor_us", "worker_processor_us", "client_processor_share")
    return {name: figures[name] for name in names} | figures["latency"]


def _within(due: dict[str, int], given: dict[str, int]) -> dict[str, float]:
    """Return how long after it was due each task was in the worker's hands."""
    if due.keys() != given.keys():
        raise RuntimeError(f"{len(due)} tasks became due, {len(given)} were handed out: {due.keys() ^ given.keys()}")
    waits = [(given[task] - due[task]) / 1e9 for task in due]
    if min(waits) < 0:
        raise RuntimeError("a task was handed out before it was durable")
    return {"tasks": len(waits), **latency_figures(waits)}
