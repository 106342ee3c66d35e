"""What lies beside a log, and where the log lies: in the same file, the same database, or memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeGuard

from headgate.core.errors import Refused
from headgate.ports import (
    DEFAULT_TENANT,
    BudgetRules,
    Cache,
    Cell,
    Clock,
    Documents,
    LimitStore,
    Log,
    MirrorStreams,
    Neighbourhood,
    Schedules,
)
from headgate.stores.budgets import KeptBudgetRules
from headgate.stores.cache import KeptCache, MemoryCache
from headgate.stores.cache_inventory import CacheInventory
from headgate.stores.cache_table import CacheTable, SqliteCacheTable
from headgate.stores.documents import MemoryDocuments, SqliteDocuments
from headgate.stores.limits import MemoryLimits, SqliteLimits, limits_in
from headgate.stores.memory import MemoryLog
from headgate.stores.mirror_streams import MirroringStreams
from headgate.stores.schedules import KeptSchedules
from headgate.stores.sqlite import SqliteLog
from headgate.stores.stream_spill import StreamSpill

if TYPE_CHECKING:
    from headgate.stores.postgres_reading import PostgresReader

__all__ = ["Storage", "cache_inventory_beside", "cells_beside", "documents_beside", "storage_beside"]


class Storage(NamedTuple):
    """Everything that an engine keeps beside its log. `shared`: other processes write to it, too, so that whoever holds
    something of it in memory looks again each second; `neighbourhood`: where they are told of what streams."""

    documents: Documents
    schedules: Schedules
    budget_rules: BudgetRules
    limits: LimitStore
    cache: Cache
    streams: MirrorStreams
    shared: bool = False
    neighbourhood: Neighbourhood | None = None


def storage_beside(log: Log, clock: Clock) -> Storage:
    """Return what lies where the log does. For the process that owns it, or shares it."""
    documents = documents_beside(log)
    table = _cache_table(log)
    return Storage(
        documents,
        KeptSchedules(documents),
        KeptBudgetRules(documents),
        _limits(log, clock),
        MemoryCache() if table is None else KeptCache(table),
        MirroringStreams(clock, None if table is None else StreamSpill()),
        shared=_is_in_postgres(log),
        neighbourhood=log.neighbourhood() if _is_in_postgres(log) else None,
    )


def documents_beside(log: Log) -> Documents:
    """Return the documents that lie where the log does; of a log that is only read they can be read."""
    if isinstance(log, SqliteLog):
        return SqliteDocuments(log)
    if _is_in_postgres(log):
        from headgate.stores.postgres_documents import PostgresDocuments

        return PostgresDocuments(log)
    return MemoryDocuments()


def cache_inventory_beside(log: Log, tenant: str = DEFAULT_TENANT) -> CacheInventory:
    """Return what people may look through of the cache. Raises `Refused` for a log in memory, whose ends with it."""
    table = _cache_table(log)
    if table is None:
        raise Refused("This log is in memory: what is kept for reuse ends with its process, and cannot be taken out.")
    return CacheInventory(table, tenant)


async def cells_beside(log: Log) -> list[Cell]:
    """Return what is known of providers there, as of a second ago where an owner writes it. None in memory."""
    if isinstance(log, SqliteLog):
        return limits_in(log)
    if _is_in_postgres(log):
        from headgate.stores.postgres_limits import all_cells

        return await all_cells(log)
    return []


def _limits(log: Log, clock: Clock) -> LimitStore:
    if isinstance(log, SqliteLog):
        return SqliteLimits(log, clock)
    if _is_in_postgres(log):
        from headgate.stores.postgres_limits import PostgresLimits

        return PostgresLimits(log, clock)
    return MemoryLimits(clock)


def _cache_table(log: Log) -> CacheTable | None:
    if isinstance(log, SqliteLog):
        return SqliteCacheTable(log)
    if _is_in_postgres(log):
        from headgate.stores.postgres_cache import PostgresCacheTable

        return PostgresCacheTable(log)
    return None


def _is_in_postgres(log: Log) -> TypeGuard[PostgresReader]:
    """Whether the log is in PostgreSQL: what that needs is loaded for no other log, for it is a megabyte."""
    if isinstance(log, SqliteLog | MemoryLog):
        return False
    from headgate.stores.postgres_reading import PostgresReader

    return isinstance(log, PostgresReader)
