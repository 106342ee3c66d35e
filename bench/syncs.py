"""A VFS shim that counts the syncs SQLite asks the disk for, and changes nothing else."""

from __future__ import annotations

import apsw

__all__ = ["SyncCounter"]

VFS_NAME = "headgate-bench-syncs"


class _CountedFile(apsw.VFSFile):
    def __init__(self, counter: SyncCounter, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._counter = counter

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self._counter.syncs += 1


class SyncCounter(apsw.VFS):
    """Register by making one; open a database with `vfs=counter.name`. `syncs` counts those that succeeded."""

    def __init__(self) -> None:
        self.name = VFS_NAME
        self.syncs = 0
        super().__init__(VFS_NAME, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return _CountedFile(self, name, flags)
