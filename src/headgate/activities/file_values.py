"""File values: files that travel through a run as a small map, while their bytes lie in the state folder.

A file value is `{"$file": "<sha256 hex>", "name", "size", "media_type"}`; its bytes are at
`<folder>/files/<first two hex digits>/<sha256>`. The key is checked before it becomes a path, so that no map that
somebody sends in leads out of the folder.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeGuard

from headgate.core.errors import Invalid
from headgate.core.values import FILE_MARK

__all__ = ["is_file_value", "path_of"]

_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_file_value(value: object) -> TypeGuard[dict[str, Any]]:
    """Return whether `value` is a map that names a file by its digest, well formed or not."""
    return isinstance(value, dict) and FILE_MARK in value


def path_of(folder: Path, value: dict[str, Any]) -> Path:
    """Return where the bytes of a file value lie under the state folder; they may be missing there.

    Raises `Invalid` for a key that is not 64 lower-case hexadecimal digits.
    """
    key = value.get(FILE_MARK)
    if not isinstance(key, str) or not _SHA256.fullmatch(key):
        shown = key if isinstance(key, str) and len(key) <= 80 else type(key).__name__
        raise Invalid(f"expected a file value's {FILE_MARK} to be 64 hexadecimal digits (a SHA-256), got {shown!r}")
    return folder / "files" / key[:2] / key
