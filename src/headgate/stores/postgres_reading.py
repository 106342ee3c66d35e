"""What is read from a log in PostgreSQL: every question is one statement, asked again where a connection breaks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from headgate.core.codec import decode
from headgate.ports import (
    DEFAULT_TENANT,
    EVERY_RUN,
    EventRow,
    FeedLag,
    Head,
    OverBudget,
    RunRow,
    RunsWanted,
    SpendRow,
    SpendTotal,
    SpendWanted,
)
from headgate.stores.postgres_errors import Address
from headgate.stores.postgres_lines import SETTINGS_TO_HURRY, Line, Lines
from headgate.stores.postgres_rows import clean
from headgate.stores.postgres_texts import PostgresNeighbourhood
from headgate.stores.queries import load_queries

if TYPE_CHECKING:
    from asyncpg import Connection

    from headgate.stores.postgres_keeping import PostgresKeeping

__all__ = ["PostgresReader"]

READERS_MAX = 4
LAG_EVENTS_MAX = 100_000
HASTY_MAX = 2
"""Connections for what lies beside the log and need not be durable at once."""
KEY_MAX = (1 << 63) - 1

SQL = load_queries("postgres.sql")

Result = TypeVar("Result")


class PostgresReader:
    """The half of `ports.Log` that changes nothing. Raises `Unavailable` when the server is away for longer than
    `patience_seconds`."""

    def __init__(self, address: Address, schema: str, patience_seconds: float, *, read_only: bool = False) -> None:
        self._address = address
        self._schema = schema
        self._patience_seconds = patience_seconds
        self._readers = Lines(address, schema, READERS_MAX, read_only=read_only)
        self._hasty = Lines(address, schema, HASTY_MAX, SETTINGS_TO_HURRY, read_only=read_only)

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return str(self._address)

    def neighbourhood(self) -> PostgresNeighbourhood:
        """Return how the nodes on this log speak to each other of what streams."""
        return PostgresNeighbourhood(self._address, self._schema)

    async def run(self, run_id: str) -> RunRow | None:
        return await self._row("run", clean(run_id))

    async def run_by_unique_key(self, tenant: str, unique_key: str) -> RunRow | None:
        return await self._row("run_by_unique_key", clean(tenant), clean(unique_key))

    async def runs(
        self, wanted: RunsWanted = EVERY_RUN, *, limit: int = 100, before: int | None = None, offset: int = 0
    ) -> list[RunRow]:
        rows = await self._all("runs", *_filter(wanted), before or KEY_MAX, limit, offset)
        return [_run_row(row) for row in rows]

    async def count_runs(self, wanted: RunsWanted = EVERY_RUN) -> int:
        return (await self._all("count_runs", *_filter(wanted)))[0][0]

    async def unfinished(self) -> dict[str, int]:
        return dict(tuple(row) for row in await self._all("unfinished"))

    async def matching(self, prefix: str, limit: int = 2, *, tenant: str | None = None) -> list[str]:
        return [row[0] for row in await self._all("matching", clean(prefix), limit, _cleaned(tenant))]

    async def busy(self, after: int, limit: int) -> list[RunRow]:
        return [_run_row(row) for row in await self._all("busy", after, limit)]

    async def with_approvals(self, tenant: str, limit: int, *, before: int | None = None) -> list[RunRow]:
        rows = await self._all("with_approvals", clean(tenant), before or KEY_MAX, limit)
        return [_run_row(row) for row in rows]

    async def due(self, now: int, limit: int) -> list[str]:
        return [row[0] for row in await self._all("due", now, limit)]

    async def next_attention(self, after: int) -> int | None:
        return (await self._all("next_attention", after))[0][0]

    async def left_alone(self, now: int, changed_before: int, limit: int) -> list[str]:
        return [row[0] for row in await self._all("left_alone", now, changed_before, limit)]

    async def versions(self, run_ids: Sequence[str]) -> dict[str, int]:
        return {row[0]: row[1] for row in await self._all("versions", [clean(run_id) for run_id in run_ids])}

    async def events(self, run: int, *, after: int = 0, limit: int = 100_000) -> list[EventRow]:
        return [EventRow(*row) for row in await self._all("events", run, after, limit)]

    async def feed(self, after: int, limit: int) -> list[EventRow]:
        """Return the next events of all runs behind position `after`, as far as no event can still come before them:
        one that was just accepted is there when every transaction that began before it has ended."""

        async def ask(line: Line) -> list[Any]:
            return await line.connection.fetch(SQL["feed"], after, limit, line.position_offset)

        return [EventRow(*row) for row in await self._asked(ask)]

    async def server_time(self) -> int:
        return (await self._all("server_time"))[0][0]

    async def feed_lag(self) -> FeedLag:
        """Return how far the feed is behind the log: a transaction that is open keeps back all that began after it."""

        async def ask(line: Line) -> FeedLag:
            row = await line.connection.fetchrow(SQL["feed_lag"], line.position_offset, LAG_EVENTS_MAX)
            assert row is not None
            count, microseconds = row
            return FeedLag(count, max(0.0, microseconds / 1_000_000) if count else 0.0)

        return await self._asked(ask)

    async def feed_end(self) -> int:
        async def ask(line: Line) -> int:
            return await line.connection.fetchval(SQL["feed_end"], line.position_offset)

        return await self._asked(ask)

    async def contents(self, run: int, versions: Sequence[int]) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        elsewhere: dict[int, bytes] = {}
        if not versions:
            return found
        for version, data, content in await self._all("contents", run, list(versions)):
            if content is not None:
                found[version] = content
            elif digest := decode(data)[1]:
                elsewhere[version] = digest
        if elsewhere:
            blobs = dict(tuple(row) for row in await self._all("blobs", run, list(elsewhere.values())))
            found |= {version: blobs[digest] for version, digest in elsewhere.items() if digest in blobs}
        return found

    async def answer(self, tenant: str, command_id: str) -> bytes | None:
        rows = await self._all("answer", clean(tenant), clean(command_id))
        return rows[0][0] if rows else None

    async def budget(self, budget: str) -> OverBudget | None:
        rows = await self._all("budget", clean(budget))
        return OverBudget(*rows[0]) if rows else None

    async def spend(self, run_id: str) -> list[SpendRow]:
        return [SpendRow(*(row[name] for name in SpendRow._fields)) for row in await self._all("spend", clean(run_id))]

    async def spend_totals(self, by: str, wanted: SpendWanted) -> list[SpendTotal]:
        labels = msgspec.json.encode({clean(name): clean(value) for name, value in wanted.labels.items()}).decode()
        runs = [clean(run) for run in wanted.runs]
        named = clean(by), wanted.since, wanted.until, clean(wanted.workflow)
        rows = await self._all("totals", *named, labels, runs, clean(wanted.tenant))
        return [SpendTotal(row[0], row[1], *map(int, row[2:])) for row in map(tuple, rows)]

    async def stored_bytes(self, tenant: str) -> int:
        return int((await self._all("stored_bytes", clean(tenant)))[0][0])

    async def estimates(self, limit: int) -> list[tuple[str, str, int, int]]:
        return [(row[0], row[1], row[2], row[3]) for row in await self._all("estimates", limit)]

    async def definition(
        self, name: str, version: str | None = None, *, tenant: str = DEFAULT_TENANT
    ) -> tuple[str, bytes] | None:
        named = clean(tenant), name
        known = self._all("definition", *named, version) if version else self._all("newest_definition", *named)
        rows = await known
        return tuple(rows[0]) if rows else None

    async def definitions(
        self, *, limit: int = 100, after: str = "", tenant: str = DEFAULT_TENANT
    ) -> list[tuple[str, str, int, bytes]]:
        return [tuple(row) for row in await self._all("definitions", clean(tenant), after, limit)]

    async def server_settings(self) -> dict[str, str]:
        """Return how durable a commit of this server is: `fsync`, `synchronous_commit`, …"""
        return {row["name"]: row["setting"] for row in await self._all("settings")}

    def keeping(self, folder: Path) -> PostgresKeeping:
        """Return the door to what retention, erasure and the audit need."""
        from headgate.stores.postgres_keeping import PostgresKeeping

        return PostgresKeeping(self, folder)

    # --- What lies beside the log --------------------------------------------------------------------------------

    async def fetch(self, statement: str, *parameters: Any, durable: bool = True) -> list[Any]:
        """Return the rows of a statement that may be executed twice. Where it need not be `durable`, a crash of the
        server may take it back within a second, and nobody waits for the disk. Raises `Unavailable`, `Refused`."""
        lines = self._readers if durable else self._hasty
        return await self._asked(lambda line: line.connection.fetch(statement, *parameters), lines)

    async def transact(self, work: Callable[[Connection[Any]], Awaitable[Result]]) -> Result:
        """Do `work`, which may be done twice, in one transaction. Raises what it raises, `Unavailable`, `Refused`."""

        async def in_transaction(line: Line) -> Result:
            async with line.connection.transaction():
                return await work(line.connection)

        return await self._asked(in_transaction)

    # --- How it is asked -----------------------------------------------------------------------------------------

    async def _row(self, name: str, *parameters: Any) -> RunRow | None:
        rows = await self._all(name, *parameters)
        return _run_row(rows[0]) if rows else None

    async def _all(self, name: str, *parameters: Any) -> list[Any]:
        return await self._asked(lambda line: line.connection.fetch(SQL[name], *parameters))

    async def _asked(self, ask: Callable[[Line], Awaitable[Result]], lines: Lines | None = None) -> Result:
        """Do what may be done twice, on any connection that works."""
        lines = lines or self._readers
        return await lines.asked(ask, patience_seconds=self._patience_seconds, so_far="Nothing was changed.")


def _run_row(row: Any) -> RunRow:
    values: Iterator[Any] = iter(row)
    first = [next(values) for _ in range(12)]
    return RunRow(*first, head=Head(*islice(values, len(Head._fields))))  # a newer release may have added columns


def _filter(wanted: RunsWanted) -> tuple[Any, ...]:
    found = wanted.status, wanted.workflow, wanted.since, wanted.until
    return *found, clean(wanted.text), _cleaned(wanted.tenant), wanted.unfinished


def _cleaned(tenant: str | None) -> str | None:
    return None if tenant is None else clean(tenant)
