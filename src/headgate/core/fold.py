"""How each event changes the run. Total: nothing is refused here, for it has happened.

The cost of an event is the number of out-edges that it touches, whatever the size of the run; only the end of a run
and a retry look at all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.core.definition import Budget
from headgate.core.fold_calls import CALL_FOLDS, count, forget_calls, spend
from headgate.core.frontier import begin, close, decide_edge, end_loop, repeat_loop, restart
from headgate.core.run import FanOut, Message, Place, Run, SignalKept, Wait
from headgate.core.token_budget import book_tokens, tokens_of

__all__ = ["apply"]

REMINDERS_MAX = 20
"""So often people are reminded of one approval."""

ITEM_STATUS = {"completed": 1, "failed": 2, "cancelled": 3}


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
            _tell_child(run, place)
        place.wait = None
    for place in run.places:
        if not place.ended:
            place.status = "cancelled"
    run.tasks.clear()
    run.timers.clear()
    run.waiting_calls.clear()
    run.asking_calls.clear()
    for due in (run.edges_due, run.loops_due, run.ready, run.fans_due, run.resumed):
        due.clear()
    if run.parent:
        run.messages["parent"] = Message("parent", "tell_parent", run.parent[1], run.parent[2], run.parent[0])


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
            _retry_items(place.fan)
    restart(run, again)
    if run.plan.definition.timeout_seconds is not None:
        run.set_timer("", "deadline", event.at + int(run.plan.definition.timeout_seconds * 1_000_000))


def _retry_items(fan: FanOut) -> None:
    """Items that did not complete begin again, with new attempts; those that did keep their results."""
    for item, place in fan.live.items():
        fan.attempts[item] = place.attempt
    for item, status in enumerate(fan.statuses):
        if status > 1:
            fan.statuses[item] = 0
    fan.live.clear()
    fan.next = 0
    fan.failed = 0
    fan.first_error = ("", "")
    fan.done = sum(status == 1 for status in fan.statuses)


# --- Activities --------------------------------------------------------------------------------------------------


def _place(run: Run, event: e.Event) -> Place:
    """Return the event's place, making the item of a fan-out that begins with this event."""
    place = run.place(event.place)
    if place is None:
        key, _, item = event.place[:-1].rpartition("[")
        owner = run.place(key)
        assert owner is not None, f"event {event.version} of run {run.id} names the unknown place {event.place!r}"
        assert owner.fan is not None, f"event {event.version} of run {run.id} names an item of {key!r}, which has none"
        number = int(item)
        place = Place(owner.planned, event.place, number)
        place.iteration = owner.iteration
        owner.fan.live[number] = place
        owner.fan.next = max(owner.fan.next, number + 1)
    return place


def _opened(run: Run, place: Place) -> None:
    if place.item < 0:
        run.ready.pop(place.planned.index, None)
        run.resumed.pop(place.planned.index, None)
        place.again = False


def _activity_scheduled(run: Run, event: e.ActivityScheduled) -> None:
    place = _place(run, event)
    _opened(run, place)
    _stop_waiting(run, place)
    place.status = "scheduled"
    place.attempt = event.attempt
    place.effect = ""
    place.scheduled_at = event.at
    place.scheduled_version = event.version
    run.tasks[event.place] = place
    if place.item >= 0 and (fan := run.owner(place).fan):
        _consider_items(run, run.owner(place), fan)


def _activity_waiting(run: Run, event: e.ActivityWaiting) -> None:
    place = _place(run, event)
    _opened(run, place)
    _wait(run, place, Wait(event.kind, event.at, event.until, event.name, attempt=event.attempt))
    if place.fan:
        _consider_items(run, place, place.fan)


def _activity_suspended(run: Run, event: e.ActivitySuspended) -> None:
    place = _place(run, event)
    run.tasks.pop(event.place, None)
    place.input_hash = event.input_hash
    place.started_at = event.at
    _wait(
        run,
        place,
        Wait(
            event.kind, event.at, event.until, "", event.on_timeout, event.child_run, content=event.version,
            remind_every=event.remind_every,
        ),
    )  # fmt: skip
    if event.remind_every:
        run.set_timer(event.place, "reminder", event.at + event.remind_every)
    if event.kind == "child":
        run.children_out[event.child_run] = None
        message = f"start:{event.child_run}"
        run.messages[message] = Message(
            message, "start_child", event.place, event.attempt, event.child_run, event.child_definition,
            event.version, event.child_limit,
        )  # fmt: skip


