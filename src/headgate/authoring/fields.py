"""Nodes on their way into a definition: a field is a node with the path that the author would call it by.

`Reading` takes values out of fields. Where a value is not what it should be, it notes the problem with its
place and returns None, so that one pass finds everything that is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

from headgate.authoring.document import Listing, Mapping, Node, Scalar, plain
from headgate.authoring.problems import PROBLEMS_MAX, SUGGESTIONS_MAX, did_you_mean, one_of
from headgate.authoring.vocabulary import Key, Table
from headgate.core.duration import parse_seconds
from headgate.core.errors import Invalid, Problem
from headgate.core.money import USD_MAX, nano

__all__ = ["Field", "Reading", "describe"]

DECIMAL = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d{1,3})?")
SIMPLE_NAME = re.compile(r"[A-Za-z0-9_-]+")


class Field:
    """A node, the path that leads to it in the author's words, and the key that it stands under (if any)."""

    __slots__ = ("key", "node", "path")

    def __init__(self, node: Node, path: str = "", key: Scalar | None = None) -> None:
        self.node = node
        self.path = path
        self.key = key

    @property
    def empty(self) -> bool:
        return isinstance(self.node, Scalar) and self.node.value is None

    def under(self, name: str) -> Field | None:
        """Return the field under a key of this one, or None."""
        if isinstance(self.node, Mapping) and (entry := self.node.entries.get(name)) is not None:
            path = name if SIMPLE_NAME.fullmatch(name) else f'"{name}"'
            return Field(entry.value, f"{self.path}.{path}" if self.path else path, entry.key)
        return None

    def at(self, number: int) -> Field | None:
        """Return the field of an item of this one, or None."""
        if isinstance(self.node, Listing) and 0 <= number < len(self.node.items):
            return Field(self.node.items[number], f"{self.path}[{number}]")
        return None

    def entries(self) -> Iterator[tuple[str, Field]]:
        assert isinstance(self.node, Mapping)
        for name in self.node.entries:
            entry = self.under(name)
            assert entry is not None
            yield name, entry

    def items(self) -> Iterator[Field]:
        assert isinstance(self.node, Listing)
        for number in range(len(self.node.items)):
            item = self.at(number)
            assert item is not None
            yield item


