"""Replay: the facts of a recorded history are decided again, and their consequences compared with the recorded ones.

It runs nothing, calls nobody and writes nothing. Where a history and the decider part, there is a changed rule, a
template library that evaluates differently, or a damaged log.

The first fact of a decision holds all of its command (`command_of`). What stands before it (calls forfeited by an
attempt that ends) and behind it, further facts too (the timers of one tick), is compared: decisions are compared whole.
Contents are handed to the decider as an engine would, only those that `wanted` names; so a replay also proves that
`wanted` forgets none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec

from headgate.core import commands as c
from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.core.decide import advance, wanted
from headgate.core.errors import HeadgateError
from headgate.core.plan import Plan
from headgate.core.run import Run

__all__ = ["Divergence", "command_of", "replay", "state_of"]


class Divergence(msgspec.Struct, frozen=True):
    """Where a history and the decider part. `recorded` None: the history ends too early; `decided` None: too late."""

    version: int
    reason: str
    recorded: e.Event | None = None
    decided: e.Event | None = None


def replay(plan: Plan, events: Sequence[e.Event], contents: Mapping[int, object]) -> Divergence | None:
    """Return the first event that the decider would not have concluded, or None: the history explains itself.

    `events` are all events of one run from version 1; `contents` their contents by version, none of them erased.
    """
    if not events:
        return None
    run = Run(events[0].run_id, plan)
    known: dict[int, object] = {}
    at = 0
    while at < len(events):
        fact = next((event for event in islice(events, at, None) if event.fact), None)
        if fact is None:
            return Divergence(events[at].version, "no command of the history leads to this event", events[at])
        command = command_of(fact, contents.get(fact.version))
        try:
            values = {version: known[version] for version in wanted(run, command) if version in known}
            decision = advance(run, command, values)
        except HeadgateError as error:
            return Divergence(fact.version, f"the decider refuses this fact: {error}", fact)
        recorded = events[at : at + len(decision.events)]
        divergence = _compare(recorded, decision.events, fact) or _compare_contents(decision.contents, contents)
        if divergence is not None:
            return divergence
        at += len(recorded)
        known.update((event.version, contents[event.version]) for event in recorded if event.version in contents)
    return None


def _compare(recorded: Sequence[e.Event], decided: Sequence[e.Event], fact: e.Event) -> Divergence | None:
    if not decided:
        return Divergence(fact.version, "the decider concludes nothing from this fact", fact)
    for was, now in zip(recorded, decided, strict=False):
        if was != now:
            return Divergence(was.version, "the decider concludes something else", was, now)
    if len(recorded) < len(decided):
        missing = decided[len(recorded)]
        return Divergence(missing.version, "the history lacks this conclusion", None, missing)
    return None


def _compare_contents(decided: Mapping[int, object], recorded: Mapping[int, object]) -> Divergence | None:
    for version, content in decided.items():
        if version not in recorded:
            return Divergence(version, "the content of this event is missing")
        if _plain(content) != _plain(recorded[version]):
            return Divergence(version, f"the decider concludes another content: {content!r}, not {recorded[version]!r}")
    return None


def _plain(content: object) -> object:
    """Return a content as it is read from the log."""
    return msgspec.json.decode(msgspec.json.encode(content))


# --- From fact to command -----------------------------------------------------------------------------------------


def command_of(fact: e.Event, content: Any) -> c.Command:
    """Return the command that `fact` is the record of. Raises `KeyError` for an event that is no fact."""
    kind, fields = COMMANDS[type(fact)]
    given: dict[str, Any] = {"at": fact.at, "actor": fact.actor, "command_id": fact.cause}
    given.update(fields(fact, content))
    return kind(**given)


Fields = Callable[[Any, Any], dict[str, Any]]


def _own(*names: str, content: str = "") -> Fields:
    """Return a function that takes these fields from the fact, and its content under the name `content`."""

    def fields(fact: e.Event, value: Any) -> dict[str, Any]:
        taken = {name: getattr(fact, name) for name in names}
        if content:
            taken[content] = value
        return taken

    return fields


def _keyed(*names: str) -> Fields:
    """Return a function that takes these fields from the fact, and its place under the name `key`."""
    own = _own(*names)
    return lambda fact, value: own(fact, value) | {"key": fact.place}


def _approval(fact: e.ApprovalDecided, content: dict[str, Any]) -> dict[str, Any]:
    data = {"comment": content["comment"], "data": content["data"]}
    return {"key": fact.place, "approved": fact.approved, "by": fact.by, **data}


COMMANDS: dict[type[e.Event], tuple[type[c.Command], Fields]] = {
    e.RunStarted: (
        c.StartRun,
        _own(
            *("workflow", "definition", "trace_id", "tenant", "mode", "limit", "outer"),
            *("parent_run", "parent_place", "parent_attempt", "labels", "unique_key", "decider"),
            content="input",
        ),
    ),
    e.CancelRequested: (c.Cancel, _own("reason", "out")),
    e.RunPaused: (c.Pause, _own("reason")),
    e.RunResumed: (c.Resume, _own()),
    e.RunRetried: (c.Retry, _own()),
    e.ActivitySuspended: (
        c.SuspendActivity,
        _own(
            *(
                "place",
                "attempt",
                "kind",
                "until",
                "on_timeout",
                "child_run",
                "child_definition",
                "child_limit",
            ),
            "input_hash",
            "remind_every",
            content="parameters",
        ),
    ),
    e.ActivityCompleted: (
        c.CompleteActivity,
        _own(
            *("place", "attempt", "worker", "started_at", "input_hash", "cost", "usage"),
            *("cached", "saved", "simulated"),
            content="output",
        ),
    ),
    e.AttemptFailed: (
        c.FailActivity,
        _own("place", "attempt", "error", "worker", "started_at", "input_hash", "cost", "usage"),
    ),
    e.AttemptTimedOut: (c.TimeOutAttempt, _own("place", "attempt", "seconds", "started_at")),
    e.AttemptLost: (c.LoseAttempt, _own("place", "attempt", "reason")),
    e.TimerFired: (c.Tick, _own()),
    e.SignalReceived: (c.Signal, _own("name", "key", content="data")),
    e.ApprovalDecided: (c.DecideApproval, _approval),
    e.ChildFinished: (
        c.FinishChild,
        _own("place", "attempt", "child_run", "status", "cost", "error", content="output"),
    ),
    e.ChildCorrected: (c.CorrectChild, _own("place", "attempt", "child_run", "of", "amount")),
    e.MessageDelivered: (c.ConfirmMessage, _own("message")),
    e.EffectBegun: (c.BeginEffect, _own("place", "attempt", "what")),
    g.CallRequested: (
        c.AdmitCall,
        _own(
            *("place", "attempt", "call_id", "request_hash", "candidates", "over", "passed_over", "verdicts"),
            *("max_cost", "shared"),
        ),
    ),
    g.CallReused: (
        c.ReuseCall,
        _own("place", "attempt", "call_id", "request_hash", "model", "saved", "simulated", "verdicts"),
    ),
    g.BudgetFreed: (c.FreeBudget, _own("budget", "over", "call_id", "shared")),
    g.BudgetRaised: (c.RaiseBudget, _keyed("limit", "by")),
    g.BudgetRefused: (c.RefuseCalls, _keyed("by")),
    g.WaitingForgotten: (c.ForgetWaiting, _own("reason")),
    g.CallSettled: (c.SettleCall, _own("call_id", "outcome", "usage", "error", "verdicts")),
}
"""Per kind of fact: the command, and what of it stands in the fact."""


# --- The folded state ---------------------------------------------------------------------------------------------

DERIVED = frozenset({"plan", "planned", "_alarms"})
"""What is shared by all runs, and the heap of alarms, which `timers` says better (it may hold stale entries)."""


def state_of(run: Run) -> dict[str, object]:
    """Return all control state of a run as plain values: equal states are equal runs, however they came about."""
    return {name: _state(getattr(run, name)) for name in sorted(Run.__slots__) if name not in DERIVED}


def _state(value: Any) -> object:
    if isinstance(value, msgspec.Struct):
        return (type(value).__name__, *(_state(getattr(value, name)) for name in value.__struct_fields__))
    if isinstance(value, dict):
        return [(_state(key), _state(part)) for key, part in value.items()]
    if isinstance(value, str | bytes | int | float | None):
        return value
    slots = getattr(type(value), "__slots__", None)
    if slots:
        return {name: _state(getattr(value, name)) for name in sorted(slots) if name not in DERIVED}
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    return [_state(part) for part in value]
