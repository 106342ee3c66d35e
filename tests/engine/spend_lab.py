"""Runs of which every cost is a row."""

from __future__ import annotations

import msgspec

from headgate.authoring import load_definition
from headgate.core.usage_sums import COUNTS
from headgate.core.values import Price, Usage
from headgate.ports import (
    SpendRow,
)
from headgate.stores.memory import MemoryLog

CHILD = load_definition("name: child\nactivities: {one: {use: echo, retry: 2}, two: {use: echo, after: [one]}}")


class KeptLog(MemoryLog):
    """It stays readable when its world has ended."""

    async def close(self) -> None:
        """Nothing is let go."""


def price_of(row: SpendRow) -> Price:
    return msgspec.json.decode(row.price, type=Price)


def usage_of(row: SpendRow) -> Usage:
    return Usage(**{name: getattr(row, name) for name in (*COUNTS, "tier")})
