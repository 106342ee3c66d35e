"""Deleting and erasing in the SQLite log, in transactions so small that appends hardly wait.

A run is deleted in this order: a row in `deletions` takes the place of its row in `runs`, in one transaction; then its
large contents and its events go, slice by slice. After a crash in between, the next call goes on where this one
stopped, and the audit knows all the while why the run is not there. Erasing goes the same way: first the record and
the run's key, then the contents, slice by slice, then the WAL is folded in, so that no old page is left in it.

Lock order of a transaction: deletions, runs, budgets, answers, blobs, events; erasures, runs, cache, events, blobs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
import msgspec

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
from headgate.stores.queries import load_queries
from headgate.stores.sqlite_file import close_connection, open_to_read, unavailable

if TYPE_CHECKING:
    from headgate.stores.sqlite import SqliteLog

__all__ = ["SqliteKeeping"]

SQL = load_queries("keeping.sql")


class SqliteKeeping:
    """`ports.Keeping` of a `SqliteLog`. Every method that writes raises `Unavailable` where the log cannot."""

    def __init__(self, log: SqliteLog, folder: Path) -> None:
        self._log = log
        self._files = KeptFiles(folder)
        self._known = bool(log.read("select 1 from sqlite_schema where name = 'deletions'"))
        """A file of an earlier schema, opened to be read, has no record of deletions: nothing was ever deleted."""

    # --- Retention -----------------------------------------------------------------------------------------------

    async def expired(self, before: int, limit: int) -> list[str]:
        return [row[0] for row in self._log.read(SQL["expired"], before, min(limit, RUNS_MAX))]

    async def count_expired(self, before: int) -> Collected:
        ((runs, events),) = self._log.read(SQL["count_expired"], before)
        return Collected(runs, events)

    async def delete(self, runs: Sequence[str], *, before: int, at: int, why: str, actor: str) -> Collected:
        def work(writer: apsw.Connection) -> Collected:
            deleted = [run_id for run_id in runs[:RUNS_MAX] if _delete_run(writer, run_id, before, at, why, actor)]
            if deleted:
                writer.execute(SQL["delete_answers"], (before, msgspec.json.encode(deleted).decode()))
            events, more = _delete_begun(writer)
            return Collected(len(deleted), events, more=more)

        return await self._log.transact(work)

    async def trim(self, *, spend_before: int, cache_before: int, deletions_before: int) -> Collected:
        def work(writer: apsw.Connection) -> Collected:
            spend = _count(writer, "delete_spend", spend_before, ROWS_MAX)
            cached = _count(writer, "delete_cache", cache_before, ROWS_MAX)
            forgotten = _forget_deletions(writer, deletions_before)
            return Collected(spend=spend, cached=cached, more=ROWS_MAX in (spend, cached, forgotten))

        return await self._log.transact(work)

    async def sweep_files(self, before: int, only: Sequence[str] | None = None) -> int:
        candidates = await asyncio.to_thread(self._files.older_than, before, only)
        if not candidates:
            return 0
        unnamed = await asyncio.to_thread(self._not_named, candidates)
        return await asyncio.to_thread(self._files.remove, unnamed, before)

    def _not_named(self, candidates: set[str]) -> set[str]:
        """Return those that no content names. Reads all of them, page by page, with a connection of its own."""
        left = set(candidates)
        try:
            reader = open_to_read(self._log.path)
            try:
                for query, page in (
                    ("every_content", CONTENTS_PAGE),
                    ("every_blob", BLOBS_PAGE),
                    ("every_cached", BLOBS_PAGE),
                ):
                    after = 0
                    while left and (rows := list(reader.execute(SQL[query], (after, page)))):
                        for _, content in rows:
                            left -= digests_in(content)
                        after = rows[-1][0]
            finally:
                close_connection(reader)
        except apsw.Error as error:
            raise unavailable(self._log.path, error) from error
        return left

    # --- Erasure -------------------------------------------------------------------------------------------------

    async def labelled(self, name: str, value: str) -> list[str]:
        rows = self._log.read(SQL["labelled"], name, value, 0, LABELLED_RUNS_MAX + 1)
        return [row[0] for row in within(rows, LABELLED_RUNS_MAX, f"runs labelled {name}={value}")]

    async def below(self, run_id: str) -> list[str]:
        rows = self._log.read(SQL["below"], run_id, TREE_RUNS_MAX + 1)
        return [row[0] for row in within(rows, TREE_RUNS_MAX, f"runs below run {run_id}")]

    async def erase(self, run_id: str, *, at: int, actor: str) -> Erased:
        before = await self.erasure(run_id)
        key, began = await self._log.transact(lambda writer: _begin_erasure(writer, run_id, at, actor))
        if not began and before is not None and not self._log.read(SQL["contents_of"], key):
            return Erased(before=(run_id,))
        contents = await self._erase_contents(run_id, key)
        texts = {name: count for name, count in self._log.read(SQL["texts"], key) if name in TEXTS}
        return Erased(runs=(run_id,), contents=contents, texts=texts)

    async def _erase_contents(self, run_id: str, key: int) -> int:
        erased = 0
        while found := await self._log.transact(lambda writer: _erase_slice(writer, key)):
            erased += found
        await self._log.change(SQL["end_erasure"], run_id)
        return erased

    async def go_on_erasing(self) -> int:
        begun = self._log.read(SQL["erasures_begun"], RUNS_MAX)
        for run_id, key in begun:
            await self._erase_contents(run_id, key)
        if begun:
            await self.clean()
        return len(begun)

    async def files_of(self, run_id: str) -> list[str]:
        row = await self._log.run(run_id)
        if row is None or not self._files.any:
            return []
        found: set[str] = set()
        for (content,) in self._log.read(SQL["contents_of"], row.key):
            found |= digests_in(content)
        return sorted(found)

    async def clean(self) -> bool:
        return await self._log.checkpoint()

    # --- What the audit asks ---------------------------------------------------------------------------------------

    async def deletion(self, run_id: str) -> Deletion | None:
        rows = self._log.read(SQL["deletion"], run_id) if self._known else []
        return deletion_of(rows[0]) if rows else None

    async def deletions(self, limit: int) -> list[Deletion]:
        return [deletion_of(row) for row in self._log.read(SQL["deletions"], limit)] if self._known else []

    async def erasure(self, run_id: str) -> Erasure | None:
        rows = self._log.read(SQL["erasure"], run_id) if self._known else []
        return Erasure(*rows[0]) if rows else None

    async def gaps(self) -> list[tuple[int, str]]:
        if not self._known:
            return []
        found = [
            (position, f"events from number {version} on belong to a run that is not there, and no deletion says why")
            for _, version, position in self._log.read(SQL["homeless"], GAPS_MAX)
        ]
        ((last, events, deleted),) = self._log.read(SQL["counted"])
        if last != events + deleted:
            missing = last - events - deleted
            found.append((last, f"{missing} events of {last} are missing, and no deletion says why"))
        return found


# --- Transactions ---------------------------------------------------------------------------------------------------


def _delete_run(writer: apsw.Connection, run_id: str, before: int, at: int, why: str, actor: str) -> bool:
    rows = list(writer.execute(SQL["still_expired"], (before, run_id)))
    if not rows:
        return False
    key, _, tenant, workflow, version, hash_ = rows[0]
    writer.execute(SQL["record_deletion"], (key, run_id, tenant, workflow, version, hash_, at, why, actor))
    writer.execute(SQL["delete_run"], (key,))
    writer.execute(SQL["delete_budget"], (run_id,))
    return True


def _delete_begun(writer: apsw.Connection) -> tuple[int, bool]:
    """Delete a slice of what deleted runs have left; return how many events, and whether there is more."""
    room, blobs = EVENTS_MAX, BLOBS_MAX
    writer.execute(SQL["allow_deletion"])
    for run, remaining in list(writer.execute(SQL["begun"], (RUNS_MAX,))):
        blobs -= _count(writer, "delete_blobs", run, blobs)
        if blobs == 0:
            break
        gone = _count(writer, "delete_events", run, room)
        left = 0 if gone < room else max(0, remaining - gone)
        writer.execute(SQL["shrink_deletion"], (run, left))
        room -= gone
        if room == 0:
            break
    writer.execute(SQL["end_deletion"])
    return EVENTS_MAX - room, bool(list(writer.execute(SQL["begun"], (1,))))


def _forget_deletions(writer: apsw.Connection, before: int) -> int:
    rows = list(writer.execute(SQL["old_deletions"], (before, ROWS_MAX)))
    for run, _ in rows:
        writer.execute(SQL["forget_deletion"], (run,))
    if rows:
        writer.execute(SQL["count_forgotten"], (sum(version for _, version in rows),))
    return len(rows)


def _begin_erasure(writer: apsw.Connection, run_id: str, at: int, actor: str) -> tuple[int, bool]:
    """Record the erasure, and destroy what makes digests checkable; return the run's key and whether it was new."""
    rows = list(writer.execute(SQL["erasable"], (run_id,)))
    if not rows:
        if list(writer.execute("select 1 from runs where id = ?", (run_id,))):
            raise not_ended(run_id)
        raise NotFound(f"There is no run {run_id!r} to erase.")
    key, version, tenant, workflow, created_at, content_key = rows[0]
    if not content_key:
        return key, False
    writer.execute(SQL["record_erasure"], (run_id, version, at, actor))
    writer.execute(SQL["destroy_key"], (key,))
    writer.execute(SQL["erase_cached"], (tenant, workflow, created_at))
    return key, True


def _erase_slice(writer: apsw.Connection, key: int) -> int:
    return _count(writer, "erase_contents", key, EVENTS_MAX) + _count(writer, "delete_blobs", key, BLOBS_MAX)


def _count(writer: apsw.Connection, name: str, *parameters: Any) -> int:
    writer.execute(SQL[name], parameters)
    return writer.changes()
