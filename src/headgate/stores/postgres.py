"""The log in PostgreSQL: many nodes on one database, one round trip per committed batch.

A batch is one call of `append_batch` (`postgres_append.sql`, which states the lock order): one statement, one
transaction, one answer. Two lanes, so that one batch is decided and sent while the server syncs the other.

A connection that breaks while a batch is under way leaves an outcome that nobody knows. The batch is then sent once
more: where it was written, its heads have moved on, so that nothing is written twice; and a refused item whose events
are in the log as they were sent was accepted, and is told so. (Looking first would not do: the server may still be at
work on what the broken connection has sent.) Sent again it locks the heads that are there, which is a write: so where
the server waits for standbys, and gave up waiting when the connection broke, it waits for them now.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from headgate.core.errors import HeadgateError, Invalid, Unavailable
from headgate.ports import ANSWERS_KEPT_MICROSECONDS, DEFAULT_TENANT, Append, Outcome, SpendRow
from headgate.stores.postgres_append import (
    EVENTS_MAX,
    arguments_of,
    budgets_of,
    outcomes_of,
    sent_to,
    spend_json,
)
from headgate.stores.postgres_errors import Address, kind_of
from headgate.stores.postgres_lines import SETTINGS_TO_APPEND, Line, Lines, Patience, dial
from headgate.stores.postgres_queue import PostgresTasks
from headgate.stores.postgres_reading import PostgresReader
from headgate.stores.postgres_rows import clean
from headgate.stores.postgres_schema import checked_name
from headgate.stores.queries import load_queries

__all__ = ["CommitUnknown", "PostgresLog"]

LANES_MAX = 2
RETRIES_MAX = 20
"""Deadlocks and lost connections in a row, after which a batch is given up."""
PATIENCE_SECONDS = 30.0
LEASE_SECONDS = 30.0
"""Of a task in somebody's hands, from its claim or its last renewal."""
LEASE_SECONDS_MIN = 12.0
"""Workers renew each ten."""
ANSWERS_FORGOTTEN_EVERY_MICROSECONDS = 3_600 * 1_000_000
KEYS_PER_BLOCK = 1_000
KEYS_AT_HAND_MIN = 500
BLOCKS_MAX = 64

SQL = load_queries("postgres.sql")

Result = TypeVar("Result")


class CommitUnknown(Unavailable):
    """The server went away with a commit and did not come back: it may or may not have been written."""

    code = "commit_unknown"


