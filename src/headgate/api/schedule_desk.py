"""The verbs of schedules."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from headgate.api.asker import Asker
from headgate.core.definition import Definition
from headgate.core.errors import Refused
from headgate.engine.engine import Engine
from headgate.engine.scheduler import Scheduler, changed_schedule, checked_schedule, named
from headgate.ports import Schedule, Schedules

__all__ = ["ScheduleDesk"]


class ScheduleDesk(Asker):
    """Schedules of a tenant, or of all tenants. `providers` and `activities`: what definitions may name."""

    def __init__(
        self,
        engine: Engine,
        schedules: Schedules,
        scheduler: Scheduler,
        *,
        providers: frozenset[str],
        activities: frozenset[str],
    ) -> None:
        Asker.__init__(self, engine)
        self._schedules = schedules
        self._scheduler = scheduler
        self._providers = providers
        self._activities = activities

    async def schedule(self, schedule: Schedule, *, definition: str, files: dict[str, str]) -> Schedule:
        from headgate.authoring import validate_input

        loaded, version = await self._scheduled(schedule, definition, files)
        given = {} if schedule.input is None else schedule.input
        value = _without_defaults(validate_input(loaded, given), given)
        schedule = self._own(schedule)
        before = next((known for known in await self._own_schedules() if known.name == schedule.name), None)
        made = msgspec.structs.replace(
            schedule,
            id=before.id if before else self._engine.random_id(),
            workflow=loaded.name,
            version=version,
            input=self._engine.scrubbed(loaded, value),
            created_at=before.created_at if before else self._now,
            revision=before.revision if before else 0,
        )
        checked = checked_schedule(made, self._now)
        if not await self._schedules.save(checked):
            raise Refused(f"The schedule {schedule.name!r} was changed by somebody else meanwhile. Ask again.")
        self._scheduler.changed()
        return checked

    async def _scheduled(self, schedule: Schedule, text: str, files: dict[str, str]) -> tuple[Definition, str]:
        """Return the definition that a schedule is of, and the version of its runs (empty: the newest then)."""
        if not text:
            plan = await self._engine.definitions.plan(schedule.workflow, schedule.version or None, tenant=self._whose)
            return plan.definition, schedule.version
        from headgate.authoring import given_files, load_definition

        loaded = load_definition(
            text,
            source=f"schedule {schedule.name}",
            providers=self._providers,
            activities=self._activities,
            read=given_files(files),
        )
        version, _ = await self._engine.definitions.deploy(loaded, tenant=self._whose)
        return loaded, version

    async def backfill_schedule(self, name: str, since: int, until: int) -> list[str]:
        return await self._scheduler.backfill(named(await self._own_schedules(), name), since, until)

    async def schedules(self) -> list[Schedule]:
        return await (self._schedules.all() if self._tenant is None else self._own_schedules())

    async def _own_schedules(self) -> list[Schedule]:
        return [schedule for schedule in await self._schedules.all() if schedule.tenant == self._whose]

    async def change_schedule(self, name: str, change: str) -> Schedule:
        schedule = named(await self._own_schedules(), name)
        match change:
            case "remove":
                await self._schedules.remove(schedule.tenant, name)
            case "trigger":
                await self._scheduler.trigger(schedule)
                return named(await self._own_schedules(), name)
            case "pause":
                schedule = await changed_schedule(
                    self._schedules, self._whose, name, lambda it: _enabled(it, enabled=False)
                )
            case _:
                schedule = await changed_schedule(
                    self._schedules,
                    self._whose,
                    name,
                    lambda it: checked_schedule(_enabled(it, enabled=True), self._now),
                )
        self._scheduler.changed()
        return schedule


def _without_defaults(value: Any, given: Any) -> Any:
    """Return an input as it was given: its runs take the defaults of the definition that they are of, which may be a
    newer one."""
    if not isinstance(value, dict) or not isinstance(given, dict):
        return value
    return {name: one for name, one in cast("dict[str, Any]", value).items() if name in given}


def _enabled(schedule: Schedule, *, enabled: bool) -> Schedule:
    return msgspec.structs.replace(schedule, enabled=enabled)
