"""A run at the decider alone: commands in, events out, no engine, no clock but the one that is set by hand.

Every command is decided as the engine would have it decided (with no other contents than `wanted` names), and each
time it is checked that deciding is pure, that it is repeatable, and that the events alone rebuild the run. `faults_of`
says what else must hold of a run and does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from headgate.authoring import load_definition
from headgate.core import commands as c
from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.core.decide import advance, decide, wanted
from headgate.core.decision import Decision
from headgate.core.definition import Definition
from headgate.core.errors import HeadgateError
from headgate.core.explain import explain_place, explain_run
from headgate.core.fold import apply
from headgate.core.place import Place
from headgate.core.plan import compile_plan
from headgate.core.replay import replay, state_of
from headgate.core.run import Call, Run
from headgate.core.values import Candidate, Failure, Price, SharedBudget, Usage
from headgate.testing.clock import NOON
from headgate.testing.faults import faults_of, limits_passed

__all__ = ["NOON", "SECOND", "Rehearsal", "candidate"]

EventType = TypeVar("EventType", bound=e.Event)

SECOND = 1_000_000


def candidate(worst_case: int, model: str = "scripted/model", *, priced: bool = True) -> Candidate:
    """Return a model that a call may go to, whose call costs `worst_case` nano-dollars at most."""
    return Candidate(model, worst_case, Price(1, 1) if priced else None)


class Rehearsal:
    """One run. `at` is its present time in microseconds; nothing but `pass_time` moves it."""

    def __init__(
        self,
        definition: Definition | str,
        *,
        run_id: str = "rehearsed",
        thorough: bool = True,
        shared: Sequence[SharedBudget] = (),
    ) -> None:
        """`thorough` False leaves out what makes a command dear in large runs: deciding it twice, on a copy. `shared`
        are budgets above the run; they are moved as a store would."""
        self.shared = {budget.id: budget for budget in shared}
        self.definition = load_definition(definition) if isinstance(definition, str) else definition
        self.plan = compile_plan(self.definition)
        self.run = Run(run_id, self.plan)
        self.folded = Run(run_id, self.plan)
        self.events: list[e.Event] = []
        self.contents: dict[int, object] = {}
        self.at = NOON
        self.honest = True
        """Nobody has reported a cost above its reservation, so no limit may be passed."""
        self._thorough = thorough

    def feed(self, command: c.Command) -> list[e.Event]:
        """Decide `command` and return what it caused. Raises what `decide` raises; the run is as it was then."""
        values = {version: self.contents[version] for version in wanted(self.run, command) if version in self.contents}
        if not self._thorough:
            return self._keep(advance(self.run, command, values))
        before = state_of(self.run)
        try:
            foreseen = decide(self.run, command, values)
        except HeadgateError:
            assert state_of(self.run) == before, f"{command} was refused, and changed the run"
            raise
        assert state_of(self.run) == before, f"deciding {command} changed the run"
        decision = advance(self.run, command, dict(values))
        assert decision.events == foreseen, f"deciding {command} twice gave two answers"
        self._keep(decision)
        assert state_of(self.folded) == state_of(self.run), f"the events of {command} do not rebuild the run"
        return decision.events

    def _keep(self, decision: Decision) -> list[e.Event]:
        for event in decision.events:
            apply(self.folded, event)
            self._move(event)
            if self.honest:
                assert (broken := limits_passed(self.folded)) == [], f"after {event}: {broken}"
        self.events += decision.events
        self.contents |= decision.contents
        return decision.events

    def _move(self, event: e.Event) -> None:
        """Move the budgets above the run. A reservation that does not fit is a fault: it was decided by their state."""
        match event:
            case g.CallAdmitted():
                for name in event.budgets:
                    budget = self._moved(name, reserve=event.reservation)
                    fits = budget.spent + budget.reserved <= budget.limit
                    assert fits or name in event.beyond, f"{event} passes the limit of {budget}"
            case g.CallSettled() if event.outcome != "lost":
                for name in event.budgets:
                    self._moved(name, reserve=-event.released, spend=event.cost - event.replaces)
            case g.CallForfeited():
                for name in event.budgets:
                    self._moved(name, reserve=-event.amount, spend=event.amount)
            case _:
                pass

    def _moved(self, name: str, *, reserve: int = 0, spend: int = 0) -> SharedBudget:
        was = self.shared[name]
        moved = msgspec.structs.replace(was, reserved=was.reserved + reserve, spent=was.spent + spend)
        self.shared[name] = moved
        return moved

    @property
    def standing(self) -> tuple[SharedBudget, ...]:
        """How the budgets above the run stand, as a command brings it."""
        return tuple(self.shared.values())

    def check(self) -> None:
        """Check the same, and that the history explains itself."""
        self.check_state()
        divergence = replay(self.plan, self.events, self.contents)
        assert divergence is None, divergence

    def check_state(self) -> None:
        """Check whatever must hold of any run at any time."""
        faults = faults_of(self.run)
        assert faults == [], faults

    # --- Commands ------------------------------------------------------------------------------------------------

    def start(self, given: Any = None, *, limit: int | None = None, outer: tuple[str, ...] = ()) -> Rehearsal:
        self.feed(
            c.StartRun(
                at=self.at,
                workflow=self.definition.name,
                definition=self.definition.version,
                trace_id="trace",
                input={} if given is None else given,
                limit=limit,
                outer=outer,
            )
        )
        return self

    def complete(self, path: str, output: Any = None, *, attempt: int | None = None, cost: int = 0) -> list[e.Event]:
        number = self._attempt(path, attempt)
        return self.feed(c.CompleteActivity(at=self.at, place=path, attempt=number, output=output, cost=cost))

    def fail(
        self, path: str, code: str = "broken", *, attempt: int | None = None, retryable: bool = True, cost: int = 0
    ) -> list[e.Event]:
        failure = Failure(code, f"{path} is {code}", retryable)
        number = self._attempt(path, attempt)
        return self.feed(c.FailActivity(at=self.at, place=path, attempt=number, error=failure, cost=cost))

    def begin_effect(self, path: str, what: str = "a mail") -> list[e.Event]:
        number = self._attempt(path, None)
        return self.feed(c.BeginEffect(at=self.at, place=path, attempt=number, what=what))

    def lose(self, path: str, *, attempt: int | None = None) -> list[e.Event]:
        number = self._attempt(path, attempt)
        return self.feed(c.LoseAttempt(at=self.at, place=path, attempt=number, reason="its worker is gone"))

    def time_out(self, path: str, *, attempt: int | None = None) -> list[e.Event]:
        number = self._attempt(path, attempt)
        return self.feed(c.TimeOutAttempt(at=self.at, place=path, attempt=number, seconds=300.0))

    def pass_time(self, seconds: float) -> list[e.Event]:
        """Let time pass, then have the run look at its timers."""
        self.at += int(seconds * SECOND)
        return self.feed(c.Tick(at=self.at, actor="timer"))

    def signal(self, name: str, data: Any = None, *, key: str = "") -> list[e.Event]:
        return self.feed(c.Signal(at=self.at, name=name, data=data, key=key))

    def suspend(self, path: str, kind: Any, **fields: Any) -> list[e.Event]:
        return self.feed(
            c.SuspendActivity(at=self.at, place=path, attempt=self._attempt(path, None), kind=kind, **fields)
        )

    def approve(self, key: str = "", *, approved: bool = True) -> list[e.Event]:
        return self.feed(c.DecideApproval(at=self.at, key=key, approved=approved, by="ann"))

    def finish_child(
        self, path: str, child_run: str, status: str = "completed", *, output: Any = None, cost: int = 0
    ) -> list[e.Event]:
        return self.feed(
            c.FinishChild(
                at=self.at, place=path, attempt=1, child_run=child_run, status=status, output=output, cost=cost
            )
        )

    def cancel(self, *out: str) -> list[e.Event]:
        return self.feed(c.Cancel(at=self.at, reason="enough", out=out))

    def pause(self) -> list[e.Event]:
        return self.feed(c.Pause(at=self.at))

    def resume(self) -> list[e.Event]:
        return self.feed(c.Resume(at=self.at))

    def retry(self) -> list[e.Event]:
        return self.feed(c.Retry(at=self.at))

    def admit(
        self,
        path: str,
        call_id: str,
        *candidates: Candidate,
        attempt: int | None = None,
        max_cost: int | None = None,
        shared: tuple[SharedBudget, ...] = (),
    ) -> Call | None:
        """Ask for a call; return it as it stands, or None where the attempt is over."""
        self.feed(
            c.AdmitCall(
                at=self.at,
                place=path,
                attempt=self._attempt(path, attempt),
                call_id=call_id,
                request_hash="hash",
                candidates=candidates,
                max_cost=max_cost,
                shared=shared,
            )
        )
        return self.run.calls.get(call_id)

    def ask_for(self, path: str, call_id: str, *candidates: Candidate, max_cost: int | None = None) -> Call:
        """Ask for a call beneath the budgets above the run as they stand; return it."""
        self.admit(path, call_id, *candidates, max_cost=max_cost, shared=self.standing)
        return self.run.calls[call_id]

    def free(self, call_id: str) -> list[e.Event]:
        """Have a call that waits looked at again."""
        return self.feed(c.FreeBudget(at=self.at, budget="", call_id=call_id, shared=self.standing))

    def raise_budget(self, limit: int, *, key: str = "", by: str = "ann") -> list[e.Event]:
        return self.feed(c.RaiseBudget(at=self.at, limit=limit, key=key, by=by))

    def refuse_calls(self, *, key: str = "", by: str = "ann") -> list[e.Event]:
        return self.feed(c.RefuseCalls(at=self.at, key=key, by=by))

    def forget_waiting(self) -> list[e.Event]:
        return self.feed(c.ForgetWaiting(at=self.at, reason="the process has ended"))

    def settle(self, call_id: str, cost: int | None = None, *, outcome: Any = "used") -> list[e.Event]:
        usage = Usage(cost_nano=cost) if outcome == "used" else None
        return self.feed(c.SettleCall(at=self.at, call_id=call_id, outcome=outcome, usage=usage))

    def _attempt(self, path: str, attempt: int | None) -> int:
        if attempt is not None:
            return attempt
        place = self.run.place(path)
        return place.attempt if place is not None else 1

    # --- What can be seen ----------------------------------------------------------------------------------------

    @property
    def status(self) -> str:
        return self.run.shown_status

    @property
    def tasks(self) -> list[str]:
        """The places that are tasks now, in the order in which they were scheduled."""
        return list(self.run.tasks)

    @property
    def statuses(self) -> dict[str, str]:
        return {place.planned.key: place.status for place in self.run.places}

    def place(self, path: str) -> Place:
        found = self.run.place(path)
        assert found is not None, f"no place {path}"
        return found

    def kinds(self, *types: type[EventType]) -> list[EventType]:
        """Return the events of these types."""
        return [event for event in self.events if isinstance(event, types)]

    def scheduled(self) -> list[str]:
        """Return the places in the order in which they became tasks, as often as they did."""
        return [event.place for event in self.events if isinstance(event, e.ActivityScheduled)]

    def why(self, path: str = "") -> str:
        """Return the sentence that says what the place, or the run, waits for."""
        return explain_place(self.run, self.place(path), self.at) if path else explain_run(self.run, self.at)
