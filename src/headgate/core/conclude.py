"""What follows from what has happened: edges, skips, openings, items, loops, the end of the run.

`conclude` works off the run's lists until nothing is left to say. Each conclusion is an event, so that a replay need
not evaluate a template again. It ends, for each conclusion ends an activity, opens one, or uses up an iteration.
"""

from __future__ import annotations

from typing import cast

from headgate.core import events as e
from headgate.core.decision import Decision
from headgate.core.definition import ITEMS_MAX, ITERATION_LIMIT_DEFAULT
from headgate.core.duration import parse_instant, parse_microseconds
from headgate.core.errors import Invalid
from headgate.core.expression import ExpressionError
from headgate.core.place import Place
from headgate.core.run import Run

__all__ = ["conclude", "handled", "resolve", "schedule"]


def conclude(decision: Decision) -> None:
    """Emit every consequence of the run's present state, in a fixed order."""
    run = decision.run
    while not run.finished and run.status != "cancelling":
        if run.edges_due:
            _decide_edge(decision, next(iter(run.edges_due)))
        elif run.ready:
            _decide_activity(decision, next(iter(run.ready)))
        elif run.resumed:
            index, stage = next(iter(run.resumed.items()))
            _open(decision, run.places[index], after=stage)
        elif run.fans_due:
            _advance_items(decision, next(iter(run.fans_due)))
        elif run.loops_due:
            _decide_loop(decision, next(iter(run.loops_due)))
        elif not run.open:
            _finish(decision)
        else:
            return
    if run.status == "cancelling":
        _finish_cancelled(decision)


# --- Edges and activities -----------------------------------------------------------------------------------------


def _decide_edge(decision: Decision, number: int) -> None:
    run = decision.run
    edge = run.plan.graph.edges[number]
    target, source = run.places[edge.target], run.places[edge.source]
    try:
        applied = all(condition.truth(decision.names(target)) for condition in run.plan.conditions[number])
    except ExpressionError as error:
        decision.emit(e.EdgeDecided, target.path, edge=number, applied=False, source=source.path)
        if target.status == "not_scheduled":  # else another edge has opened it already
            _fail_expression(decision, target, error)
        return
    decision.emit(e.EdgeDecided, target.path, edge=number, applied=applied, source=source.path)


def _decide_activity(decision: Decision, index: int) -> None:
    """Open what is ready, skip what never will be."""
    run = decision.run
    place = run.places[index]
    if place.ended or place.status != "not_scheduled":
        run.ready.pop(index)
        return
    reason = "" if place.again else _why_not(run, index)
    if reason:
        decision.emit(e.ActivitySkipped, place.path, reason=reason, iteration=place.iteration)
        return
    planned = place.planned
    if planned.when is not None:
        try:
            if not planned.when.truth(decision.names(place)):
                reason = f"its condition is false: {planned.when.text}"
                decision.emit(e.ActivitySkipped, place.path, reason=reason, iteration=place.iteration)
                return
        except ExpressionError as error:
            _fail_expression(decision, place, error)
            return
    _open(decision, place, after="")


def _why_not(run: Run, index: int) -> str:
    """Return why the activity cannot run, or nothing when it can."""
    planned = run.plan.activities[index]
    if not planned.needs:
        return ""
    join, applied = planned.activity.join, run.applied[index]
    if join == "any":
        return "" if applied else "no dependency applies"
    if run.dropped[index]:
        return f"its dependency {_dropped_dependency(run, index)} was not completed"
    if join == "all" and applied < planned.needs:
        return "not every dependency applies"
    return "" if applied else "no condition of its dependencies is true"


def _dropped_dependency(run: Run, index: int) -> str:
    edges = run.plan.graph.edges
    return next(
        repr(run.plan.activities[edges[number].source].key)
        for number in run.plan.activities[index].incoming
        if run.edges[number] == 2 and not edges[number].conditions
    )


def _open(decision: Decision, place: Place, *, after: str) -> None:
    """Take an activity through delay, signal and items to its task; `after` names the stage that is behind it."""
    planned = place.planned
    activity = planned.activity
    try:
        if not after and (until := _opening_time(decision, place)) is not None and until > decision.at:
            decision.emit(e.ActivityWaiting, place.path, kind="delay", until=until, iteration=place.iteration)
            return
        if after not in ("signal", "approval") and activity.wait_for_signal is not None:
            _await_signal(decision, place)
            return
        if planned.index in decision.run.plan.asks_first and not place.approved:
            asks = f"{activity.name or 'it'} has effects, and a model that read untrusted text had a part in it"
            decision.emit(e.ActivityWaiting, place.path, kind="approval", name=asks, iteration=place.iteration)
            return
        if planned.native == "signal":
            resolve(decision, place, of=place.signal)
            return
        if planned.for_each is not None:
            _open_items(decision, place)
            return
    except ExpressionError as error:
        _fail_expression(decision, place, error)
        return
    schedule(decision, place)


def schedule(decision: Decision, place: Place) -> None:
    """Make a new attempt of the place a task."""
    decision.emit(e.ActivityScheduled, place.path, place.attempt + 1, iteration=place.iteration)


def _opening_time(decision: Decision, place: Place) -> int | None:
    planned = place.planned
    try:
        if planned.delay is not None:
            return decision.at + parse_microseconds(planned.delay.render(decision.names(place)))
        if planned.scheduled_for is not None:
            return parse_instant(planned.scheduled_for.render(decision.names(place)))
    except Invalid as error:
        if isinstance(error, ExpressionError):
            raise
        text = planned.activity.delay or planned.activity.scheduled_for or ""
        raise ExpressionError(text, f"activity {planned.key!r}", str(error)) from None
    return None


