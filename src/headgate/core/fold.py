"""How each event changes the run. Total: nothing is refused here, for it has happened.

The cost of an event is the number of out-edges that it touches, whatever the size of the run; only the end of a run
and a retry look at all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.core.definition import Budget
from headgate.core.fold_calls import CALL_FOLDS, forget_calls, spend
from headgate.core.fold_items import consider_items, end_item, place_of, retry_items
from headgate.core.fold_waits import WAIT_FOLDS, stop_waiting
from headgate.core.frontier import begin, close, decide_edge, end_loop, opened, repeat_loop, restart
from headgate.core.messages import tell_child, tell_parent
from headgate.core.place import FanOut, Place, Wait
from headgate.core.run import Run
from headgate.core.token_budget import book_tokens, tokens_of

__all__ = ["apply"]


def apply(run: Run, event: e.Event) -> None:
    """Fold `event` into `run`. The events of a run are folded in the order of their versions, each once."""
    FOLD[type(event)](run, event)
    run.version = event.version
    run.at = event.at


# --- The run -----------------------------------------------------------------------------------------------------


def _run_started(run: Run, event: e.RunStarted) -> None:
    run.status = "running"
    run.started_at = event.at
    run.tenant, run.trace_id = event.tenant, event.trace_id
    run.mode, run.labels, run.outer = event.mode, event.labels, event.outer
    run.decider = event.decider
    run.unique_key = event.unique_key
    if event.parent_run:
        run.parent = (event.parent_run, event.parent_place, event.parent_attempt)
    if event.limit is not None:
        run.budget = Budget(event.limit, run.budget.action if run.budget else "abort")
    if run.plan.definition.timeout_seconds is not None:
        run.set_timer("", "deadline", event.at + int(run.plan.definition.timeout_seconds * 1_000_000))
    begin(run)


def _run_finished(run: Run, event: e.RunCompleted | e.RunFailed | e.RunCancelled) -> None:
    run.finished, run.finished_at = True, event.at
    run.status = "completed"
    if isinstance(event, e.RunFailed):
        run.status, run.code, run.error = "failed", event.code, event.message
    elif isinstance(event, e.RunCancelled):
        run.status = "cancelled"
    else:
        run.outputs_version = event.version
    for place in run.live_places():
        place.status, place.ended_at = "cancelled", event.at
        if place.wait and place.wait.child_run:
            tell_child(run, place)
        place.wait = None
    for place in run.places:
        if not place.ended:
            place.status = "cancelled"
    run.tasks.clear()
    run.approvals.clear()
    run.timers.clear()
    run.waiting_calls.clear()
    run.asking_calls.clear()
    for due in (run.edges_due, run.loops_due, run.ready, run.fans_due, run.resumed):
        due.clear()
    tell_parent(run, event.version)


def _cancel_requested(run: Run, event: e.CancelRequested) -> None:
    run.status = "cancelling"
    run.code, run.error = "cancelled", event.reason
    run.timers.clear()
    run.waiting_calls.clear()
    run.asking_calls.clear()
    run.set_timer("", "grace", event.at + 30_000_000)


def _run_paused(run: Run, event: e.RunPaused) -> None:
    run.paused_from, run.status, run.pause_reason = run.status, "paused", event.reason


def _run_resumed(run: Run, event: e.RunResumed) -> None:
    run.status, run.paused_from, run.pause_reason = run.paused_from or "running", None, ""


def _run_retried(run: Run, event: e.RunRetried) -> None:
    run.status, run.code, run.error = "running", "", ""
    run.finished, run.finished_at = False, 0
    run.messages.pop("parent", None)
    again = [place.planned.index for place in run.places if place.status != "completed"]
    for index in again:
        place = run.places[index]
        if place.fan:
            retry_items(place.fan)
    restart(run, again)
    if run.plan.definition.timeout_seconds is not None:
        run.set_timer("", "deadline", event.at + int(run.plan.definition.timeout_seconds * 1_000_000))


# --- Activities --------------------------------------------------------------------------------------------------


def _activity_scheduled(run: Run, event: e.ActivityScheduled) -> None:
    place = place_of(run, event)
    opened(run, place)
    stop_waiting(run, place)
    place.status = "scheduled"
    place.attempt = event.attempt
    place.effect = ""
    place.scheduled_at = event.at
    place.scheduled_version = event.version
    run.tasks[event.place] = place
    if place.item >= 0:
        owner = run.owner(place)
        if owner.fan:
            consider_items(run, owner, owner.fan)


def _fan_out_opened(run: Run, event: e.FanOutOpened) -> None:
    place = place_of(run, event)
    opened(run, place)
    stop_waiting(run, place)
    place.status = "waiting"
    place.wait = Wait("items", event.at)
    place.scheduled_at = place.started_at = event.at
    place.scheduled_version = event.version
    place.fan = FanOut(event.count, event.version)
    consider_items(run, place, place.fan)


def _activity_completed(run: Run, event: e.ActivityCompleted) -> None:
    place = place_of(run, event)
    place.worker, place.started_at, place.input_hash = event.worker, event.started_at, event.input_hash
    spend(run, place, event.cost)
    book_tokens(run, event.place, sum(map(tokens_of, event.usage)))
    if event.cached:
        for counted in {place, run.owner(place)}:
            counted.reused += 1
            counted.saved += event.saved
    _complete(run, place, event, event.version)


def _activity_resolved(run: Run, event: e.ActivityResolved) -> None:
    place = place_of(run, event)
    opened(run, place)
    _complete(run, place, event, event.of if event.of > 0 else (0 if event.of < 0 else event.version))


def _complete(run: Run, place: Place, event: e.Event, ref: int) -> None:
    place.ref = ref
    if place.planned.loops and place.item < 0:
        place.refs.append(ref)
    _end(run, place, "completed", event)


def _effect_begun(run: Run, event: e.EffectBegun) -> None:
    place_of(run, event).effect = event.what or "an effect"


def _attempt_failed(run: Run, event: e.AttemptFailed | e.AttemptTimedOut) -> None:
    place = place_of(run, event)
    place.failures += 1
    place.started_at = event.started_at
    run.tasks.pop(event.place, None)
    if isinstance(event, e.AttemptFailed):
        place.worker, place.input_hash = event.worker, event.input_hash
        spend(run, place, event.cost)
        book_tokens(run, event.place, sum(map(tokens_of, event.usage)))


def _attempt_lost(run: Run, event: e.AttemptLost) -> None:
    place = place_of(run, event)
    place.lost += 1
    run.tasks.pop(event.place, None)


def _activity_failed(run: Run, event: e.ActivityFailed) -> None:
    place = place_of(run, event)
    opened(run, place)
    if place.ended:  # a loop's head whose condition could not be evaluated
        place.status, place.code, place.error = "failed", event.code, event.message
        return
    place.code, place.error = event.code, event.message
    _end(run, place, "failed", event)


def _activity_skipped(run: Run, event: e.ActivitySkipped) -> None:
    place = place_of(run, event)
    opened(run, place)
    place.error = event.reason
    place.ref = 0
    if place.planned.loops:
        place.refs.append(0)
    _end(run, place, "skipped", event)


def _activity_cancelled(run: Run, event: e.ActivityCancelled) -> None:
    place = place_of(run, event)
    if place.wait and place.wait.child_run:
        tell_child(run, place)
    _end(run, place, "cancelled", event)


def _end(run: Run, place: Place, status: Any, event: e.Event) -> None:
    stop_waiting(run, place)
    forget_calls(run, place)
    run.tasks.pop(place.path, None)
    place.status, place.ended_at = status, event.at
    if place.item >= 0:
        end_item(run, place)
        return
    run.fans_due.pop(place.planned.index, None)
    if run.status != "cancelling":
        close(run, place)
    else:
        run.open -= 1


# --- What was concluded -------------------------------------------------------------------------------------------


def _edge_decided(run: Run, event: e.EdgeDecided) -> None:
    decide_edge(run, event.edge, applies=event.applied)


def _loop_decided(run: Run, event: e.LoopDecided) -> None:
    if event.again:
        repeat_loop(run, event.loop)
    else:
        end_loop(run, event.loop)


def _nothing(run: Run, event: e.Event) -> None:
    """The event says what happened; nothing that decides depends on it."""


FOLD: dict[type[e.Event], Callable[[Run, Any], None]] = {
    e.RunStarted: _run_started,
    e.RunCompleted: _run_finished,
    e.RunFailed: _run_finished,
    e.RunCancelled: _run_finished,
    e.CancelRequested: _cancel_requested,
    e.RunPaused: _run_paused,
    e.RunResumed: _run_resumed,
    e.RunRetried: _run_retried,
    e.ActivityScheduled: _activity_scheduled,
    e.FanOutOpened: _fan_out_opened,
    e.ActivityCompleted: _activity_completed,
    e.ActivityResolved: _activity_resolved,
    e.AttemptFailed: _attempt_failed,
    e.AttemptTimedOut: _attempt_failed,
    e.AttemptLost: _attempt_lost,
    e.ActivityFailed: _activity_failed,
    e.ActivitySkipped: _activity_skipped,
    e.ActivityCancelled: _activity_cancelled,
    e.EdgeDecided: _edge_decided,
    e.LoopDecided: _loop_decided,
    e.EffectBegun: _effect_begun,
    g.ModelSkipped: _nothing,
    g.BudgetFreed: _nothing,
    **WAIT_FOLDS,
    **CALL_FOLDS,
}
