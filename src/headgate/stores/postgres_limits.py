"""The cells of `ports.LimitStore` in PostgreSQL, shared by all nodes: each swap is one statement.

Nobody waits for the disk: a crash of the server may take the last second with it, which is what the port allows. Time
is the engine's, which is the server's (`engine/database_time.py`): nodes agree about as well as rates are to be kept.
"""

from __future__ import annotations

from collections.abc import Sequence

from headgate.ports import Cell, Clock, Swap
from headgate.stores.postgres_reading import PostgresReader
from headgate.stores.postgres_rows import clean
from headgate.stores.queries import load_queries

__all__ = ["PostgresLimits", "all_cells"]

SQL = load_queries("postgres_beside.sql")


class PostgresLimits:
    """`ports.LimitStore` of all nodes on one database. `look` each second: it tells of others' first cell."""

    def __init__(self, log: PostgresReader, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._idle = False
        """Until it was looked: whoever asks finds out by reading."""

    @property
    def shared(self) -> bool:
        return True

    @property
    def idle(self) -> bool:
        return self._idle

    async def look(self) -> None:
        self._idle = not (await self._log.fetch(SQL["any_cell"], durable=False))[0][0]

    def now(self) -> int:
        return self._clock.now()

    async def read(self, names: Sequence[str]) -> list[str | None]:
        rows = await self._log.fetch(SQL["some_cells"], [clean(name) for name in names], durable=False)
        found = dict(tuple(row) for row in rows)
        return [found.get(clean(name)) for name in names]

    async def swap(self, changes: Sequence[Swap]) -> bool:
        names = [clean(change.name) for change in changes]
        befores, afters = [change.before for change in changes], [change.after for change in changes]
        changed = (await self._log.fetch(SQL["swap_cells"], names, befores, afters, durable=False))[0][0]
        self._idle = False
        return changed

    async def cells(self, prefix: str) -> list[Cell]:
        return await _cells(self._log, prefix)

    async def close(self) -> None:
        pass


async def all_cells(log: PostgresReader) -> list[Cell]:
    """Return all cells, for whoever only looks."""
    return await _cells(log, "")


async def _cells(log: PostgresReader, prefix: str) -> list[Cell]:
    return [Cell(*row) for row in await log.fetch(SQL["cells_below"], clean(prefix), durable=False)]
