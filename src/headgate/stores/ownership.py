"""Who owns a database file: exactly one process, the one that holds the lock of `<database>.lock`.

The lock is the operating system's, so it dies with its process, however that ends: a lock file without a living owner
is no obstacle, and is never removed (removing it would let two processes hold two files of the same name). In the file
stands who the owner is and where it answers; after a crash that is stale, which whoever connects finds out.

The lock is taken before the writer opens the database and given back after it has closed.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

import msgspec

from headgate.core.errors import Unavailable

__all__ = ["STATE_FOLDER", "Owned", "Owner", "Ownership", "owner_of", "state_folder"]

STATE_FOLDER = ".headgate"

RECORD_BYTES_MAX = 4_096
LOCKED_BYTE = 1 << 30
"""Windows locks ranges, and keeps readers out of them: one byte far behind the record is locked."""


class Owned(Unavailable):
    """Another process owns the database."""

    code = "owned"


class Owner(msgspec.Struct, frozen=True):
    """What the lock file says: the owner's process, and the address of its control socket once it listens."""

    pid: int
    address: str = ""


class Ownership:
    """The lock of one database. Released by `release`, by leaving the `with` block, or by the process's end."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def take(cls, database: Path) -> Self:
        """Take the lock at once. Raises `Owned` when another process has it, `Unavailable` when the folder cannot be
        written. The same process can take it only once, too."""
        path = _lock_path(database)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
        except OSError as error:
            raise _unwritable(path, error) from error
        try:
            _lock(descriptor)
        except BlockingIOError:
            os.close(descriptor)
            raise Owned(_owned(database)) from None
        except OSError as error:
            os.close(descriptor)
            raise _unwritable(path, error) from error
        ownership = cls(path, descriptor)
        try:
            ownership.announce("")
        except Unavailable:
            ownership.release()
            raise
        return ownership

    def announce(self, address: str) -> None:
        """Write down who owns the database and where it answers. A later call replaces an earlier one."""
        try:
            self._write(msgspec.json.encode(Owner(os.getpid(), address)))
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def release(self) -> None:
        """Give the lock back. A second call does nothing."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        try:
            with suppress(OSError):  # what is left in the file is stale, which every reader expects
                os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _write(self, record: bytes) -> None:
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, record)


def owner_of(database: Path) -> Owner | None:
    """Return what the last owner wrote down. It may be dead: only a connection, or `Ownership.take`, shows that."""
    try:
        with _lock_path(database).open("rb") as file:
            return msgspec.json.decode(file.read(RECORD_BYTES_MAX), type=Owner)
    except (OSError, msgspec.MsgspecError):
        return None


def _lock_path(database: Path) -> Path:
    resolved = database.resolve()
    return resolved.with_name(f"{resolved.name}.lock")


def _owned(database: Path) -> str:
    owner = owner_of(database)
    who = f"process {owner.pid}" if owner else "another process"
    return f"{database} is owned by {who}. One process at a time may write to it; end that one, or use another --db."


def _unwritable(path: Path, error: OSError) -> Unavailable:
    return Unavailable(
        f"{path} cannot be locked: {error.strerror or error}. Is its folder there, may you write to it, and is there "
        "room on its disk? Nothing was changed."
    )


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError from error

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def state_folder(database: Path) -> Path:
    """Return where that which belongs to a database lies beside it: its state folder, or one of its own name."""
    folder = database.absolute().parent
    return folder if folder.name == STATE_FOLDER else folder / f"{database.name}-state"