class Reading:
    """Takes typed values out of fields and gathers the problems."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems

    def note(self, message: str, field: Field, *, at_key: bool = False) -> None:
        """Note a problem with a field, at its value or at its key."""
        if len(self.problems) >= PROBLEMS_MAX:
            return
        node = field.key if at_key and field.key is not None else field.node
        self.problems.append(Problem(message, path=field.path, line=node.line, column=node.column))

    def near(self, word: str, known: Iterable[str]) -> str:
        """Return a suggestion, unless there were many problems already."""
        return did_you_mean(word, known) if len(self.problems) < SUGGESTIONS_MAX else ""

    def expected(self, what: str, field: Field) -> None:
        self.note(f"expected {_last(field.path)} to be {what}, got {describe(field.node)}.", field)

    def known(self, field: Field, table: Table, what: str) -> dict[str, Field]:
        """Return the fields of a map by their canonical keys; unknown, unbuilt and doubled keys are noted."""
        found: dict[str, Field] = {}
        if not isinstance(field.node, Mapping):
            self.expected(f"a map of keys such as {one_of(list(table)[:3])}", field)
            return found
        for name, entry in field.entries():
            key = table.get(name)
            if key is None:
                self.note(f'unknown key "{name}" in {what}.{self.near(name, table)}', entry, at_key=True)
            elif key.not_yet:
                self.note(f'"{name}" is not built yet. {key.not_yet}', entry, at_key=True)
            elif not entry.empty or key.name == "default":
                self._enter(found, key, entry)
        return found

    def _enter(self, found: dict[str, Field], key: Key, entry: Field) -> None:
        first = found.setdefault(key.canonical, entry)
        if first is not entry:
            self.twice(entry, first)

    def twice(self, second: Field, first: Field) -> None:
        """Note that two fields say the same thing."""
        said = f"`{_last(first.path)}` in line {(first.key or first.node).line}"
        self.note(f"`{_last(second.path)}` says the same as {said}; keep one of them.", second, at_key=True)

    def text(self, field: Field, what: str = "a text") -> str | None:
        if isinstance(field.node, Scalar) and isinstance(field.node.value, str):
            return field.node.value
        advice = ""
        if isinstance(field.node, Scalar) and field.node.value is not None:
            advice = f' Quote it: "{field.node.text}".'
        self.note(f"expected {_last(field.path)} to be {what}, got {describe(field.node)}.{advice}", field)
        return None

    def name(self, field: Field, what: str, *, length_max: int = 128) -> str | None:
        """Return a name as files and addresses can hold it: letters, digits, `_` and `-`."""
        name = self.text(field, what)
        if name is None or (SIMPLE_NAME.fullmatch(name) and len(name) <= length_max):
            return name
        self.expected(f"{what} of at most {length_max} letters, digits, _ and -", field)
        return None

    def flag(self, field: Field) -> bool | None:
        if isinstance(field.node, Scalar) and isinstance(field.node.value, bool):
            return field.node.value
        self.expected("true or false", field)
        return None

    def whole(self, field: Field) -> int | None:
        value = field.node.value if isinstance(field.node, Scalar) else None
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        self.expected("a whole number", field)
        return None

    def number(self, field: Field) -> float | None:
        value = field.node.value if isinstance(field.node, Scalar) else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        self.expected("a number", field)
        return None

    def seconds(self, field: Field) -> float | None:
        """Return a duration in seconds: a number of seconds, or a text such as `30s`."""
        value = field.node.value if isinstance(field.node, Scalar) else None
        if isinstance(value, int | float) and not isinstance(value, bool) and value <= 0:
            return float(value)  # what is not positive is refused with the other bounds
        try:
            return parse_seconds(value)
        except Invalid:
            self.expected("a number of seconds, or a duration such as 30s, 5m or 2h", field)
            return None

    def dollars(self, field: Field) -> int | None:
        """Return an amount of US dollars in nano-dollars, read from its text: it never was a float."""
        text = field.node.text.strip() if isinstance(field.node, Scalar) else ""
        if not DECIMAL.fullmatch(text):
            self.expected("an amount of US dollars such as 0.25", field)
            return None
        try:
            amount = Decimal(text)
        except InvalidOperation:
            self.expected("an amount of US dollars such as 0.25", field)
            return None
        if abs(amount) > USD_MAX:
            self.note(f"expected {_last(field.path)} to be at most {USD_MAX:,} US dollars, got {text}.", field)
            return None
        return nano(amount)

    def choice(self, field: Field, words: Collection[str]) -> str | None:
        value = field.node.value if isinstance(field.node, Scalar) else None
        if isinstance(value, str) and value in words:
            return value
        near = self.near(value, words) if isinstance(value, str) else ""
        self.note(f"expected {_last(field.path)} to be {one_of(words)}, got {describe(field.node)}.{near}", field)
        return None

    def condition(self, field: Field) -> str | None:
        """Return a condition's text; `true` and `false` need no quotes."""
        if isinstance(field.node, Scalar) and isinstance(field.node.value, bool):
            return "true" if field.node.value else "false"
        text = self.text(field, "a condition")
        if text is not None and not text.strip():
            self.expected("a condition", field)
            return None
        return text

    def listed(self, field: Field) -> list[Field]:
        """Return the items of a list; a single value counts as one item, nothing as none."""
        if isinstance(field.node, Listing):
            return list(field.items())
        return [] if field.empty else [field]

    def value(self, field: Field) -> Any:
        return plain(field.node)

    def mapping(self, field: Field) -> dict[str, Field]:
        if isinstance(field.node, Mapping):
            return dict(field.entries())
        if not field.empty:
            self.expected("a map", field)
        return {}


def describe(node: Node) -> str:
    """Return a value as a message can hold it."""
    match node:
        case Scalar(value=None):
            return "nothing"
        case Scalar(value=str() as text):
            return f'"{text}"' if len(text) <= 60 else f'"{text[:57]}…"'
        case Scalar():
            return node.text[:60]
        case Listing():
            return "a list"
        case _:
            return "a map"


def _last(path: str) -> str:
    return path.rpartition(".")[2] or "the definition"
