"""The files that activities keep by their content: `files/ab/<sha256>…` and `frames/ab/<sha256>…` in the state folder,
and in the folders of tenants within it.

A file is kept as long as the content of some run names its digest. One that was written within the last day is kept in
any case, for the activity that wrote it may not have reported yet; whoever keeps a file that is there already makes it
young again (`os.utime`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from headgate.ports import TENANT_FOLDERS

__all__ = ["KEPT_FOLDERS", "KeptFiles", "digests_in", "state_folders"]

KEPT_FOLDERS = ("files", "frames")
FILES_MAX = 200_000
"""Looked at in one sweep; the next one finds the rest when these are gone."""

DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
NAME = re.compile(r"[0-9a-f]{64}(?![0-9a-f])")


def state_folders(folder: Path) -> list[Path]:
    """Return the state folder, which is the default tenant's, and those of the other tenants within it."""
    return [folder, *sorted(folder.glob(TENANT_FOLDERS))]


def digests_in(content: bytes) -> set[str]:
    """Return everything in a content that has the form of a SHA-256 digest."""
    return {found.decode() for found in DIGEST.findall(content)}


class KeptFiles:
    """The kept files under one state folder, which need not exist. Blocks on the disk: call it from a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def any(self) -> bool:
        return any((part / name).is_dir() for part in state_folders(self._folder) for name in KEPT_FOLDERS)

    def older_than(self, before: int, only: Sequence[str] | None = None) -> set[str]:
        """Return the digests of files last written before `before` (microseconds); of `only`, where they are given."""
        wanted = None if only is None else set(only)
        return {
            digest
            for digest, entry in self._walk()
            if (wanted is None or digest in wanted) and _written(entry) < before
        }

    def remove(self, digests: set[str], before: int) -> int:
        """Remove the files of these digests, but for those that were written again meanwhile; return how many."""
        removed = 0
        for digest, entry in list(self._walk()):
            if digest in digests and _written(entry) < before:
                with suppress(OSError):
                    entry.unlink()
                    removed += 1
        return removed

    def _walk(self) -> Iterator[tuple[str, Path]]:
        paths = (
            path
            for part in state_folders(self._folder)
            for kind in KEPT_FOLDERS
            for folder in _entries(part / kind)
            for path in _entries(folder)
        )
        for path in islice(paths, FILES_MAX):
            if found := NAME.match(path.name):
                yield found[0], path


def _entries(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if len(entry.name) == 2 or entry.is_file())
    except OSError:  # it is not there, or no folder
        return []


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns // 1_000
    except OSError:
        return 1 << 62  # gone already
