"""The rows of the cache in PostgreSQL, shared by all nodes. What a crash of the server takes with it is made anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headgate.ports import Reusable
from headgate.stores.cache_table import CacheLine, CacheSum, Uses, digest_of
from headgate.stores.postgres_reading import PostgresReader
from headgate.stores.postgres_rows import clean
from headgate.stores.queries import load_queries

__all__ = ["PostgresCacheTable"]

SQL = load_queries("postgres_beside.sql")


class PostgresCacheTable:
    """`CacheTable` of all nodes on one database."""

    def __init__(self, log: PostgresReader) -> None:
        self._log = log

    async def find(self, tenant: str, key: bytes, now: int) -> Sequence[Any] | None:
        rows = await self._all("find_cached", clean(tenant), key, now)
        return tuple(rows[0]) if rows else None

    async def keep(self, some: Sequence[Reusable]) -> None:
        rows = [
            (
                *(clean(kept.tenant), kept.key, clean(kept.workflow), clean(kept.activity), clean(kept.name)),
                *(kept.at, kept.expires_at, kept.at, kept.saves, 0, len(kept.output)),
                *(digest_of(kept.output), kept.output),
            )
            for kept in some
        ]
        await self._all("keep_cached", *map(list, zip(*rows, strict=True)))

    async def touch(self, uses: Uses) -> None:
        rows = [(clean(tenant), key, count, at) for (tenant, key), (count, at) in uses.items()]
        await self._all("touch_cached", *map(list, zip(*rows, strict=True)))

    async def total(self) -> tuple[int, int]:
        return tuple((await self._all("total_cached"))[0])

    async def forget_expired(self, now: int) -> int:
        return (await self._all("forget_expired", now))[0][0]

    async def forget_least_used(self, entries_max: int, bytes_max: int) -> None:
        await self._all("forget_least_used", entries_max, bytes_max)

    async def lines(self, tenant: str, workflow: str | None, activity: str | None, limit: int) -> list[CacheLine]:
        return [CacheLine(*row) for row in await self._all("cached_entries", tenant, workflow, activity, limit)]

    async def sums(self, tenant: str, now: int) -> list[CacheSum]:
        return [CacheSum(*row) for row in await self._all("cached_sums", tenant, now)]

    async def clear(self, tenant: str, workflow: str | None, activity: str | None, before: int | None) -> int:
        return (await self._all("clear_cached", tenant, workflow, activity, before))[0][0]

    async def matching(self, tenant: str, beginning: str) -> list[bytes]:
        return [row[0] for row in await self._all("cached_matching", tenant, beginning)]

    async def forget(self, tenant: str, key: bytes) -> int:
        return (await self._all("forget_cached", tenant, key))[0][0]

    async def _all(self, name: str, *parameters: Any) -> list[Any]:
        return await self._log.fetch(SQL[name], *parameters, durable=False)
