"""The tables in PostgreSQL: made by the first node that connects, brought up to date by the first of a new release.

Whoever finds the schema wanting takes an advisory lock, looks again, and changes it in one transaction; nodes that
start together wait for it and find it done. Nodes of the release before go on over the connections that they have: a
version adds columns with defaults (to `spend` such that may be null: rows come as JSON), tables and functions, and
takes away only what the release before did not use.
A change waits for a table no longer than `LOCK_MILLISECONDS_MAX`, for whoever wants the table waits behind it; then it
begins anew.

The position of an event holds the id of its transaction (`docs/why/the-feed-of-many-writers.md`). A database that was
restored into another server finds itself among lower ids: then what is added to them is raised, so that positions go on
where they were.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from headgate.core.errors import Invalid, NotFound, Refused
from headgate.stores.queries import load_queries

if TYPE_CHECKING:
    from asyncpg import Connection

__all__ = ["POSTGRES_SCHEMA_VERSION", "SchemaTooNew", "checked_name", "look_at_schema", "settle_schema"]

POSTGRES_SCHEMA_VERSION = 1
LOCK_MILLISECONDS_MAX = 2_000
NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")

SQL = load_queries("postgres.sql")

ADDED_IN: dict[int, tuple[tuple[str, str], ...]] = {
    1: (
        ("postgres_schema.sql", "rows"),
        ("postgres_schema.sql", "tables"),
        ("postgres_schema.sql", "triggers"),
        ("postgres_queue.sql", "put_down"),
        ("postgres_append.sql", "append"),
        ("postgres_beside.sql", "tables"),
        ("postgres_beside.sql", "functions"),
        ("postgres_keeping.sql", "tables"),
        ("postgres_tenants.sql", "tenants"),
        ("postgres_queue.sql", "claim"),
    ),
}
"""What came with a version: statements by file and name, in their order."""


class SchemaTooNew(Refused):
    """The database was written by a later release."""

    code = "database_too_new"


def checked_name(schema: str) -> str:
    """Return the name if it can stand in SQL as it is. Raises `Invalid`."""
    if not NAME.fullmatch(schema):
        raise Invalid(f"Expected the schema to be a name of a-z, 0-9 and _, got {schema!r}.")
    return schema


async def settle_schema(connection: Connection[Any], schema: str, place: str) -> int:
    """See to it that everything is there; return what has to be added to transaction ids.

    Raises `Refused` for tables that are not ours, `SchemaTooNew`.
    """
    offset = await _standing(connection, schema, place)
    if offset is not None:
        return offset
    await _require_utf8(connection, place)
    async with connection.transaction():
        await connection.execute(SQL["lock_schema"], schema)
        await connection.execute(f"set local lock_timeout = {LOCK_MILLISECONDS_MAX}")
        await _bring_up_to_date(connection, schema, place)
    offset = await _standing(connection, schema, place)
    assert offset is not None
    return offset


async def look_at_schema(connection: Connection[Any], schema: str, place: str) -> int:
    """Return what has to be added to transaction ids, for whoever only reads: nothing is made or changed.

    Raises `NotFound` where there are no tables of ours, `SchemaTooNew`, and `Refused` for those of an earlier release.
    """
    if not await connection.fetchval(SQL["has_meta"], schema):
        raise NotFound(f"There is no Headgate database at {place} (schema {schema!r}); whoever writes to it makes it.")
    row = await connection.fetchrow(SQL["standing"])
    assert row is not None
    _refuse_newer(row["schema"], place)
    if row["schema"] < POSTGRES_SCHEMA_VERSION:
        raise Refused(
            f"{place} was written by an older Headgate (schema {row['schema']}; this one reads "
            f"{POSTGRES_SCHEMA_VERSION}). It is brought up to date by the first node of this release that writes to it."
        )
    return row["position_offset"]


async def _standing(connection: Connection[Any], schema: str, place: str) -> int | None:
    """Return the offset where nothing is left to do."""
    if not await connection.fetchval(SQL["has_meta"], schema):
        return None
    row = await connection.fetchrow(SQL["standing"])
    assert row is not None
    _refuse_newer(row["schema"], place)
    positions_go_on = row["last_transaction"] < row["next_transaction"] + row["position_offset"]
    return row["position_offset"] if row["schema"] == POSTGRES_SCHEMA_VERSION and positions_go_on else None


async def _bring_up_to_date(connection: Connection[Any], schema: str, place: str) -> None:
    version = 0
    if await connection.fetchval(SQL["has_meta"], schema):
        version = await connection.fetchval("select value from meta where name = 'schema'")
        _refuse_newer(version, place)
    else:
        await _make_room(connection, schema, place)
    for number in range(version + 1, POSTGRES_SCHEMA_VERSION + 1):
        for file, name in ADDED_IN[number]:
            await connection.execute(load_queries(file)[name])
    await connection.execute(SQL["set_meta"], "schema", POSTGRES_SCHEMA_VERSION)
    row = await connection.fetchrow(SQL["standing"])
    assert row is not None
    wanted = max(row["position_offset"] or 0, row["last_transaction"] + 1 - row["next_transaction"])
    await connection.execute(SQL["set_meta"], "position_offset", max(wanted, 0))


async def _require_utf8(connection: Connection[Any], place: str) -> None:
    """In another one what people write has no place: labels, unique keys, names of who decided."""
    encoding = await connection.fetchval("show server_encoding")
    if encoding != "UTF8":
        raise Refused(
            f"The database {place} has the encoding {encoding}; expected UTF8. Make another: "
            "create database headgate encoding 'UTF8' template template0. Nothing was changed."
        )


async def _make_room(connection: Connection[Any], schema: str, place: str) -> None:
    if not await connection.fetchval(SQL["has_schema"], schema):
        await connection.execute(f"create schema {schema}")
    stranger = await connection.fetchval(SQL["stranger"], schema)
    if stranger is not None:
        raise Refused(
            f"The schema {schema!r} of {place} holds tables that are not Headgate's ({stranger!r} is one). "
            "Name another schema. Nothing was changed."
        )
    await connection.execute(SQL["make_meta"])


def _refuse_newer(version: int, place: str) -> None:
    if version > POSTGRES_SCHEMA_VERSION:
        raise SchemaTooNew(
            f"{place} was written by a newer Headgate (schema {version}; this one knows {POSTGRES_SCHEMA_VERSION}). "
            "Upgrade Headgate, or name another database. Nothing was changed."
        )
