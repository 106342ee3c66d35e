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


class Schedules(Protocol):
    """The schedules of one log. `save` replaces the one of the same name."""

    async def save(self, schedule: Schedule) -> None: ...

    async def remove(self, tenant: str, name: str) -> bool: ...

    def all(self) -> list[Schedule]: ...

    def due(self, now: int, limit: int) -> list[Schedule]: ...

    def next_at(self) -> int | None: ...
