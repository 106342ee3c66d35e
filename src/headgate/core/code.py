"""One error code as it is explained to people."""

from __future__ import annotations

import msgspec

__all__ = ["Code", "codes_of"]


class Code(msgspec.Struct, frozen=True):
    """A code. `kind` is the branch of a command's error (`Invalid`, `Refused`, `Unavailable`), or what of an activity
    failed (`activity`, `model`, `http`, `data`). `again`: whether a further attempt is made where the definition allows
    one; empty for errors of commands."""

    name: str
    kind: str
    again: str
    means: str
    advice: str


def codes_of(kind: str, again: str, *entries: tuple[str, str, str]) -> tuple[Code, ...]:
    """Return the codes of a kind, each given by its name, what it means, and advice."""
    return tuple(Code(name, kind, again, means, advice) for name, means, advice in entries)
