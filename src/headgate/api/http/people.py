"""Routes of what waits for people, and of schedules."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from headgate.api.http.route import Call, NoQuery, Route
from headgate.api.http.wire import RunAnswer, rfc3339, run_answer
from headgate.core.errors import Invalid
from headgate.ports import Schedule

__all__ = ["ROUTES"]

LOOKED_AT_MAX = 1_000


class ApprovalLine(msgspec.Struct, frozen=True):
    id: str
    workflow_id: str
    activity_key: str
    definition_name: str
    title: str
    body: str
    show: Any
    form: Any
    approvers: Any
    since: str | None
    until: str | None
    waiting_for: str


class ApprovalList(msgspec.Struct, frozen=True):
    approvals: list[ApprovalLine]
    count: int


class DecisionBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    approved: bool
    by: str = ""
    comment: str = ""
    data: Any = None


class ScheduleLine(msgspec.Struct, frozen=True):
    id: str
    name: str
    definition_name: str
    definition_version: str
    cron: str | None
    interval_seconds: float | None
    timezone: str
    overlap_policy: str
    enabled: bool
    next_run_at: str | None
    last_run_at: str | None
    input: Any


class ScheduleList(msgspec.Struct, frozen=True):
    schedules: list[ScheduleLine]
    count: int


async def list_approvals(call: Call[NoQuery, None]) -> ApprovalList:
    """List what waits for a person's decision, oldest first"""
    found = await call.records.approvals(limit=LOOKED_AT_MAX)
    lines = [
        ApprovalLine(
            id=f"{one.run}~{one.key}",
            workflow_id=one.run,
            activity_key=one.key,
            definition_name=one.workflow,
            title=str(one.asked.get("title") or ""),
            body=str(one.asked.get("body") or ""),
            show=one.asked.get("show"),
            form=one.asked.get("form"),
            approvers=one.asked.get("approvers"),
            since=rfc3339(one.since),
            until=rfc3339(one.until),
            waiting_for=one.waiting_for,
        )
        for one in found
    ]
    return ApprovalList(lines, len(lines))


async def decide_approval(call: Call[NoQuery, DecisionBody]) -> RunAnswer:
    """Decide an approval, once; `id` is that of the list"""
    run, _, key = call.path["id"].partition("~")
    if not key:
        raise Invalid(f"expected an id of the list of approvals, got {call.path['id']!r}")
    body = call.body
    view = await call.desk.decide(
        run, key=key, approved=body.approved, by=body.by, comment=body.comment, data=body.data,
        command_id=call.command_id,
    )  # fmt: skip
    return run_answer(view, outputs=False)


async def list_schedules(call: Call[NoQuery, None]) -> ScheduleList:
    """List schedules, with the time of their next run"""
    lines = [_line(one) for one in await call.desk.schedules()]
    return ScheduleList(lines, len(lines))


Change = Literal["pause", "resume", "remove", "trigger"]


def _change(change: Change, summary: str) -> Any:
    async def change_schedule(call: Call[NoQuery, None]) -> ScheduleLine:
        return _line(await call.desk.change_schedule(call.path["name"], change))

    change_schedule.__name__ = f"{change}_schedule"
    change_schedule.__doc__ = summary
    return change_schedule


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
        enabled=one.enabled,
        next_run_at=rfc3339(one.next_at),
        last_run_at=rfc3339(one.last_at),
        input=one.input,
    )


CHANGES: dict[Change, str] = {
    "trigger": "Start a run of a schedule now",
    "pause": "Let a schedule start nothing until it is resumed",
    "resume": "Let a paused schedule go on",
    "remove": "Delete a schedule",
}

ROUTES = (
    Route(method="GET", path="/approvals", function=list_approvals, answer=ApprovalList),
    Route(
        method="POST",
        path="/approvals/{id}",
        function=decide_approval,
        body=DecisionBody,
        answer=RunAnswer,
        scope="approvals",
        refusals=(404, 409),
    ),
    Route(method="GET", path="/schedules", function=list_schedules, answer=ScheduleList),
    *(
        Route(
            method="DELETE" if change == "remove" else "POST",
            path="/schedules/{name}" if change == "remove" else f"/schedules/{{name}}/{change}",
            function=_change(change, summary),
            answer=ScheduleLine,
            scope="runs:write",
            refusals=(404,),
        )
        for change, summary in CHANGES.items()
    ),
)
