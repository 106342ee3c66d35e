"""Deleting and erasing in PostgreSQL, in transactions so small that nobody waits for long, from any node.

It goes as it does in the SQLite log (`sqlite_keeping`): first the record in the place of the run's row, or the run's
key, then slices of what is left. Nodes that do so at once pass each other by: rows that one is at are skipped by the
others. Every call may be sent twice.

Positions have gaps here, so a run that was removed with all its events, its record too, leaves none that could be seen:
`gaps` finds events without a run, and each run's own chain what is missing of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headgate.core.errors import NotFound
from headgate.ports import Collected, Deletion, Erased, Erasure
from headgate.stores.keeping import (
    BLOBS_MAX,
    BLOBS_PAGE,
    CONTENTS_PAGE,
    EVENTS_MAX,
    GAPS_MAX,
    LABELLED_RUNS_MAX,
    ROWS_MAX,
    RUNS_MAX,
    TEXTS,
    TREE_RUNS_MAX,
    deletion_of,
    not_ended,
    within,
)
from headgate.stores.kept_files import KeptFiles, digests_in
from headgate.stores.postgres_rows import clean
from headgate.stores.queries import load_queries

if TYPE_CHECKING:
    from asyncpg import Connection

    from headgate.stores.postgres_reading import PostgresReader

__all__ = ["PostgresKeeping"]

SQL = load_queries("postgres_keeping.sql")


class PostgresKeeping:
    """`ports.Keeping` of a log in PostgreSQL. Every method raises `Unavailable`."""

    def __init__(self, log: PostgresReader, folder: Path) -> None:
        self._log = log
        self._files = KeptFiles(folder)

    # --- Retention -----------------------------------------------------------------------------------------------

    async def expired(self, before: int, limit: int) -> list[str]:
        return [row[0] for row in await self._all("expired", before, min(limit, RUNS_MAX))]

    async def count_expired(self, before: int) -> Collected:
        ((runs, events),) = await self._all("count_expired", before)
        return Collected(runs, events)

    async def delete(self, runs: Sequence[str], *, before: int, at: int, why: str, actor: str) -> Collected:
        async def work(connection: Connection[Any]) -> Collected:
            some = [clean(run) for run in runs[:RUNS_MAX]]
            rows = (
                await connection.fetch(SQL["delete_runs"], before, some, at, clean(why), clean(actor)) if some else []
            )
            deleted = [row[0] for row in rows]
            if deleted:
                await connection.execute(SQL["delete_budgets"], deleted)
                await connection.execute(SQL["delete_answers"], before, [run.encode() for run in deleted])
            events, more = await _delete_begun(connection)
            return Collected(len(deleted), events, more=more)

        return await self._log.transact(work)

    async def trim(self, *, spend_before: int, cache_before: int, deletions_before: int) -> Collected:
        spend = await self._count("delete_spend", spend_before, ROWS_MAX)
        cached = await self._count("delete_cache", cache_before, ROWS_MAX)
        forgotten = await self._count("forget_deletions", deletions_before, ROWS_MAX)
        return Collected(spend=spend, cached=cached, more=ROWS_MAX in (spend, cached, forgotten))

    async def sweep_files(self, before: int, only: Sequence[str] | None = None) -> int:
        left = await asyncio.to_thread(self._files.older_than, before, only)
        if not left:
            return 0
        async for content in self._every_content():
            left -= digests_in(content)
            if not left:
                return 0
        return await asyncio.to_thread(self._files.remove, left, before)

    async def _every_content(self) -> AsyncGenerator[bytes]:
        pages: tuple[tuple[str, tuple[Any, ...], int], ...] = (
            ("every_content", (0,), CONTENTS_PAGE),
            ("every_blob", (0, b""), BLOBS_PAGE),
            ("every_cached", ("", b""), BLOBS_PAGE),
        )
        for query, after, page in pages:
            async for row in self._paged(query, (), after, page):
                yield row[-1]

    async def _paged(
        self, query: str, of: tuple[Any, ...], after: tuple[Any, ...], page: int
    ) -> AsyncGenerator[tuple[Any, ...]]:
        """Yield all rows of a query that is asked page by page: each begins behind the first fields of the last row."""
        while rows := await self._all(query, *of, *after, page):
            for row in rows:
                yield tuple(row)
            after = tuple(rows[-1])[: len(after)]

    # --- Erasure -------------------------------------------------------------------------------------------------

    async def labelled(self, name: str, value: str) -> list[str]:
        rows = await self._all("labelled", clean(name), clean(value), LABELLED_RUNS_MAX + 1)
        return [row[0] for row in within(rows, LABELLED_RUNS_MAX, f"runs labelled {name}={value}")]

    async def below(self, run_id: str) -> list[str]:
        rows = await self._all("below", clean(run_id), TREE_RUNS_MAX + 1)
        return [row[0] for row in within(rows, TREE_RUNS_MAX, f"runs below run {run_id}")]

    async def erase(self, run_id: str, *, at: int, actor: str) -> Erased:
        before = await self.erasure(run_id)

        async def begin(connection: Connection[Any]) -> tuple[int, bool]:
            return await _begin_erasure(connection, clean(run_id), at, clean(actor))

        key, began = await self._log.transact(begin)
        if not began and before is not None and not (await self._all("has_content", key))[0][0]:
            return Erased(before=(run_id,))
        contents = await self._erase_contents(run_id, key)
        texts = {name: count for name, count in await self._all("texts", key) if name in TEXTS}
        return Erased(runs=(run_id,), contents=contents, texts=texts)

    async def _erase_contents(self, run_id: str, key: int) -> int:
        erased = 0
        while found := await self._count("erase_contents", key, EVENTS_MAX) + await self._count(
            "delete_blobs", key, BLOBS_MAX
        ):
            erased += found
        await self._all("end_erasure", clean(run_id))
        return erased

    async def go_on_erasing(self) -> int:
        begun = await self._all("erasures_begun", RUNS_MAX)
        for run_id, key in begun:
            await self._erase_contents(run_id, key)
        return len(begun)

    async def files_of(self, run_id: str) -> list[str]:
        row = await self._log.run(run_id)
        if row is None or not self._files.any:
            return []
        found: set[str] = set()
        for query, after, page in (("contents_of", 0, CONTENTS_PAGE), ("blobs_of", b"", BLOBS_PAGE)):
            async for _, content in self._paged(query, (row.key,), (after,), page):
                found |= digests_in(content)
        return sorted(found)

    async def clean(self) -> bool:
        """There is nothing to fold: what was deleted stands in the server's files until it vacuums, and in its WAL and
        their copies as long as it keeps them."""
        return True

    # --- What the audit asks ---------------------------------------------------------------------------------------

    async def deletion(self, run_id: str) -> Deletion | None:
        rows = await self._all("deletion", clean(run_id))
        return deletion_of(rows[0]) if rows else None

    async def deletions(self, limit: int) -> list[Deletion]:
        return [deletion_of(row) for row in await self._all("deletions", limit)]

    async def erasure(self, run_id: str) -> Erasure | None:
        rows = await self._all("erasure", clean(run_id))
        return Erasure(*rows[0]) if rows else None

    async def gaps(self) -> list[tuple[int, str]]:
        return [
            (position, f"events from number {version} on belong to a run that is not there, and no deletion says why")
            for _, version, position in await self._all("homeless", GAPS_MAX)
        ]

    async def _all(self, name: str, *parameters: Any) -> list[Any]:
        return await self._log.fetch(SQL[name], *parameters)

    async def _count(self, name: str, *parameters: Any) -> int:
        return (await self._all(name, *parameters))[0][0]


# --- Transactions ---------------------------------------------------------------------------------------------------


async def _delete_begun(connection: Connection[Any]) -> tuple[int, bool]:
    """Delete a slice of what deleted runs have left; return how many events, and whether there is more."""
    room, blobs = EVENTS_MAX, BLOBS_MAX
    begun = await connection.fetch(SQL["begun"], RUNS_MAX)
    if begun:
        await connection.execute(SQL["allow_deletion"])
    for run, remaining in begun:
        blobs -= await connection.fetchval(SQL["delete_blobs"], run, blobs)
        if blobs == 0:
            break
        gone = await connection.fetchval(SQL["delete_events"], run, room)
        left = 0 if gone < room else max(0, remaining - gone)
        await connection.execute(SQL["shrink_deletion"], run, left)
        room -= gone
        if room == 0:
            break
    if begun:
        await connection.execute(SQL["end_deletion"])
    return EVENTS_MAX - room, bool(begun) and await connection.fetchval(SQL["any_begun"])


async def _begin_erasure(connection: Connection[Any], run_id: str, at: int, actor: str) -> tuple[int, bool]:
    """Record the erasure, and destroy what makes digests checkable; return the run's key and whether it was new."""
    row = await connection.fetchrow(SQL["erasable"], run_id)
    if row is None:
        if await connection.fetchval("select exists (select from runs where id = $1)", run_id):
            raise not_ended(run_id)
        raise NotFound(f"There is no run {run_id!r} to erase.")
    key, version, tenant, workflow, created_at, content_key = row
    if not content_key:
        return key, False
    await connection.execute(SQL["record_erasure"], run_id, version, at, actor)
    await connection.execute(SQL["destroy_key"], key)
    await connection.execute(SQL["erase_cached"], tenant, workflow, created_at)
    return key, True
