"""Vectors as they are stored, and their cosines: with numpy where it is installed, without it all the same.

A stored vector has length 1, so a product of two is their cosine. It is kept in 32-bit floats, the least of all formats
that loses nothing a model means, and multiplied in 64-bit ones.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from math import fsum, isfinite, sqrt
from operator import mul
from typing import Any

import msgspec

from headgate.ports import Attempt

__all__ = ["DIGITS", "Found", "cosines", "packed", "unit_vector"]

DIGITS = 6
"""To so many digits scores are the same on every machine, with numpy and without."""
MULTIPLIED_TOGETHER = 1_000

Row = tuple[int, str, bytes]
"""An item's number and id, and its vector."""


class Found(msgspec.Struct, frozen=True):
    """An item's place in a ranking: its number in the file, its id, and its score."""

    number: int
    id: str
    score: float


def unit_vector(values: Sequence[float]) -> tuple[float, ...]:
    """Return the vector with length 1 (one of zeros stays as it is). Raises `Attempt` (`invalid_embedding`)."""
    numbers = [float(value) for value in values]
    largest = max(map(abs, numbers), default=0.0)
    if not numbers or not all(map(isfinite, numbers)):
        message = f"The model gave a vector that is empty or not of numbers ({len(numbers)} entries). Ask again."
        raise Attempt.failed("invalid_embedding", message)
    if not largest:
        return tuple(numbers)
    scaled = [number / largest for number in numbers]  # so that squares neither overflow nor vanish
    length = sqrt(fsum(number * number for number in scaled))
    return tuple(number / length for number in scaled)


def packed(vector: Sequence[float]) -> bytes:
    """Return the vector as it is stored: 32-bit floats, the lowest byte first."""
    return struct.pack(f"<{len(vector)}f", *vector)


def cosines(rows: Iterable[Row], query: Sequence[float]) -> Iterator[Found]:
    """Yield each row's cosine with `query`, a unit vector of the same dimension, rounded to `DIGITS`."""
    try:
        import numpy
    except ImportError:
        yield from _cosines_one_by_one(rows, query)
    else:
        yield from _cosines_together(rows, query, numpy)


def _cosines_one_by_one(rows: Iterable[Row], query: Sequence[float]) -> Iterator[Found]:
    unpack = struct.Struct(f"<{len(query)}f").unpack
    for number, id_, vector in rows:
        yield Found(number, id_, round(sum(map(mul, unpack(vector), query)), DIGITS))


def _cosines_together(rows: Iterable[Row], query: Sequence[float], numpy: Any) -> Iterator[Found]:
    asked = numpy.asarray(query, dtype="float64")
    left = iter(rows)
    while some := list(islice(left, MULTIPLIED_TOGETHER)):
        matrix = numpy.frombuffer(b"".join(row[2] for row in some), dtype="<f4").reshape(len(some), len(query))
        scores = (matrix.astype("float64") @ asked).tolist()
        for (number, id_, _), score in zip(some, scores, strict=True):
            yield Found(number, id_, round(score, DIGITS))
