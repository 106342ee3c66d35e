"""What the database activities share: how they refuse, and rows as JSON objects within bounds."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from typing import Any

from headgate.ports import Attempt

__all__ = ["BYTES_MAX", "ROWS_MAX", "as_base64", "as_json_float", "objects", "query_failed"]

ROWS_MAX = 100_000
BYTES_MAX = 32 * 1024 * 1024
"""A result beyond either fails: ask for less, or page through it."""


def query_failed(activity: str, message: str, *, retryable: bool = False) -> Attempt:
    """Return the failure of a statement that the database refused; nothing of it was kept."""
    return Attempt.failed("query_failed", f"{activity}: {message}", retryable=retryable)


def objects(activity: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
    """Return rows as objects. Raises `query_failed` for columns of one name, `result_too_large` beyond the bounds."""
    twice = sorted({name for name in columns if list(columns).count(name) > 1})
    if twice:
        raise query_failed(activity, f"two columns are called {twice[0]!r}: give one another name with `as`.")
    found: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        found.append(dict(zip(columns, row, strict=True)))
        size += sum(len(value) if isinstance(value, str) else 16 for value in row)
        if len(found) > ROWS_MAX or size > BYTES_MAX:
            bound = f"{ROWS_MAX:,} rows or {BYTES_MAX >> 20} MiB"
            message = f"{activity}: the result is larger than {bound}: add a limit, or page through it."
            raise Attempt.failed("result_too_large", message, retryable=False)
    return found


def as_json_float(value: float) -> float | str:
    """Return a float as JSON holds it; what JSON lacks is text: `NaN`, `Infinity`, `-Infinity`."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def as_base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
