"""Schedules as documents: one store of them wherever the log lies."""

from __future__ import annotations

import msgspec

from headgate.ports import Document, Documents, Schedule
from headgate.stores.held import HeldDocuments

__all__ = ["KeptSchedules"]

KIND = "schedule"


class KeptSchedules:
    """`ports.Schedules` among the documents."""

    def __init__(self, documents: Documents) -> None:
        self._kept = HeldDocuments(documents, KIND)
        self._read: dict[tuple[str, str], Schedule] = {}

    async def save(self, schedule: Schedule) -> bool:
        body = msgspec.json.encode(msgspec.structs.replace(schedule, revision=0))
        name, at = schedule.name, schedule.created_at
        return await self._kept.put(schedule.tenant, name, body, at=at, expected=schedule.revision)

    async def remove(self, tenant: str, name: str) -> bool:
        return await self._kept.remove(tenant, name)

    async def all(self) -> list[Schedule]:
        found = [self._schedule(document) for document in await self._kept.all()]
        self._read = {(schedule.tenant, schedule.name): schedule for schedule in found}
        return found

    def _schedule(self, document: Document) -> Schedule:
        known = self._read.get((document.tenant, document.name))
        if known is not None and known.revision == document.revision:
            return known
        schedule = msgspec.json.decode(document.body, type=Schedule)
        return msgspec.structs.replace(schedule, revision=document.revision)

    async def due(self, now: int, limit: int) -> list[Schedule]:
        waiting = sorted(await self._waiting(), key=lambda entry: entry[:2])
        return [schedule for at, _, schedule in waiting if at <= now][:limit]

    async def next_at(self) -> int | None:
        return min((at for at, _, _ in await self._waiting()), default=None)

    async def _waiting(self) -> list[tuple[int, str, Schedule]]:
        return [
            (schedule.next_at, schedule.name, schedule)
            for schedule in await self.all()
            if schedule.enabled and schedule.next_at is not None
        ]
