"""How waiting changes the run: for a time, a signal, a person, a child run; and how each of these comes to its end.

A part of the fold, and as total as the rest of it. A place whose wait is over before its activity has begun is put up
for decision again, with what it waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from headgate.core import events as e
from headgate.core.fold_calls import count, forget_calls
from headgate.core.fold_items import consider_items, place_of
from headgate.core.frontier import opened
from headgate.core.messages import correct_parent
from headgate.core.place import Place, Wait
from headgate.core.run import Message, Run, SignalKept

__all__ = ["REMINDERS_MAX", "WAIT_FOLDS", "stop_waiting"]

REMINDERS_MAX = 20
"""So often people are reminded of one approval."""


def _wait(run: Run, place: Place, wait: Wait) -> None:
    stop_waiting(run, place)
    place.status, place.wait = "waiting", wait
    if wait.kind == "approval":
        run.approvals[place.path] = place
    if wait.until is not None:
        run.set_timer(place.path, wait.kind, wait.until)


def stop_waiting(run: Run, place: Place) -> None:
    """What the place waited for, if anything, is no more: neither is its timer."""
    if place.wait is not None:
        run.timers.pop((place.path, place.wait.kind), None)
        run.approvals.pop(place.path, None)
        if place.wait.remind_every:
            run.timers.pop((place.path, "reminder"), None)
        place.wait = None


def _activity_waiting(run: Run, event: e.ActivityWaiting) -> None:
    place = place_of(run, event)
    opened(run, place)
    _wait(run, place, Wait(event.kind, event.at, event.until, event.name, attempt=event.attempt))
    if place.fan:
        consider_items(run, place, place.fan)


def _activity_suspended(run: Run, event: e.ActivitySuspended) -> None:
    place = place_of(run, event)
    run.tasks.pop(event.place, None)
    place.input_hash = event.input_hash
    place.started_at = event.at
    _wait(
        run,
        place,
        Wait(
            event.kind,
            event.at,
            event.until,
            "",
            event.on_timeout,
            event.child_run,
            content=event.version,
            remind_every=event.remind_every,
        ),
    )
    if event.remind_every:
        run.set_timer(event.place, "reminder", event.at + event.remind_every)
    if event.kind == "child":
        run.children_out[event.child_run] = None
        message = f"start:{event.child_run}"
        run.messages[message] = Message(
            message,
            "start_child",
            event.place,
            event.attempt,
            event.child_run,
            event.child_definition,
            event.version,
            event.child_limit,
        )


def _retry_scheduled(run: Run, event: e.RetryScheduled) -> None:
    place = place_of(run, event)
    place.error = event.message
    forget_calls(run, place)
    _wait(run, place, Wait("retry", event.at, event.until, event.message))


def _timer_fired(run: Run, event: e.TimerFired) -> None:
    run.timers.pop((event.place, event.kind), None)
    place = run.place(event.place) if event.place else None
    if place and event.kind == "delay":
        stop_waiting(run, place)
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
    place = place_of(run, event)
    opened(run, place)
    stop_waiting(run, place)
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
        stop_waiting(run, place)
        place.status = "not_scheduled"
        run.resumed[place.planned.index] = "approval"


def _child_finished(run: Run, event: e.ChildFinished) -> None:
    run.children_out.pop(event.child_run, None)
    _spend_of_child(run, event, event.cost)
    place = run.place(event.place)
    wait = place.wait if place else None
    if place and wait and wait.child_run == event.child_run and event.status != "completed":
        place.failures += 1


def _child_corrected(run: Run, event: e.ChildCorrected) -> None:
    run.corrections.add((event.child_run, event.of))
    _spend_of_child(run, event, event.amount)


def _spend_of_child(run: Run, event: e.ChildFinished | e.ChildCorrected, amount: int) -> None:
    """Count what a child cost, also where its item or iteration is over, or the run itself."""
    run.children_spent += amount
    place = run.place(event.place)
    if place is not None:
        count(run, place, amount)
    elif (owner := run.owner_of(event.place)) is not None:
        owner.cost += amount
    if run.finished:
        correct_parent(run, event.version)


def _message_delivered(run: Run, event: e.MessageDelivered) -> None:
    run.messages.pop(event.message, None)


WAIT_FOLDS: dict[type[e.Event], Callable[[Run, Any], None]] = {
    e.ActivityWaiting: _activity_waiting,
    e.ActivitySuspended: _activity_suspended,
    e.RetryScheduled: _retry_scheduled,
    e.TimerFired: _timer_fired,
    e.SignalReceived: _signal_received,
    e.SignalDelivered: _signal_delivered,
    e.ApprovalDecided: _approval_decided,
    e.ChildFinished: _child_finished,
    e.ChildCorrected: _child_corrected,
    e.MessageDelivered: _message_delivered,
}
