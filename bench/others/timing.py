"""One repetition of another product: warm up, grow the count until it lasts long enough, and say what was found.

It runs in the interpreter of the other product and therefore imports nothing of ours. The procedure is the one of
`bench/ours.py`; so are the names of the figures. Each program is started a second time, in a fresh process, to say what
is kept of the runs (`kept`).
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import itertools
import json
import resource
import sqlite3
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["SHAPES", "Counted", "Shape", "answer", "in_threads", "on_loop", "repetition", "sqlite_settings", "versions"]


class Shape(NamedTuple):
    """So many steps, one after the other; or side by side, between a first step and a last one."""

    length: int
    in_flight: int
    wide: bool = False

    @property
    def steps(self) -> int:
        return self.length + 2 if self.wide else self.length

    @property
    def result(self) -> int:
        """What a run of it comes to: each step adds one, those side by side to the same number, and are summed."""
        return 2 * self.length + 1 if self.wide else self.length


SHAPES = {"seq5": Shape(5, 10), "par10": Shape(10, 10, wide=True), "hc3": Shape(3, 100), "overhead_100": Shape(100, 1)}
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


class Counted:
    """A run, counted each time that it has come to what it must."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._numbers = itertools.count()

    def number(self) -> int:
        return next(self._numbers)

    def check(self, found: Any) -> None:
        assert found == self._shape.result, f"a run came to {found!r}, not to {self._shape.result}"


async def on_loop(run: Callable[[], Awaitable[None]], in_flight: int, count: int) -> list[float]:
    """Make runs on the loop that this is called on, so many at a time; return the seconds of each."""
    left, latencies = iter(range(count)), list[float]()

    async def client() -> None:
        for _ in left:
            begin = time.perf_counter()
            await run()
            latencies.append(time.perf_counter() - begin)

    await asyncio.gather(*(client() for _ in range(in_flight)))
    return latencies


def answer(measure: Callable[..., dict[str, Any]], kept: Callable[..., dict[str, int]]) -> None:
    """Do what the command line asks: `measure|kept SHAPE FOLDER SECONDS OPTION…`; print it as JSON.

    `kept` returns how many `runs` have come to what they must, and how many `steps` are recorded.
    """
    word, shape, folder, seconds, *options = sys.argv[1:]
    if word == "kept":
        found = kept(SHAPES[shape], Path(folder), *options)
    else:
        found = measure(SHAPES[shape], Path(folder), float(seconds), *options)
    print(json.dumps(found))


def versions(*packages: str) -> dict[str, str]:
    found = {package: importlib.metadata.version(package) for package in packages}
    return found | {"python": sys.version.split()[0], "sqlite": sqlite3.sqlite_version}


def sqlite_settings(connection: sqlite3.Connection) -> dict[str, Any]:
    """Return the two settings that decide what survives a loss of power, as this connection has them."""
    return {
        "journal_mode": connection.execute("pragma journal_mode").fetchone()[0],
        "synchronous": connection.execute("pragma synchronous").fetchone()[0],
    }
