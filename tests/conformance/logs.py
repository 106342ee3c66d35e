"""The adapters that every log test is asked of, and a run that has begun in one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.postgres_logs import empty_postgres_log

from headgate.ports import Log
from headgate.stores.memory import MemoryLog
from headgate.stores.sqlite import SqliteLog
from headgate.testing.log_conformance import HandmadeRun

__all__ = ["ADAPTERS", "DAY", "HOUR", "all_of", "begun"]

ADAPTERS: dict[str, Callable[[Path], Log]] = {
    "memory": lambda _: MemoryLog(),
    "postgres": lambda _: empty_postgres_log(),
    "sqlite": lambda folder: SqliteLog(folder / "log.db"),
}
HOUR = 3_600 * 1_000_000
DAY = 24 * HOUR


async def begun(log: Log, run_id: str = "run-1", contents: tuple[Any, ...] = (None,), **rest: Any) -> HandmadeRun:
    """Return a run with its first events in the log."""
    named = {name: rest.pop(name) for name in ("tenant", "workflow", "unique_key", "created_at") if name in rest}
    run = HandmadeRun(log, run_id, **named)
    assert await run.commit(contents, **rest) == "accepted"
    return run


async def all_of(log: Log) -> tuple[Any, ...]:
    """Return everything that a refused append might have left a trace in."""
    rows = await log.runs(limit=1_000)
    return rows, await log.feed(0, 1_000), await log.budget("team")
