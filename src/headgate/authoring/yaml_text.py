"""YAML 1.2 as values with places. It takes the C parser's events, and nothing of PyYAML's idea of what
they mean.

PyYAML resolves by YAML 1.1, where `no` is false and `12:30` is 750; here the core schema of 1.2 decides,
and what does not look like one of its numbers stays the text that it looks like (`010` too: it is more
often a code than ten). Nodes are built from the event stream, one level of recursion per level of nesting,
and nesting is bounded before anything recurses; aliases are counted as what they stand for before anything
walks them.

Not part of a definition, and refused: tags, merge keys (`<<`), keys that are not scalars, several documents.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import yaml

from headgate.authoring.document import (
    ALIASED_NODES_MAX,
    DEPTH_MAX,
    Entry,
    Listing,
    Mapping,
    Node,
    Scalar,
    Unreadable,
)
from headgate.core.errors import Problem

__all__ = ["read_yaml"]

# The C parser where PyYAML was built with it: the same events, some ten times faster.
PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
OCTAL = re.compile(r"0o[0-7]+")
HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
INTEGER_DIGITS_MAX = 19
UNQUOTED_TEMPLATE = re.compile(r"(?:^|[:\-,\[])\s*\{[{%]")
IN_QUOTES = 'a value that begins with {{ must stand in quotes: "{{ … }}".'

ADVICE = {
    "mapping values are not allowed": "quote a value that holds a colon; or an indentation is off.",
    "cannot start any token": "quote a value that begins with @, % or `; indent with spaces, not tabs.",
    "did not find expected key": "check the indentation and the quotes here and on the line above.",
    "could not find expected ':'": "check the indentation, and that a colon and a space follow the key.",
    "did not find expected '-' indicator": "check that all items of the list are indented alike.",
    "unexpected end of stream": "a quote or bracket is not closed.",
}


def read_yaml(text: str) -> tuple[Node, list[Problem]]:
    """Return the document, and what is wrong with it although it could be read (duplicate keys and the like).

    Raises `Unreadable` where the text cannot be read as one YAML document.
    """
    try:
        parser = PARSER(text)
        try:
            return _Builder(parser).document()
        finally:
            parser.dispose()
    except yaml.MarkedYAMLError as error:
        raise _explained(error, text) from None
    except yaml.YAMLError as error:
        raise Unreadable(f"the file cannot be read as YAML: {error}") from None


class _Builder:
    """Makes nodes of events."""

    def __init__(self, parser: Any) -> None:
        self._next = parser.get_event
        self._anchors: dict[str, Node | None] = {}
        self._aliased = 0
        self._problems: list[Problem] = []

    def document(self) -> tuple[Node, list[Problem]]:
        self._next()  # the start of the stream
        event = self._next()
        if isinstance(event, yaml.StreamEndEvent):
            raise Unreadable("the file is empty; a definition needs at least `name` and `activities`.", 1, 1)
        root = self._node(self._next(), 1)
        self._next()  # the end of the document
        event = self._next()
        if not isinstance(event, yaml.StreamEndEvent):
            raise _unreadable(
                "a second document begins here; a file holds one definition, so split it.",
                event,
            )
        return root, self._problems

    def _node(self, event: Any, depth: int) -> Node:
        if depth > DEPTH_MAX:
            raise _unreadable(f"expected at most {DEPTH_MAX} levels of nesting, got more here.", event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        if event.tag is not None:
            self._report(
                f"tags ({_short(event.tag)}) are not part of a definition; leave it out, or quote a text.",
                event,
            )
        anchor = event.anchor
        if anchor is not None:
            self._anchors[anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            node: Node = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._listing(event, depth)
        else:
            node = self._mapping(event, depth)
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _alias(self, event: Any, depth: int) -> Node:
        if event.anchor not in self._anchors:
            raise _unreadable(
                f"there is no anchor &{event.anchor} above this alias; define it, or quote the text.", event
            )
        node = self._anchors[event.anchor]
        if node is None:
            raise _unreadable(f"the anchor &{event.anchor} holds itself; write the value out.", event)
        self._aliased += node.size
        if self._aliased > ALIASED_NODES_MAX:
            raise _unreadable(
                f"expected aliases to add at most {ALIASED_NODES_MAX:,} values, got more.",
                event,
            )
        if depth + node.height - 1 > DEPTH_MAX:
            raise _unreadable(f"expected at most {DEPTH_MAX} levels of nesting, got more with *{event.anchor}.", event)
        return node

    def _scalar(self, event: Any) -> Scalar:
        value: str | int | float | bool | None = event.value
        if event.implicit[0] and not event.style:
            try:
                value = _resolved(event.value)
            except ValueError as error:
                self._report(str(error), event)
        return Scalar(value=value, text=event.value, **_place(event))

    def _listing(self, event: Any, depth: int) -> Listing:
        items: list[Node] = []
        while not isinstance(following := self._next(), yaml.SequenceEndEvent):
            items.append(self._node(following, depth + 1))
        return Listing(items=tuple(items), **_place(event, following), **_measure(items))

    def _mapping(self, event: Any, depth: int) -> Mapping:
        entries: dict[str, Entry] = {}
        while not isinstance(following := self._next(), yaml.MappingEndEvent):
            key = self._key(following, depth)
            value = self._node(self._next(), depth + 1)
            first = entries.get(key.text)
            if first is None:
                entries[key.text] = Entry(key, value)
            else:
                self._report(
                    f'the key "{key.text}" stands here twice, first in line {first.key.line}, '
                    f"column {first.key.column}; remove one of them.",
                    following,
                )
        return Mapping(entries=entries, **_place(event, following), **_measure([e.value for e in entries.values()]))

    def _key(self, event: Any, depth: int) -> Scalar:
        if isinstance(event, yaml.MappingStartEvent) and event.flow_style:
            raise _unreadable(IN_QUOTES, event)
        key = self._node(event, depth + 1)
        if not isinstance(key, Scalar):
            raise _unreadable("expected a key to be a text, got a list or a map.", event)
        unquoted = isinstance(event, yaml.ScalarEvent) and not event.style
        if not key.text and unquoted:
            self._report("expected a key before the colon, got nothing.", event)
        if key.text == "<<" and unquoted:
            self._report(
                "merge keys (<<) are not part of YAML 1.2; write them out, or alias a whole value.",
                event,
            )
        return key

    def _report(self, message: str, event: Any) -> None:
        self._problems.append(Problem(message, line=event.start_mark.line + 1, column=event.start_mark.column + 1))


def _resolved(text: str) -> str | int | float | bool | None:
    """Return what a plain scalar means in the core schema. Raises `ValueError` for what JSON cannot hold."""
    if text in WORDS:
        return WORDS[text]
    if INTEGER.fullmatch(text):
        return _integer(text, 10)
    if OCTAL.fullmatch(text):
        return _integer(text[2:], 8)
    if HEXADECIMAL.fullmatch(text):
        return _integer(text[2:], 16)
    if NOT_FINITE.fullmatch(text):
        raise ValueError(f"expected a finite number, got {text}; JSON has no such value. Quote it if it is a text.")
    if FLOAT.fullmatch(text):
        number = float(text)
        if math.isinf(number):
            raise ValueError(f"the number {_short(text)} is too large; quote it if it is a text.")
        return number
    return text


def _integer(digits: str, base: int) -> int:
    if len(digits) > INTEGER_DIGITS_MAX + 1 or not -(2**63) <= (number := int(digits, base)) < 2**63:
        raise ValueError(f"the number {_short(digits)} does not fit into 64 bits; quote it if it is an id or a text.")
    return number


def _place(event: Any, last: Any = None) -> dict[str, int]:
    mark = event.start_mark
    return {
        "line": mark.line + 1,
        "column": mark.column + 1,
        "start": mark.index,
        "end": (last or event).end_mark.index,
    }


def _measure(nodes: Sequence[Node]) -> dict[str, int]:
    return {
        "size": 1 + sum(node.size for node in nodes),
        "height": 1 + max((node.height for node in nodes), default=0),
    }


def _unreadable(message: str, event: Any) -> Unreadable:
    return Unreadable(message, event.start_mark.line + 1, event.start_mark.column + 1)


def _explained(error: yaml.MarkedYAMLError, text: str) -> Unreadable:
    mark = error.problem_mark or error.context_mark
    said = ", ".join(part for part in (error.context, error.problem) if part)
    if mark is None:
        return Unreadable(f"the file cannot be read as YAML: {said}.")
    lines = text.split("\n")
    near = lines[max(0, mark.line - 1) : mark.line + 1]
    if any(UNQUOTED_TEMPLATE.search(line) for line in near):
        advice = IN_QUOTES
    else:
        advice = next((advice for words, advice in ADVICE.items() if words in said), "")
    return Unreadable(f"the file cannot be read as YAML: {said}. {advice}".strip(), mark.line + 1, mark.column + 1)


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}…"
