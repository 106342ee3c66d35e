"""The shape of a run: which appends it made, how many rows each, how many bytes each row. The baseline writes the same.

It is recorded from the engine under the very load, for how many reports of a run share an append depends on it.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from headgate.ports import Append, EventRow, Outcome
from headgate.stores.sqlite import SqliteLog

__all__ = ["MeasuredLog", "RecordingLog", "Shape"]

SETTINGS = ("page_size", "journal_mode", "synchronous", "wal_autocheckpoint", "cache_size")
RowSizes = tuple[int, int, int, int]
"""Bytes of an event row's type, data, hash and content."""


class Column(NamedTuple):
    """One column of a run's row: its name, and either how long its text or blob is, or its whole number, or null."""

    name: str
    kind: Literal["text", "blob", "number", "null"]
    size: int

    @property
    def filler(self) -> str | bytes | int | None:
        """A value of the same kind that takes as many bytes."""
        match self.kind:
            case "text":
                return "x" * self.size
            case "blob":
                return bytes(self.size)
            case "number":
                return self.size
            case "null":
                return None


class Shape(msgspec.Struct, frozen=True):
    """One run's appends, in order, and the columns of its row in the end."""

    appends: list[list[RowSizes]]
    listing: list[Column]
    settings: dict[str, str | int]
    """How the connection that wrote it was set up."""

    @property
    def rows(self) -> int:
        return sum(len(append) for append in self.appends)

    @property
    def bytes(self) -> int:
        """Bytes of all event rows' columns that vary in size."""
        return sum(sum(sizes) for append in self.appends for sizes in append)


class MeasuredLog(SqliteLog):
    """The log that is measured: SQLite's, which can also say how its writer is set up."""

    def writer_settings(self) -> dict[str, str | int]:
        """Ask the connection that writes; the answers of another one would be about another one."""
        writer = self._writer
        assert writer is not None, "the log is open"
        return {name: writer.pragma(name) for name in SETTINGS}


class RecordingLog(MeasuredLog):
    """A log that remembers how many rows each append of a run had. For recording only: it keeps everything."""

    def __init__(self, path: Path, *, vfs: str | None = None) -> None:
        super().__init__(path, vfs=vfs)
        self._counts: dict[int, list[int]] = {}

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        outcomes = await super().commit(batch)
        for item, outcome in zip(batch, outcomes, strict=True):
            assert outcome == "accepted", outcome
            self._counts.setdefault(item.run, []).append(len(item.rows))
        return outcomes

    async def usual_shape(self) -> Shape:
        """Return the shape that most runs had, with the bytes that the last such run really holds in the database."""
        usual = Counter(map(tuple, self._counts.values())).most_common(1)[0][0]
        key = max(run for run, counts in self._counts.items() if tuple(counts) == usual)
        rows = [_sizes(row) for row in await self.events(key)]
        assert len(rows) == sum(usual), "an append is missing from the database, or was recorded twice"
        stored = iter(rows)
        appends = [list(itertools.islice(stored, count)) for count in usual]
        return Shape(appends, self._listing(key), self.writer_settings())

    def _listing(self, key: int) -> list[Column]:
        cursor = self._reader.execute("select * from runs where key = ?", (key,))
        names = [name for name, _ in cursor.get_description()]
        columns = [_column(name, value) for name, value in zip(names, next(cursor), strict=True)]
        assert Column("finished_at", "null", 0) not in columns, "the run has not finished"
        return columns


def _sizes(row: EventRow) -> RowSizes:
    return len(row.type), len(row.data), len(row.hash), len(row.content or b"")


def _column(name: str, value: str | bytes | int | None) -> Column:
    match value:
        case str():
            return Column(name, "text", len(value))
        case bytes():
            return Column(name, "blob", len(value))
        case int():
            return Column(name, "number", value)
        case None:
            return Column(name, "null", 0)
