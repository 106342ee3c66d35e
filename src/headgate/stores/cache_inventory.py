"""What the cache in a log's file holds, for people: listed, summed up, and taken out. It reuses nothing."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from headgate.core.errors import Invalid, NotFound, Refused
from headgate.stores.queries import load_queries

__all__ = ["CacheInventory", "CacheLine", "CacheSum"]

SQL = load_queries("cache.sql")
HEXADECIMAL = frozenset("0123456789abcdefABCDEF")


class _Tables(Protocol):
    async def change(self, statement: str, *parameters: Any) -> int: ...

    def read(self, statement: str, *parameters: Any) -> list[Any]: ...


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


class CacheInventory:
    """The results of one tenant. Only the owner of the file may take any out."""

    def __init__(self, tables: _Tables, tenant: str = "default") -> None:
        self._tables = tables
        self._tenant = tenant

    def lines(self, *, workflow: str | None = None, activity: str | None = None, limit: int = 50) -> list[CacheLine]:
        """Return what is kept, the last used first."""
        rows = self._tables.read(SQL["entries"], self._tenant, workflow, activity, limit)
        return [CacheLine(*row) for row in rows]

    def sums(self, now: int) -> list[CacheSum]:
        return [CacheSum(*row) for row in self._tables.read(SQL["sums"], self._tenant, now)]

    async def clear(self, *, workflow: str | None, activity: str | None, before: int | None) -> int:
        """Take out the results of a workflow, of an activity, made before a time; None stands for any. Return how many
        there were."""
        return await self._tables.change(SQL["clear"], self._tenant, workflow, activity, before)

    async def forget(self, beginning: str) -> int:
        """Take out the result whose key (in hexadecimal digits) begins like this. Raises `Invalid`, `NotFound`, or
        `Refused` where several do."""
        if not beginning or not HEXADECIMAL.issuperset(beginning):
            raise Invalid(f"expected a key of hexadecimal digits, got {beginning!r}; `headgate cache list` shows them.")
        found = self._tables.read(SQL["matching"], self._tenant, beginning)
        if not found:
            raise NotFound(f"There is no result whose key begins with {beginning}. `headgate cache list` shows them.")
        if len(found) > 1:
            raise Refused(f"{beginning} is the beginning of several keys. Give more of it.")
        return await self._tables.change(SQL["forget"], self._tenant, found[0][0])
