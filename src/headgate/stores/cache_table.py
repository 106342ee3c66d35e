"""The rows of the cache beside the log in its SQLite file; PostgreSQL's are in `postgres_cache`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from headgate.ports import Reusable
from headgate.stores.queries import load_queries

if TYPE_CHECKING:
    from headgate.stores.sqlite import SqliteLog

__all__ = ["CacheLine", "CacheSum", "CacheTable", "SqliteCacheTable", "Uses", "digest_of", "reusable"]

SQL = load_queries("cache.sql")

Uses = Mapping[tuple[str, bytes], tuple[int, int]]
"""How often results were used, and when last, by tenant and key."""


class CacheLine(NamedTuple):
    """A result or an answer that is kept. Times are microseconds, `saves` is what a use of it saves in nano-dollars,
    `name` the activity's name, or the model of a call."""

    key: bytes
    workflow: str
    activity: str
    name: str
    at: int
    expires_at: int
    used_at: int
    saves: int
    hits: int
    size: int

    @property
    def of_a_call(self) -> bool:
        """Whether it is the answer of a model call, rather than the result of an attempt."""
        return "/" in self.name


class CacheSum(NamedTuple):
    """The results that are kept of one activity. `saved` is what their uses have saved in nano-dollars."""

    workflow: str
    activity: str
    name: str
    results: int
    size: int
    hits: int
    saved: int
    oldest_at: int
    expired: int


class CacheTable(Protocol):
    """Rows of results, by tenant and key. Every method raises `Unavailable`."""

    async def find(self, tenant: str, key: bytes, now: int) -> Sequence[Any] | None:
        """Return the row of a result that still holds, for `reusable`."""
        ...

    async def keep(self, some: Sequence[Reusable]) -> None: ...

    async def touch(self, uses: Uses) -> None: ...

    async def total(self) -> tuple[int, int]:
        """Return how many results there are, and their bytes."""
        ...

    async def forget_expired(self, now: int) -> int: ...

    async def forget_least_used(self, entries_max: int, bytes_max: int) -> None: ...

    async def lines(self, tenant: str, workflow: str | None, activity: str | None, limit: int) -> list[CacheLine]: ...

    async def sums(self, tenant: str, now: int) -> list[CacheSum]: ...

    async def clear(self, tenant: str, workflow: str | None, activity: str | None, before: int | None) -> int: ...

    async def matching(self, tenant: str, beginning: str) -> list[bytes]:
        """Return at most two keys that begin with these hexadecimal digits."""
        ...

    async def forget(self, tenant: str, key: bytes) -> int: ...


def digest_of(output: bytes) -> bytes:
    """Return what tells whether an output is what was kept."""
    return hashlib.sha256(output).digest()[:16]


def reusable(tenant: str, key: bytes, row: Sequence[Any]) -> Reusable | None:
    """Return the result that a row holds; None: its bytes do not fit its digest."""
    workflow, activity, name, at, expires_at, saves, digest, output = row
    if digest_of(output) != digest:
        return None
    return Reusable(tenant, key, workflow, activity, name, at, expires_at, saves, output)


class SqliteCacheTable:
    """`CacheTable` in the log's file."""

    def __init__(self, log: SqliteLog) -> None:
        self._log = log

    async def find(self, tenant: str, key: bytes, now: int) -> Sequence[Any] | None:
        rows = self._log.read(SQL["find"], tenant, key, now)
        return rows[0] if rows else None

    async def keep(self, some: Sequence[Reusable]) -> None:
        rows: list[Any] = []
        for kept in some:
            rows += (kept.tenant, kept.key, kept.workflow, kept.activity, kept.name, kept.at, kept.expires_at, kept.at)
            rows += (kept.saves, 0, len(kept.output), digest_of(kept.output), kept.output)
        await self._log.change(f"{SQL['keep']} {_rows(13, len(some))}", *rows)

    async def touch(self, uses: Uses) -> None:
        values = [part for (tenant, key), (count, at) in uses.items() for part in (tenant, key, count, at)]
        await self._log.change(SQL["touch"].replace("{rows}", _rows(4, len(uses))), *values)

    async def total(self) -> tuple[int, int]:
        ((count, size),) = self._log.read(SQL["total"])
        return count, size

    async def forget_expired(self, now: int) -> int:
        return await self._log.change(SQL["forget_expired"], now)

    async def forget_least_used(self, entries_max: int, bytes_max: int) -> None:
        await self._log.change(SQL["forget_least_used"], entries_max, bytes_max)

    async def lines(self, tenant: str, workflow: str | None, activity: str | None, limit: int) -> list[CacheLine]:
        return [CacheLine(*row) for row in self._log.read(SQL["entries"], tenant, workflow, activity, limit)]

    async def sums(self, tenant: str, now: int) -> list[CacheSum]:
        return [CacheSum(*row) for row in self._log.read(SQL["sums"], tenant, now)]

    async def clear(self, tenant: str, workflow: str | None, activity: str | None, before: int | None) -> int:
        return await self._log.change(SQL["clear"], tenant, workflow, activity, before)

    async def matching(self, tenant: str, beginning: str) -> list[bytes]:
        return [row[0] for row in self._log.read(SQL["matching"], tenant, beginning)]

    async def forget(self, tenant: str, key: bytes) -> int:
        return await self._log.change(SQL["forget"], tenant, key)


def _rows(columns: int, count: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return ", ".join([row] * count)
