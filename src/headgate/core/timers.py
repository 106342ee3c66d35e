"""What a time leads to that has come: of a retry, a wait, a deadline."""

from __future__ import annotations

from headgate.core import events as e
from headgate.core.admission import forfeit
from headgate.core.conclude import resolve, schedule
from headgate.core.decision import Decision
from headgate.core.place import Place

__all__ = ["fire_timers"]


def fire_timers(decision: Decision) -> None:
    """Emit what the times that have come lead to. Nothing while the run is paused: a resume looks again."""
    run = decision.run
    if run.finished or run.status == "paused":
        return
    for path, kind in run.due_timers(decision.at):
        if run.finished or run.timers.get((path, kind)) is None:
            continue
        place = run.place(path) if path else None
        wait = place.wait if place else None
        decision.emit(e.TimerFired, path, place.attempt if place else 0, kind=kind)
        if place is None:
            _end_by_time(decision, kind)
        elif kind == "retry":
            schedule(decision, place)
        elif kind == "timer":
            resolve(decision, place, of=wait.content if wait else 0)
        elif kind == "signal":
            _signal_timed_out(decision, place)
        elif kind == "approval" and wait is not None:
            _approval_timed_out(decision, place, wait.on_timeout)


def _end_by_time(decision: Decision, kind: str) -> None:
    run = decision.run
    if kind == "deadline":
        seconds = run.plan.definition.timeout_seconds
        for place in list(run.live_places()):
            forfeit(decision, place, "the run's time was up")
        decision.emit(e.RunFailed, code="timed_out", message=f"the run took longer than its {seconds:g} s (timeout)")
    else:
        for place in list(run.live_places()):
            forfeit(decision, place, "the run was cancelled")
        decision.emit(e.RunCancelled)


def _signal_timed_out(decision: Decision, place: Place) -> None:
    wanted_signal = place.planned.activity.wait_for_signal
    assert wanted_signal is not None
    message = f"no signal {wanted_signal.event_name!r} came within {wanted_signal.timeout_seconds:g} s"
    if wanted_signal.on_timeout == "skip":
        decision.emit(e.ActivitySkipped, place.path, reason=message, iteration=place.iteration)
    elif wanted_signal.on_timeout == "fail":
        decision.emit(e.ActivityFailed, place.path, place.attempt, code="timed_out", message=message)
    else:
        decision.emit(e.SignalDelivered, place.path, place.attempt, of=0)


def _approval_timed_out(decision: Decision, place: Place, action: str) -> None:
    if action == "fail":
        message = "nobody decided in time"
        decision.emit(e.ActivityFailed, place.path, place.attempt, code="timed_out", message=message)
        return
    output = {"approved": action == "approve", "by": "timeout", "at": decision.at, "comment": "", "data": None}
    decision.emit(e.ActivityResolved, place.path, place.attempt, content=output)