def _wait(run: Run, place: Place, wait: Wait) -> None:
    _stop_waiting(run, place)
    place.status, place.wait = "waiting", wait
    if wait.until is not None:
        run.set_timer(place.path, wait.kind, wait.until)


def _stop_waiting(run: Run, place: Place) -> None:
    if place.wait is not None:
        run.timers.pop((place.path, place.wait.kind), None)
        if place.wait.remind_every:
            run.timers.pop((place.path, "reminder"), None)
        place.wait = None


def _fan_out_opened(run: Run, event: e.FanOutOpened) -> None:
    place = _place(run, event)
    _opened(run, place)
    _stop_waiting(run, place)
    place.status = "waiting"
    place.wait = Wait("items", event.at)
    place.scheduled_at = place.started_at = event.at
    place.scheduled_version = event.version
    place.fan = FanOut(event.count, event.version)
    _consider_items(run, place, place.fan)


def _consider_items(run: Run, place: Place, fan: FanOut) -> None:
    """Put the fan-out up for decision while it has an item that may begin, and when the last one has ended."""
    may_begin = len(fan.live) < place.planned.activity.max_parallel and fan.upcoming >= 0
    if may_begin or (fan.done == fan.count and not fan.live):
        run.fans_due[place.planned.index] = None
    else:
        run.fans_due.pop(place.planned.index, None)


def _activity_completed(run: Run, event: e.ActivityCompleted) -> None:
    place = _place(run, event)
    place.worker, place.started_at, place.input_hash = event.worker, event.started_at, event.input_hash
    spend(run, place, event.cost)
    book_tokens(run, event.place, sum(map(tokens_of, event.usage)))
    if event.cached:
        for counted in {place, run.owner(place)}:
            counted.reused += 1
            counted.saved += event.saved
    _complete(run, place, event, event.version)


def _activity_resolved(run: Run, event: e.ActivityResolved) -> None:
    place = _place(run, event)
    _opened(run, place)
    _complete(run, place, event, event.of if event.of > 0 else (0 if event.of < 0 else event.version))


def _complete(run: Run, place: Place, event: e.Event, ref: int) -> None:
    place.ref = ref
    if place.planned.loops and place.item < 0:
        place.refs.append(ref)
    _end(run, place, "completed", event)


def _effect_begun(run: Run, event: e.EffectBegun) -> None:
    _place(run, event).effect = event.what or "an effect"


def _attempt_failed(run: Run, event: e.AttemptFailed | e.AttemptTimedOut) -> None:
    place = _place(run, event)
    place.failures += 1
    place.started_at = event.started_at
    run.tasks.pop(event.place, None)
    if isinstance(event, e.AttemptFailed):
        place.worker, place.input_hash = event.worker, event.input_hash
        spend(run, place, event.cost)
        book_tokens(run, event.place, sum(map(tokens_of, event.usage)))


def _attempt_lost(run: Run, event: e.AttemptLost) -> None:
    place = _place(run, event)
    place.lost += 1
    run.tasks.pop(event.place, None)


def _retry_scheduled(run: Run, event: e.RetryScheduled) -> None:
    place = _place(run, event)
    place.error = event.message
    forget_calls(run, place)
    _wait(run, place, Wait("retry", event.at, event.until, event.message))


def _activity_failed(run: Run, event: e.ActivityFailed) -> None:
    place = _place(run, event)
    _opened(run, place)
    if place.ended:  # a loop's head whose condition could not be evaluated
        place.status, place.code, place.error = "failed", event.code, event.message
        return
    place.code, place.error = event.code, event.message
    _end(run, place, "failed", event)


def _activity_skipped(run: Run, event: e.ActivitySkipped) -> None:
    place = _place(run, event)
    _opened(run, place)
    place.error = event.reason
    place.ref = 0
    if place.planned.loops:
        place.refs.append(0)
    _end(run, place, "skipped", event)


def _activity_cancelled(run: Run, event: e.ActivityCancelled) -> None:
    place = _place(run, event)
    if place.wait and place.wait.child_run:
        _tell_child(run, place)
    _end(run, place, "cancelled", event)


def _tell_child(run: Run, place: Place) -> None:
    assert place.wait is not None
    child = place.wait.child_run
    run.messages.pop(f"start:{child}", None)
    run.messages[f"cancel:{child}"] = Message(f"cancel:{child}", "cancel_child", place.path, place.attempt, child)


