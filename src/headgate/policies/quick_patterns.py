"""Patterns written so that `re` finds them fast: so that it sees with which characters they can begin.

Where each way through a pattern begins with a plain character, `re` skips to the next of these. Where one begins with
`\\b`, or an alternative with a group, it tries the pattern at each place, and that takes several times as long. So
`\\b(?:send|mail) it|all` is written as `send(?<!\\w....) it|mail(?<!\\w....) it|all`: the same matches, in the same
order. A pattern that this cannot be done with stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

__all__ = ["quick", "quickly"]

BORDER = r"\b"
GROUP = "(?:"
QUANTIFIERS = ("?", "*", "+", "{")
SPECIAL = frozenset(".^$*+?{}[]\\|()")
PART = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", re.DOTALL)
"""What a pattern is made of: an escape, a class, a bracket, a character."""


def quick(pattern: str) -> re.Pattern[str]:
    """Return the pattern, compiled, with its beginnings in sight."""
    return re.compile(quickly(pattern))


def quickly(pattern: str) -> str:
    """Return the pattern with its beginnings in sight; as it is where they cannot be brought there."""
    begun = pattern.removeprefix(BORDER)
    if begun.startswith(GROUP):
        within, rest = _group(begun)
        if not rest.startswith(QUANTIFIERS) and len(list(_alternatives(rest))) == 1:
            ways = _ways(within, at_border=begun != pattern)
            return pattern if ways is None else f"(?:{_either(ways)}){rest}"
    ways = _ways(pattern, at_border=False)
    return pattern if ways is None else _either(ways)


class _Way(NamedTuple):
    """An alternative: the character that it begins with, and what follows."""

    first: str
    rest: str


def _either(ways: Iterable[_Way]) -> str:
    """Return a pattern of the alternatives, those together that begin alike: no others compete with each other."""
    alike: dict[str, list[str]] = {}
    for way in ways:
        alike.setdefault(way.first, []).append(way.rest)
    return "|".join(
        first + (rests[0] if len(rests) == 1 else f"(?:{'|'.join(rests)})") for first, rests in alike.items()
    )


def _ways(pattern: str, *, at_border: bool) -> list[_Way] | None:
    """Return the alternatives, taken apart until each begins with a plain character. None: there is one that cannot."""
    found: list[_Way] = []
    for alternative in _alternatives(pattern):
        ways = _ways_of_one(alternative, at_border=at_border)
        if ways is None:
            return None
        found += ways
    return found


def _ways_of_one(alternative: str, *, at_border: bool) -> list[_Way] | None:
    if alternative.startswith(BORDER):
        return _ways_of_one(alternative.removeprefix(BORDER), at_border=True)
    if alternative.startswith(GROUP):
        within, rest = _group(alternative)
        ways = None if rest.startswith(QUANTIFIERS) else _ways(within, at_border=at_border)
        return None if ways is None else [way._replace(rest=way.rest + rest) for way in ways]
    first, rest = alternative[:1], alternative[1:]
    if not first or first in SPECIAL or rest.startswith(QUANTIFIERS):
        return None
    if not at_border:
        return [_Way(first, rest)]
    return [_Way(first, _begins_a_word(first, rest))] if first.isalnum() else None


def _begins_a_word(first: str, rest: str) -> str:
    """Return the rest of an alternative, where that may match only if its first character is the first of a word: it
    is looked at what stands before that when all that is plain has matched."""
    plain = next((at for at, character in enumerate(rest) if character in SPECIAL), len(rest))
    if plain and rest[plain:].startswith(QUANTIFIERS):
        plain -= 1
    return f"{rest[:plain]}(?<!\\w{'.' * (len(first) + plain)}){rest[plain:]}"


def _alternatives(pattern: str) -> Iterator[str]:
    """Yield what stands between the `|` that are in no group."""
    depth = begin = 0
    for part in PART.finditer(pattern):
        depth += (part[0] == "(") - (part[0] == ")")
        if part[0] == "|" and not depth:
            yield pattern[begin : part.start()]
            begin = part.end()
    yield pattern[begin:]


def _group(pattern: str) -> tuple[str, str]:
    """Return what is in the group that a pattern begins with, and what follows it."""
    depth = 0
    for part in PART.finditer(pattern):
        depth += (part[0] == "(") - (part[0] == ")")
        if not depth:
            return pattern[len(GROUP) : part.start()], pattern[part.end() :]
    raise AssertionError(f"unbalanced: {pattern!r}")
