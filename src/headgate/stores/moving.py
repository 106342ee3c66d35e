"""Moving an installation from a SQLite file to PostgreSQL: every row of every table, in one transaction or not at all.

Rows go over as they are, so events keep their positions, hashes and contents, and runs their numbers; new numbers and
positions begin above them. The columns of a table are those that both ends have: a column that one release adds to both
needs no word here.
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

__all__ = ["TABLES", "move"]

TABLES = (
    *("definitions", "runs", "events", "blobs", "budgets", "answers", "spend", "deletions", "erasures"),
    *("documents", "document_kinds", "limits", "cache"),
)
ROWS_PER_COPY = 2_000
BYTES_PER_COPY = 16 * 1024 * 1024
"""A copy of so many rows is well within the time that a statement may take."""

SQL = load_queries("moving.sql")


async def move(source: SqliteLog, target: PostgresLog, *, schema: str, cache: bool = True) -> dict[str, int]:
    """Copy all tables; return how many rows each had. Whoever calls it owns the file, and no node is at work on the
    target. `cache` False leaves out what can be made anew.

    Raises `Refused` for a target that holds anything, `Unavailable`: then nothing was copied.
    """
    tables = [name for name in TABLES if cache or name != "cache"]

    async def work(connection: Connection[Any]) -> dict[str, int]:
        await connection.execute(f"lock table {', '.join(TABLES)} in exclusive mode")
        for name in TABLES:
            if await connection.fetchval(f"select exists (select from {name})"):  # noqa: S608 - a name of ours
                raise Refused(f"{target.place} holds {name} already. Name a database or a ?schema= that is empty.")
        counts = {name: await _copy_table(source, connection, checked_name(schema), name) for name in tables}
        await connection.execute(SQL["go_on_with_keys"])
        return counts

    return await target.transact(work)


async def _copy_table(source: SqliteLog, connection: Connection[Any], schema: str, name: str) -> int:
    there = {row[0]: row[1] for row in await connection.fetch(SQL["columns_of_target"], schema, name)}
    columns = [row[0] for row in source.read(SQL["columns_of_source"], name) if row[0] in there]
    types = {column: there[column] for column in columns}
    copied = 0
    for chunk in _chunks(source.each(f"select {', '.join(columns)} from {name}"), types):  # noqa: S608 - names of ours
        await connection.copy_records_to_table(name, schema_name=schema, columns=columns, records=chunk)
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
