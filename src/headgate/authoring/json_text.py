"""JSON as values with places: the standard library's scanner for strings, and our own bookkeeping of
positions.

YAML's parsers do not read all of JSON (surrogate pairs, tabs, long keys), and JSON's do not say where a
value stands.
"""

from __future__ import annotations

import math
import re
from json import JSONDecodeError
from json.decoder import scanstring  # pyright: ignore[reportAttributeAccessIssue]  # public, but not in typeshed
from typing import NoReturn

from headgate.authoring.document import (
    DEPTH_MAX,
    Entry,
    Listing,
    Mapping,
    Node,
    Scalar,
    Unreadable,
    line_and_column,
)
from headgate.core.errors import Problem

__all__ = ["read_json"]

SPACE = re.compile(r"[ \t\n\r]*")
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
WORD = re.compile(r"true|false|null")
WORDS = {"true": True, "false": False, "null": None}
INTEGER_DIGITS_MAX = 20


def read_json(text: str) -> tuple[Node, list[Problem]]:
    """Return the document, and the duplicate keys and other faults in it. Raises `Unreadable` if it is not
    JSON."""
    reader = _Reader(text)
    return reader.document(), reader.problems


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._line_start = 0
        self._counted = 0
        self.problems: list[Problem] = []

    def document(self) -> Node:
        self._skip()
        node = self._value(1)
        self._skip()
        if self._at < len(self._text):
            self._fail("expected the end of the file after the definition")
        return node

    def _value(self, depth: int) -> Node:
        if depth > DEPTH_MAX:
            self._fail(f"expected at most {DEPTH_MAX} levels of nesting")
        following = self._text[self._at : self._at + 1]
        if following == "{":
            return self._mapping(depth)
        if following == "[":
            return self._listing(depth)
        if following == '"':
            return self._string()
        return self._word_or_number()

    def _mapping(self, depth: int) -> Mapping:
        start, (line, column) = self._at, self._place()
        entries: dict[str, Entry] = {}
        size = height = 0
        self._at += 1
        while not self._ends("}", first=not entries):
            if self._text[self._at : self._at + 1] != '"':
                self._fail("expected a key in double quotes")
            key = self._string()
            self._expect(":")
            value = self._value(depth + 1)
            size, height = size + value.size, max(height, value.height)
            self._enter(entries, Entry(key, value))
        return Mapping(
            entries=entries,
            line=line,
            column=column,
            start=start,
            end=self._at,
            size=size + 1,
            height=height + 1,
        )

    def _enter(self, entries: dict[str, Entry], entry: Entry) -> None:
        first = entries.setdefault(entry.key.text, entry)
        if first is not entry:
            self.problems.append(
                Problem(
                    f'the key "{entry.key.text}" stands here twice, first in line {first.key.line}, column '
                    f"{first.key.column}; remove one of them.",
                    line=entry.key.line,
                    column=entry.key.column,
                )
            )

    def _listing(self, depth: int) -> Listing:
        start, (line, column) = self._at, self._place()
        items: list[Node] = []
        self._at += 1
        while not self._ends("]", first=not items):
            items.append(self._value(depth + 1))
        return Listing(
            items=tuple(items),
            line=line,
            column=column,
            start=start,
            end=self._at,
            size=1 + sum(item.size for item in items),
            height=1 + max((item.height for item in items), default=0),
        )

    def _ends(self, bracket: str, *, first: bool) -> bool:
        """Step over the bracket, or over the comma before the next value."""
        self._skip()
        following = self._text[self._at : self._at + 1]
        if following == bracket:
            self._at += 1
            return True
        if not first:
            if following != ",":
                self._fail(f"expected a comma or {bracket}")
            self._at += 1
            self._skip()
        return False

    def _expect(self, character: str) -> None:
        self._skip()
        if self._text[self._at : self._at + 1] != character:
            self._fail(f"expected {character}")
        self._at += 1
        self._skip()

    def _string(self) -> Scalar:
        start, (line, column) = self._at, self._place()
        try:
            value, self._at = scanstring(self._text, start + 1, True)
        except JSONDecodeError as error:
            self._at = min(error.pos, len(self._text))
            self._fail(error.msg)
        if any("\ud800" <= character <= "\udfff" for character in value):
            self._report(
                "the text holds half of a surrogate pair (\\ud800 to \\udfff); write both halves.",
                line,
                column,
            )
            value = value.encode("utf-8", "replace").decode()
        return Scalar(value=value, text=value, line=line, column=column, start=start, end=self._at)

    def _word_or_number(self) -> Scalar:
        start, (line, column) = self._at, self._place()
        value: int | float | bool | None
        if word := WORD.match(self._text, start):
            value = WORDS[word[0]]
        elif word := NUMBER.match(self._text, start):
            value = self._number(word, line, column)
        else:
            self._fail("expected a value")
        self._at = word.end()
        return Scalar(value=value, text=word[0], line=line, column=column, start=start, end=self._at)

    def _number(self, word: re.Match[str], line: int, column: int) -> int | float:
        if word[1] or word[2]:
            if math.isinf(number := float(word[0])):
                self._report(f"the number {word[0][:40]} is too large; quote it if it is a text.", line, column)
                return 0
            return number
        if len(word[0]) > INTEGER_DIGITS_MAX or not -(2**63) <= (whole := int(word[0])) < 2**63:
            self._report(
                f"the number {word[0][:40]} does not fit into 64 bits; quote it if it is an id or a text.",
                line,
                column,
            )
            return 0
        return whole

    def _skip(self) -> None:
        space = SPACE.match(self._text, self._at)
        assert space is not None
        self._at = space.end()

    def _place(self) -> tuple[int, int]:
        """Return where the reader stands. Lines are counted on from the last place, so that a file is counted
        once."""
        lines = self._text.count("\n", self._counted, self._at)
        if lines:
            self._line += lines
            self._line_start = self._text.rfind("\n", self._counted, self._at) + 1
        self._counted = self._at
        return self._line, self._at - self._line_start + 1

    def _report(self, message: str, line: int, column: int) -> None:
        self.problems.append(Problem(message, line=line, column=column))

    def _fail(self, message: str) -> NoReturn:
        found = self._text[self._at : self._at + 1]
        got = f"got {found!r}" if found else "the file ends"
        raise Unreadable(f"the file cannot be read as JSON: {message}, {got}.", *line_and_column(self._text, self._at))
