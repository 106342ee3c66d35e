"""A copy of a database while its owner writes, and the way back.

The copy is what the database was at one moment: SQLite's backup is made from within one read transaction, so however
long it takes it neither begins anew nor sees half of anything. It goes page by page into `<name>.unfinished`, which
gets its name when it is whole and on the disk. What activities keep lies beside it, in `<name>-state`: files by
content, which never change, so that copying them after the database is enough; and databases of their own, each as it
was at one moment, a little later than the log's.

Restoring moves: first the copy is made beside the database, then the old database steps aside, then the copy takes its
name. A crash between the last two leaves no database, and both of its neighbours; restoring again mends that.
"""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import apsw
import msgspec

from headgate.core.errors import Refused, Unavailable
from headgate.stores.kept_files import KEPT_FOLDERS, state_folders
from headgate.stores.ownership import state_folder
from headgate.stores.sqlite_file import BUSY_MILLISECONDS_MAX, close_connection, open_to_read, unavailable

__all__ = ["BackedUp", "back_up", "check_backup", "copy_state", "files_beside", "put_in_place"]

KEPT_DATABASES = ("conversations.db", "collections/*.db")
"""What activities keep in the state folder, and in those of tenants, in databases of their own."""

PAGES_PER_STEP = 256
"""Two megabytes; between two steps others may have the disk."""
FAULTS_SHOWN_MAX = 3


class BackedUp(msgspec.Struct, frozen=True):
    """What was copied: bytes of the database, and how many kept files."""

    bytes: int
    files: int


def back_up(database: Path, target: Path, folder: Path) -> BackedUp:
    """Copy `database`, and the kept files of `folder`, to `target` and `<target>-state`. Needs no ownership.

    Raises `Refused` where `target` is there already, `Unavailable` for what the disk says. What an interrupted call
    left, the next one replaces.
    """
    if target.exists():
        raise Refused(f"{target} is there already; nothing was written. Name another file.")
    try:
        copied = _copy(database, target)
        return BackedUp(copied, _copy_kept(folder, files_beside(target)))
    except apsw.Error as error:
        raise unavailable(target, error) from error
    except OSError as error:
        raise Unavailable(f"{target} cannot be written: {error.strerror or error}.") from error


def copy_state(folder: Path, target: Path) -> int:
    """Copy what activities keep in a state folder to another; return how many files. What an earlier call has copied
    already stays. Raises `Refused` where there is another database of the same name, `Unavailable`."""
    try:
        for file in _kept_databases(folder):
            there = target / file.relative_to(folder)
            if there.exists() and not _is_copy(file, there):
                raise Refused(f"{there} is there already, and {file} would take its place. Move one of them away.")
        return _copy_kept(folder, target)
    except apsw.Error as error:
        raise unavailable(target, error) from error
    except OSError as error:
        raise Unavailable(f"{target} cannot be written: {error.strerror or error}.") from error


def check_backup(file: Path) -> None:
    """Read the file through. Raises `Refused` for one that is not ours, is of a later release, or is damaged."""
    if not file.is_file():
        raise Refused(f"There is no file {file} to restore.")
    try:
        connection = open_to_read(file)
        try:
            said = [str(row[0]) for row in connection.execute(f"pragma integrity_check({FAULTS_SHOWN_MAX})")]
        finally:
            close_connection(connection)
    except apsw.Error as error:
        raise Refused(f"{file} cannot be read as a database: {error}. Nothing was changed.") from error
    if said != ["ok"]:
        raise Refused(f"{file} is damaged: {'; '.join(said)}. Nothing was changed.")


def put_in_place(file: Path, database: Path) -> tuple[Path | None, int]:
    """Make a copy of `file` the database, and copy its kept files; the caller owns the database and has checked `file`.

    Return where the old database is now (None: there was none), and how many files were copied. Raises `Unavailable`.
    """
    try:
        new = database.with_name(f"{database.name}.restoring")
        new.unlink(missing_ok=True)
        _copy(file, new)
        files = _copy_files(files_beside(file), state_folder(database))
        _put_databases_in_place(files_beside(file), state_folder(database))
        aside = _step_aside(database)
        new.rename(database)
        _sync_folder(database.parent)
    except apsw.Error as error:
        raise unavailable(database, error) from error
    except OSError as error:
        raise Unavailable(f"{database} cannot be put in place: {error.strerror or error}.") from error
    return aside, files


