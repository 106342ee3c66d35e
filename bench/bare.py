"""The bare baseline: the same rows, bytes, commits and concurrency on the same tables, and nothing else.

No engine, no decision, no encoding, no hash, no task, not even an event loop: one thread, one list of runs that wait,
and per round one transaction that holds the next append of each of them, with `synchronous=FULL`. That is group commit
at its cheapest, so the ratio to it is what Headgate itself costs. What each append holds was recorded from the engine.
"""

from __future__ import annotations

import itertools
import random
import re
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw

from bench.figures import latency_figures, rounded
from bench.shapes import Shape
from bench.syncs import SyncCounter
from headgate.stores.queries import load_queries

__all__ = ["measure_bare"]

SQL = load_queries("sqlite.sql")
WARM_UP_SECONDS = 0.4
COMMIT_ITEMS_MAX = 2_000
INSERTED = re.findall(r"\w+", SQL["insert_run"].partition("(")[2].partition(")")[0])
"""The columns of a new run, in the order of the statement's parameters."""
MOVED = re.findall(r"(\w+) = \?", SQL["move_head"].partition("where")[0])
"""The columns of a head in that order; key and expected version follow."""
NOW = time.time_ns() // 1_000
"""One time for all rows: as many bytes as a real one."""


class _Run:
    """One run: its number, how far it is, and when it began."""

    __slots__ = ("begun", "key", "next", "version")

    def __init__(self, key: int) -> None:
        self.key = key
        self.next = 0
        self.version = 0
        self.begun = time.perf_counter()


class _Writer:
    """The database and the bytes; `round` makes one commit."""

    def __init__(self, path: Path, shape: Shape, vfs: str | None) -> None:
        self.connection = apsw.Connection(str(path), vfs=vfs)
        for name, value in shape.settings.items():
            self.connection.execute(f"pragma {name} = {value}")
        self.connection.execute(SQL["schema"])
        self.connection.execute(SQL["open_approvals"])  # with which a run's row is as it is now
        self.keys = itertools.count(1)
        self.commits = 0
        self.items = 0
        self.last = len(shape.appends) - 1
        self._appends = [[_columns(sizes) for sizes in append] for append in shape.appends]
        fillers = {column.name: column.filler for column in shape.listing}
        self._new = [fillers[name] for name in INSERTED]
        self._head = [fillers[name] for name in MOVED] + [0, 0]
        self._id_bytes = next(column.size for column in shape.listing if column.name == "id") // 2

    def round(self, runs: list[_Run]) -> None:
        """Write the next append of each run: its head, compared and set by version, and its events; then sync."""
        execute = self.connection.execute
        execute("begin")
        rows: list[tuple[Any, ...]] = []
        for run in runs:
            append = self._appends[run.next]
            key, before = run.key, run.version
            run.version += len(append)
            ended = NOW if run.next == self.last else None
            if before == 0:
                values = self._new.copy()
                values[INSERTED.index("key")] = key
                values[INSERTED.index("id")] = random.randbytes(self._id_bytes).hex()
                values[INSERTED.index("version")] = run.version
                values[INSERTED.index("finished_at")] = ended
                execute(SQL["insert_run"], values)
            else:
                values = self._head.copy()
                values[MOVED.index("version")] = run.version
                values[MOVED.index("finished_at")] = ended
                values[-2:] = key, before
                execute(SQL["move_head"], values)
                assert self.connection.changes() == 1
            rows.extend((key, before + n, NOW, *columns) for n, columns in enumerate(append, 1))
            run.next += 1
        self.connection.executemany(SQL["insert_event"], rows)
        execute("commit")
        self.commits += 1
        self.items += len(runs)


def _columns(sizes: tuple[int, int, int, int]) -> tuple[Any, ...]:
    kind, data, row_hash, content = sizes
    return "x" * kind, bytes(data), bytes(row_hash), bytes(content) if content else None


def measure_bare(
    shape: Shape, path: Path, *, in_flight: int, seconds_min: float, counted: bool = True
) -> dict[str, Any]:
    """Return the figures of one repetition that lasted at least `seconds_min`, after a warm-up."""
    counter = SyncCounter() if counted else None
    writer = _Writer(path, shape, counter.name if counter else None)
    count, total, begin = in_flight, 0, time.perf_counter()
    while True:
        figures = _timed(writer, in_flight, count)
        total += count
        if time.perf_counter() - begin >= min(WARM_UP_SECONDS, seconds_min):
            break
        count *= 2
    while figures["seconds"] < seconds_min or total == count:
        count = int(count * max(1.15, 1.15 * seconds_min / figures["seconds"])) + 1
        figures = _timed(writer, in_flight, count)
        total += count
    evidence = {
        "bare_runs": total,
        "rows": shape.rows,
        "bytes": shape.bytes,
        "commits": writer.commits,
        "syncs": counter.syncs if counter else None,
        "synchronous": writer.connection.pragma("synchronous"),
        "journal_mode": writer.connection.pragma("journal_mode"),
    }
    writer.connection.close()
    return figures | {"evidence": evidence}


def _timed(writer: _Writer, in_flight: int, count: int) -> dict[str, Any]:
    latencies: list[float] = []
    commits, items = writer.commits, writer.items
    processor, begin = time.process_time(), time.perf_counter()
    starts: Iterator[_Run] = (_Run(next(writer.keys)) for _ in range(count))
    waiting = deque(itertools.islice(starts, in_flight))
    while waiting:
        runs = [waiting.popleft() for _ in range(min(len(waiting), COMMIT_ITEMS_MAX))]
        writer.round(runs)
        now = time.perf_counter()
        for run in runs:
            if run.next <= writer.last:
                waiting.append(run)
            else:
                latencies.append(now - run.begun)
                waiting.extend(itertools.islice(starts, 1))
    seconds = time.perf_counter() - begin
    processor = time.process_time() - processor
    commits, items = writer.commits - commits, writer.items - items
    return {
        "runs": count,
        "seconds": seconds,
        "runs_per_second": rounded(count / seconds),
        "processor_us_per_run": rounded(processor * 1e6 / count),
        "latency": latency_figures(latencies),
        "appends_per_run": rounded(items / count),
        "items_per_commit": rounded(items / commits),
    }
