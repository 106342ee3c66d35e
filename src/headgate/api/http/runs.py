"""Routes of runs: start, list, look, wait, and every verb that acts on one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from headgate.api.http.query import Count, Limit, Seconds
from headgate.api.http.route import Answer, Call, NoQuery, Route
from headgate.api.http.shown_run import Look, seen
from headgate.api.http.wire import (
    ActivityOutput,
    RunAnswer,
    RunList,
    RunOutputs,
    RunStarted,
    StartRun,
    rfc3339,
    run_answer,
    run_line,
)
from headgate.core.errors import Invalid, NotFound, UniqueKeyHeld
from headgate.core.money import dollars, given_nano
from headgate.core.run import RunStatus
from headgate.core.view import PlaceView, RunSummary, RunView
from headgate.engine.logs import current_trace
from headgate.engine.reader import summary_of
from headgate.ports import RunsWanted, SignalRequest, StartRequest

__all__ = ["ROUTES"]


class Wait(msgspec.Struct, frozen=True):
    wait: Seconds = 0.0
    """Seconds to wait for the end of the run; the answer comes at once when it has ended."""


class Filter(msgspec.Struct, frozen=True):
    status: RunStatus | None = None
    definition_name: str | None = None
    created_after: str | None = None
    created_before: str | None = None
    q: str = ""
    limit: Limit = 50
    offset: Count = 0
    cursor: str | None = None


class SignalBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    activity_key: str = ""
    event_name: str = ""
    signal_name: str = ""
    data: Any = None


class Signaled(msgspec.Struct, frozen=True):
    signaled: bool
    message: str


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reason: str = ""


async def start_run(call: Call[Wait, StartRun]) -> Answer:
    """Start a run of a deployed definition, or signal who holds its key; with `wait`, answer when it has ended"""
    body, signal = call.body, call.body.signal
    request = StartRequest(
        workflow=body.definition_name,
        version=body.version,
        input=body.input,
        mode=body.mode,
        limit=None if body.budget is None else given_nano(body.budget),
        labels=body.labels,
        unique_key=body.unique_key,
        command_id=call.command_id,
        trace_id=body.trace_id or current_trace.get(),
        signal=None if signal is None else SignalRequest(name=signal.name, key=signal.activity_key, data=signal.data),
    )
    try:
        started = await call.desk.start(request)
    except UniqueKeyHeld as held:
        if not body.reuse:
            raise
        return await _started(call, summary_of(await call.records.row(held.run)), status=200)
    if not call.query.wait:
        call.desk.showing.begun(started.id)
    return await _started(call, started, status=201)


async def _started(call: Call[Wait, StartRun], run: RunSummary, *, status: int) -> Answer:
    """Return the answer about a run that was started now, or, with 200, before; with `wait` when it has ended."""
    if call.query.wait:
        return await seen(call, run.id, Look(wait=call.query.wait), status=status)
    word = "created" if status == 201 and call.body.signal is None else run.status
    return Answer(RunStarted(run.id, run.workflow, run.definition, word, rfc3339(run.created_at)), status)


async def list_runs(call: Call[Filter, None]) -> RunList:
    """List runs, newest first"""
    query = call.query
    page = await call.records.runs(
        RunsWanted(
            query.status,
            query.definition_name,
            _time(query.created_after, "created_after"),
            _time(query.created_before, "created_before"),
            query.q,
        ),
        limit=query.limit,
        offset=query.offset if query.cursor is None else 0,
        before=query.cursor,
    )
    return RunList(
        workflows=[run_line(run) for run in page.runs],
        total=page.total,
        count=len(page.runs),
        limit=query.limit,
        offset=query.offset,
        next_cursor=page.last,
    )


def _time(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(f"expected {name} to be a time such as 2026-01-31T09:00:00Z, got {text!r}") from None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1_000_000)


async def get_run(call: Call[Look, None]) -> Answer:
    """Show a run, as it is or as it was after event `at`; with `wait`, when it has ended"""
    return await seen(call, call.path["id"], call.query)


async def get_outputs(call: Call[NoQuery, None]) -> RunOutputs:
    """Show what each activity of a run came to, and the run"""
    run = await call.desk.show(call.path["id"])
    return await _outputs(call, run, run.activities)


async def get_output(call: Call[NoQuery, None]) -> RunOutputs:
    """Show what one activity of a run came to"""
    run = await call.desk.show(call.path["id"])
    key = call.path["key"]
    place = next((place for place in run.activities if place.key == key), None)
    if place is None:
        raise NotFound(f"Run {run.id} has no activity {key!r}.")
    return await _outputs(call, run, [place])


async def _outputs(call: Call[NoQuery, None], run: RunView, places: Sequence[PlaceView]) -> RunOutputs:
    depended_on = await call.records.depended_on(run.id)
    return RunOutputs(
        workflow_id=run.id,
        status=run.status,
        total_cost_usd=dollars(run.cost),
        completed_at=rfc3339(run.finished_at),
        outputs={place.key: _output(place, terminal=place.key not in depended_on) for place in places},
        result=run.outputs,
    )


def _output(place: PlaceView, *, terminal: bool) -> ActivityOutput:
    return ActivityOutput(
        status=place.status,
        output=place.output,
        cost_usd=dollars(place.cost),
        completed_at=rfc3339(place.ended_at),
        is_terminal=terminal,
    )


async def signal_run(call: Call[NoQuery, SignalBody]) -> Signaled:
    """Send a signal to a run; one that comes early is kept until its activity waits for it"""
    body = call.body
    name = body.event_name or body.signal_name
    if not name and not body.activity_key:
        raise Invalid("expected activity_key, event_name or signal_name, got none of them")
    desk, run = call.desk, call.path["id"]
    if not name:
        name = await call.records.signal_name(run, body.activity_key)
    view = await desk.signal(run, name, key=body.activity_key, data=body.data, command_id=call.command_id)
    return Signaled(signaled=True, message=f"Signal {name!r} was taken by run {view.id}, which is {view.status}.")


async def cancel_run(call: Call[NoQuery, Reason]) -> RunAnswer:
    """Cancel a run: what has not begun is dropped, what is under way is stopped"""
    view = await call.desk.cancel(call.path["id"], reason=call.body.reason, command_id=call.command_id)
    return run_answer(view, outputs=False)


async def pause_run(call: Call[NoQuery, Reason]) -> RunAnswer:
    """Pause a run: nothing new is handed out"""
    view = await call.desk.pause(call.path["id"], reason=call.body.reason, command_id=call.command_id)
    return run_answer(view, outputs=False)


async def resume_run(call: Call[NoQuery, None]) -> RunAnswer:
    """Let a paused run go on"""
    return run_answer(await call.desk.resume(call.path["id"], command_id=call.command_id), outputs=False)


async def retry_run(call: Call[NoQuery, None]) -> RunAnswer:
    """Let a failed run go on from what failed"""
    return run_answer(await call.desk.retry(call.path["id"], command_id=call.command_id), outputs=False)


def _acting(verb: str, function: Any, body: Any = None) -> Route:
    return Route(
        method="POST",
        path=f"/workflows/{{id}}/{verb}",
        function=function,
        body=body,
        answer=RunAnswer,
        scope="runs:write",
        refusals=(404, 409),
    )


ROUTES = (
    Route(method="GET", path="/workflows/{id}", function=get_run, query=Look, answer=RunAnswer, refusals=(404,)),
    Route(
        method="POST",
        path="/workflows",
        function=start_run,
        query=Wait,
        body=StartRun,
        answer=(RunStarted, RunAnswer),
        status=201,
        other_statuses=(200,),
        scope="runs:write",
        refusals=(404, 409),
    ),
    Route(method="GET", path="/workflows", function=list_runs, query=Filter, answer=RunList),
    Route(method="GET", path="/workflows/{id}/output", function=get_outputs, answer=RunOutputs, refusals=(404,)),
    Route(
        method="GET",
        path="/workflows/{id}/activities/{key}/output",
        function=get_output,
        answer=RunOutputs,
        refusals=(404,),
    ),
    Route(
        method="POST",
        path="/workflows/{id}/signal",
        function=signal_run,
        body=SignalBody,
        answer=Signaled,
        scope="runs:write",
        refusals=(404, 409),
    ),
    _acting("cancel", cancel_run, Reason),
    _acting("pause", pause_run, Reason),
    _acting("resume", resume_run),
    _acting("retry", retry_run),
)
