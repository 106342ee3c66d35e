"""The SQLite file itself: how it is opened, whether it is ours, how it syncs, and what its errors mean.

A file of an earlier release is brought up to date by the first process that opens it to write: it is copied beside
itself first, then changed in one transaction. Readers read it as it is.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import apsw

from headgate.core.errors import Refused, Unavailable
from headgate.stores.queries import load_queries

__all__ = [
    "BUSY_MILLISECONDS_MAX",
    "SCHEMA_VERSION",
    "DatabaseTooNew",
    "close_connection",
    "open_to_read",
    "open_to_write",
    "unavailable",
]

SCHEMA_VERSION = 4
APPLICATION_ID = 0x48656467  # "Hedg"
BUSY_MILLISECONDS_MAX = 5_000

SQL = load_queries("sqlite.sql")

ADDED_IN: dict[int, tuple[tuple[str, str], ...]] = {
    2: tuple((file, "schema") for file in ("spend.sql", "cache.sql", "schedules.sql", "keeping.sql")),
    3: (("spend.sql", "more_buckets"), ("limits.sql", "schema"), ("budgets.sql", "schema")),
    4: (
        *(("documents.sql", "schema"), ("documents.sql", "take_over")),
        *(("sqlite.sql", "definitions_of_tenants"), ("sqlite.sql", "open_approvals")),
    ),
}
"""What came with a schema: the `.sql` files, and in each the statements that make it."""

SEEN_BEFORE: dict[int, tuple[tuple[str, str], ...]] = {
    1: (("sqlite.sql", "before_schema_4"),),
    2: (("spend.sql", "before_schema_3"), ("documents.sql", "before_schema_3"), ("sqlite.sql", "before_schema_4")),
    3: (("documents.sql", "before_schema_4"), ("sqlite.sql", "before_schema_4")),
}
"""What readers of a file of an earlier schema make for themselves, beside the file."""


class DatabaseTooNew(Refused):
    """The file was written by a later release."""

    code = "database_too_new"


def open_to_write(path: Path, vfs: str | None = None) -> apsw.Connection:
    """Open the owner's connection, making the file where there is none.

    Raises `Refused` for a file that is not ours, `DatabaseTooNew`, `apsw.Error` for what SQLite says.
    """
    return _open(path, write=True, vfs=vfs)


def open_to_read(path: Path, vfs: str | None = None) -> apsw.Connection:
    """Open a connection that changes nothing, also where nothing may be changed. Raises as `open_to_write` does."""
    try:
        return _open(path, write=False, vfs=vfs)
    except (apsw.ReadOnlyError, apsw.CantOpenError):
        # Where no file can be made, readers have no way to agree with a writer; without a WAL there is none.
        if not path.is_file() or Path(f"{path}-wal").exists():
            raise
        return _open(path, write=False, vfs=vfs, immutable=True)


def _open(path: Path, *, write: bool, vfs: str | None, immutable: bool = False) -> apsw.Connection:
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE if write else apsw.SQLITE_OPEN_READONLY
    name = f"{path.absolute().as_uri()}?immutable=1" if immutable else str(path)
    connection = apsw.Connection(name, flags=flags | apsw.SQLITE_OPEN_URI if immutable else flags, vfs=vfs)
    try:
        connection.set_busy_timeout(BUSY_MILLISECONDS_MAX)
        if write and connection.readonly("main"):  # SQLite settles for reading where it may not write
            raise apsw.ReadOnlyError("it was opened for writing")
        new = _is_new(connection, path, write=write)
        if write:
            _set_up(connection, path, new=new)
        else:
            for file, name in SEEN_BEFORE.get(int(connection.pragma("user_version")), ()):
                connection.execute(load_queries(file)[name])
        connection.execute("pragma cache_size = -16000")
    except BaseException:
        if _holds_something(Path(f"{path}-wal")):  # which is not ours to fold into a file that we refuse
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.close()
        raise
    return connection


def _holds_something(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0


def _is_new(connection: apsw.Connection, path: Path, *, write: bool) -> bool:
    """Return whether the file is empty and may become ours. Changes nothing: it may be somebody else's."""
    version = connection.pragma("user_version")
    application = connection.pragma("application_id")
    empty = application == version == 0 and not list(connection.execute("select 1 from sqlite_schema"))
    if write and empty:
        return True
    if application != APPLICATION_ID:
        raise Refused(
            f"{path} is an SQLite database, but not one of Headgate's. Name another file. Nothing was changed."
        )
    if version > SCHEMA_VERSION:
        raise DatabaseTooNew(
            f"{path} was written by a newer Headgate (schema {version}; this one knows {SCHEMA_VERSION}). "
            "Upgrade Headgate, or name another file. Nothing was changed."
        )
    return False


def _set_up(connection: apsw.Connection, path: Path, *, new: bool) -> None:
    """Settle how this connection writes; make a new file ours, and an old one new, in one transaction."""
    connection.execute("pragma page_size = 8192")
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    connection.execute("pragma wal_autocheckpoint = 1000")
    connection.execute("pragma secure_delete = on")  # what is erased must not stay in the free parts of pages
    version = 1 if new else int(connection.pragma("user_version"))
    if not new and version == SCHEMA_VERSION:
        return
    if not new:
        _copy_before(connection, path, version)
    with connection:
        if new:
            connection.execute(SQL["schema"])
            connection.execute(f"pragma application_id = {APPLICATION_ID}")
        for number in range(version + 1, SCHEMA_VERSION + 1):
            for file, name in ADDED_IN[number]:
                connection.execute(load_queries(file)[name])
        connection.execute(f"pragma user_version = {SCHEMA_VERSION}")


def _copy_before(connection: apsw.Connection, path: Path, version: int) -> None:
    """Copy the file as it is to `<name>.schema-<version>`, unless such a copy is there already."""
    copy = path.with_name(f"{path.name}.schema-{version}")
    if copy.exists():
        return
    unfinished = copy.with_name(f"{copy.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    target = apsw.Connection(str(unfinished))
    try:
        with target.backup("main", connection, "main") as backup:
            backup.step()
    finally:
        target.close()
    unfinished.rename(copy)


def close_connection(connection: apsw.Connection) -> None:
    """Close the connection. The checkpoint of the last one may fail: whoever opens the file next makes it."""
    with contextlib.suppress(apsw.Error):
        connection.close()


def unavailable(path: Path, error: apsw.Error) -> Unavailable:
    """Return what an error of SQLite means to people, and what to do about it."""
    if isinstance(error, apsw.FullError):
        return Unavailable(f"The disk that holds {path} is full; nothing was written. Free some space and go on.")
    if isinstance(error, apsw.ReadOnlyError):
        return Unavailable(f"{path} cannot be written: it, or its folder, is read-only. Nothing was changed.")
    if isinstance(error, apsw.CantOpenError):
        return Unavailable(f"{path} cannot be opened: is its folder there, and may you write to it? ({error})")
    if isinstance(error, apsw.BusyError):
        return Unavailable(f"Another process is writing to {path}; nothing was written. Wait for it, or stop it.")
    if isinstance(error, apsw.NotADBError):
        return Unavailable(f"{path} is not an SQLite database. Name another file.")
    return Unavailable(f"{path}: {error}. Nothing of this write was kept.")
