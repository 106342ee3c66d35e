"""What becomes of an attempt: its output, its failure, its loss, or that it waits; and whether another one follows.

Of one attempt at most one outcome is recorded. A report that is repeated causes nothing; one for an attempt that is no
longer the current one raises `StaleAttempt`.
"""

from __future__ import annotations

from headgate.core import commands as c
from headgate.core import events as e
from headgate.core.admission import forfeit, name_overruns, wake
from headgate.core.codes import APPROVAL_NEEDED
from headgate.core.conclude import schedule
from headgate.core.decision import Decision
from headgate.core.errors import Invalid, NotFound, StaleAttempt
from headgate.core.place import Place, key_of_place
from headgate.core.retry import LOST_ATTEMPTS_MAX, retry_delay
from headgate.core.run import Run
from headgate.core.timers import fire_timers
from headgate.core.values import Failure

__all__ = [
    "begin_effect",
    "complete",
    "fail",
    "go_on_after_failure",
    "lose",
    "place_of_task",
    "stale_attempt",
    "suspend",
    "time_out",
]


def place_of_task(run: Run, path: str, attempt: int) -> Place | None:
    """Return the place if this attempt of it is a task now; None if the attempt's outcome is recorded already."""
    place = run.place(path)
    if place is not None and place.attempt == attempt:
        if path in run.tasks:
            return place
        if not run.finished or place.ended:
            return None
    owner = run.plan.index.get(key_of_place(path))
    if owner is None:
        raise NotFound(f"Run {run.id} has no activity {path!r}.")
    if place is None or place.attempt > attempt or run.finished:
        raise stale_attempt(run, path, attempt)
    raise Invalid(
        f"Attempt {attempt} of {path!r} in run {run.id} has not been handed out (it stands at {place.attempt})."
    )


def stale_attempt(run: Run, path: str, attempt: int) -> StaleAttempt:
    """Return what is said to whoever speaks of an attempt of the run that is over."""
    place = run.place(path)
    return StaleAttempt(run.id, path, reported=attempt, current=place.attempt if place else 0, run_status=run.status)


def _reported_place(run: Run, path: str, attempt: int) -> Place | None:
    """Return what `place_of_task` does; but whoever reports what was cancelled meanwhile is told so, for nothing of it
    is recorded. Raises `StaleAttempt`."""
    place = place_of_task(run, path, attempt)
    if place is None and (over := run.place(path)) is not None and over.status == "cancelled":
        raise stale_attempt(run, path, attempt)
    return place


def complete(decision: Decision, command: c.CompleteActivity) -> None:
    place = _reported_place(decision.run, command.place, command.attempt)
    if place is None:
        return
    forfeit(decision, place, "the attempt completed without settling it")
    completed = decision.emit(
        e.ActivityCompleted,
        place.path,
        place.attempt,
        content=command.output,
        worker=command.worker,
        started_at=command.started_at,
        input_hash=command.input_hash,
        cost=command.cost,
        usage=command.usage,
        cached=command.cached,
        saved=command.saved,
        simulated=command.simulated,
    )
    if command.encoded:
        decision.encoded[completed.version] = command.encoded
    if command.cost:
        name_overruns(decision, place.path)
    wake(decision)


def begin_effect(decision: Decision, command: c.BeginEffect) -> None:
    run = decision.run
    place = place_of_task(run, command.place, command.attempt)
    if place is None or run.status == "cancelling":
        raise stale_attempt(run, command.place, command.attempt)
    if not place.effect:
        decision.emit(e.EffectBegun, place.path, place.attempt, what=command.what)


