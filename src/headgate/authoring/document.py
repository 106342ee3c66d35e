"""A definition file as values that know where they stand: what a parser makes, and everything else here
reads.

A `Node` has its place in the text (1-based line and column, and the span of characters it covers). Nodes
are never copied: a YAML alias is the node of its anchor once more, so `size` and `height` count what
aliases stand for.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from headgate.core.errors import Problem

__all__ = [
    "ALIASED_NODES_MAX",
    "DEPTH_MAX",
    "TEXT_BYTES_MAX",
    "Entry",
    "Listing",
    "Mapping",
    "Node",
    "Scalar",
    "Unreadable",
    "decode",
    "line_and_column",
    "plain",
]

TEXT_BYTES_MAX = 1024 * 1024
DEPTH_MAX = 64
"""How deep values may stand in each other. Also what keeps every recursion over nodes short."""
ALIASED_NODES_MAX = 10_000
"""How many nodes aliases may add: a file of ten lines can otherwise stand for billions of values."""

# What YAML allows in a file (YAML 1.2, c-printable), as libyaml reads it.
UNPRINTABLE = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


class Unreadable(Exception):
    """The text cannot be read as values at all."""

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.problem = Problem(message, line=line, column=column)


class Node(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A value with its place. `start` and `end` are the characters of the text that it covers."""

    line: int
    column: int
    start: int = 0
    end: int = 0
    size: int = 1
    height: int = 1


class Scalar(Node, frozen=True, kw_only=True, eq=False):
    """A text, number, boolean or null. `text` is what the author wrote (quotes taken off)."""

    value: str | int | float | bool | None
    text: str


class Listing(Node, frozen=True, kw_only=True, eq=False):
    items: tuple[Node, ...]


class Entry(msgspec.Struct, frozen=True, eq=False):
    key: Scalar
    value: Node


class Mapping(Node, frozen=True, kw_only=True, eq=False):
    entries: dict[str, Entry]


def decode(text: bytes | str) -> str:
    """Return `text` as characters that can stand in a definition. Raises `Unreadable`, with the place."""
    if isinstance(text, bytes):
        _refuse_size(len(text))
        text = _from_utf8(text)
    else:
        _refuse_size(len(text))
        if len(text) * 4 > TEXT_BYTES_MAX:
            _refuse_size(len(text.encode("utf-8", "surrogatepass")))
    text = text.removeprefix("\ufeff")
    if found := UNPRINTABLE.search(text):
        code = ord(found[0])
        raise Unreadable(
            f"the character U+{code:04X} cannot stand in a definition; remove it or write it as an escape"
            f' in double quotes ("\\x{code:02x}").'
            if code < 256
            else f"the character U+{code:04X} cannot stand in a definition; remove it.",
            *line_and_column(text, found.start()),
        )
    return text


def _refuse_size(size: int) -> None:
    if size > TEXT_BYTES_MAX:
        raise Unreadable(
            f"expected a definition to be at most {TEXT_BYTES_MAX:,} bytes, got {size:,}; "
            "give large texts as input, or split the workflow into sub-workflows."
        )


def _from_utf8(data: bytes) -> str:
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        raise Unreadable("the file is UTF-16; save it as UTF-8.", 1, 1)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        raise Unreadable(
            f"the file is not UTF-8: byte 0x{data[error.start]:02x} is no character; save it as UTF-8.",
            *line_and_column(before, len(before)),
        ) from None


def line_and_column(text: str, index: int) -> tuple[int, int]:
    """Return the 1-based line and column of the character at `index`."""
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)


def plain(node: Node) -> Any:
    """Return the value of a node as JSON knows it, without places."""
    match node:
        case Scalar():
            return node.value
        case Listing():
            return [plain(item) for item in node.items]
        case Mapping():
            return {key: plain(entry.value) for key, entry in node.entries.items()}
        case _:
            raise AssertionError(f"a node is a scalar, a listing or a mapping, not {type(node).__name__}")
