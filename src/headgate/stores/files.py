"""Files that travel through runs as small maps: their bytes lie in the state folder, by the hash of their content.
Those of a tenant lie in its own part of it.

A file value is `{"$file": "<sha256>", "name", "size", "media_type"}`, its bytes are at `files/ab/<sha256>`. Keeping the
same bytes twice keeps them once. A file is there, whole and synced, before anybody is given its value.
"""

from __future__ import annotations

import hashlib
import mimetypes
import os
import secrets
from pathlib import Path
from typing import Any, BinaryIO

from headgate.core.values import FILE_MARK
from headgate.ports import state_folder_of

__all__ = ["FolderFiles"]

GUESSED_BY_BYTES = 4096
TEXT_BYTES_MAX = 10 * 1024 * 1024
"""Larger files do not become text by themselves where a template uses them."""


class FolderFiles:
    """`ports.Files` in one state folder, which is made with the first file."""

    def __init__(self, folder: Path) -> None:
        self._state_folder = folder
        self._folder = folder / "files"

    def of(self, tenant: str) -> FolderFiles:
        """Return the files of a tenant; to be asked of those of the whole state folder."""
        return FolderFiles(state_folder_of(self._state_folder, tenant))

    def keep(self, data: bytes, name: str, media_type: str = "") -> dict[str, Any]:
        """Keep the bytes; return their file value. Blocks on the disk. Raises `OSError`."""
        digest = hashlib.sha256(data).hexdigest()
        path = self._path(digest)
        if path.exists():
            os.utime(path)  # young again: nobody may remove it before the value is recorded
        else:
            _write_whole(path, data)
        return _value(digest, name, len(data), media_type, data[:GUESSED_BY_BYTES])

    def begin(self, name: str, media_type: str = "") -> _Unfinished:
        """Begin to keep a file that comes in parts. Blocks on the disk. Raises `OSError`."""
        return _Unfinished(self._folder, name, media_type)

    def open(self, value: dict[str, Any]) -> BinaryIO:
        """Open the file of a file value. Raises as `read` does."""
        return self._path(_digest_of(value)).open("rb")

    def read(self, value: dict[str, Any]) -> bytes:
        """Return the bytes of a file value. Raises `OSError`, `ValueError` for a value that names no file."""
        return self._path(_digest_of(value)).read_bytes()

    def text(self, value: dict[str, Any]) -> str | None:
        """Return the file's text, or None: it is not text, too large, or not there (any more)."""
        try:
            path = self._path(_digest_of(value))
            return path.read_bytes().decode() if path.stat().st_size <= TEXT_BYTES_MAX else None
        except (OSError, ValueError):
            return None

    def size(self, value: dict[str, Any]) -> int:
        """Return how many bytes there are. Raises as `read` does."""
        return self._path(_digest_of(value)).stat().st_size

    def _path(self, digest: str) -> Path:
        return _path(self._folder, digest)


class _Unfinished:
    """`ports.FileBeingKept`, under a name that no digest has until it is whole."""

    def __init__(self, folder: Path, name: str, media_type: str) -> None:
        self._folder = folder
        self._name = name
        self._media_type = media_type
        self._digest = hashlib.sha256()
        self._size = 0
        self._beginning = b""
        # It looks like a file that is kept: what a crash leaves of it is swept away like one that no run names.
        self._path = _path(folder, secrets.token_hex(32)).with_suffix(".unfinished")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("xb")

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._size += len(data)
        if len(self._beginning) < GUESSED_BY_BYTES:
            self._beginning += data[: GUESSED_BY_BYTES - len(self._beginning)]

    def finish(self) -> dict[str, Any]:
        digest = self._digest.hexdigest()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        path = _path(self._folder, digest)
        path.parent.mkdir(exist_ok=True)
        self._path.replace(path)
        return _value(digest, self._name, self._size, self._media_type, self._beginning)

    def discard(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)


def _path(folder: Path, digest: str) -> Path:
    return folder / digest[:2] / digest


def _value(digest: str, name: str, size: int, media_type: str, beginning: bytes) -> dict[str, Any]:
    return {
        FILE_MARK: digest,
        "name": Path(name).name or digest[:12],
        "size": size,
        "media_type": media_type or mimetypes.guess_type(name)[0] or _guessed(beginning),
    }


def _digest_of(value: dict[str, Any]) -> str:
    digest = value.get(FILE_MARK)
    if not isinstance(digest, str) or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise ValueError("a file value's $file is 64 hexadecimal digits")
    return digest


def _write_whole(path: Path, data: bytes) -> None:
    """Write under another name, sync, then rename: a crash leaves the whole file or none of this name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}.unfinished")
    with unfinished.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _guessed(beginning: bytes) -> str:
    try:
        beginning.decode()
    except UnicodeDecodeError as error:
        return "application/octet-stream" if error.start < len(beginning) - 4 else "text/plain"
    return "text/plain"
