"""A log of handmade runs and what keeps it: the stage of all tests of keeping, deleting and erasing."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.postgres_logs import SCHEMA, empty_postgres_log, server_url

from headgate.engine.audit import gaps, verify
from headgate.ports import Collected
from headgate.stores import postgres_keeping, sqlite_keeping
from headgate.stores.postgres import PostgresLog
from headgate.stores.sqlite import SqliteLog
from headgate.testing.log_conformance import NOON, HandmadeRun

__all__ = ["DAY", "LARGE", "Kept", "closed_after"]

DAY = 86_400 * 1_000_000
LARGE = "large " * 12_000


class Kept:
    """A log of handmade runs, and its keeping."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.path = folder / "log.db"
        self.folder = folder / "state"
        if kind == "postgres":
            empty_postgres_log()
        self._open()

    def _open(self) -> None:
        self.log = SqliteLog(self.path) if self.kind == "sqlite" else PostgresLog(server_url(), schema=SCHEMA)
        self.keeping = self.log.keeping(self.folder)

    async def reopen(self) -> None:
        await self.log.close()
        self._open()

    async def execute(self, statement: str) -> None:
        if isinstance(self.log, SqliteLog):
            await self.log.change(statement)
        else:
            await self.log.fetch(statement)

    async def rows(self, statement: str) -> list[Any]:
        found = self.log.read(statement) if isinstance(self.log, SqliteLog) else await self.log.fetch(statement)
        return [tuple(row) for row in found]

    async def run(
        self, name: str, events: int = 3, *, finished: int | None = NOON, content: object = "text"
    ) -> HandmadeRun:
        run = HandmadeRun(self.log, name)
        status = "running" if finished is None else "completed"
        at = NOON if finished is None else finished
        assert await run.commit([content] * events, finished_at=finished, status=status, at=at) == "accepted"
        return run

    async def delete_all(self, before: int) -> Collected:
        done = Collected()
        for _ in range(100):
            batch = await self.keeping.delete(
                await self.keeping.expired(before, 50), before=before, at=NOON + 40 * DAY, why="old", actor="test"
            )
            done += Collected(batch.runs, batch.events)
            if not batch.more and not batch.runs:
                return done
        raise AssertionError("it never ended")

    async def die_after_a_slice(self, name: str) -> None:
        """Erase the first contents of a run, and no more."""

        class Died(Exception):
            pass

        sliced = self.keeping._erase_contents

        async def one_slice(run_id: str, key: int) -> int:
            if isinstance(self.log, SqliteLog):
                await self.log.transact(lambda writer: sqlite_keeping._erase_slice(writer, key))
            else:
                await self.keeping._count("erase_contents", key, postgres_keeping.EVENTS_MAX)
            raise Died

        self.keeping._erase_contents = one_slice
        with pytest.raises(Died):
            await self.keeping.erase(name, at=NOON, actor="test")
        self.keeping._erase_contents = sliced

    async def faults(self) -> list[str]:
        return [str(fault) for fault in [*await verify(self.log), *await gaps(self.keeping)]]


def closed_after(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Decorate an async test of a `Kept`, whose log is closed on the loop that it was used on."""

    @functools.wraps(test)
    def run(kept: Kept, **rest: Any) -> None:
        async def whole() -> None:
            try:
                await test(kept, **rest)
            finally:
                await kept.log.close()

        asyncio.run(whole())

    return run
