"""Schedules: beside the log in its SQLite file, or in memory where the log is."""

from __future__ import annotations

import msgspec

from headgate.ports import Log, Schedule, Schedules, Tables
from headgate.stores.queries import load_queries

__all__ = ["MemorySchedules", "SqliteSchedules", "schedules_beside"]

SQL = load_queries("schedules.sql")


def schedules_beside(log: Log) -> Schedules:
    """Return the schedules that lie where the log does."""
    return SqliteSchedules(log) if isinstance(log, Tables) else MemorySchedules()


class SqliteSchedules:
    """`ports.Schedules` in the log's file."""

    def __init__(self, log: Tables) -> None:
        self._log = log

    async def save(self, schedule: Schedule) -> None:
        body = msgspec.json.encode(schedule)
        due = schedule.next_at if schedule.enabled else None
        row = (schedule.id, schedule.tenant, schedule.name, body, due, schedule.created_at)
        await self._log.change(SQL["save"], *row)

    async def remove(self, tenant: str, name: str) -> bool:
        return bool(await self._log.change(SQL["remove"], tenant, name))

    def all(self) -> list[Schedule]:
        return [_schedule(row) for row in self._log.read(SQL["all"])]

    def due(self, now: int, limit: int) -> list[Schedule]:
        return [_schedule(row) for row in self._log.read(SQL["due"], now, limit)]

    def next_at(self) -> int | None:
        return self._log.read(SQL["next"])[0][0]


def _schedule(row: tuple[bytes]) -> Schedule:
    return msgspec.json.decode(row[0], type=Schedule)


class MemorySchedules:
    """`ports.Schedules` for as long as the process lives."""

    def __init__(self) -> None:
        self._schedules: dict[tuple[str, str], Schedule] = {}

    async def save(self, schedule: Schedule) -> None:
        self._schedules[schedule.tenant, schedule.name] = schedule

    async def remove(self, tenant: str, name: str) -> bool:
        return self._schedules.pop((tenant, name), None) is not None

    def all(self) -> list[Schedule]:
        return [self._schedules[key] for key in sorted(self._schedules)]

    def due(self, now: int, limit: int) -> list[Schedule]:
        return [schedule for at, _, schedule in sorted(self._waiting(), key=lambda entry: entry[:2]) if at <= now][
            :limit
        ]

    def next_at(self) -> int | None:
        return min((at for at, _, _ in self._waiting()), default=None)

    def _waiting(self) -> list[tuple[int, str, Schedule]]:
        return [
            (schedule.next_at, schedule.name, schedule)
            for schedule in self._schedules.values()
            if schedule.enabled and schedule.next_at is not None
        ]
