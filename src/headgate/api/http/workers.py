"""Routes of workers: all that the worker protocol says, over HTTP. Any language can host one.

The ids of `/workers/poll` are UUIDs, of the run and of the attempt, as workers written for Kruxia Flow take them. Those
of `/workers/tasks` are the engine's own. Either is taken wherever a run or a task is named. Whoever reports an attempt
that is over is told so by a warning, or by 409 where there is something to stop.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from headgate.api.http.reported_output import reported_output
from headgate.api.http.reported_usage import Dollars, UsageReport, unpriced, usage_of
from headgate.api.http.route import Call, NoQuery, Route
from headgate.client.worker_frames import SentReport
from headgate.core.errors import Invalid, NotFound
from headgate.core.run_ids import uuid_of, uuid_parts
from headgate.core.values import Assignment, Failure
from headgate.ports import (
    DEFAULT_TENANT,
    Acknowledged,
    Completed,
    Failed,
    Report,
    Task,
)

__all__ = ["ROUTES", "Recorded", "activity_id", "of_activity"]

ACTIVITIES_MAX = 100
WAIT_SECONDS_MAX = 60.0
REPORTS_MAX = 1_000


class Poll(msgspec.Struct, frozen=True, kw_only=True):
    """Ask for tasks of the queue `worker`, or of several `queues`; the answer is held back until there is one, or the
    time is over. `activities` are those that the worker has: any other is done by the server itself, if it can.
    `lease`: this worker sends heartbeats, so that its death is noticed sooner; it is answered after 20 s at most."""

    worker: str = ""
    queues: tuple[str, ...] = ()
    worker_id: str
    max_activities: int = 1
    wait_seconds: float = 0.0
    lease: bool = False
    activities: tuple[str, ...] | None = None


class Handed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """A task. `workflow_id` is the run's id as a UUID, `run_id` as it stands everywhere else; `activity_id` names this
    attempt; `timeout_seconds` is rounded up."""

    activity_id: str
    workflow_id: str
    run_id: str
    activity_key: str
    worker: str
    activity_name: str
    parameters: dict[str, Any]
    settings: dict[str, Any]
    timeout_seconds: int
    output_definitions: list[dict[str, str]]
    signal_data: Any
    attempt: int
    iteration: int
    trace_id: str
    place: str
    workflow_name: str
    streaming: bool
    budget_remaining_nano: int | None
    mode: str


class Polled(msgspec.Struct, frozen=True):
    activities: list[Handed]
    count: int


class Beat(msgspec.Struct, frozen=True):
    worker_id: str
    progress: Any = None


class Beaten(msgspec.Struct, frozen=True):
    acknowledged: bool
    next_heartbeat_seconds: float


class CompleteBody(msgspec.Struct, frozen=True):
    worker_id: str = ""
    output: Any = None
    cost_usd: Dollars | None = None
    usage: list[UsageReport] = []


class ErrorReport(msgspec.Struct, frozen=True):
    message: str
    code: str = "activity_error"
    retryable: bool = True
    retry_after_seconds: float | None = None
    details: dict[str, Any] | None = None


class FailBody(msgspec.Struct, frozen=True):
    error: ErrorReport
    worker_id: str = ""
    cost_usd: Dollars | None = None
    usage: list[UsageReport] = []


class OneOfMany(CompleteBody, frozen=True, kw_only=True):
    activity_id: str


class CompleteMany(msgspec.Struct, frozen=True):
    activities: list[OneOfMany]
    worker_id: str = ""


class Recorded(msgspec.Struct, frozen=True):
    acknowledged: bool
    warnings: list[str]


class RecordedMany(msgspec.Struct, frozen=True):
    results: list[Recorded]


class Reports(msgspec.Struct, frozen=True):
    """What became of claims: an output each, or an error, with what was used of models and not settled call by call."""

    worker_id: str
    reports: tuple[SentReport, ...]


class RecordedFailure(msgspec.Struct, frozen=True):
    acknowledged: bool
    will_retry: bool
    warnings: list[str]


async def poll_tasks(call: Call[NoQuery, Poll]) -> Polled:
    """Take tasks of a queue; held open until one is due, at most `wait_seconds`"""
    tasks = await _taken(call)
    return Polled([_handed(call, task) for task in tasks], len(tasks))


async def take_tasks(call: Call[NoQuery, Poll]) -> list[Assignment]:
    """Take tasks of a queue in exact types; held open until one is due, at most `wait_seconds`"""
    return [msgspec.structs.replace(task, tenant=DEFAULT_TENANT) for task in await _taken(call)]


async def _taken(call: Call[NoQuery, Poll]) -> list[Assignment]:
    body = call.body
    if not 1 <= body.max_activities <= ACTIVITIES_MAX:
        raise Invalid(f"expected max_activities to be 1 to {ACTIVITIES_MAX}, got {body.max_activities}")
    queues = body.queues or ((body.worker,) if body.worker else ())
    if not queues:
        raise Invalid("expected worker, or queues, to name what to take tasks of")
    tasks: list[Assignment] = []
    async with call.doors.patience.wait():
        polled = call.workers.poll(
            queues,
            worker_id=body.worker_id,
            count=body.max_activities,
            wait_seconds=min(max(body.wait_seconds, 0.0), WAIT_SECONDS_MAX),
            heartbeats=body.lease,
        )
        tasks = await call.held(polled)
    if body.activities is not None:
        call.doors.keep([task for task in tasks if task.activity_name not in body.activities])
        tasks = [task for task in tasks if task.activity_name in body.activities]
    return tasks


def _handed(call: Call[NoQuery, Poll], task: Assignment) -> Handed:
    activity = call.records.activity(task.workflow_id, task.place)
    return Handed(
        activity_id=call.doors.claims.give(call.caller.tenant, call.body.worker_id, task),
        workflow_id=uuid_of(task.workflow_id) or task.workflow_id,
        run_id=task.workflow_id,
        activity_key=task.activity_key,
        worker=task.worker,
        activity_name=task.activity_name,
        parameters=task.parameters,
        settings=task.settings,
        timeout_seconds=math.ceil(task.timeout_seconds),
        output_definitions=[] if activity is None else [{"name": o.name, "type": o.type} for o in activity.outputs],
        signal_data=task.signal_data,
        attempt=task.attempt,
        iteration=task.iteration,
        trace_id=task.trace_id,
        place=task.place,
        workflow_name=task.workflow_name,
        streaming=task.streaming,
        budget_remaining_nano=task.budget_remaining_nano,
        mode=task.mode,
    )


async def heartbeat(call: Call[NoQuery, Beat]) -> Beaten:
    """Keep a claim; 409 says that its attempt is over, so stop working on it"""
    body = call.body
    task = await activity_id(call, body.worker_id)
    seconds = await call.workers.heartbeat(task, worker_id=body.worker_id, progress=body.progress)
    return Beaten(acknowledged=True, next_heartbeat_seconds=seconds)


async def complete_task(call: Call[NoQuery, CompleteBody]) -> Recorded:
    """Report an output; durable when this is answered, and harmless when repeated"""
    body = call.body
    report = await _completed(call, await activity_id(call, body.worker_id), body)
    (known,) = await call.workers.report([report], worker_id=body.worker_id)
    return _recorded(call, known, body)


async def complete_tasks(call: Call[NoQuery, CompleteMany]) -> RecordedMany:
    """Report many outputs at once"""
    body = call.body
    if len(body.activities) > REPORTS_MAX:
        raise Invalid(f"expected at most {REPORTS_MAX} reports, got {len(body.activities)}")
    reports: list[Report] = [
        await _completed(call, await _opened(call, one.activity_id, body.worker_id), one) for one in body.activities
    ]
    answers = await call.workers.report(reports, worker_id=body.worker_id)
    return RecordedMany([_recorded(call, *one) for one in zip(answers, body.activities, strict=True)])


async def report_tasks(call: Call[NoQuery, Reports]) -> list[Acknowledged]:
    """Report many outcomes at once, in exact types; durable when this is answered, and harmless when repeated"""
    body = call.body
    if len(body.reports) > REPORTS_MAX:
        raise Invalid(f"expected at most {REPORTS_MAX} reports, got {len(body.reports)}")
    return await call.workers.report([one.report for one in body.reports], worker_id=body.worker_id)


async def fail_task(call: Call[NoQuery, FailBody]) -> RecordedFailure:
    """Report a failure; what was used of models counts all the same"""
    body, error = call.body, call.body.error
    failure = Failure(error.code, error.message, error.retryable, error.retry_after_seconds, error.details)
    usage = usage_of(call, body.usage, body.cost_usd)
    report = Failed(await activity_id(call, body.worker_id), failure, usage)
    (known,) = await call.workers.report([report], worker_id=body.worker_id)
    return RecordedFailure(acknowledged=True, will_retry=known.will_retry, warnings=_warnings(call, known, body))


async def activity_id(call: Call[Any, Any], worker_id: str = "") -> str:
    """Return the claim that a path names, as the engine has it. `worker_id`: of whoever says that it is theirs."""
    return await _opened(call, call.path["activity"], worker_id)


async def _opened(call: Call[Any, Any], named: str, worker_id: str) -> str:
    """Return a claim as the engine has it, of its UUID, or of its id with no slash in it."""
    parts = uuid_parts(named)
    if parts is None:
        return named.replace("~", "/")
    known = call.doors.claims.find(call.caller.tenant, worker_id, named)
    if known is not None:
        return known
    try:
        attempt = await call.records.scheduled(*parts)
    except NotFound:
        attempt = Task("", parts[0], "", 0)  # one that never was, and is answered as such
    return await call.workers.claim_of(attempt, worker_id=worker_id)


async def _completed(call: Call[Any, Any], task: str, body: CompleteBody) -> Completed:
    return Completed(task, await reported_output(call, task, body.output), usage_of(call, body.usage, body.cost_usd))


def _recorded(call: Call[Any, Any], known: Acknowledged, body: CompleteBody) -> Recorded:
    return Recorded(acknowledged=True, warnings=_warnings(call, known, body))


def _warnings(call: Call[Any, Any], known: Acknowledged, body: CompleteBody | FailBody) -> list[str]:
    return [*([known.stale] if known.stale else []), *unpriced(call, body.usage)]


def of_activity(verb: str, function: Any, body: Any, answer: Any) -> Route:
    """Return a route by which a worker says something of its task."""
    return Route(
        method="POST",
        path=f"/activities/{{activity}}/{verb}",
        function=function,
        body=body,
        answer=answer,
        scope="workers",
        refusals=(404, 409),
    )


ROUTES = (
    Route(method="POST", path="/workers/poll", function=poll_tasks, body=Poll, answer=Polled, scope="workers"),
    Route(
        method="POST", path="/workers/tasks", function=take_tasks, body=Poll, answer=list[Assignment], scope="workers"
    ),
    Route(
        method="POST",
        path="/activities/complete",
        function=complete_tasks,
        body=CompleteMany,
        answer=RecordedMany,
        scope="workers",
    ),
    Route(
        method="POST",
        path="/workers/reports",
        function=report_tasks,
        body=Reports,
        answer=list[Acknowledged],
        scope="workers",
    ),
    of_activity("heartbeat", heartbeat, Beat, Beaten),
    of_activity("complete", complete_task, CompleteBody, Recorded),
    of_activity("fail", fail_task, FailBody, RecordedFailure),
)
