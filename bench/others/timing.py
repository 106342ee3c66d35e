"""One repetition of another product: warm up, grow the count until it lasts long enough, and say what was found.

It runs in the interpreter of the other product and therefore imports nothing of ours. The procedure is the one of
`bench/ours.py`; so are the names of the figures.
"""

from __future__ import annotations

import importlib.metadata
import resource
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

__all__ = ["SHAPES", "count_rows", "in_threads", "repetition", "sqlite_settings", "versions"]

SHAPES = {"seq5": (5, 10), "hc3": (3, 100), "overhead_100": (100, 1)}
"""The steps of a chain, and how many runs are under way at once."""
WARM_UP_SECONDS = 0.4


def repetition(batch: Callable[[int], list[float]], *, in_flight: int, seconds_min: float) -> dict[str, Any]:
    """Return the figures of a batch that lasted `seconds_min`. `batch(count)` makes runs and returns their seconds."""
    count, begin = in_flight, time.perf_counter()
    while True:
        seconds, _ = _timed(batch, count)
        if time.perf_counter() - begin >= min(WARM_UP_SECONDS, seconds_min):
            break
        count *= 2
    count = max(in_flight, int(count / seconds * seconds_min * 1.15) + 1)
    while True:
        processor = time.process_time()
        seconds, latencies = _timed(batch, count)
        processor = time.process_time() - processor
        if seconds >= seconds_min:
            break
        count = int(count * max(1.3, 1.15 * seconds_min / seconds)) + 1
    return {
        "runs": count,
        "seconds": seconds,
        "runs_per_second": round(count / seconds, 1),
        "p50_ms": round(statistics.median(latencies) * 1_000, 2),
        "processor_us_per_run": round(processor * 1e6 / count),
        "memory_peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024, 1),
    }


def _timed(batch: Callable[[int], list[float]], count: int) -> tuple[float, list[float]]:
    begin = time.perf_counter()
    latencies = batch(count)
    seconds = time.perf_counter() - begin
    assert len(latencies) == count
    return seconds, latencies


def in_threads(run: Callable[[], None], threads: ThreadPoolExecutor) -> Callable[[int], list[float]]:
    """Return a batch that makes its runs in a pool of threads, one run in each at a time."""

    def timed(_: int) -> float:
        begin = time.perf_counter()
        run()
        return time.perf_counter() - begin

    return lambda count: list(threads.map(timed, range(count)))


def versions(*packages: str) -> dict[str, str]:
    found = {package: importlib.metadata.version(package) for package in packages}
    return found | {"python": sys.version.split()[0], "sqlite": sqlite3.sqlite_version}


def sqlite_settings(connection: sqlite3.Connection) -> dict[str, Any]:
    """Return the two settings that decide what survives a loss of power, as this connection has them."""
    return {
        "journal_mode": connection.execute("pragma journal_mode").fetchone()[0],
        "synchronous": connection.execute("pragma synchronous").fetchone()[0],
    }


def count_rows(path: Path, query: str) -> int:
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute(query).fetchone()[0])
    finally:
        connection.close()
