"""Named SQL: `-- name: purpose` stands before each statement of a `.sql` file that comes with the package."""

from __future__ import annotations

import re
from importlib.resources import files

__all__ = ["named_sql"]

NAME = re.compile(r"^-- (\w+):.*$", re.MULTILINE)


def named_sql(package: str, file_name: str) -> dict[str, str]:
    """Return the statements of a file of a package by name."""
    text = files(package).joinpath(file_name).read_text(encoding="utf-8")
    parts = NAME.split(text)
    return {name: body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}
