"""Rows of a batch in PostgreSQL's own form of an array of composite values, packed here.

The driver packs such arrays as well, but asks of each element whether it is a sequence or a mapping, some 0.3 µs for
each; an event with its run's head and its tasks has forty. Here it is 0.1 µs. And one array of rows costs the server
less than one array for each column, which it puts together again: 0.15 µs for a row of sixteen columns, not 1.1.

The domains `item_rows` and so on (`postgres_schema.sql`) are arrays to the server and bytes to the driver. A packed
array begins with the server's number for its kind of rows, which differs from database to database: so it is added when
it is known which connection the rows go through.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from headgate.stores.queries import load_queries

if TYPE_CHECKING:
    from asyncpg import Connection

__all__ = [
    "ROW_TYPES",
    "N",
    "RowTypes",
    "Rows",
    "bytes_head",
    "clean",
    "number_or_null",
    "numbers_of",
    "row",
    "rows",
    "take_rows",
    "text",
    "text_or_null",
    "value",
    "words",
]

RowTypes = Mapping[str, int]
"""The server's numbers for kinds of rows."""

NO_NUL = "\N{REPLACEMENT CHARACTER}"
ROW_TYPES = (
    *("item_row", "start_row", "event_row", "blob_row", "move_row", "command_row", "spend_row", "offer_row"),
    "ended_row",
)
WORDS_KEPT_MAX = 8_192
NUMBER, TEXT, VALUE, TRUTH = 20, 25, 17, 16
"""PostgreSQL's numbers of `bigint`, `text`, `bytea` and `boolean`, the same in all its releases."""
N = NUMBER << 32 | 8
"""What stands before each number: its type, and that it has eight bytes."""

_array_head = struct.Struct(">iiIii").pack
"""How many dimensions, whether there are nulls (the server looks), type, how many rows, number of the first."""
_no_head = struct.Struct(">iiI").pack
_row_head = struct.Struct(">ii").pack
"""How many bytes, how many columns."""
_cell_head = struct.Struct(">Ii").pack
"""Type, how many bytes."""

NO_NUMBER, NO_TEXT, NO_VALUE = (_cell_head(kind, -1) for kind in (NUMBER, TEXT, VALUE))
TRUTHS = tuple(_cell_head(TRUTH, 1) + byte for byte in (b"\0", b"\1"))

SQL = load_queries("postgres.sql")


class Rows(NamedTuple):
    """So many packed rows of a kind."""

    kind: str
    length: int
    body: bytes

    def of(self, types: RowTypes) -> bytes:
        """Return the array as a server takes it that has these numbers."""
        if not self.length:
            return _no_head(0, 0, types[self.kind])
        return _array_head(1, 0, types[self.kind], self.length, 1) + self.body


async def take_rows(connection: Connection[Any], schema: str) -> RowTypes:
    """Have the connection send rows as they are; return the server's numbers for them."""
    for kind in ROW_TYPES:
        await connection.set_builtin_type_codec(f"{kind}s", schema=schema, codec_name="bytea", format="binary")
    return dict(map(tuple, await connection.fetch(SQL["row_types"], schema, ROW_TYPES)))


def rows(kind: str, packed: Sequence[bytes]) -> Rows:
    return Rows(kind, len(packed), b"".join(packed))


def row(columns: int, *cells: bytes) -> bytes:
    """Return a row of so many columns."""
    body = b"".join(cells)
    return _row_head(len(body) + 4, columns) + body


def numbers_of(count: int) -> Callable[..., bytes]:
    """Return what packs so many numbers that are next to each other: called with `N` before each."""
    return struct.Struct(">" + count * "Qq").pack


_number = numbers_of(1)


def number_or_null(given: int | None) -> bytes:
    return NO_NUMBER if given is None else _number(N, given)


def text(given: str) -> bytes:
    data = clean(given).encode()
    return _cell_head(TEXT, len(data)) + data


def text_or_null(given: str | None) -> bytes:
    return NO_TEXT if given is None else text(given)


def value(given: bytes | None) -> bytes:
    return NO_VALUE if given is None else _cell_head(VALUE, len(given)) + given


def bytes_head(size: int) -> bytes:
    """Return what stands before a value, so that a long one need not be copied."""
    return _cell_head(VALUE, size)


@lru_cache(WORDS_KEPT_MAX)
def words(*given: str | bool | None) -> bytes:
    """Return texts and truths that are next to each other, and often the same."""
    return b"".join([TRUTHS[one] if isinstance(one, bool) else text_or_null(one) for one in given])


def clean(text: str) -> str:
    """Return the text without NUL, which PostgreSQL cannot hold."""
    return text.replace("\0", NO_NUL) if "\0" in text else text
