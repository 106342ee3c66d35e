"""Files that travel through runs."""

from __future__ import annotations

from typing import Any, BinaryIO, Protocol

__all__ = ["FileBeingKept", "Files"]


class FileBeingKept(Protocol):
    """A file that comes in parts. Every call blocks on the disk and may raise `OSError`; end it with one of the two."""

    def write(self, data: bytes) -> None: ...

    def finish(self) -> dict[str, Any]:
        """Keep what was written, durably; return its file value."""
        ...

    def discard(self) -> None:
        """Keep nothing. After `finish` it does nothing."""
        ...


class Files(Protocol):
    """Files that travel through runs as file values, `{"$file": sha256, "name", "size", "media_type"}`.

    Each tenant has files of its own: a value names nothing among another's, also where the bytes are the same. What has
    not been asked for with `of` are the default tenant's.
    """

    def of(self, tenant: str) -> Files:
        """Return the files of a tenant."""
        ...

    def keep(self, data: bytes, name: str, media_type: str = "") -> dict[str, Any]:
        """Keep the bytes durably; return their file value. The same bytes again are kept once. Raises `OSError`."""
        ...

    def begin(self, name: str, media_type: str = "") -> FileBeingKept:
        """Begin to keep a file that comes in parts. Raises `OSError`."""
        ...

    def open(self, value: dict[str, Any]) -> BinaryIO:
        """Open the file for reading. Raises as `read` does."""
        ...

    def size(self, value: dict[str, Any]) -> int:
        """Return how many bytes there are. Raises as `read` does."""
        ...

    def read(self, value: dict[str, Any]) -> bytes:
        """Return the bytes. Raises `OSError`; `ValueError` for a value that names no file."""
        ...

    def text(self, value: dict[str, Any]) -> str | None:
        """Return the file's text, or None: it is not text, too large, or not there."""
        ...
