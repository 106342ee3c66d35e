"""Disks for tests: SQLite file systems (VFS) that count what is synced, and that lose power.

Both stand on the default file system and pass everything on to it; a log is opened upon one by its name:
`SqliteLog(path, vfs=disk.name)`. `close` takes the name back, after the last file is closed.

What power loss does to a file here is what it may do to a real one. Bytes are safe once the file was synced. Of what
was written since, each write may have reached the plate or not, in any order, and one may have reached it in part. So
nothing may be believed but the last sync, and the file is given back as the worst of many possible worlds, by the
seed. Not modelled: a disk that lies about a sync, and a file whose creation or removal is undone.
"""

from __future__ import annotations

import itertools
import os
import random
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import apsw

__all__ = ["CountingVfs", "PowerLossVfs"]

SECTOR_BYTES = 512

_sync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)
_numbers = itertools.count(1)


class _Vfs(apsw.VFS):
    """The default file system under a name of its own."""

    def __init__(self, kind: str) -> None:
        self.name = f"headgate-{kind}-{next(_numbers)}"
        super().__init__(self.name, "")

    def close(self) -> None:
        """Take the name back: no file can be opened on this disk any more. A second call does nothing."""
        if self.name:
            self.unregister()
            self.name = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _path(name: str | apsw.URIFilename | None) -> str:
    return name.filename() if isinstance(name, apsw.URIFilename) else name or ""


# --- Counting --------------------------------------------------------------------------------------------


class CountingVfs(_Vfs):
    """Counts the syncs of each file: `syncs["/path/x.db-wal"]`."""

    def __init__(self) -> None:
        super().__init__("counting")
        self.syncs: Counter[str] = Counter()

    @property
    def total(self) -> int:
        return self.syncs.total()

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return _CountedFile(self, name, flags)


class _CountedFile(apsw.VFSFile):
    """A file whose syncs are counted.

    A VFS in Python holds the interpreter lock while the disk is busy, so that a measurement on it would measure that.
    Every sync of a WAL but the first (which also syncs the folder) is therefore made through a descriptor of our own;
    other files must not have one, for closing it would take SQLite's locks on them away.
    """

    def __init__(self, vfs: CountingVfs, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._vfs = vfs
        self._path = _path(name)
        self._is_wal = bool(flags[0] & apsw.SQLITE_OPEN_WAL)
        self._descriptor: int | None = None

    def xSync(self, flags: int) -> None:
        if self._descriptor is None:
            super().xSync(flags)
            if self._is_wal:
                self._descriptor = os.open(self._path, os.O_RDWR)
        else:
            _sync(self._descriptor)
        self._vfs.syncs[self._path] += 1

    def xClose(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        super().xClose()


# --- Losing power ----------------------------------------------------------------------------------------


class PowerLossVfs(_Vfs):
    """Loses power in the middle of the `fail_at`th write, sync or truncation (or when told to), and stays dark.

    While it is dark no file is changed: what would be written fails. When its connections are closed, `restore` writes
    the files as they are found after the power is back; then any other VFS may open them.
    """

    def __init__(self, seed: int, *, fail_at: int | None = None) -> None:
        super().__init__("power-loss")
        self._chance = random.Random(seed)  # noqa: S311 - repeatable is the point
        self._fail_at = fail_at
        self._lock = threading.Lock()
        self._plates: dict[str, _Plate] = {}
        self.operations = 0
        """Writes, syncs and truncations so far."""
        self.dark = False

    def lose_power(self) -> None:
        self.dark = True

    def restore(self) -> list[str]:
        """Bring the power back: write each file as its plate has it, and return what was lost of each, in words."""
        self.dark = True
        lost: list[str] = []
        for path, plate in self._plates.items():
            wal_index = Path(path.removesuffix("-wal") + "-shm")
            wal_index.unlink(missing_ok=True)  # it was in memory only
            lost += [f"{Path(path).name}: {what}" for what in plate.fall(self._chance)]
            Path(path).write_bytes(plate.safe)
        return lost

    def excepthook(
        self, etype: type[BaseException] | None, evalue: BaseException | None, etraceback: TracebackType | None
    ) -> bool:
        """SQLite learns of a failure by its result code; nobody else need."""
        return True

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        path = _path(name)
        if path and path not in self._plates:
            there = Path(path)
            self._plates[path] = _Plate(there.read_bytes() if there.exists() else b"")
        return _PoweredFile(self, self._plates.get(path) or _Plate(b""), name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        with self._lock:
            if not self.dark:
                super().xDelete(filename, syncdir)
                self._plates.pop(filename, None)

    def do(self, plate: _Plate, change: _Change) -> None:
        """Make one change to a plate, unless this is the moment when the power goes, or it has gone."""
        with self._lock:
            self._refuse_in_the_dark()
            self.operations += 1
            if self.operations == self._fail_at:
                self.dark = True
                if change is not _SYNC:
                    plate.pending.append(change)  # it was on its way, and may arrive
                self._refuse_in_the_dark()
            if change is _SYNC:
                plate.sync()
            else:
                plate.pending.append(change)

    def _refuse_in_the_dark(self) -> None:
        if self.dark:
            raise apsw.IOError("The power is off.")


_Change = tuple[int, bytes | None]
"""Bytes at a place; None: the file ends there from now on."""

_SYNC: _Change = (-1, None)


class _Plate:
    """What is safe of one file, and what was written since."""

    def __init__(self, safe: bytes) -> None:
        self.safe = bytearray(safe)
        self.pending: list[_Change] = []

    def sync(self) -> None:
        for change in self.pending:
            self._apply(change)
        self.pending.clear()

    def fall(self, chance: random.Random) -> list[str]:
        """Let the power go: what is pending arrives by chance, or in part, or not at all."""
        if not self.pending:
            return []
        arrived = chance.choice((0.0, 0.5, 0.9))
        lost: list[str] = []
        torn = chance.randrange(2 * len(self.pending))  # every other time, none
        for number, (place, data) in enumerate(self.pending):
            if number == torn and data is not None and len(data) > SECTOR_BYTES:
                part = data[: SECTOR_BYTES * chance.randrange(1, -(-len(data) // SECTOR_BYTES))]
                self._apply((place, part))
                lost.append(f"{len(data) - len(part)} of {len(data)} bytes at {place}")
            elif chance.random() < arrived:
                self._apply((place, data))
            else:
                lost.append(f"{len(data)} bytes at {place}" if data is not None else f"its end at {place}")
        self.pending.clear()
        return lost

    def _apply(self, change: _Change) -> None:
        place, data = change
        if data is None:
            del self.safe[place:]
            return
        self.safe.extend(bytes(max(0, place - len(self.safe))))
        self.safe[place : place + len(data)] = data


class _PoweredFile(apsw.VFSFile):
    def __init__(self, vfs: PowerLossVfs, plate: _Plate, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._vfs = vfs
        self._plate = plate

    def excepthook(
        self, etype: type[BaseException] | None, evalue: BaseException | None, etraceback: TracebackType | None
    ) -> bool:
        """As the disk's."""
        return True

    def xWrite(self, data: bytes, offset: int) -> None:
        self._vfs.do(self._plate, (offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        self._vfs.do(self._plate, (newsize, None))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        self._vfs.do(self._plate, _SYNC)
