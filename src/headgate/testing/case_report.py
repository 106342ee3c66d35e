"""How a failed case reads: a line for each thing that is different, then what was expected and what came."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from headgate.testing.cases import CaseResult, Mismatch

__all__ = ["mismatch_form", "mismatch_lines", "result_lines"]

VALUE_SHOWN_MAX = 2_000


def result_lines(result: CaseResult) -> Iterator[str]:
    """Yield the lines that tell why a case failed; none for one that passed."""
    for mismatch in result.mismatches:
        yield from mismatch_lines(mismatch)


def mismatch_lines(mismatch: Mismatch) -> Iterator[str]:
    yield f"{mismatch.where}: {mismatch.message}"
    if mismatch.expected is not msgspec.UNSET:
        yield from _value("  expected  ", mismatch.expected)
    if mismatch.got is not msgspec.UNSET:
        yield from _value("  got       ", mismatch.got)


def mismatch_form(mismatch: Mismatch) -> dict[str, Any]:
    """Return a mismatch as `--json` prints it."""
    form: dict[str, Any] = {"where": mismatch.where, "message": mismatch.message}
    for name in ("expected", "got"):
        if (value := getattr(mismatch, name)) is not msgspec.UNSET:
            form[name] = value
    return form


def _value(before: str, value: Any) -> Iterator[str]:
    text = value if isinstance(value, str) and "\n" in value else msgspec.json.encode(value).decode()
    if len(text) > VALUE_SHOWN_MAX:
        text = f"{text[:VALUE_SHOWN_MAX]}…"
    first, *rest = text.split("\n")
    yield f"{before}{first}"
    yield from (f"{' ' * len(before)}{line}" for line in rest)
