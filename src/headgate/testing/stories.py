"""Hypothesis strategies for whole stories: any commands to a run in any order.

Needs Hypothesis, which Headgate does not install. A story is a list of moves, small numbers that `play` reads as a
command to the run as it is at that moment: so most moves are answers to live tasks, some are repeated, stale or
absurd, and a story that fails shrinks to a short one.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec
from hypothesis import strategies as st

from headgate.core import commands as c
from headgate.core import events as e
from headgate.core.errors import HeadgateError
from headgate.core.run import Run
from headgate.core.values import Candidate, Failure, Price, Usage
from headgate.testing.rehearsal import SECOND, Rehearsal

__all__ = ["Move", "moves", "play"]


class Act(enum.Enum):
    """What a move does; `play` chooses the rest by the move's two numbers."""

    COMPLETE = enum.auto()
    FAIL = enum.auto()
    BREAK = enum.auto()
    LOSE = enum.auto()
    TIME_OUT = enum.auto()
    TICK = enum.auto()
    SIGNAL = enum.auto()
    APPROVE = enum.auto()
    SUSPEND = enum.auto()
    FINISH_CHILD = enum.auto()
    CORRECT_CHILD = enum.auto()
    CONFIRM = enum.auto()
    CANCEL = enum.auto()
    PAUSE = enum.auto()
    RESUME = enum.auto()
    RETRY = enum.auto()
    ADMIT = enum.auto()
    SETTLE = enum.auto()
    REPEAT = enum.auto()
    START = enum.auto()
    FREE = enum.auto()
    RAISE = enum.auto()
    REFUSE = enum.auto()
    FORGET = enum.auto()
    RAISE_SHARED = enum.auto()
    BEGIN_EFFECT = enum.auto()


Move = tuple[Act, int, int]

OFTEN = [Act.COMPLETE] * 6 + [Act.TICK] * 3 + [Act.ADMIT] * 3 + [Act.SETTLE] * 3 + [Act.SUSPEND] * 2 + [Act.FAIL] * 2
MONEY = [Act.ADMIT] * 15 + [Act.SETTLE] * 15 + [Act.FREE] * 10 + [Act.RAISE, Act.REFUSE, Act.FORGET, Act.RAISE_SHARED]


def moves(size_max: int = 40, *, money: bool = False) -> st.SearchStrategy[list[Move]]:
    """Draw a story for any run; with `money`, one that is mostly about model calls."""
    acts = st.sampled_from([*OFTEN, *Act, *(MONEY if money else ())])
    move = st.tuples(acts, st.integers(0, 11), st.integers(0, 11))
    # Hypothesis prefers short lists; a size that is drawn by itself gives long ones as often.
    return st.integers(0, size_max).flatmap(lambda size: st.lists(move, min_size=size, max_size=size))


def play(run: Rehearsal, move: Move, told: list[c.Command]) -> list[e.Event]:
    """Make the move; return what it caused, nothing where it was refused. `told` keeps all commands so far."""
    command = told[move[1] % len(told)] if move[0] is Act.REPEAT and told else _command(run, *move)
    if isinstance(command, c.AdmitCall | c.FreeBudget):  # which the engine brings anew, whenever it is decided
        command = msgspec.structs.replace(command, shared=run.standing)
    if command is None:
        return []
    told.append(command)
    try:
        return run.feed(command)
    except HeadgateError:
        return []


def _command(rehearsal: Rehearsal, act: Act, a: int, b: int) -> c.Command | None:
    run, at = rehearsal.run, rehearsal.at
    path, attempt = _target(run, a)
    match act:
        case Act.COMPLETE:
            return c.CompleteActivity(at=at, place=path, attempt=attempt, output=_output(b))
        case Act.FAIL | Act.BREAK:
            failure = Failure("broken", "it broke", retryable=act is Act.FAIL)
            return c.FailActivity(at=at, place=path, attempt=attempt, error=failure)
        case Act.BEGIN_EFFECT:
            return c.BeginEffect(at=at, place=path, attempt=attempt, what="a mail")
        case Act.LOSE:
            return c.LoseAttempt(at=at, place=path, attempt=attempt, reason="gone")
        case Act.TIME_OUT:
            return c.TimeOutAttempt(at=at, place=path, attempt=attempt, seconds=300)
        case Act.TICK:
            rehearsal.at += (0, 1, 10, 60, 700)[b % 5] * SECOND
            return c.Tick(at=rehearsal.at)
        case Act.SUSPEND:
            return _suspend(run, path, attempt, at, b)
        case Act.ADMIT | Act.SETTLE | Act.FREE:
            return _call_command(rehearsal, act, path, attempt, a, b)
        case Act.RAISE | Act.REFUSE | Act.FORGET | Act.RAISE_SHARED:
            return _people_command(rehearsal, act, a, b)
        case _:
            return _outside_command(run, act, at, a, b)


def _target(run: Run, a: int) -> tuple[str, int]:
    """Mostly the newest attempt of a task; also attempts of the past and the future, and places that are none."""
    paths = list(run.tasks)
    if a == 11 or not paths:
        places = run.places
        place = places[a % len(places)]
        return (place.path, place.attempt) if a % 2 else (f"{place.path}@{a}[{a}]", 1)
    place = run.tasks[paths[a % len(paths)]]
    return place.path, place.attempt + (-1 if a == 10 else 1 if a == 9 else 0)


