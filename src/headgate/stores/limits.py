"""The cells of `ports.LimitStore`: in memory, and beside the log of one owner.

The owner of a database is alone with it, so its cells are in memory, and go to the file at most a second later, all
that have changed in one statement: no call waits for the disk. What a crash takes with it is the last second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from headgate.core.errors import Unavailable
from headgate.ports import Cell, Clock, Swap
from headgate.stores.queries import load_queries

if TYPE_CHECKING:
    from headgate.stores.sqlite import SqliteLog

__all__ = ["MemoryLimits", "SqliteLimits", "limits_in"]

WRITE_SECONDS = 1.0

SQL = load_queries("limits.sql")
logger = logging.getLogger("headgate.limits")


def limits_in(log: SqliteLog) -> list[Cell]:
    """Return all cells in a file that another process may own, as of a second ago. None where it is of an older
    release."""
    try:
        return [Cell(name, body) for name, body in log.read(SQL["all"]) if body]
    except Unavailable:
        return []


class MemoryLimits:
    """`ports.LimitStore` for as long as the process lives."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._cells: dict[str, str] = {}

    @property
    def shared(self) -> bool:
        return False

    @property
    def idle(self) -> bool:
        return not self._cells

    async def look(self) -> None:
        pass

    def now(self) -> int:
        return self._clock.now()

    async def read(self, names: Sequence[str]) -> list[str | None]:
        return [self._cells.get(name) for name in names]

    async def swap(self, changes: Sequence[Swap]) -> bool:
        if any(self._cells.get(change.name) != change.before for change in changes):
            return False
        for change in changes:
            if change.after is None:
                self._cells.pop(change.name, None)
            else:
                self._cells[change.name] = change.after
        return True

    async def cells(self, prefix: str) -> list[Cell]:
        return [Cell(name, body) for name, body in sorted(self._cells.items()) if name.startswith(prefix)]

    async def close(self) -> None:
        pass


class SqliteLimits(MemoryLimits):
    """`ports.LimitStore` of the one process that owns the log's file. `close` it before the log."""

    def __init__(self, log: SqliteLog, clock: Clock) -> None:
        super().__init__(clock)
        self._log = log
        self._cells = dict(limits_in(log))
        self._changed: set[str] = set()
        self._writing: asyncio.Task[None] | None = None

    async def swap(self, changes: Sequence[Swap]) -> bool:
        if not await super().swap(changes):
            return False
        self._changed.update(change.name for change in changes)
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write_later())
        return True

    async def close(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        await self._write()

    async def _write_later(self) -> None:
        await asyncio.sleep(WRITE_SECONDS)
        self._writing = None
        await self._write()

    async def _write(self) -> None:
        """Write what has changed; what cannot be written now goes with the next change."""
        names, self._changed = self._changed, set()
        if not names:
            return
        rows = [{"name": name, "body": self._cells.get(name)} for name in sorted(names)]
        try:
            await self._log.change(SQL["write"], msgspec.json.encode(rows).decode())
            if any(row["body"] is None for row in rows):
                await self._log.change(SQL["sweep"])
        except Unavailable as error:
            self._changed |= names
            logger.warning("rates and circuits could not be written, they go with the next change: %s", error)
