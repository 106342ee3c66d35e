"""The log in one SQLite file: WAL, `synchronous=FULL`, exactly one owner process, readers at any time.

Rows are written by the loop's own thread, the sync at COMMIT happens in a thread of its own. Writing rows in that
thread too was tried: each statement gives the interpreter lock up and waits up to a switch interval to get it back,
which made a busy engine thirty times slower. So only the wait for the disk is off the loop, and while it lasts the
engine decides what comes next.

Lock order of a transaction: runs, budgets (by id), answers, events, blobs. There is one writer, so nothing can be
interleaved; the order is kept for the stores where it matters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import apsw
import msgspec

from headgate.core.codec import decode
from headgate.core.errors import Unavailable
from headgate.ports import (
    ANSWERS_KEPT_MICROSECONDS,
    DEFAULT_TENANT,
    EVERY_RUN,
    Append,
    EventRow,
    Head,
    Outcome,
    OverBudget,
    RunRow,
    RunsWanted,
    SpendRow,
    SpendTotal,
    SpendWanted,
)
from headgate.stores.queries import load_queries
from headgate.stores.spend import INSERT_SPEND, read_estimates, read_spend, read_totals, replace_rows
from headgate.stores.sqlite_append import insert_run, move_budget, move_head
from headgate.stores.sqlite_committer import Committer, empty_wal, in_transaction, roll_back
from headgate.stores.sqlite_file import (
    close_connection,
    open_to_read,
    open_to_write,
    unavailable,
)

if TYPE_CHECKING:
    from headgate.stores.sqlite_keeping import SqliteKeeping

__all__ = ["SqliteLog"]

ANSWERS_FORGOTTEN_EVERY_MICROSECONDS = 3_600 * 1_000_000

ALONE_ITEMS_MAX = 16
"""So few items are committed on the loop where the disk is quick."""

Result = TypeVar("Result")

SQL = load_queries("sqlite.sql")


class SqliteLog:
    """`ports.Log` on SQLite. Opened `read_only`, every method that writes raises `Unavailable`."""

    def __init__(self, path: Path, *, read_only: bool = False, vfs: str | None = None) -> None:
        self.path = path
        try:
            self._reader = open_to_read(path, vfs) if read_only else open_to_write(path, vfs)
            self._writer = None if read_only else open_to_write(path, vfs)
        except apsw.Error as error:
            raise unavailable(path, error) from error
        self._next_key = self._one("last_key")[0] + 1
        self._answers_at = 0
        self._newest: dict[tuple[str, str], tuple[str, bytes]] = {}
        """The newest definition of a tenant's name, as far as it was asked for: only the owner deploys another."""
        self._alone = asyncio.Lock()
        """Held by whoever uses the writer: one transaction at a time, however many callers."""
        self._committer = None if read_only else Committer(self._writer)

    # --- Writing -------------------------------------------------------------------------------------------------

    def new_key(self) -> int:
        key = self._next_key
        self._next_key += 1
        return key

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        """Append the batch. A caller that is cancelled while the disk is busy is let go when the disk has
        answered, for that batch cannot be taken back: it is in the log, though nobody was told."""
        async with self._alone:
            writer, committer = self._writing()
            try:
                writer.execute("begin immediate")
                outcomes = self._write(writer, batch)
                if len(batch) <= ALONE_ITEMS_MAX and committer.quick:
                    committer.commit_here()
                else:
                    await committer.commit()
            except BaseException as error:
                roll_back(writer)
                if isinstance(error, apsw.Error):
                    raise unavailable(self.path, error) from error
                raise
            return outcomes

    def _writing(self) -> tuple[apsw.Connection, Committer]:
        if self._writer is None or self._committer is None:
            raise Unavailable(f"{self.path} is open for reading only, or closed; nothing was written.")
        return self._writer, self._committer

    def _write(self, writer: apsw.Connection, batch: Sequence[Append]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        events: list[tuple[Any, ...]] = []
        for item in batch:
            if item.moves or item.commands:
                outcome = self._write_apart(writer, item)
            elif item.new is None:
                outcome = move_head(writer, item)
            else:
                outcome = insert_run(writer, item.new)
            outcomes.append(outcome)
            if outcome == "accepted":
                events.extend(item.rows)
                for digest, data in item.blobs:
                    writer.execute(SQL["insert_blob"], (item.run, digest, data))
                if item.spend:
                    writer.executemany(INSERT_SPEND, item.spend)
                if item.limit is not None:
                    writer.execute(SQL["raise_limit"], (item.limit, item.run))
        writer.executemany(SQL["insert_event"], events)
        return outcomes

    def _write_apart(self, writer: apsw.Connection, item: Append) -> Outcome:
        """Write a head that may be refused for more than its version, so that a refusal takes back all of it."""
        if item.commands:
            self._forget_answers(writer, item.commands[0][2])
        writer.execute("savepoint item")
        outcome = self._try(writer, item)
        if outcome != "accepted":
            writer.execute("rollback to item")
        writer.execute("release item")
        return outcome

    def _try(self, writer: apsw.Connection, item: Append) -> Outcome:
        if item.run:
            outcome = move_head(writer, item) if item.new is None else insert_run(writer, item.new)
            if outcome != "accepted":
                return outcome
        for move in sorted(item.moves, key=lambda move: move.budget):
            over = move_budget(writer, move)
            if over is not None:
                return over
        try:
            for answer in item.commands:
                writer.execute(SQL["insert_answer"], answer)
        except apsw.ConstraintError:
            return "repeated"
        return "accepted"

    def _forget_answers(self, writer: apsw.Connection, now: int) -> None:
        if now - self._answers_at > ANSWERS_FORGOTTEN_EVERY_MICROSECONDS:
            self._answers_at = now
            writer.execute(SQL["forget_answers"], (now - ANSWERS_KEPT_MICROSECONDS,))

    async def replace_spend(self, run_id: str, rows: Sequence[SpendRow]) -> None:
        async with self._alone:
            writer, _ = self._writing()
            try:
                replace_rows(writer, run_id, rows)
            except apsw.Error as error:
                raise unavailable(self.path, error) from error

    async def save_definition(
        self, version: str, name: str, body: bytes, at: int, *, tenant: str = DEFAULT_TENANT
    ) -> bool:
        async with self._alone:
            writer, _ = self._writing()
            known = bool(self._all("has_definition", tenant, version))
            self._newest.pop((tenant, name), None)
            try:
                writer.execute(SQL["save_definition"], (tenant, version, name, body, at))
            except apsw.Error as error:
                raise unavailable(self.path, error) from error
            return not known

    async def change(self, statement: str, *parameters: Any) -> int:
        """Execute one statement in a transaction of its own; return how many rows it changed. For the tables beside
        the log (`cache`, `schedules`). Raises `Unavailable`."""
        async with self._alone:
            writer, _ = self._writing()
            try:
                writer.execute(statement, parameters)
            except apsw.Error as error:
                raise unavailable(self.path, error) from error
            return writer.changes()

    async def transact(self, work: Callable[[apsw.Connection], Result]) -> Result:
        """Do `work` with the writer in one transaction, in the committer's thread: the loop goes on meanwhile, and
        appends wait, so let it be short. Raises what `work` raises, and `Unavailable`; then nothing was written."""
        async with self._alone:
            writer, committer = self._writing()
            try:
                return await committer.perform(lambda: in_transaction(writer, work))
            except apsw.Error as error:
                raise unavailable(self.path, error) from error

    async def checkpoint(self) -> bool:
        """Fold the WAL into the file and empty it; return False where a reader was in the way. Raises `Unavailable`."""
        async with self._alone:
            writer, committer = self._writing()
            try:
                await committer.perform(lambda: empty_wal(writer))
            except apsw.BusyError:
                return False
            except apsw.Error as error:
                raise unavailable(self.path, error) from error
            return True

    def keeping(self, folder: Path) -> SqliteKeeping:
        """Return the door to what retention, erasure and the audit need."""
        from headgate.stores.sqlite_keeping import SqliteKeeping

        return SqliteKeeping(self, folder)

    def read(self, statement: str, *parameters: Any) -> list[Any]:
        """Return the rows of a statement that reads. Raises `Unavailable`."""
        try:
            return list(self._reader.execute(statement, parameters))
        except apsw.Error as error:
            raise unavailable(self.path, error) from error

    def each(self, statement: str) -> Iterator[Any]:
        """Yield the rows of a statement that reads, one by one. Raises `Unavailable`."""
        try:
            yield from self._reader.execute(statement)
        except apsw.Error as error:
            raise unavailable(self.path, error) from error

    # --- Reading -------------------------------------------------------------------------------------------------

    async def run(self, run_id: str) -> RunRow | None:
        return self._row("run", run_id)

    async def run_by_unique_key(self, tenant: str, unique_key: str) -> RunRow | None:
        return self._row("run_by_unique_key", tenant, unique_key)

    async def runs(
        self, wanted: RunsWanted = EVERY_RUN, *, limit: int = 100, before: int | None = None, offset: int = 0
    ) -> list[RunRow]:
        rows = self._all("runs", *msgspec.structs.astuple(wanted), before or 1 << 62, limit, offset)
        return [_run_row(row) for row in rows]

    async def count_runs(self, wanted: RunsWanted = EVERY_RUN) -> int:
        return int(self._one("count_runs", *msgspec.structs.astuple(wanted))[0])

    async def unfinished(self) -> dict[str, int]:
        return dict(self._all("unfinished"))

    async def matching(self, prefix: str, limit: int = 2, *, tenant: str | None = None) -> list[str]:
        return [row[0] for row in self._all("matching", prefix, limit, tenant)]

    async def busy(self, after: int, limit: int) -> list[RunRow]:
        return [_run_row(row) for row in self._all("busy", after, limit)]

    async def with_approvals(self, tenant: str, limit: int, *, before: int | None = None) -> list[RunRow]:
        return [_run_row(row) for row in self._all("with_approvals", tenant, before or 1 << 62, limit)]

    async def due(self, now: int, limit: int) -> list[str]:
        return [row[0] for row in self._all("due", now, limit)]

    async def next_attention(self, after: int) -> int | None:
        return self._one("next_attention", after)[0]

    async def events(self, run: int, *, after: int = 0, limit: int = 100_000) -> list[EventRow]:
        return [EventRow(*row) for row in self._all("events", run, after, limit)]

    async def feed(self, after: int, limit: int) -> list[EventRow]:
        return [EventRow(*row) for row in self._all("feed", after, limit)]

    async def feed_end(self) -> int:
        return self._all("feed_end")[0][0]

    async def contents(self, run: int, versions: Sequence[int]) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        for version in versions:
            content = self._content(run, version)
            if content is not None:
                found[version] = content
        return found

    def _content(self, run: int, version: int) -> bytes | None:
        rows = self._all("content", run, version)
        if not rows:
            return None
        data, content = rows[0]
        if content is not None:
            return content
        digest = decode(data)[1]
        blobs = self._all("blob", run, digest) if digest else []
        return blobs[0][0] if blobs else None

    async def answer(self, tenant: str, command_id: str) -> bytes | None:
        rows = self._all("answer", tenant, command_id)
        return rows[0][0] if rows else None

    async def budget(self, budget: str) -> OverBudget | None:
        rows = self._all("budget", budget)
        return OverBudget(*rows[0]) if rows else None

    async def spend(self, run_id: str) -> list[SpendRow]:
        return read_spend(self.read, run_id)

    async def spend_totals(self, by: str, wanted: SpendWanted) -> list[SpendTotal]:
        return read_totals(self.read, by, wanted)

    async def stored_bytes(self, tenant: str) -> int:
        """Count on a connection and in a thread of their own, for it reads the whole file."""

        def count() -> int:
            connection = open_to_read(self.path)
            try:
                ((found,),) = connection.execute(SQL["stored_bytes"], (tenant,))
                return int(found)
            finally:
                close_connection(connection)

        try:
            return await asyncio.to_thread(count)
        except apsw.Error as error:
            raise unavailable(self.path, error) from error

    async def estimates(self, limit: int) -> list[tuple[str, str, int, int]]:
        return read_estimates(self.read, limit)

    async def definition(
        self, name: str, version: str | None = None, *, tenant: str = DEFAULT_TENANT
    ) -> tuple[str, bytes] | None:
        if version:
            rows = self._all("definition", tenant, name, version)
        elif (tenant, name) in self._newest:
            return self._newest[tenant, name]
        else:
            rows = self._all("newest_definition", tenant, name)
        if rows and not version and self._writer is not None:
            self._newest[tenant, name] = rows[0]
        return rows[0] if rows else None

    async def definitions(
        self, *, limit: int = 100, after: str = "", tenant: str = DEFAULT_TENANT
    ) -> list[tuple[str, str, int, bytes]]:
        return list(self._all("definitions", tenant, after, limit))

    async def close(self) -> None:
        """Close the file after the commit that is under way; the last one out leaves no WAL behind.

        A second call does nothing.
        """
        async with self._alone:
            if self._committer is not None:
                self._committer.close()
                self._committer = None
            if self._writer is not None:
                close_connection(self._writer)
                self._writer = None
            close_connection(self._reader)

    @property
    def synchronous(self) -> str:
        """How the writer syncs, as SQLite itself says: `FULL`, or what it was turned to. Empty when read-only."""
        if self._writer is None:
            return ""
        return {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}[int(self._writer.pragma("synchronous"))]

    def _all(self, name: str, *parameters: Any) -> list[Any]:
        return self.read(SQL[name], *parameters)

    def _one(self, name: str, *parameters: Any) -> Any:
        return self._all(name, *parameters)[0]

    def _row(self, name: str, *parameters: Any) -> RunRow | None:
        rows = self._all(name, *parameters)
        return _run_row(rows[0]) if rows else None


def _run_row(row: Iterable[Any]) -> RunRow:
    values: Iterator[Any] = iter(row)
    first = [next(values) for _ in range(12)]
    head = Head(*values)
    return RunRow(*first, head=head._replace(simulated=bool(head.simulated)))
