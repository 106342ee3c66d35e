"""Runs that wait for signals or make two calls, and a log that fails when it is told to."""

from __future__ import annotations

from typing import Any

from headgate.core import commands as c
from headgate.core.definition import Activity, Definition
from headgate.core.values import Candidate, Price
from headgate.ports import CallRequest
from headgate.stores.memory import MemoryLog

WAITS = "name: waits\nactivities: {a: {wait_for: never}, b: {use: echo}}"


def signal(name: str, command_id: str = "", data: Any = None) -> c.Signal:
    return c.Signal(at=0, name=name, command_id=command_id, data=data)


class FaultyLog(MemoryLog):
    """A log that does what a test tells it before a commit."""

    def __init__(self) -> None:
        super().__init__()
        self.before_commit: Any = None
        self.outcome: Any = None
        self.batches: list[int] = []

    async def commit(self, batch: Any) -> Any:
        self.batches.append(len(batch))
        if self.before_commit is not None:
            before, self.before_commit = self.before_commit, None
            await before()
        if self.outcome is not None:
            return [self.outcome] * len(batch)
        return await super().commit(batch)

    async def close(self) -> None:
        """Stays open: two engines share it."""


TWO_CALLS = Definition(
    name="calls",
    activities=(
        Activity(key="a", name="x", queue="mine", timeout_seconds=100_000.0),
        Activity(key="b", name="x", queue="mine", timeout_seconds=300.0),
    ),
)
ONE = CallRequest("h", (Candidate("m/one", 60, Price(1, 1)),))
