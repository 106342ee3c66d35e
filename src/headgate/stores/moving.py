"""Moving an installation from a SQLite file to PostgreSQL: every row of every table, in one transaction or not at all.

Rows go over as they are, so events keep their positions, hashes and contents, and runs their numbers; new numbers and
positions begin above them. The columns of a table are those that both ends have: a column that one release adds to both
needs no word here.

Kept files go over before (`cli/db_verb.py`): where there are rows, all is there. Whoever was cut off asks again: before
the commit there was nothing to see; after it the target holds the file's rows and nothing else (`copied_before`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headgate.core.errors import Refused, Unavailable
from headgate.stores.postgres_append import clean_labels
from headgate.stores.postgres_rows import clean
from headgate.stores.postgres_schema import checked_name
from headgate.stores.queries import load_queries

if TYPE_CHECKING:
    from asyncpg import Connection

    from headgate.stores.postgres import PostgresLog
    from headgate.stores.sqlite import SqliteLog

__all__ = ["TABLES", "copied_before", "move"]

TABLES = (
    *("definitions", "runs", "events", "blobs", "budgets", "answers", "spend", "deletions", "erasures"),
    *("documents", "document_kinds", "limits", "cache"),
)
ROWS_PER_COPY = 2_000
BYTES_PER_COPY = 16 * 1024 * 1024
"""A copy of so many rows is well within the time that a statement may take."""

SQL = load_queries("moving.sql")


async def copied_before(source: SqliteLog, target: PostgresLog, *, schema: str) -> dict[str, int] | None:
    """Return how many rows each table has there, where an earlier call has copied them all and nobody has changed them;
    None where it is empty. Kept results may be left out. Raises `Refused` for a target that holds anything else."""

    async def work(connection: Connection[Any]) -> dict[str, int] | None:
        held = await _held(connection)
        if not held:
            return None
        for name in TABLES:
            if name != "cache" and not await _is_same(source, connection, checked_name(schema), name):
                raise _holds(target, held)
        return {name: await connection.fetchval(f"select count(*) from {name}") for name in TABLES}  # noqa: S608 - ours

    return await target.transact(work)


async def move(source: SqliteLog, target: PostgresLog, *, schema: str, cache: bool = True) -> dict[str, int]:
    """Copy all tables; return how many rows each had. Whoever calls it owns the file, and no node is at work on the
    target. `cache` False leaves out what can be made anew.

    Raises `Refused` for a target that holds anything, `Unavailable`: then nothing was copied.
    """
    tables = [name for name in TABLES if cache or name != "cache"]

    async def work(connection: Connection[Any]) -> dict[str, int]:
        await connection.execute(f"lock table {', '.join(TABLES)} in exclusive mode")
        if held := await _held(connection):
            raise _holds(target, held)
        counts = {name: await _copy_table(source, connection, checked_name(schema), name) for name in tables}
        await connection.execute(SQL["go_on_with_keys"])
        return counts

    return await target.transact(work)


async def _held(connection: Connection[Any]) -> str:
    """Return the first table that holds anything; empty: none does."""
    for name in TABLES:
        if await connection.fetchval(f"select exists (select from {name})"):  # noqa: S608 - a name of ours
            return name
    return ""


def _holds(target: PostgresLog, table: str) -> Refused:
    return Refused(f"{target.place} holds {table} already. Name a database or a ?schema= that is empty.")


async def _is_same(source: SqliteLog, connection: Connection[Any], schema: str, name: str) -> bool:
    """Whether both ends have the same rows, in whatever order: by the sum of what they hash to in this process."""
    types = await _columns(source, connection, schema, name)
    here = there = 0
    for chunk in _rows(source, name, types):
        here += sum(map(hash, chunk))
    async for row in connection.cursor(f"select {', '.join(types)} from {name}", prefetch=ROWS_PER_COPY):  # noqa: S608 - names of ours
        there += hash(tuple(row))
    return here == there


async def _columns(source: SqliteLog, connection: Connection[Any], schema: str, name: str) -> dict[str, str]:
    """Return the columns that both ends have, and their types in PostgreSQL."""
    there = {row[0]: row[1] for row in await connection.fetch(SQL["columns_of_target"], schema, name)}
    return {row[0]: there[row[0]] for row in source.read(SQL["columns_of_source"], name) if row[0] in there}


def _rows(source: SqliteLog, name: str, types: Mapping[str, str]) -> Iterator[list[tuple[Any, ...]]]:
    return _chunks(source.each(f"select {', '.join(types)} from {name}"), types)  # noqa: S608 - names of ours


async def _copy_table(source: SqliteLog, connection: Connection[Any], schema: str, name: str) -> int:
    types = await _columns(source, connection, schema, name)
    copied = 0
    for chunk in _rows(source, name, types):
        await connection.copy_records_to_table(name, schema_name=schema, columns=list(types), records=chunk)
        copied += len(chunk)
    ((counted,),) = source.read(f"select count(*) from {name}")  # noqa: S608 - a name of ours
    if copied != counted:
        raise Unavailable(f"Of {counted} rows of {name} {copied} were read. Nothing was copied.")
    return copied


def _chunks(rows: Iterator[Sequence[Any]], types: Mapping[str, str]) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows, as PostgreSQL takes them, in portions that are bounded by number and bytes."""
    chunk: list[tuple[Any, ...]] = []
    size = 0
    for row in rows:
        chunk.append(tuple(_taken(value, *column) for value, column in zip(row, types.items(), strict=True)))
        size += sum(len(value) for value in row if isinstance(value, (bytes, str)))
        if len(chunk) >= ROWS_PER_COPY or size >= BYTES_PER_COPY:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _taken(value: Any, column: str, type_: str) -> Any:
    if value is None:
        return None
    if type_ == "boolean":
        return bool(value)
    if type_ == "text":
        return clean_labels(value) if column == "labels" else clean(value)
    return value
