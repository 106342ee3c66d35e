"""The three places that what lies beside a log may be in: for the suites that every store of it runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from tests.postgres_logs import SCHEMA, empty_postgres_log, server_url

from headgate.ports import Clock, Log
from headgate.stores.memory import MemoryLog
from headgate.stores.postgres import PostgresLog
from headgate.stores.sqlite import SqliteLog
from headgate.stores.storage import Storage, storage_beside
from headgate.testing.clock import VirtualClock

__all__ = ["KINDS", "SHARED", "Open", "opener", "opener_of_logs"]

KINDS = ("memory", "sqlite", "postgres")
SHARED = ("postgres",)
"""Where two processes may be at work at once."""

Open = Callable[[], AbstractAsyncContextManager[Storage]]
OpenLog = Callable[[], AbstractAsyncContextManager[Log]]


def opener_of_logs(kind: str, folder: Path) -> OpenLog:
    """Return what opens a log of the kind, always of the same place: empty at first, and then as it was left."""
    in_memory = MemoryLog()
    if kind == "postgres":
        empty_postgres_log()

    @asynccontextmanager
    async def opened() -> AsyncGenerator[Log]:
        if kind == "memory":
            yield in_memory
            return
        log = SqliteLog(folder / "log.db") if kind == "sqlite" else PostgresLog(server_url(), schema=SCHEMA)
        try:
            yield log
        finally:
            await log.close()

    return opened


def opener(kind: str, folder: Path, clock: Clock | None = None) -> Open:
    """Return what opens all that lies beside such a log. In memory it is there as long as the test is."""
    open_log, clock = opener_of_logs(kind, folder), clock or VirtualClock()
    in_memory = storage_beside(MemoryLog(), clock) if kind == "memory" else None

    @asynccontextmanager
    async def opened() -> AsyncGenerator[Storage]:
        async with open_log() as log:
            storage = in_memory or storage_beside(log, clock)
            try:
                yield storage
            finally:
                await storage.cache.close()
                await storage.limits.close()
                await storage.streams.close()

    return opened