def fail(decision: Decision, command: c.FailActivity) -> None:
    place = _reported_place(decision.run, command.place, command.attempt)
    if place is None:
        return
    forfeit(decision, place, "the attempt failed without settling it")
    decision.emit(
        e.AttemptFailed,
        place.path,
        place.attempt,
        error=command.error,
        worker=command.worker,
        started_at=command.started_at,
        input_hash=command.input_hash,
        cost=command.cost,
        usage=command.usage,
    )
    if command.cost:
        name_overruns(decision, place.path)
    if command.error.code == APPROVAL_NEEDED and decision.run.status != "cancelling":
        _ask_person(decision, place, command.error)
    else:
        go_on_after_failure(decision, place, command.error)


def _ask_person(decision: Decision, place: Place, failure: Failure) -> None:
    """A policy stopped a call that a person may let through: the activity waits for that, however long."""
    decision.emit(
        e.ActivityWaiting, place.path, place.attempt, kind="approval", name=failure.message, iteration=place.iteration
    )
    wake(decision)


def time_out(decision: Decision, command: c.TimeOutAttempt) -> None:
    place = place_of_task(decision.run, command.place, command.attempt)
    if place is None:
        return
    forfeit(decision, place, "the attempt timed out")
    effect = place.effect
    decision.emit(e.AttemptTimedOut, place.path, place.attempt, seconds=command.seconds, started_at=command.started_at)
    message = f"the attempt ran for more than its {command.seconds:g} s (timeout_seconds)"
    go_on_after_failure(decision, place, _unknown(effect, message) if effect else Failure("timed_out", message))


def lose(decision: Decision, command: c.LoseAttempt) -> None:
    place = place_of_task(decision.run, command.place, command.attempt)
    if place is None:
        return
    forfeit(decision, place, command.reason)
    effect = place.effect
    decision.emit(e.AttemptLost, place.path, place.attempt, reason=command.reason)
    if decision.run.status == "cancelling":
        decision.emit(e.ActivityCancelled, place.path, place.attempt)
    elif effect:
        unknown = _unknown(effect, command.reason)
        decision.emit(e.ActivityFailed, place.path, place.attempt, code=unknown.code, message=unknown.message)
    elif place.lost >= LOST_ATTEMPTS_MAX:
        message = f"its worker was lost {place.lost} times; the last time: {command.reason}"
        decision.emit(e.ActivityFailed, place.path, place.attempt, code="worker_lost", message=message)
    else:
        schedule(decision, place)
    wake(decision)


def _unknown(effect: str, reason: str) -> Failure:
    """Return the failure of an attempt that was lost after it had begun what must not be done twice."""
    message = f"nobody knows whether this was done: {effect} ({reason}); a retry of the run does it once more"
    return Failure("outcome_unknown", message, retryable=False)


def go_on_after_failure(decision: Decision, place: Place, failure: Failure) -> None:
    """Another attempt, or the end of the place."""
    run = decision.run
    if run.status == "cancelling":
        decision.emit(e.ActivityCancelled, place.path, place.attempt)
        wake(decision)
        return
    seed = f"{run.id}/{place.path}/{place.attempt}"
    delay = retry_delay(place.planned.backoff, place.failures, failure, seed=seed)
    if delay is None:
        decision.emit(
            e.ActivityFailed,
            place.path,
            place.attempt,
            code=failure.code,
            message=failure.message,
            details=failure.details,
        )
    else:
        until = decision.at + delay
        decision.emit(e.RetryScheduled, place.path, place.attempt, until=until, message=failure.message)
    wake(decision)


def suspend(decision: Decision, command: c.SuspendActivity) -> None:
    place = place_of_task(decision.run, command.place, command.attempt)
    if place is None:
        return
    forfeit(decision, place, "the attempt was suspended without settling it")
    decision.emit(
        e.ActivitySuspended,
        place.path,
        place.attempt,
        content=command.parameters,
        kind=command.kind,
        until=command.until,
        on_timeout=command.on_timeout,
        child_run=command.child_run,
        child_definition=command.child_definition,
        child_limit=command.child_limit,
        input_hash=command.input_hash,
        remind_every=command.remind_every,
    )
    if command.kind == "timer" and command.until is not None and command.until <= decision.at:
        fire_timers(decision)
