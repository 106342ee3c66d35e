"""Secrets in tables: in the column whose head is a secret's name, as lines of cells or as SQL inserts them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from headgate.policies.key_names import is_name, name_parts
from headgate.policies.key_values import KIND
from headgate.policies.scrubber import Span

__all__ = ["keys_in_tables"]

NAME_LENGTH_MAX = 48
NO_COLUMN = (-1, "", 0)
WORD = re.compile(r"[^\W\d_]+")
ABOUT_SECRETS = frozenset(
    (
        *(
            "length",
            "days",
            "history",
            "count",
            "age",
            "policy",
            "min",
            "max",
            "rotation",
            "expiry",
            "ttl",
            "type",
            "url",
        ),
        *(
            "name",
            "status",
            "enabled",
            "required",
            "rotated",
            "changed",
            "updated",
            "expires",
            "limit",
            "bucket",
            "budget",
        ),
    )
)
"""The end of what says something of a secret, and is none: password_min_length."""
INSERT = re.compile(r"insert into [\w.\"`]{1,80} ?\(([^()]{1,400})\)\s{0,8}values\s{0,8}", re.IGNORECASE)
ROW = re.compile(r"\(([^()]{1,800})\)\s{0,4},?\s{0,4}")
CELL = re.compile(r"'((?:[^'\\]|''|\\.)*)'|\"([^\"]*)\"|([^,'\"]+)")


def keys_in_tables(text: str, lowered: str) -> Iterator[Span]:
    """Yield what stands in the columns for secrets. `lowered` is the text in small letters."""
    if "\n" in text and (names := {word for word in set(WORD.findall(lowered)) if is_name(word)}):
        yield from _columns(text, names)
    if "insert into" in lowered:
        yield from _inserted(text)


def _columns(text: str, names: set[str]) -> Iterator[Span]:
    """Yield what stands in the column of a table whose head says that it holds secrets."""
    at = 0
    column, separator, cells = NO_COLUMN
    for line in text.splitlines(keepends=True):
        if column >= 0 and line.count(separator) == cells:
            begin = at
            for number, cell in enumerate(line.rstrip("\r\n").split(separator)):
                value = cell.strip(" \t\"'")
                if number == column and len(value) > 2 and not set(value) <= {"-", ":", "="}:
                    start = begin + cell.index(value)
                    yield Span(start, start + len(value), KIND)
                begin += len(cell) + 1
        else:
            lowered = line.lower()
            named = any(name in lowered for name in names)
            column, separator, cells = _secret_column(lowered) if named else NO_COLUMN
        at += len(line)


def _inserted(text: str) -> Iterator[Span]:
    """Yield what a statement inserts into the columns that hold secrets."""
    for head in INSERT.finditer(text):
        columns = [column.strip(' "`\n') for column in head[1].split(",")]
        wanted = {number for number, column in enumerate(columns) if any(map(is_name, name_parts(column)))}
        at = head.end()
        while wanted and (row := ROW.match(text, at)) is not None:
            cells = [cell for cell in CELL.finditer(text, *row.span(1)) if cell[0].strip()]
            for number in wanted:
                if number < len(cells) and (group := cells[number].lastindex) is not None:
                    yield Span(*cells[number].span(group), KIND)
            at = row.end()


def _names_secrets(parts: list[str]) -> bool:
    return any(map(is_name, parts)) and parts[-1] not in ABOUT_SECRETS


def _secret_column(line: str) -> tuple[int, str, int]:
    for separator in (",", ";", "\t", "|"):
        heads = [head.strip(" \t\r\n\"'") for head in line.split(separator)]
        if len(heads) > 1:
            for number, head in enumerate(heads):
                if len(head) < NAME_LENGTH_MAX and " " not in head and _names_secrets(name_parts(head)):
                    return number, separator, len(heads) - 1
    return NO_COLUMN
