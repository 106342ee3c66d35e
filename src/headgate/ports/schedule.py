"""Workflows that start by the clock."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import msgspec

__all__ = ["Schedule", "Schedules"]


class Schedule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A workflow that starts by the clock: at the times of `cron` in `timezone`, or `every_seconds`. Times are
    microseconds since 1970 (UTC), `limit` is in nano-dollars."""

    id: str
    name: str
    workflow: str
    version: str = ""
    tenant: str = "default"
    input: Any = None
    cron: str = ""
    every_seconds: float = 0.0
    timezone: str = "UTC"
    overlap: Literal["skip", "allow"] = "skip"
    mode: str = "realtime"
    limit: int | None = None
    labels: dict[str, str] = {}
    enabled: bool = True
    created_at: int = 0
    next_at: int | None = None
    last_at: int | None = None
    last_run: str = ""
    note: str = ""
    """Why the last time brought no run; empty: it did."""
    revision: int = 0
    """Which of its versions this is, as the store counts them; 0: it was never kept."""


class Schedules(Protocol):
    """The schedules of one log. What every store of them keeps true, tested by tests/conformance/test_schedules.py:

    1. Of two who save a schedule as they knew it one succeeds, and the other is told to look again.
    2. What was saved or removed is seen by everybody who asks after that. Every method raises `Unavailable`.
    """

    async def save(self, schedule: Schedule) -> bool:
        """Keep the schedule in the place of the one of its name that has its revision (0: there is none of the name).
        False: there is another by now, and nothing was changed."""
        ...

    async def remove(self, tenant: str, name: str) -> bool: ...

    async def all(self) -> list[Schedule]:
        """Return all, by tenant and name."""
        ...

    async def due(self, now: int, limit: int) -> list[Schedule]:
        """Return those whose time has come, longest due first."""
        ...

    async def next_at(self) -> int | None: ...