def files_beside(backup: Path) -> Path:
    """Return where the kept files of a backup lie."""
    return backup.with_name(f"{backup.name}-state")


def _copy(source: Path, target: Path) -> int:
    """Copy a database, as it is now, to `target`; return its bytes."""
    unfinished = target.with_name(f"{target.name}.unfinished")
    for left in (unfinished, Path(f"{unfinished}-journal"), Path(f"{unfinished}-wal"), Path(f"{unfinished}-shm")):
        left.unlink(missing_ok=True)
    reader = apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READONLY)
    reader.set_busy_timeout(BUSY_MILLISECONDS_MAX)
    try:
        unfinished.touch(mode=source.stat().st_mode & 0o777)
        writer = apsw.Connection(str(unfinished))
        try:
            with reader:  # one read transaction: a writer's commits do not make the backup begin anew
                reader.execute("select 1 from sqlite_schema limit 1").fetchall()
                with writer.backup("main", reader, "main") as backup:
                    while not backup.done:
                        backup.step(PAGES_PER_STEP)
        finally:
            writer.close()
    finally:
        close_connection(reader)
    with unfinished.open("rb+") as file:
        os.fsync(file.fileno())
    unfinished.rename(target)
    _sync_folder(target.parent)
    return target.stat().st_size


def _is_copy(source: Path, target: Path) -> bool:
    """Whether `target` is what `_copy` makes of `source` as it is now: copies of the same pages are the same bytes."""
    again = target.with_name(f"{target.name}.again")
    _copy(source, again)
    try:
        return filecmp.cmp(again, target, shallow=False)
    finally:
        again.unlink()


def _copy_kept(source: Path, target: Path) -> int:
    for file in _kept_databases(source):
        there = target / file.relative_to(source)
        there.parent.mkdir(parents=True, exist_ok=True)
        _copy(file, there)
    return _copy_files(source, target)


def _copy_files(source: Path, target: Path) -> int:
    """Copy the kept files that are not there yet; return how many."""
    copied = 0
    for file in _kept(source):
        there = target / file.relative_to(source)
        if there.exists():
            continue
        there.parent.mkdir(parents=True, exist_ok=True)
        unfinished = there.with_name(f"{there.name}.unfinished")
        try:
            shutil.copy2(file, unfinished)
        except FileNotFoundError:  # retention took it meanwhile: no run named it
            continue
        unfinished.rename(there)
        copied += 1
    return copied


def _put_databases_in_place(source: Path, target: Path) -> None:
    for file in _kept_databases(source):
        there = target / file.relative_to(source)
        there.parent.mkdir(parents=True, exist_ok=True)
        new = there.with_name(f"{there.name}.restoring")
        new.unlink(missing_ok=True)
        _copy(file, new)
        _step_aside(there)
        new.rename(there)


def _kept_databases(folder: Path) -> list[Path]:
    folders = state_folders(folder)
    found = (file for part in folders for pattern in KEPT_DATABASES for file in sorted(part.glob(pattern)))
    return [file for file in found if file.is_file()]


def _kept(folder: Path) -> Iterator[Path]:
    for part in state_folders(folder):
        for kind in KEPT_FOLDERS:
            yield from (path for path in sorted((part / kind).rglob("*")) if path.is_file())


def _step_aside(database: Path) -> Path | None:
    if not database.exists():
        return None
    at = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
    aside = database.with_name(f"{database.name}.before-{at}")
    wal = Path(f"{database}-wal")
    database.rename(aside)
    if wal.exists():
        wal.rename(Path(f"{aside}-wal"))
    Path(f"{database}-shm").unlink(missing_ok=True)
    return aside


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
