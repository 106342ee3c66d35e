"""Columns of a batch in PostgreSQL's own form of an array, packed here.

asyncpg packs arrays as well, but asks of each element whether it is a sequence or a mapping: 0.3 µs for each, and an
event with its run's head and its tasks has forty. Here an element takes 0.07 µs, and 0.01 µs in a column of equal ones.
The domains `number_column` and so on (`postgres_schema.sql`) are arrays to the server and bytes to the driver.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from asyncpg import Connection

__all__ = ["Columns", "clean", "numbers", "take_columns", "texts", "truths", "values"]

Packer = Callable[[Sequence[Any]], bytes]
Element = TypeVar("Element")

NO_NUL = "\N{REPLACEMENT CHARACTER}"
DOMAINS = ("number_column", "text_column", "value_column", "truth_column")
NUMBER, TEXT, VALUE, TRUTH = 20, 25, 17, 16
"""PostgreSQL's numbers of `bigint`, `text`, `bytea` and `boolean`, the same in all its releases."""
NUMBER_BYTES = 8
NULL = b"\xff\xff\xff\xff"
"""Stands where an element's length would."""
TRUE, FALSE = b"\0\0\0\1\1", b"\0\0\0\1\0"

_head = struct.Struct(">iiIii").pack
"""How many dimensions, whether there are nulls (the server looks), type, how many elements, number of the first."""
_no_head = struct.Struct(">iiI").pack
_length = struct.Struct(">i").pack
_number = struct.Struct(">iq").pack


async def take_columns(connection: Connection[Any], schema: str) -> None:
    """Have the connection send columns as they are."""
    for domain in DOMAINS:
        await connection.set_builtin_type_codec(domain, schema=schema, codec_name="bytea", format="binary")


def clean(text: str) -> str:
    """Return the text without NUL, which PostgreSQL cannot hold."""
    return text.replace("\0", NO_NUL) if "\0" in text else text


class Columns:
    """The columns of a kind of rows, and how each is packed."""

    def __init__(self, *packers: Packer) -> None:
        self._packers = packers
        self._empty = [pack(()) for pack in packers]

    def of(self, rows: Sequence[Sequence[Any]]) -> list[bytes]:
        if not rows:
            return self._empty
        return [pack(column) for pack, column in zip(self._packers, zip(*rows, strict=True), strict=True)]


def numbers(column: Sequence[int | None]) -> bytes:
    if None in column or _all_equal(column):
        return _array(NUMBER, column, _number_or_null)
    return _head(1, 0, NUMBER, len(column), 1) + b"".join(map(_number, repeat(NUMBER_BYTES), column))


def texts(column: Sequence[str | None]) -> bytes:
    return _array(TEXT, column, _text_or_null)


def values(column: Sequence[bytes | None]) -> bytes:
    return _array(VALUE, column, _value_or_null)


def truths(column: Sequence[bool]) -> bytes:
    return _array(TRUTH, column, _truth)


def _array(kind: int, column: Sequence[Element], pack: Callable[[Element], bytes]) -> bytes:
    if not column:
        return _no_head(0, 0, kind)
    head = _head(1, 0, kind, len(column), 1)
    return head + (pack(column[0]) * len(column) if _all_equal(column) else b"".join(map(pack, column)))


def _all_equal(column: Sequence[Any]) -> bool:
    return bool(column) and column.count(column[0]) == len(column)


def _number_or_null(number: int | None) -> bytes:
    return NULL if number is None else _number(NUMBER_BYTES, number)


def _text_or_null(text: str | None) -> bytes:
    return NULL if text is None else _value_or_null(clean(text).encode())


def _value_or_null(value: bytes | None) -> bytes:
    return NULL if value is None else _length(len(value)) + value


def _truth(truth: bool) -> bytes:
    return TRUE if truth else FALSE