class PostgresLog(PostgresReader):
    """`ports.Log` on PostgreSQL 14 or later, in a schema of its own, which is made where there is none.

    It connects when it is first used, and again whenever a connection breaks; for `patience_seconds` a server that was
    there before is waited for. `schema` is that of the address (`?schema=`), or `headgate`. Opened `read_only` it makes
    no tables, and every method that writes raises `Unavailable`. Raises `Invalid` for what is no address, `Refused`
    where the server does not let us in.
    """

    def __init__(
        self,
        url: str,
        *,
        schema: str = "",
        patience_seconds: float = PATIENCE_SECONDS,
        lease_seconds: float = LEASE_SECONDS,
        read_only: bool = False,
    ) -> None:
        address = Address(url)
        super().__init__(address, checked_name(schema or address.schema), patience_seconds, read_only=read_only)
        self._lanes = Lines(
            self._address, self._schema, LANES_MAX, SETTINGS_TO_APPEND, read_only=read_only, rows=not read_only
        )
        self.lanes = LANES_MAX
        if lease_seconds < LEASE_SECONDS_MIN:
            raise Invalid(
                f"Expected leases of at least {LEASE_SECONDS_MIN:g} s, for workers renew them each ten; "
                f"got {lease_seconds:g}."
            )
        self._lease = int(lease_seconds * 1_000_000)
        self.tasks = PostgresTasks(self._address, self._schema, patience_seconds, self._lease)
        self._keys: deque[int] = deque()
        self._refill: asyncio.Task[None] | None = None
        self._answers_at = 0
        self._blocks = 1
        """How many blocks of numbers are taken at once, when there is none at hand."""

    # --- Numbers of runs -----------------------------------------------------------------------------------------

    def new_key(self) -> int:
        """Return a number that no run has had. They are taken in blocks, ahead of need; when that was not enough, this
        waits for the server, and takes more. Raises `Unavailable`, `Refused`."""
        if not self._keys:
            self._readers.refuse_if_closed()
            self._keys.extend(_in_a_thread(self._fetch_keys_alone()))
        elif len(self._keys) < KEYS_AT_HAND_MIN and self._refill is None:
            self._refill = asyncio.get_running_loop().create_task(self._take_keys(), name="headgate-run-keys")
        return self._keys.popleft()

    async def _take_keys(self) -> None:
        try:
            self._keys.extend(_keys(await self._all("new_keys", 1)))
        except HeadgateError:
            pass  # whoever needs a number and finds none asks again, and hears why
        finally:
            self._refill = None

    async def _fetch_keys_alone(self) -> list[int]:
        """Take twice as many each time: a crowd that starts at once waits a few times, not for each thousand."""
        blocks, self._blocks = self._blocks, min(2 * self._blocks, BLOCKS_MAX)
        try:
            line = await dial(self._address, self._schema, {})
            try:
                return _keys(await line.connection.fetch(SQL["new_keys"], blocks))
            finally:
                await line.connection.close()
        except HeadgateError:
            raise
        except Exception as error:  # noqa: BLE001 - the driver's errors have no root of their own
            raise self._address.problem(error, "No run was started.") from None

    # --- Appends -------------------------------------------------------------------------------------------------

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        """Append the batch. Raises `Unavailable`: nothing was written; `CommitUnknown`: nobody knows.

        A caller that is cancelled meanwhile is let go when the server has answered."""
        self._lanes.refuse_if_closed()
        if sum(len(item.rows) for item in batch) > EVENTS_MAX:
            raise Invalid(f"Expected a batch to hold at most {EVENTS_MAX:,} events. Nothing was written.")
        return await _to_the_end(self._append(batch)) if batch else []

    async def _append(self, batch: Sequence[Append]) -> list[Outcome]:
        budgets = budgets_of(batch)
        arguments = arguments_of(batch, budgets, self._lease)
        forget_before = self._forgetting(batch)
        patience = Patience(self._patience_seconds)
        unknown = False
        last: Exception = Unavailable("nothing was tried")
        for _ in range(RETRIES_MAX):
            try:
                async with self._lanes.line(patience) as line:
                    sent = sent_to(line.row_types, arguments)
                    first = line.position_offset, ANSWERS_KEPT_MICROSECONDS, forget_before
                    row = await line.connection.fetchrow(SQL["append"], *first, *sent)
                    assert row is not None
                    outcomes = outcomes_of(row["outcomes"], row["over"], budgets)
                    return await _as_it_was(line, batch, outcomes) if unknown else outcomes
            except HeadgateError as error:
                if unknown:
                    raise self._lost(error) from None
                raise
            except Exception as error:  # noqa: BLE001 - each is judged
                last, unknown = error, self._judge(error, unknown=unknown)
                if patience.over:
                    if unknown:
                        raise self._lost(error) from None
                    raise self._address.problem(error, "Nothing was written.") from None
            await patience.wait()
        if unknown:
            raise self._lost(last)
        raise self._address.problem(last, f"So it was {RETRIES_MAX} times in a row. Nothing was written.")

    def _judge(self, error: Exception, *, unknown: bool) -> bool:
        """Return whether nobody knows what became of the batch. Raises where another attempt does not help."""
        kind = kind_of(error)
        if kind == "lost":
            return True
        if kind == "again":
            return unknown
        if unknown:
            raise self._lost(error) from None
        if kind == "ours":
            raise error
        raise self._address.problem(error, "Nothing was written.") from None

    def _lost(self, error: Exception) -> CommitUnknown:
        return CommitUnknown(
            f"{self._address.problem(error, 'It went away while a commit was under way.')} "
            "What was asked may or may not be written: ask again under the same id when it is back."
        )

    def _forgetting(self, batch: Sequence[Append]) -> int | None:
        """Return the time before which answers are forgotten with this batch, once an hour."""
        now = max((item.commands[0][2] for item in batch if item.commands), default=0)
        if now - self._answers_at <= ANSWERS_FORGOTTEN_EVERY_MICROSECONDS:
            return None
        self._answers_at = now
        return now - ANSWERS_KEPT_MICROSECONDS

    # --- Other writes --------------------------------------------------------------------------------------------

    async def replace_spend(self, run_id: str, rows: Sequence[SpendRow]) -> None:
        texts = [spend_json(row) for row in rows]

        async def replace(line: Line) -> None:
            async with line.connection.transaction():
                await line.connection.execute(SQL["lock_run"], clean(run_id))
                await line.connection.execute(SQL["forget_spend"], clean(run_id))
                await line.connection.execute(SQL["insert_spend"], texts)

        await self._asked(replace)

    async def save_definition(
        self, version: str, name: str, body: bytes, at: int, *, tenant: str = DEFAULT_TENANT
    ) -> bool:
        return (await self._all("save_definition", clean(tenant), version, name, body, at))[0][0]

    async def close(self) -> None:
        """Close all connections after the commits that are under way. A second call does nothing."""
        if self._refill is not None:
            await asyncio.gather(self._refill, return_exceptions=True)
        await self.tasks.close()
        await self._lanes.close()
        await self._readers.close()
        await self._hasty.close()


async def _as_it_was(line: Line, batch: Sequence[Append], outcomes: list[Outcome]) -> list[Outcome]:
    """Return the outcomes as the first sending of the batch had them: what is in the log as sent was accepted."""
    refused = [item for item, outcome in zip(batch, outcomes, strict=True) if outcome != "accepted" and item.rows]
    runs, versions, hashes = [item.run for item in refused], [], []
    for item in refused:
        versions.append(item.rows[-1][1])
        hashes.append(item.rows[-1][5])
    written = {tuple(row) for row in await line.connection.fetch(SQL["was_written"], runs, versions, hashes)}
    return [
        "accepted" if item.rows and (item.run, item.rows[-1][1]) in written else outcome
        for item, outcome in zip(batch, outcomes, strict=True)
    ]


async def _to_the_end(work: Coroutine[Any, Any, Result]) -> Result:
    """Do the work; a caller that is cancelled meanwhile is let go when it is done."""
    task = asyncio.get_running_loop().create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        task.exception()  # the caller is gone; what the server said is of no use to anybody
        raise cancelled
    return task.result()


def _keys(rows: Sequence[Any]) -> list[int]:
    return [first + number for (first,) in rows for number in range(KEYS_PER_BLOCK)]


def _in_a_thread(work: Coroutine[Any, Any, Result]) -> Result:
    """Do asynchronous work for a caller that cannot wait for it, on a loop of its own."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def do() -> None:
        try:
            results.append(asyncio.run(work))
        except BaseException as error:  # noqa: BLE001 - raised by the one who asked
            errors.append(error)

    thread = threading.Thread(target=do, name="headgate-run-keys")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
