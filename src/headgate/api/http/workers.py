"""Routes of workers: all that the worker protocol says, over HTTP. Any language can host one.

An `activity_id` is opaque and new with each claim: it is the fence. Whoever reports an attempt that is over is told so
by a warning, or by 409 where there is something to stop.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec

from headgate.api.http.files import with_uploads
from headgate.api.http.route import Call, NoQuery, Route
from headgate.client.worker_frames import SentReport
from headgate.core.errors import Invalid
from headgate.core.money import nano
from headgate.core.values import Assignment, Failure, Usage
from headgate.ports import Acknowledged, Admission, CallRequest, Completed, Failed, Report, Settlement

__all__ = ["ROUTES", "Recorded", "activity_id", "of_activity"]

ACTIVITIES_MAX = 100
WAIT_SECONDS_MAX = 60.0
REPORTS_MAX = 1_000
USD_MAX = 1_000_000

Tokens = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
Dollars = float | str
"""As a number, or as its text: workers in Python send decimals so."""


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
    activity_id: str
    workflow_id: str
    activity_key: str
    worker: str
    activity_name: str
    parameters: dict[str, Any]
    settings: dict[str, Any]
    timeout_seconds: float
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


class UsageReport(msgspec.Struct, frozen=True):
    """What a worker used of a model by itself. `cost_usd` None: priced by the server where it knows the model."""

    provider: str = ""
    model: str = ""
    input_tokens: Tokens = 0
    output_tokens: Tokens = 0
    cache_read_tokens: Tokens = 0
    cache_creation_tokens: Tokens = 0
    cost_usd: Dollars | None = None


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


class CallBody(CallRequest, frozen=True, kw_only=True):
    """A call's request, and the id that it bears."""

    call_id: str


class CallAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`admitted`: the call may go to `model`. `hit`: it need not be made, `answers` are those of equal ones.
    `denied`: it may not."""

    decision: Literal["admitted", "hit", "denied"]
    model: str | None = None
    reservation: int | None = None
    skipped: tuple[str, ...] = ()
    answers: tuple[Any, ...] = ()
    error: Failure | None = None


class EffectBody(msgspec.Struct, frozen=True):
    what: str


async def poll_tasks(call: Call[NoQuery, Poll]) -> Polled:
    """Take tasks of a queue; held open until one is due, at most `wait_seconds`"""
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
    return Polled([_handed(task) for task in tasks], len(tasks))


def _handed(task: Assignment) -> Handed:
    return Handed(
        activity_id=task.activity_id.replace("/", "~"),
        workflow_id=task.workflow_id,
        activity_key=task.activity_key,
        worker=task.worker,
        activity_name=task.activity_name,
        parameters=task.parameters,
        settings=task.settings,
        timeout_seconds=task.timeout_seconds,
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
    seconds = await call.workers.heartbeat(
        activity_id(call), worker_id=call.body.worker_id, progress=call.body.progress
    )
    return Beaten(acknowledged=True, next_heartbeat_seconds=seconds)


async def complete_task(call: Call[NoQuery, CompleteBody]) -> Recorded:
    """Report an output; durable when this is answered, and harmless when repeated"""
    body = call.body
    report = await _completed(call, activity_id(call), body)
    (known,) = await call.workers.report([report], worker_id=body.worker_id)
    return _recorded(known)


async def complete_tasks(call: Call[NoQuery, CompleteMany]) -> RecordedMany:
    """Report many outputs at once"""
    body = call.body
    if len(body.activities) > REPORTS_MAX:
        raise Invalid(f"expected at most {REPORTS_MAX} reports, got {len(body.activities)}")
    reports: list[Report] = [await _completed(call, _opened(one.activity_id), one) for one in body.activities]
    answers = await call.workers.report(reports, worker_id=body.worker_id)
    return RecordedMany([_recorded(answer) for answer in answers])


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
    report = Failed(activity_id(call), failure, _usage(call, body))
    (known,) = await call.workers.report([report], worker_id=body.worker_id)
    return RecordedFailure(acknowledged=True, will_retry=known.will_retry, warnings=_warnings(known))


async def ask_for_call(call: Call[NoQuery, CallBody]) -> CallAnswer:
    """Ask the gate for a model call; answered when there is an answer, for it may have to wait for money"""
    body = call.body
    admission = await call.held(call.workers.admit(activity_id(call), call_id=_opened(body.call_id), request=body))
    return _call_answer(admission)


def _call_answer(admission: Admission) -> CallAnswer:
    from headgate.ports import Admitted, Hit

    if isinstance(admission, Admitted):
        return CallAnswer(
            decision="admitted",
            model=admission.model,
            reservation=admission.reservation,
            skipped=admission.skipped,
        )
    if isinstance(admission, Hit):
        return CallAnswer(decision="hit", model=admission.model, answers=admission.answers)
    return CallAnswer(decision="denied", error=admission.error)


async def settle_call(call: Call[NoQuery, Settlement]) -> Recorded:
    """Say how a call ended: what it used, that it was never sent, or that nobody knows"""
    call_id = _opened(call.path["call"])
    await call.workers.settle(activity_id(call), call_id=call_id, settlement=call.body)
    return Recorded(acknowledged=True, warnings=[])


async def begin_effect(call: Call[NoQuery, EffectBody]) -> Recorded:
    """Say, before doing it, that something is done now that must not be done twice"""
    await call.workers.begin_effect(activity_id(call), what=call.body.what)
    return Recorded(acknowledged=True, warnings=[])


async def restart_stream(call: Call[NoQuery, None]) -> Recorded:
    """Take back what was passed on of this attempt: its text begins again"""
    call.workers.restart_stream(activity_id(call))
    return Recorded(acknowledged=True, warnings=[])


def activity_id(call: Call[Any, Any]) -> str:
    """Return the id of the task that a path names, as the engine has it."""
    return _opened(call.path["activity"])


def _opened(opaque: str) -> str:
    """Return an id as the engine has it: on the wire it is one segment of a path, as it is."""
    return opaque.replace("~", "/")


async def _completed(call: Call[Any, Any], task: str, body: CompleteBody) -> Completed:
    return Completed(task, await with_uploads(call, task, body.output), _usage(call, body))


def _usage(call: Call[Any, Any], body: CompleteBody | FailBody) -> tuple[Usage, ...]:
    """Return what the worker used, priced; a cost beyond what its models account for stands alone."""
    usages = [_priced(call, one) for one in body.usage]
    told = sum(usage.cost_nano or 0 for usage in usages)
    if body.cost_usd is not None and (rest := _nano(body.cost_usd) - told) > 0:
        usages.append(Usage(cost_nano=rest))
    return tuple(usages)


def _priced(call: Call[Any, Any], one: UsageReport) -> Usage:
    usage = Usage(
        provider=one.provider,
        model=one.model,
        input_tokens=one.input_tokens + one.cache_read_tokens + one.cache_creation_tokens,
        output_tokens=one.output_tokens,
        cache_read_tokens=one.cache_read_tokens,
        cache_write_tokens=one.cache_creation_tokens,
    )
    if one.cost_usd is not None:
        return msgspec.structs.replace(usage, cost_nano=_nano(one.cost_usd))
    price = call.doors.price(one.provider, one.model)
    return usage if price is None else msgspec.structs.replace(usage, cost_nano=price.cost(usage), price=price)


def _nano(usd: Dollars) -> int:
    try:
        amount = Decimal(str(usd))
    except ArithmeticError:
        amount = Decimal("nan")
    if not (amount.is_finite() and 0 <= amount < USD_MAX):
        raise Invalid(f"expected cost_usd to be 0 to {USD_MAX:,}, got {usd!r}")
    return nano(amount)


def _recorded(known: Acknowledged) -> Recorded:
    return Recorded(acknowledged=True, warnings=_warnings(known))


def _warnings(known: Acknowledged) -> list[str]:
    return [known.stale] if known.stale else []


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
    of_activity("calls", ask_for_call, CallBody, CallAnswer),
    of_activity("calls/{call}/settle", settle_call, Settlement, Recorded),
    of_activity("effects", begin_effect, EffectBody, Recorded),
    of_activity("ws/restart", restart_stream, None, Recorded),
)
