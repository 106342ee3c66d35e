"""The activity `sqlite_query`: one statement on a SQLite file, its rows as data.

Each call opens the file, runs the statement in a transaction of its own, and closes it again; another process that is
writing is waited for. A statement that fails has changed nothing. The result is recorded after the commit: a process
that dies in between has the statement run once more, so a statement that writes should say what is true afterwards
(`insert … on conflict`, `update … set`), not what to add.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import apsw
import msgspec

from headgate.activities.parameters import parameters_of
from headgate.activities.sql_rows import as_base64, as_json_float, objects, query_failed
from headgate.ports import ActivityContext, Attempt

__all__ = ["sqlite_query"]

NAME = "sqlite_query"
BUSY_MILLISECONDS_MAX = 10_000
SCHEME = "sqlite://"


class _Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    db_url: str
    query: str
    params: list[Any] | dict[str, Any] = []


async def sqlite_query(parameters: dict[str, Any], ctx: ActivityContext) -> Any:
    """Run `query` on `db_url` (a path, or `sqlite:///path`; made where it is not there) and return `rows` (objects in
    the query's order), `row_count` and `rows_affected`.

    Integers come as they are, reals as numbers (what JSON lacks as text), text as text, blobs as base64, null as null.
    `params` is a list for `?`, a map for `:name`; lists and maps in it are bound as JSON text, true and false as 1
    and 0. Raises `Attempt`: `invalid_parameters`, `query_failed`, `result_too_large` (none is tried again),
    `database_busy` and `database_unavailable` (both are).
    """
    wanted = parameters_of(NAME, parameters, _Parameters)
    connection = _open(_path_of(wanted.db_url))
    try:
        return await asyncio.to_thread(_run, connection, wanted)
    except asyncio.CancelledError:
        connection.interrupt()
        raise


def _path_of(url: str) -> str:
    """Return the file that is meant: `sqlite:///name` is one below this folder, `sqlite:////name` an absolute one."""
    return unquote(url.removeprefix(SCHEME).removeprefix("/")) if url.startswith(SCHEME) else url


def _open(path: str) -> apsw.Connection:
    try:
        connection = apsw.Connection(path)
        connection.set_busy_timeout(BUSY_MILLISECONDS_MAX)
    except apsw.Error as error:
        message = f"{NAME}: {Path(path).name} cannot be opened: {error}. Is its folder there, and may it be written?"
        raise Attempt.failed("database_unavailable", message) from None
    return connection


def _run(connection: apsw.Connection, wanted: _Parameters) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    try:
        before = connection.total_changes()
        with connection:
            cursor = connection.cursor()
            cursor.exec_trace = _only_once()
            cursor.execute(wanted.query, _bindings(wanted.params))
            rows = objects(NAME, _columns(cursor), ([_as_json(value) for value in row] for row in cursor))
        affected = connection.total_changes() - before
        return {"rows": rows, "row_count": len(rows), "rows_affected": affected}
    except apsw.BusyError:
        raise Attempt.failed("database_busy", f"{NAME}: another process is writing to the file.") from None
    except (apsw.Error, OverflowError, TypeError, ValueError) as error:
        raise query_failed(NAME, f"{error}. Nothing was changed.") from None
    finally:
        connection.close()


def _only_once() -> Callable[[apsw.Cursor, str, Any], bool]:
    """Return a tracer that refuses a second statement: its rows could not be told from the first one's."""
    seen: list[str] = []

    def trace(_cursor: apsw.Cursor, statement: str, _bindings: Any) -> bool:
        if seen:
            raise ValueError("one statement at a time, please; the second one begins: " + statement.strip()[:40])
        seen.append(statement)
        return True

    return trace


def _columns(cursor: apsw.Cursor) -> list[str]:
    try:
        return [column[0] for column in cursor.get_description()]
    except apsw.ExecutionCompleteError:  # no rows: nothing is missed
        return []


def _bindings(params: list[Any] | dict[str, Any]) -> Any:
    if isinstance(params, dict):
        return {name: _as_sqlite(value) for name, value in params.items()}
    return [_as_sqlite(value) for value in params]


def _as_sqlite(value: Any) -> Any:
    if isinstance(value, (list, dict)):
        return msgspec.json.encode(value).decode()
    return int(value) if isinstance(value, bool) else value


def _as_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return as_base64(value)
    return as_json_float(value) if isinstance(value, float) else value
