"""Files that travel through runs as small maps: their bytes lie in the state folder, by the hash of their content.

A file value is `{"$file": "<sha256>", "name", "size", "media_type"}`, its bytes are at `files/ab/<sha256>`. Keeping the
same bytes twice keeps them once. A file is there, whole and synced, before anybody is given its value.
"""

from __future__ import annotations

import hashlib
import mimetypes
import os
import secrets
from pathlib import Path
from typing import Any

__all__ = ["FolderFiles"]

TEXT_BYTES_MAX = 10 * 1024 * 1024
"""Larger files do not become text by themselves where a template uses them."""


class FolderFiles:
    """`ports.Files` in one state folder, which is made with the first file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "files"

    def keep(self, data: bytes, name: str, media_type: str = "") -> dict[str, Any]:
        """Keep the bytes; return their file value. Blocks on the disk. Raises `OSError`."""
        digest = hashlib.sha256(data).hexdigest()
        path = self._path(digest)
        if path.exists():
            os.utime(path)  # young again: nobody may remove it before the value is recorded
        else:
            _write_whole(path, data)
        return {
            "$file": digest,
            "name": Path(name).name or digest[:12],
            "size": len(data),
            "media_type": media_type or mimetypes.guess_type(name)[0] or _guessed(data),
        }

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

    def _path(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest


def _digest_of(value: dict[str, Any]) -> str:
    digest = value.get("$file")
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


def _guessed(data: bytes) -> str:
    try:
        data[:4096].decode()
    except UnicodeDecodeError as error:
        return "application/octet-stream" if error.start < len(data[:4096]) - 4 else "text/plain"
    return "text/plain"
