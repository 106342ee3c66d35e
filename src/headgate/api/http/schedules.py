"""Routes of schedules: workflows that start by the clock, and the times that they have missed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from headgate.api.http.query import PageWanted
from headgate.api.http.route import Answer, Call, NoQuery, Route
from headgate.api.http.wire import rfc3339
from headgate.api.pages import page_by_name
from headgate.core.errors import Invalid, NotFound, Refused
from headgate.core.money import dollars, given_nano
from headgate.core.values import Mode
from headgate.engine.scheduler import next_times
from headgate.ports import Misfire, Schedule

__all__ = ["ROUTES"]

NEXT_TIMES = 5
NAME_CHARACTERS_MAX = 128


class ScheduleBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a deployed definition: the newest of the name at each time, or the version that is given. Either `cron` or
    `interval_seconds`; `budget` in dollars, for each run."""

    name: str
    definition_name: str
    definition_version: str = ""
    input: Any = None
    cron: str = ""
    interval_seconds: float = 0.0
    timezone: str = "UTC"
    overlap_policy: Literal["skip", "allow"] = "skip"
    misfire_policy: Misfire = "run_once"
    mode: Mode = "realtime"
    budget: float | None = None
    labels: dict[str, str] = {}
    enabled: bool = True


class ScheduleChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be different; what is left out stays. `cron` takes the place of an interval, and an interval of it."""

    definition_version: str | None = None
    input: Any | msgspec.UnsetType = msgspec.UNSET
    cron: str | None = None
    interval_seconds: float | None = None
    timezone: str | None = None
    overlap_policy: Literal["skip", "allow"] | None = None
    misfire_policy: Misfire | None = None
    mode: Mode | None = None
    budget: float | msgspec.UnsetType | None = msgspec.UNSET
    labels: dict[str, str] | None = None
    enabled: bool | None = None


class ScheduleLine(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    definition_name: str
    definition_version: str
    cron: str | None
    interval_seconds: float | None
    timezone: str
    overlap_policy: str
    misfire_policy: str
    mode: str
    budget_limit_usd: float | None
    labels: dict[str, str]
    enabled: bool
    next_run_at: str | None
    next_run_times: list[str | None]
    last_run_at: str | None
    last_workflow_id: str | None
    note: str | None
    input: Any


class ScheduleList(msgspec.Struct, frozen=True):
    schedules: list[ScheduleLine]
    count: int
    next_cursor: str | None


class Backfill(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"since": "from"}):
    """Times such as 2026-01-31T09:00:00Z; `from` counts, `until` does not."""

    since: str
    until: str


class Backfilled(msgspec.Struct, frozen=True):
    workflow_ids: list[str]
    count: int


async def add_schedule(call: Call[NoQuery, ScheduleBody]) -> Answer:
    """Start a deployed workflow by the clock"""
    body = call.body
    if not 1 <= len(body.name) <= NAME_CHARACTERS_MAX or "/" in body.name:
        raise Invalid(f"expected name to be 1 to {NAME_CHARACTERS_MAX} characters without /, got {body.name[:200]!r}")
    if any(one.name == body.name for one in await call.desk.schedules()):
        raise Refused(f"There is a schedule {body.name!r} already; change it with PATCH.")
    made = await call.desk.schedule(
        Schedule(
            id="",
            name=body.name,
            workflow=body.definition_name,
            version=body.definition_version,
            tenant=call.caller.tenant,
            input=body.input,
            cron=body.cron,
            every_seconds=body.interval_seconds,
            timezone=body.timezone,
            overlap=body.overlap_policy,
            misfire=body.misfire_policy,
            mode=body.mode,
            limit=_limit(body.budget),
            labels=body.labels,
            enabled=body.enabled,
        ),
        definition="",
        files={},
    )
    return Answer(_line(made), 201)


async def list_schedules(call: Call[PageWanted, None]) -> ScheduleList:
    """List schedules by name, with the times of their next runs"""
    page = page_by_name(await call.desk.schedules(), call.query.cursor, call.query.limit, lambda one: one.name)
    lines = [_line(one) for one in page.lines]
    return ScheduleList(lines, len(lines), page.next)


async def get_schedule(call: Call[NoQuery, None]) -> ScheduleLine:
    """Show a schedule, with the times of its next runs"""
    return _line(await _meant(call))


async def change_schedule(call: Call[NoQuery, ScheduleChange]) -> ScheduleLine:
    """Change a schedule; its next time is reckoned anew"""
    known, change = await _meant(call), call.body
    named = {
        "version": change.definition_version,
        "cron": change.cron,
        "every_seconds": change.interval_seconds,
        "timezone": change.timezone,
        "overlap": change.overlap_policy,
        "misfire": change.misfire_policy,
        "mode": change.mode,
        "labels": change.labels,
        "enabled": change.enabled,
    }
    given: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    if change.cron and change.interval_seconds is None:
        given["every_seconds"] = 0.0
    if change.interval_seconds and change.cron is None:
        given["cron"] = ""
    if change.input is not msgspec.UNSET:
        given["input"] = change.input
    if not isinstance(change.budget, msgspec.UnsetType):
        given["limit"] = _limit(change.budget)
    return _line(await call.desk.schedule(msgspec.structs.replace(known, **given), definition="", files={}))


async def backfill_schedule(call: Call[NoQuery, Backfill]) -> Backfilled:
    """Start a run for each time of a schedule in the past that has had none; repeated, it starts nothing more"""
    known = await _meant(call)
    since, until = _time(call.body.since, "from"), _time(call.body.until, "until")
    runs = await call.desk.backfill_schedule(known.name, since, until)
    return Backfilled(runs, len(runs))


async def _meant(call: Call[Any, Any]) -> Schedule:
    """Return the schedule that a path names, by its id or its name. Raises `NotFound`."""
    wanted = call.path["id"]
    for one in await call.desk.schedules():
        if wanted in (one.id, one.name):
            return one
    raise NotFound(f"There is no schedule {wanted!r}.")


def _time(text: str, name: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(f"expected {name} to be a time such as 2026-01-31T09:00:00Z, got {text[:80]!r}") from None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1_000_000)


def _limit(budget: float | None) -> int | None:
    return None if budget is None else given_nano(budget)


Change = Literal["pause", "resume", "remove", "trigger"]


def _change(change: Change, summary: str) -> Any:
    async def act(call: Call[NoQuery, None]) -> ScheduleLine:
        return _line(await call.desk.change_schedule((await _meant(call)).name, change))

    act.__name__ = f"{change}_schedule"
    act.__doc__ = summary
    return act


def _line(one: Schedule) -> ScheduleLine:
    return ScheduleLine(
        id=one.id,
        name=one.name,
        definition_name=one.workflow,
        definition_version=one.version,
        cron=one.cron or None,
        interval_seconds=one.every_seconds or None,
        timezone=one.timezone,
        overlap_policy=one.overlap,
        misfire_policy=one.misfire,
        mode=one.mode,
        budget_limit_usd=None if one.limit is None else dollars(one.limit),
        labels=one.labels,
        enabled=one.enabled,
        next_run_at=rfc3339(one.next_at) if one.enabled else None,
        next_run_times=[rfc3339(at) for at in next_times(one, NEXT_TIMES)],
        last_run_at=rfc3339(one.last_at),
        last_workflow_id=one.last_run or None,
        note=one.note or None,
        input=one.input,
    )


CHANGES: dict[Change, str] = {
    "trigger": "Start a run of a schedule now",
    "pause": "Let a schedule start nothing until it is resumed",
    "resume": "Let a paused schedule go on",
    "remove": "Delete a schedule; its runs stay",
}

ROUTES = (
    Route(
        method="POST",
        path="/schedules",
        function=add_schedule,
        repeats="kept",
        body=ScheduleBody,
        answer=ScheduleLine,
        status=201,
        scope="runs:write",
        refusals=(404, 409),
    ),
    Route(method="GET", path="/schedules", function=list_schedules, query=PageWanted, answer=ScheduleList),
    Route(method="GET", path="/schedules/{id}", function=get_schedule, answer=ScheduleLine, refusals=(404,)),
    Route(
        method="PATCH",
        path="/schedules/{id}",
        function=change_schedule,
        body=ScheduleChange,
        answer=ScheduleLine,
        scope="runs:write",
        refusals=(404, 409),
    ),
    Route(
        method="POST",
        path="/schedules/{id}/backfill",
        function=backfill_schedule,
        body=Backfill,
        answer=Backfilled,
        scope="runs:write",
        refusals=(404,),
    ),
    *(
        Route(
            method="DELETE" if change == "remove" else "POST",
            path="/schedules/{id}" if change == "remove" else f"/schedules/{{id}}/{change}",
            function=_change(change, summary),
            repeats="kept" if change == "trigger" else "known",
            answer=ScheduleLine,
            scope="runs:write",
            refusals=(404,),
        )
        for change, summary in CHANGES.items()
    ),
)
