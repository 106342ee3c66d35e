"""Numbers of tokens as vendors report them: taken where they make sense, and not otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from headgate.llm.usage_reports import TOKENS_MAX

__all__ = ["detail", "tokens"]


def tokens(reported: Mapping[str, object], name: str) -> int | None:
    """Return a number of tokens, or None: it is not there, or no number of tokens."""
    value = reported.get(name)
    whole = isinstance(value, int) and not isinstance(value, bool)
    return cast("int", value) if whole and 0 <= cast("int", value) <= TOKENS_MAX else None


def detail(reported: Mapping[str, object], *path: str) -> int:
    """Return a number of tokens further down, 0 where it is not there."""
    *outer, name = path
    for step in outer:
        inner = reported.get(step)
        if not isinstance(inner, Mapping):
            return 0
        reported = cast("Mapping[str, object]", inner)
    return tokens(reported, name) or 0
