"""Files that travel through runs."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Files"]


class Files(Protocol):
    """Files that travel through runs as file values, `{"$file": sha256, "name", "size", "media_type"}`."""

    def keep(self, data: bytes, name: str, media_type: str = "") -> dict[str, Any]:
        """Keep the bytes durably; return their file value. The same bytes again are kept once. Raises `OSError`."""
        ...

    def read(self, value: dict[str, Any]) -> bytes:
        """Return the bytes. Raises `OSError`; `ValueError` for a value that names no file."""
        ...

    def text(self, value: dict[str, Any]) -> str | None:
        """Return the file's text, or None: it is not text, too large, or not there."""
        ...