def _end(run: Run, place: Place, status: Any, event: e.Event) -> None:
    _stop_waiting(run, place)
    forget_calls(run, place)
    run.tasks.pop(place.path, None)
    place.status, place.ended_at = status, event.at
    if place.item < 0:
        run.fans_due.pop(place.planned.index, None)
        if run.status != "cancelling":
            close(run, place)
        else:
            run.open -= 1
        return
    owner = run.owner(place)
    fan = owner.fan
    assert fan is not None
    fan.live.pop(place.item, None)
    fan.statuses[place.item] = ITEM_STATUS[status]
    fan.refs[place.item] = place.ref
    fan.done += 1
    if status != "completed":
        fan.attempts[place.item] = place.attempt
    if status == "failed":
        fan.failed += 1
        if not fan.first_error[0]:
            fan.first_error = (place.code, f"item {place.item}: {place.error}")
    if not owner.ended:
        _consider_items(run, owner, fan)


# --- What was concluded -------------------------------------------------------------------------------------------


def _edge_decided(run: Run, event: e.EdgeDecided) -> None:
    decide_edge(run, event.edge, applies=event.applied)


def _loop_decided(run: Run, event: e.LoopDecided) -> None:
    if event.again:
        repeat_loop(run, event.loop)
    else:
        end_loop(run, event.loop)


def _timer_fired(run: Run, event: e.TimerFired) -> None:
    run.timers.pop((event.place, event.kind), None)
    place = run.place(event.place) if event.place else None
    if place and event.kind == "delay":
        _stop_waiting(run, place)
        place.status = "not_scheduled"
        run.resumed[place.planned.index] = "delay"
    elif place and place.wait and event.kind == "reminder":
        place.wait = msgspec.structs.replace(place.wait, reminders=place.wait.reminders + 1)
        if place.wait.reminders < REMINDERS_MAX:
            run.set_timer(place.path, "reminder", event.at + place.wait.remind_every)


def _signal_received(run: Run, event: e.SignalReceived) -> None:
    run.signals.append(SignalKept(event.name, event.key, event.version))


def _signal_delivered(run: Run, event: e.SignalDelivered) -> None:
    run.signals = [signal for signal in run.signals if signal.version != event.of]
    place = _place(run, event)
    _opened(run, place)
    _stop_waiting(run, place)
    place.signal = event.of
    place.status = "not_scheduled"
    run.resumed[place.planned.index] = "signal"


def _approval_decided(run: Run, event: e.ApprovalDecided) -> None:
    """An approval is an activity's own, or one that a policy asks for: then an activity that has not begun goes on."""
    place = run.place(event.place)
    if place is None or place.wait is None or place.wait.content or not event.approved:
        return
    place.approved = True
    if not place.wait.attempt:
        _stop_waiting(run, place)
        place.status = "not_scheduled"
        run.resumed[place.planned.index] = "approval"


def _child_finished(run: Run, event: e.ChildFinished) -> None:
    run.children_out.pop(event.child_run, None)
    run.children_spent += event.cost
    place = run.place(event.place)
    if place is None:  # its item or iteration is over
        owner = run.owner_of(event.place)
        if owner is not None:
            owner.cost += event.cost
        return
    count(run, place, event.cost)
    if place.wait is not None and place.wait.child_run == event.child_run and event.status != "completed":
        place.failures += 1


def _message_delivered(run: Run, event: e.MessageDelivered) -> None:
    run.messages.pop(event.message, None)


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
    e.ActivityWaiting: _activity_waiting,
    e.ActivitySuspended: _activity_suspended,
    e.FanOutOpened: _fan_out_opened,
    e.ActivityCompleted: _activity_completed,
    e.ActivityResolved: _activity_resolved,
    e.AttemptFailed: _attempt_failed,
    e.AttemptTimedOut: _attempt_failed,
    e.AttemptLost: _attempt_lost,
    e.RetryScheduled: _retry_scheduled,
    e.ActivityFailed: _activity_failed,
    e.ActivitySkipped: _activity_skipped,
    e.ActivityCancelled: _activity_cancelled,
    e.EdgeDecided: _edge_decided,
    e.LoopDecided: _loop_decided,
    e.TimerFired: _timer_fired,
    e.SignalReceived: _signal_received,
    e.SignalDelivered: _signal_delivered,
    e.ApprovalDecided: _approval_decided,
    e.ChildFinished: _child_finished,
    e.MessageDelivered: _message_delivered,
    e.EffectBegun: _effect_begun,
    g.ModelSkipped: _nothing,
    g.BudgetFreed: _nothing,
    **CALL_FOLDS,
}