def _output(b: int) -> object:
    return ({"yes": True, "no": False, "text": "x"}, {"yes": False}, {"yes": True, "items": [1]}, None, b)[b % 5]


def _suspend(run: Run, path: str, attempt: int, at: int, b: int) -> c.Command:
    place = run.place(path)
    native = place.planned.native if place else ""
    kind: Any = {"wait": "timer", "workflow": "child"}.get(native, "approval")
    return c.SuspendActivity(
        at=at,
        place=path,
        attempt=attempt,
        kind=kind,
        until=at + b * 20 * SECOND if kind == "timer" or (kind == "approval" and b % 2) else None,
        on_timeout=("fail", "approve", "reject")[b % 3],
        remind_every=15 * SECOND if kind == "approval" and b % 4 == 1 else 0,
        child_run=f"child-of-{path}-{attempt}" if kind == "child" else "",
        child_definition="child" if kind == "child" else "",
    )


def _outside_command(run: Run, act: Act, at: int, a: int, b: int) -> c.Command | None:
    keys = [place.planned.key for place in run.places]
    match act:
        case Act.SIGNAL:
            return c.Signal(at=at, name=("go", "stop")[a % 2], key=keys[b % len(keys)] if b > 8 else "", data=b)
        case Act.APPROVE:
            waiting = [place.path for place in run.live_places() if place.wait and place.wait.kind == "approval"]
            return c.DecideApproval(at=at, key=waiting[a % len(waiting)] if waiting else "", approved=b % 2 == 0)
        case Act.FINISH_CHILD:
            return _finish_child(run, at, a, b)
        case Act.CORRECT_CHILD:
            # Downwards only: so no limit may be passed all the same.
            return c.CorrectChild(at=at, place=keys[a % len(keys)], attempt=1, child_run="child", of=a, amount=-b)
        case Act.CONFIRM:
            messages = list(run.messages)
            return c.ConfirmMessage(at=at, message=messages[a % len(messages)] if messages else "none")
        case Act.CANCEL:
            return c.Cancel(at=at, out=tuple(run.tasks)[: a % 4]) if b > 8 else None
        case Act.PAUSE:
            return c.Pause(at=at)
        case Act.RESUME:
            return c.Resume(at=at)
        case Act.RETRY:
            return c.Retry(at=at)
        case _:
            return c.StartRun(at=at, workflow="story", definition="again", trace_id="other")


def _finish_child(run: Run, at: int, a: int, b: int) -> c.Command | None:
    waiting = [place for place in run.live_places() if place.wait and place.wait.kind == "child"]
    if not waiting:
        return None
    place = waiting[a % len(waiting)]
    assert place.wait is not None
    status = ("completed", "completed", "failed", "cancelled")[b % 4]
    return c.FinishChild(
        at=at, place=place.path, attempt=place.attempt, child_run=place.wait.child_run, status=status, output=_output(b)
    )


def _people_command(rehearsal: Rehearsal, act: Act, a: int, b: int) -> c.Command | None:
    run, at = rehearsal.run, rehearsal.at
    keys = ["", "", *(place.planned.key for place in run.places)]
    key = keys[a % len(keys)]
    match act:
        case Act.RAISE:
            budget = run.budget_of(key)
            return c.RaiseBudget(at=at, key=key, limit=b * 20 + (0 if budget is None else budget.limit), by="ann")
        case Act.REFUSE:
            return c.RefuseCalls(at=at, key=key, by="bob")
        case Act.FORGET:
            return c.ForgetWaiting(at=at, reason="the process has ended")
        case _:
            names = list(rehearsal.shared)
            if names:
                was = rehearsal.shared[names[a % len(names)]]
                rehearsal.shared[was.id] = msgspec.structs.replace(was, limit=max(0, was.limit + (b - 4) * 10))
            return None


def _call_command(rehearsal: Rehearsal, act: Act, path: str, attempt: int, a: int, b: int) -> c.Command:
    run, at = rehearsal.run, rehearsal.at
    if act is Act.FREE:
        waiting = [call.call_id for call in run.calls.values() if call.state == "waiting"]
        call_id = waiting[a % len(waiting)] if waiting and b else ""
        return c.FreeBudget(at=at, budget="tree", call_id=call_id, shared=rehearsal.standing)
    if act is Act.ADMIT:
        candidates = tuple(
            Candidate(f"m/{number}", worst_case, Price(1, 1) if (a + number) % 7 else None)
            for number, worst_case in enumerate((b * 10, b * 4, b)[: 1 + a % 3])
        )
        return c.AdmitCall(
            at=at,
            place=path,
            attempt=attempt,
            call_id=f"{path}/{attempt}/{a % 2}/{b % 3}",
            request_hash="h",
            candidates=candidates,
            max_cost=b * 8 if a == 5 else None,
            shared=rehearsal.standing,
        )
    calls = list(run.calls.values())
    if not calls:
        return c.SettleCall(at=at, call_id="unknown", outcome="lost")
    call = calls[a % len(calls)]
    outcome: Any = ("used", "used", "used", "never_sent", "lost")[b % 5]
    usage = Usage(cost_nano=min(call.reservation, b * 5)) if outcome == "used" else None
    return c.SettleCall(at=at, call_id=call.call_id, outcome=outcome, usage=usage)
