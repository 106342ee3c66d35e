"""The one place where the engine makes up its mind.

`decide` is pure: same run, same command, same values, on any machine, in any year. It reads no clock, draws no random
number and does no I/O; whatever it needs to know arrives in the run, in the command, or in the values that `wanted`
named. `advance` is the same decision made upon the run itself, folding as it goes: what the engine uses.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from headgate.core import commands as c
from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.core.admission import admit, forfeit, free, name_overruns, settle, wake
from headgate.core.asking import forget_waiting, raise_budget, refuse_calls
from headgate.core.attempts import (
    begin_effect,
    complete,
    fail,
    go_on_after_failure,
    lose,
    place_of_task,
    stale_attempt,
    suspend,
    time_out,
)
from headgate.core.conclude import conclude, resolve, schedule
from headgate.core.decision import Decision
from headgate.core.errors import NotFound, Refused
from headgate.core.names import needed
from headgate.core.place import Place
from headgate.core.run import Run
from headgate.core.timers import fire_timers
from headgate.core.values import Failure

__all__ = ["DECIDER", "SIGNALS_MAX", "advance", "decide", "wanted"]

DECIDER = 3
"""The revision of all rules that decide; a run names the one it was started under."""

SIGNALS_MAX = 1_000
"""So many signals may wait in a run for somebody to take them; one more is refused."""


def decide(run: Run, command: c.Command, values: Mapping[int, object] | None = None) -> list[e.Event]:
    """Return what `command` causes. An empty list means: nothing new, already done.

    `values` are the contents named by `wanted(run, command)`. The run stays as it is. Raises `Refused` (and its kind)
    for what is not possible now, `Invalid` for what never will be.
    """
    return advance(_copy(run), command, dict(values or {})).events


def advance(run: Run, command: c.Command, values: dict[int, object]) -> Decision:
    """Decide upon `run` itself: it holds the events of the returned decision already. Raises before the first event."""
    decision = Decision(run, values, at=command.at, actor=command.actor, cause=command.command_id)
    HANDLERS[type(command)](decision, command)
    if decision.events:
        conclude(decision)
    return decision


def wanted(run: Run, command: c.Command) -> set[int]:
    """Return the versions whose contents `decide` may read for this command."""
    plan = run.plan
    if isinstance(command, ENDS_A_PLACE):
        if not plan.all_reads:
            return set()
        place = run.place(command.place)
        return needed(run, plan.reads[place.planned.index]) if place is not None else set()
    return needed(run, plan.all_reads) if isinstance(command, LOOKS_AROUND) else set()


ENDS_A_PLACE = (c.CompleteActivity, c.FailActivity, c.TimeOutAttempt, c.LoseAttempt, c.FinishChild, c.SuspendActivity)
LOOKS_AROUND = (c.Tick, c.Signal, c.DecideApproval, c.Retry, c.Resume)


def _copy(run: Run) -> Run:
    memo: dict[int, Any] = {id(run.plan): run.plan}
    for planned in run.plan.activities:
        memo[id(planned)] = planned
    return copy.deepcopy(run, memo)


# --- The run ------------------------------------------------------------------------------------------------------


def _start(decision: Decision, command: c.StartRun) -> None:
    run = decision.run
    if run.version:
        return
    run.tenant, run.trace_id = command.tenant, command.trace_id
    decision.emit(
        e.RunStarted,
        content=command.input,
        workflow=command.workflow,
        definition=command.definition,
        decider=command.decider or DECIDER,
        mode=command.mode,
        limit=command.limit,
        outer=command.outer,
        parent_run=command.parent_run,
        parent_place=command.parent_place,
        parent_attempt=command.parent_attempt,
        labels=command.labels,
        unique_key=command.unique_key,
    )


def _cancel(decision: Decision, command: c.Cancel) -> None:
    run = decision.run
    if run.status == "cancelling" or run.status == "cancelled":
        return
    _must_be_live(run, "cancel")
    decision.emit(e.CancelRequested, reason=command.reason, out=command.out)
    out = set(command.out)
    for place in list(run.live_places()):
        if place.path not in out:
            forfeit(decision, place, "the run was cancelled")
            decision.emit(e.ActivityCancelled, place.path, place.attempt)


def _pause(decision: Decision, command: c.Pause) -> None:
    run = decision.run
    if run.status == "paused":
        return
    _must_be_live(run, "pause")
    if run.status == "cancelling":
        raise Refused(f"Run {run.id} is being cancelled; it cannot be paused.")
    decision.emit(e.RunPaused, reason=command.reason)


def _resume(decision: Decision, command: c.Resume) -> None:
    run = decision.run
    if run.status != "paused":
        _must_be_live(run, "resume")
        return
    decision.emit(e.RunResumed)
    fire_timers(decision)


def _retry(decision: Decision, command: c.Retry) -> None:
    run = decision.run
    if run.status == "completed":
        raise Refused(f"Run {run.id} is completed; there is nothing to retry. Start its workflow anew.")
    if not run.finished:
        return
    decision.emit(e.RunRetried)


def _tick(decision: Decision, command: c.Tick) -> None:
    fire_timers(decision)


def _must_be_live(run: Run, verb: str) -> None:
    if not run.version:
        raise NotFound(f"There is no run {run.id}.")
    if run.finished:
        raise Refused(f"Run {run.id} is {run.status}; it is too late to {verb} it.")


# --- From outside -------------------------------------------------------------------------------------------------


def _signal(decision: Decision, command: c.Signal) -> None:
    run = decision.run
    _must_be_live(run, "signal")
    if command.key and command.key not in run.plan.index:
        raise NotFound(f"Run {run.id} has no activity {command.key!r}.")
    if len(run.signals) >= SIGNALS_MAX:
        raise Refused(f"Run {run.id} already keeps {SIGNALS_MAX} signals that nothing has taken; this one is refused.")
    received = decision.emit(e.SignalReceived, content=command.data, name=command.name, key=command.key)
    waiting = [
        (wait.since, number, place)
        for number, place in enumerate(run.live_places())
        if (wait := place.wait)
        and wait.kind == "signal"
        and wait.name == command.name
        and command.key in ("", place.planned.key)
    ]
    if waiting:
        _, _, first = min(waiting)
        decision.emit(e.SignalDelivered, first.path, first.attempt, of=received.version)


def _decide_approval(decision: Decision, command: c.DecideApproval) -> None:
    run = decision.run
    _must_be_live(run, "decide an approval of")
    place = _open_approval(run, command.key)
    output = {
        "approved": command.approved,
        "by": command.by,
        "at": decision.at,
        "comment": command.comment,
        "data": command.data,
    }
    decided = decision.emit(
        e.ApprovalDecided, place.path, place.attempt, content=output, approved=command.approved, by=command.by
    )
    wait = place.wait
    if decided.approved and wait is not None and not wait.content and wait.attempt:
        schedule(decision, place)  # the attempt that a policy stopped is made anew
    elif wait is not None and not wait.content:
        message = f"{command.by or 'somebody'} did not let it go on: {wait.name}"
        decision.emit(e.ActivityFailed, place.path, place.attempt, code="rejected", message=message)
    elif wait is not None:
        resolve(decision, place, of=decided.version)


def _open_approval(run: Run, key: str) -> Place:
    open_places = run.approvals.values()
    chosen = [place for place in open_places if key in ("", place.path, place.planned.key)]
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(place.path for place in open_places)
    if not open_places:
        raise Refused(f"Run {run.id} has no open approval.")
    if not chosen:
        raise NotFound(f"Run {run.id} has no open approval {key!r}; open: {names}.")
    raise Refused(f"Run {run.id} has several open approvals: {names}. Name one.")


def _finish_child(decision: Decision, command: c.FinishChild) -> None:
    """A child that nobody waits for any more, for its parent was cancelled, still counts with what it cost."""
    run = decision.run
    if command.child_run not in run.children_out:
        return
    finished = decision.emit(
        e.ChildFinished,
        command.place,
        command.attempt,
        content=command.output,
        child_run=command.child_run,
        status=command.status,
        cost=command.cost,
        error=command.error,
    )
    name_overruns(decision, command.place)
    place = run.place(command.place)
    wait = place.wait if place else None
    if run.finished or place is None or wait is None or wait.child_run != command.child_run:
        return
    if command.status == "completed":
        resolve(decision, place, of=finished.version)
        return
    error = command.error or Failure(f"child_{command.status}", f"run {command.child_run} was {command.status}")
    go_on_after_failure(decision, place, error)


def _correct_child(decision: Decision, command: c.CorrectChild) -> None:
    """Repeated: nothing. It may come before the child's end is heard of, and after the run's own."""
    if (command.child_run, command.of) in decision.run.corrections:
        return
    decision.emit(
        e.ChildCorrected,
        command.place,
        command.attempt,
        child_run=command.child_run,
        of=command.of,
        amount=command.amount,
    )
    if command.amount > 0:
        name_overruns(decision, command.place)
    else:
        wake(decision)


def _confirm_message(decision: Decision, command: c.ConfirmMessage) -> None:
    if command.message in decision.run.messages:
        decision.emit(e.MessageDelivered, message=command.message)


# --- The gate -----------------------------------------------------------------------------------------------------


def _admit(decision: Decision, command: c.AdmitCall) -> None:
    place = _asking(decision.run, command)
    if place is not None:
        admit(decision, command, place)


def _asking(run: Run, command: c.AdmitCall | c.ReuseCall) -> Place | None:
    """Return the place whose attempt asks for a call; None: it is over, and the call was known. Raises `StaleAttempt`
    for a new call of an attempt that is over."""
    place = place_of_task(run, command.place, command.attempt)
    if place is not None and run.status != "cancelling":
        return place
    if command.call_id in run.calls:
        return None
    raise stale_attempt(run, command.place, command.attempt)


def _reuse(decision: Decision, command: c.ReuseCall) -> None:
    """Repeated: nothing. A call that was asked for already is not taken back."""
    place = _asking(decision.run, command)
    if place is not None and command.call_id not in decision.run.calls:
        decision.emit(
            g.CallReused,
            place.path,
            place.attempt,
            call_id=command.call_id,
            request_hash=command.request_hash,
            model=command.model,
            saved=command.saved,
            simulated=command.simulated,
            verdicts=command.verdicts,
        )


def _raise(decision: Decision, command: c.RaiseBudget) -> None:
    _must_be_live(decision.run, "raise a budget of")
    raise_budget(decision, command)


def _refuse(decision: Decision, command: c.RefuseCalls) -> None:
    _must_be_live(decision.run, "refuse calls of")
    refuse_calls(decision, command)


HANDLERS: dict[type[c.Command], Callable[[Decision, Any], None]] = {
    c.StartRun: _start,
    c.CompleteActivity: complete,
    c.BeginEffect: begin_effect,
    c.FailActivity: fail,
    c.TimeOutAttempt: time_out,
    c.LoseAttempt: lose,
    c.SuspendActivity: suspend,
    c.Tick: _tick,
    c.Signal: _signal,
    c.DecideApproval: _decide_approval,
    c.FinishChild: _finish_child,
    c.CorrectChild: _correct_child,
    c.ConfirmMessage: _confirm_message,
    c.Cancel: _cancel,
    c.Pause: _pause,
    c.Resume: _resume,
    c.Retry: _retry,
    c.AdmitCall: _admit,
    c.ReuseCall: _reuse,
    c.SettleCall: settle,
    c.FreeBudget: free,
    c.RaiseBudget: _raise,
    c.RefuseCalls: _refuse,
    c.ForgetWaiting: forget_waiting,
}