def _fail_expression(decision: Decision, place: Place, error: ExpressionError) -> None:
    decision.emit(e.ActivityFailed, place.path, place.attempt, code=error.code, message=str(error))


# --- Signals ------------------------------------------------------------------------------------------------------


def _await_signal(decision: Decision, place: Place) -> None:
    wanted = place.planned.activity.wait_for_signal
    assert wanted is not None
    for signal in decision.run.signals:
        if signal.name == wanted.event_name and signal.key in ("", place.planned.key):
            decision.emit(e.SignalDelivered, place.path, of=signal.version)
            return
    until = None if wanted.timeout_seconds is None else decision.at + int(wanted.timeout_seconds * 1_000_000)
    decision.emit(
        e.ActivityWaiting, place.path, kind="signal", until=until, name=wanted.event_name, iteration=place.iteration
    )


# --- Items --------------------------------------------------------------------------------------------------------


def _open_items(decision: Decision, place: Place) -> None:
    if place.fan is not None:  # a retry: what is completed stays
        decision.emit(e.ActivityWaiting, place.path, kind="items", iteration=place.iteration)
        return
    planned = place.planned
    assert planned.for_each is not None
    items = planned.for_each.render(decision.names(place))
    if not isinstance(items, list):
        raise _not_items(place, f"expected a list of items, got {type(items).__name__}")
    count = len(cast("list[object]", items))
    if count > ITEMS_MAX:
        raise _not_items(place, f"{count} items are more than the {ITEMS_MAX} that one for_each may have")
    decision.emit(
        e.FanOutOpened, place.path, content=cast("list[object]", items), count=count, iteration=place.iteration
    )


def _not_items(place: Place, wrong: str) -> ExpressionError:
    activity = place.planned.activity
    return ExpressionError(str(activity.for_each), f"activity {activity.key!r}, for_each", wrong)


def _advance_items(decision: Decision, index: int) -> None:
    """Schedule items up to `max_parallel`; when all have ended, so has the activity."""
    run = decision.run
    place = run.places[index]
    fan = place.fan
    assert fan is not None
    while len(fan.live) < place.planned.activity.max_parallel and (item := fan.upcoming) >= 0:
        attempt = fan.attempts.get(item, 0) + 1
        decision.emit(e.ActivityScheduled, f"{place.path}[{item}]", attempt, iteration=place.iteration)
    if fan.done < fan.count or fan.live:
        return
    if fan.failed and place.planned.activity.on_failure == "fail":
        code, message = fan.first_error
        more = f" ({fan.failed} of {fan.count} items failed)" if fan.count > 1 else ""
        decision.emit(e.ActivityFailed, place.path, code=code, message=message + more)
    else:
        decision.emit(e.ActivityResolved, place.path, of=-1)


def resolve(decision: Decision, place: Place, *, of: int) -> None:
    """The engine completes the place itself; the content of event `of` is its output (0: null)."""
    if of:
        decision.emit(e.ActivityResolved, place.path, place.attempt, of=of)
    else:
        decision.emit(e.ActivityResolved, place.path, place.attempt, content=None)


# --- Loops --------------------------------------------------------------------------------------------------------


def _decide_loop(decision: Decision, number: int) -> None:
    run = decision.run
    head = run.places[run.plan.graph.loops[number].head]
    try:
        again, reason = _goes_again(decision, number)
    except ExpressionError as error:
        decision.emit(e.LoopDecided, head.path, loop=number, again=False, reason="its condition cannot be evaluated")
        _fail_expression(decision, head, error)
        return
    decision.emit(e.LoopDecided, head.path, loop=number, again=again, reason=reason)


def _goes_again(decision: Decision, number: int) -> tuple[bool, str]:
    run = decision.run
    shape, loop = run.plan.graph.loops[number], run.loops[number]
    head = run.places[shape.head]
    for index in sorted(shape.body):
        if run.places[index].status == "failed" and not handled(run, run.places[index]):
            return False, f"{run.places[index].path!r} failed"
    limit = head.planned.activity.iteration_limit
    if loop.iteration + 1 >= (limit or ITERATION_LIMIT_DEFAULT):
        return False, f"its limit of {limit or ITERATION_LIMIT_DEFAULT} iterations is reached"
    for edge in shape.back_edges:
        tail = run.places[run.plan.graph.edges[edge].source]
        if tail.status != "completed" and not (tail.ended and run.plan.handles[edge]):
            continue
        if all(condition.truth(decision.names(head)) for condition in run.plan.conditions[edge]):
            return True, ""
    return False, "no condition to repeat it is true"


# --- The end ------------------------------------------------------------------------------------------------------


def handled(run: Run, place: Place) -> bool:
    """Return whether the failure of `place` is provided for: by `on_failure`, or an edge that reads it and applied."""
    if place.planned.activity.on_failure == "continue":
        return True
    return any(run.edges[number] == 1 and run.plan.handles[number] for number in place.planned.outgoing)


def _finish(decision: Decision) -> None:
    run = decision.run
    failed = next((place for place in run.ended_places("failed") if not handled(run, place)), None)
    if failed is not None:
        decision.emit(e.RunFailed, code=failed.code, message=f"activity {failed.path!r} failed: {failed.error}")
        return
    if run.plan.outputs is None:
        decision.emit(e.RunCompleted)
        return
    try:
        outputs = run.plan.outputs.render(decision.names())
    except ExpressionError as error:
        decision.emit(e.RunFailed, code=error.code, message=str(error))
        return
    decision.emit(e.RunCompleted, content=outputs)


def _finish_cancelled(decision: Decision) -> None:
    """A run that is being cancelled has ended when no worker is busy with it any more."""
    if not decision.run.tasks:
        decision.emit(e.RunCancelled)
