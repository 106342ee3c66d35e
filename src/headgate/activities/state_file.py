"""An SQLite file of an activity in the state folder: made on first use, opened for one call, written durably.

Each call opens a connection of its own in a thread of its own and closes it. Several processes may use a file at the
same time: they wait for one another up to a busy timeout. A transaction is on disk before it is over.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator
from pathlib import Path

import apsw

from headgate.ports import Attempt

__all__ = ["opened", "transaction"]

BUSY_MILLISECONDS_MAX = 10_000
_SETTING_UP = threading.Lock()
"""Held while a file may be made: SQLite does not wait for another connection that turns the same file to WAL."""


@contextlib.contextmanager
def opened(path: Path, sql: dict[str, str], *, schema_version: int) -> Generator[apsw.Connection]:
    """Open the file, making it (and its folder) with `sql["schema"]` where there is none; close it at the end.

    What SQLite says becomes an `Attempt`: `store_busy` and `store_full` (retryable), or `store_broken`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = apsw.Connection(str(path))
        try:
            with _SETTING_UP:
                _set_up(connection, path, sql["schema"], schema_version)
            yield connection
        finally:
            connection.close()
    except (apsw.Error, OSError) as error:
        raise _failure(path, error) from error


def _set_up(connection: apsw.Connection, path: Path, schema: str, version: int) -> None:
    connection.set_busy_timeout(BUSY_MILLISECONDS_MAX)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    connection.execute("pragma foreign_keys = on")
    if connection.pragma("user_version") == version:
        return
    with transaction(connection):
        found = connection.pragma("user_version")  # another process may have made it meanwhile
        if found not in (0, version):
            message = f"{path.name} has schema {found}, this Headgate knows {version}. Upgrade Headgate, or remove it."
            raise Attempt.failed("store_too_new", message, retryable=False)
        if found == 0:
            connection.execute(schema)
            connection.execute(f"pragma user_version = {version}")


@contextlib.contextmanager
def transaction(connection: apsw.Connection) -> Generator[None]:
    """Write all or nothing: the lock is taken at once, so that nobody changes between what is read and written."""
    connection.execute("begin immediate")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise
    connection.execute("commit")


def _failure(path: Path, error: Exception) -> Attempt:
    if isinstance(error, apsw.BusyError):
        message = f"Another process has been writing to {path.name} for {BUSY_MILLISECONDS_MAX // 1000} seconds."
        return Attempt.failed("store_busy", f"{message} Nothing was written.")
    if isinstance(error, apsw.FullError):
        return Attempt.failed("store_full", f"The disk that holds {path.name} is full; nothing was written.")
    what = f"{path.name} in the state folder cannot be used: {error}. Nothing was written."
    return Attempt.failed("store_broken", what, retryable=False)
