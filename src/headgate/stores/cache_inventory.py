"""What the cache beside a log holds, for people: listed, summed up, and taken out. It reuses nothing."""

from __future__ import annotations

from headgate.core.errors import Invalid, NotFound, Refused
from headgate.stores.cache_table import CacheLine, CacheSum, CacheTable

__all__ = ["CacheInventory", "CacheLine", "CacheSum"]

HEXADECIMAL = frozenset("0123456789abcdefABCDEF")


class CacheInventory:
    """The results of one tenant. Of a file only the owner may take any out. Every method raises `Unavailable`."""

    def __init__(self, table: CacheTable, tenant: str = "default") -> None:
        self._table = table
        self._tenant = tenant

    async def lines(
        self, *, workflow: str | None = None, activity: str | None = None, limit: int = 50
    ) -> list[CacheLine]:
        """Return what is kept, the last used first."""
        return await self._table.lines(self._tenant, workflow, activity, limit)

    async def sums(self, now: int) -> list[CacheSum]:
        return await self._table.sums(self._tenant, now)

    async def clear(self, *, workflow: str | None, activity: str | None, before: int | None) -> int:
        """Take out the results of a workflow, of an activity, made before a time; None stands for any. Return how many
        there were."""
        return await self._table.clear(self._tenant, workflow, activity, before)

    async def forget(self, beginning: str) -> int:
        """Take out the result whose key (in hexadecimal digits) begins like this. Raises `Invalid`, `NotFound`, or
        `Refused` where several do."""
        if not beginning or not HEXADECIMAL.issuperset(beginning):
            raise Invalid(f"expected a key of hexadecimal digits, got {beginning!r}; `headgate cache list` shows them.")
        found = await self._table.matching(self._tenant, beginning)
        if not found:
            raise NotFound(f"There is no result whose key begins with {beginning}. `headgate cache list` shows them.")
        if len(found) > 1:
            raise Refused(f"{beginning} is the beginning of several keys. Give more of it.")
        return await self._table.forget(self._tenant, found[0])
