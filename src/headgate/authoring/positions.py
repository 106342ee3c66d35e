"""Where in its file each part of a definition stands, found by the part's canonical path.

A canonical path names a part of a `Definition` (`("activities", "fetch", "parameters", "url")`), whatever
the form in which it was written; what is found is the author's place and the author's words for it
(`activities.fetch.with.url`).
"""

from __future__ import annotations

import re

from headgate.authoring.document import line_and_column
from headgate.authoring.fields import Field
from headgate.authoring.vocabulary import OTHER_WORDS
from headgate.core.errors import Problem

__all__ = ["Path", "Positions", "problem_at"]

Path = tuple[str | int, ...]

WORD = re.compile(r"[\w-]+|\S")


class Positions:
    """The fields of one file by canonical path; deeper paths are followed through the nodes."""

    def __init__(self, source: str = "", text: str = "") -> None:
        self.source = source
        self.text = text
        self.implicit: set[tuple[str, str]] = set()
        """Dependencies (source, target) that nobody wrote: the target names the source in its templates."""
        self._fields: dict[Path, Field] = {}
        self._files: dict[Path, tuple[Path, str, str]] = {}

    def record_file(self, path: Path, named_at: Path, source: str, text: str) -> None:
        """Say that the text at `path` stands in another file, `source`, which the definition names at `named_at`."""
        self._files[path] = (named_at, source, text)

    def file(self, path: Path) -> tuple[Path, str, str] | None:
        """Return where the text at `path` is named, its file, and the file's text, if it stands in another file."""
        return self._files.get(path)

    def record(self, path: Path, field: Field) -> None:
        self._fields.setdefault(path, field)

    def field(self, path: Path) -> Field | None:
        """Return the field of a path, or of the nearest part around it that is in the file."""
        for length in range(len(path), -1, -1):
            field = self._fields.get(path[:length])
            if field is not None:
                return _follow(field, path[length:])
        return None

    def place(self, field: Field, text: str = "", offset: int = 0) -> tuple[int, int]:
        """Return the line and column of a field, or of the word at `offset` of its text.

        A text and its source differ (escapes, folding, indentation), so the word is counted in the one and
        found again in the other; where that fails, the field's own place will do.
        """
        node = field.node
        word = WORD.match(text, offset)
        if word is not None:
            index = _nth(self.text, word[0], text.count(word[0], 0, offset), node.start, node.end)
            if index >= 0:
                return line_and_column(self.text, index)
        return node.line, node.column


def _nth(text: str, word: str, number: int, start: int, end: int) -> int:
    index = text.find(word, start, end)
    while index >= 0 and number > 0:
        index = text.find(word, index + len(word), end)
        number -= 1
    return index


def _follow(field: Field, rest: Path) -> Field:
    for part in rest:
        deeper = _named(field, part) if isinstance(part, str) else field.at(part)
        if deeper is None:
            return field
        field = deeper
    return field


def _named(field: Field, name: str) -> Field | None:
    """Return the field under a key, or under another word for that key."""
    words = (name, *OTHER_WORDS.get(name, ()))
    return next((found for word in words if (found := field.under(word)) is not None), None)


def problem_at(
    positions: Positions | None,
    path: Path,
    message: str,
    *,
    text: str = "",
    offset: int = 0,
    at_key: bool = False,
) -> Problem:
    """Return a problem with the part at a canonical path; without positions it has no line."""
    if positions is not None and (elsewhere := positions.file(path)) is not None:
        return _problem_in_file(positions, *elsewhere, message, offset)
    field = positions.field(path) if positions else None
    if positions is None or field is None:
        return Problem(message, path=_written(path), source=positions.source if positions else "")
    if at_key and field.key is not None:
        line, column = field.key.line, field.key.column
    else:
        line, column = positions.place(field, text, offset)
    return Problem(message, path=field.path, line=line, column=column, source=positions.source)


def _problem_in_file(
    positions: Positions, named_at: Path, source: str, text: str, message: str, offset: int
) -> Problem:
    field = positions.field(named_at)
    line, column = line_and_column(text, min(offset, len(text)))
    folder, slash, _ = positions.source.rpartition("/")
    path = field.path if field is not None else _written(named_at)
    return Problem(message, path=path, line=line, column=column, source=f"{folder}{slash}{source}")


def _written(path: Path) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
