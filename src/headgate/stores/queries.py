"""Named SQL, read from a `.sql` file beside the module: `-- name: purpose` before each statement."""

from __future__ import annotations

import re
from importlib.resources import files

__all__ = ["load_queries"]

NAME = re.compile(r"^-- (\w+):.*$", re.MULTILINE)


def load_queries(file_name: str) -> dict[str, str]:
    """Return the statements of `file_name` by name."""
    text = files("headgate.stores").joinpath(file_name).read_text(encoding="utf-8")
    parts = NAME.split(text)
    return {name: body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}
