"""The door to the ledger half of the gate: asks for calls, waits where they must wait, settles them.

What is admitted is decided in the core; here is only the waiting, and the passing on of room.

A call that waits for a budget of its own run is woken by the decision that made room, in the same append. One that
waits for a budget above the run stands in a line, with the calls of other runs. Whenever something is settled there,
the first of the line is looked at again (`FreeBudget`); if it goes, so is the next. No wake is lost: after a call has
begun to wait it is looked at once more, for what it was decided by may have been settled meanwhile; and room that comes
while the first is being looked at has it looked at again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from headgate.core import commands as c
from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.core.budget_levels import scope_of
from headgate.core.decision import Decision
from headgate.core.errors import HeadgateError
from headgate.core.run import Call, Run
from headgate.core.values import Failure
from headgate.engine.budget_lines import Lines, Waiter
from headgate.engine.budget_scopes import FOR_EVER, ends_at, rule_id
from headgate.engine.engine import Engine
from headgate.engine.lane import Lane
from headgate.ports import Admission, Admitted, BudgetRule, CallRequest, Clock, Denied, Settlement

__all__ = ["Ledger"]


class Ledger:
    """One per engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: dict[Waiter, asyncio.Future[Admission]] = {}
        self._lines = Lines()
        self._asking = Lines()
        """Calls that wait for a person, by the budget above the run that they ask about."""
        self._passing: dict[str, bool] = {}
        """Lines whose first call is being looked at; True: room came meanwhile, so look again."""
        self._turn = asyncio.Event()
        engine.shared.waiting = self._lines.length
        engine.listen(self._committed)
        engine.news.follow(self._committed, lambda: {run_id for run_id, _ in self._waiting})

    async def admit(self, run_id: str, place: str, attempt: int, *, call_id: str, request: CallRequest) -> Admission:
        """Return the answer for this call, after waiting if only others' reservations keep it out, or if a person is
        asked. Asked again with the same `call_id`, the answer is the same. Raises `StaleAttempt`."""
        command = c.AdmitCall(
            at=self._engine.clock.now(),
            actor="policy",
            place=place,
            attempt=attempt,
            call_id=call_id,
            request_hash=request.request_hash,
            candidates=request.candidates,
            passed_over=request.passed_over,
            verdicts=request.verdicts,
            max_cost=request.max_cost,
        )
        future: asyncio.Future[Admission] = self._engine.loop.create_future()
        self._waiting[run_id, call_id] = future
        try:
            decision = await self._engine.submit(run_id, command)
            # By now the run may hold decisions that are not durable yet; the commit of this one has told the future.
            if not future.done() and not decision.events:  # asked again: what was decided then
                call = decision.run.calls.get(call_id)
                if call is None:
                    return Denied(Failure("attempt_over", f"attempt {attempt} of {place!r} is over", retryable=False))
                if call.state != "waiting":
                    return _answer(call, ())
            return await future
        finally:
            self._waiting.pop((run_id, call_id), None)
            for line in self._leave((run_id, call_id)):
                self._engine.loop.call_soon(self._pass_on, line)

    async def settle(self, run_id: str, *, call_id: str, settlement: Settlement) -> None:
        """Record how a call ended; a repeat changes nothing."""
        command = c.SettleCall(
            at=self._engine.clock.now(),
            actor="policy",
            call_id=call_id,
            outcome=settlement.outcome,
            usage=settlement.usage,
            error=settlement.error,
            verdicts=settlement.verdicts,
        )
        await self._engine.insist(run_id, command)

    def listens(self, run: Run) -> bool:
        """Return whether somebody here waits for each call of the run that asks a person."""
        return all((run.id, call_id) in self._waiting for call_id in run.asking_calls)

    def waiting_for(self, rule: BudgetRule) -> int:
        """Return how many calls wait for room in the rule's budgets, or for a person to raise it."""
        lines = (self._lines, self._asking)
        return sum(len(line.of(budget)) for line in lines for budget in line.budgets() if rule_id(budget) == rule.id)

    def changed(self, rule: BudgetRule) -> None:
        """Look again at the calls that the rule keeps waiting: it was changed, or is no more."""
        self._look_again(lambda budget: rule_id(budget) == rule.id)

    async def watch_periods(self, clock: Clock) -> None:
        """Look again at the calls that wait, whenever a period is over: the next one has its own money. For ever."""
        over: set[str] = set()
        while True:
            waited_for = {*self._lines.budgets(), *self._asking.budgets()}
            over &= waited_for
            ends = min((_end_of(budget) for budget in waited_for - over), default=FOR_EVER)
            await clock.wait(None if ends == FOR_EVER else ends, self._turn)
            now = clock.now()
            ended = {budget for budget in waited_for - over if _end_of(budget) <= now}
            over |= ended
            self._look_again(ended.__contains__)

    def look_again(self, budgets: Sequence[str] = ()) -> None:
        """Look again at the first calls that wait for these budgets, or for any: another process may have made room."""
        for budget in budgets or list(self._lines.budgets()):
            self._pass_on(budget)

    def _look_again(self, is_meant: Callable[[str], bool]) -> None:
        for budget in self._asking.matching(is_meant):
            for waiter in self._asking.of(budget):
                self._free_soon(waiter, budget)
        for budget in self._lines.matching(is_meant):
            self._pass_on(budget)

    # --- After a commit ----------------------------------------------------------------------------------------------

    def _committed(self, lane: Lane, decisions: Sequence[Decision]) -> None:
        if not self._waiting:
            return
        run = lane.run
        freed: dict[str, None] = {}
        moved = False
        for decision in decisions:
            for event in decision.events:
                match event:
                    case g.CallAdmitted() | g.CallRefused():
                        self._tell(run, event.call_id, decision.events)
                        freed |= dict.fromkeys(self._leave((run.id, event.call_id)))
                        moved = True
                    case g.CallWaiting():
                        freed |= dict.fromkeys(self._join((run.id, event.call_id), event))
                        moved = True
                    case g.CallSettled() | g.CallForfeited():
                        freed |= dict.fromkeys(event.budgets or run.outer)
                        moved = True
                    case g.BudgetRaised():
                        self._raised(run)
                    case _:
                        pass
        if run.finished or run.status == "cancelling":
            freed |= dict.fromkeys(self._lines.leave_all(run.id) | self._asking.leave_all(run.id))
        elif moved:
            self._free_own(run)
        for budget in freed:
            self._pass_on(budget)

    def _tell(self, run: Run, call_id: str, events: list[e.Event]) -> None:
        future = self._waiting.get((run.id, call_id))
        call = run.calls.get(call_id)
        if future is None or future.done():
            return
        if call is None:
            future.set_result(Denied(Failure("attempt_over", "the attempt is over", retryable=False)))
        elif call.state != "waiting":
            future.set_result(_answer(call, _skipped(events, call_id)))

    def _join(self, waiter: Waiter, event: g.CallWaiting) -> list[str]:
        """Put the call into the line that it waits in; return the lines to look at: its own, and the one it left."""
        left = self._leave(waiter)
        if event.line and waiter in self._waiting:
            (self._asking if event.asks else self._lines).join(event.line, waiter)
            self._turn.set()
        return [*left, *([event.line] if event.line and not event.asks else [])]

    def _leave(self, waiter: Waiter) -> list[str]:
        return [line for line in (self._lines.leave(waiter), self._asking.leave(waiter)) if line]

    def _free_own(self, run: Run) -> None:
        """Look again at the first call that waits in the run's own line, where that takes more than its own log."""
        for call_id in run.waiting_calls:
            call = run.calls[call_id]
            if not call.line:
                if run.outer or call.shared:
                    self._free_soon((run.id, call_id), "")
                return

    def _raised(self, run: Run) -> None:
        """Look again at the calls that asked about a limit that was raised, where somebody still waits for them."""
        for call_id, call in list(run.calls.items()):
            asked = call.state == "waiting" and call_id not in run.waiting_calls and call_id not in run.asking_calls
            if asked and (run.id, call_id) in self._waiting:
                self._free_soon((run.id, call_id), "")
        self._look_again(lambda budget: budget == f"tree:{run.id}")

    # --- Passing on --------------------------------------------------------------------------------------------------

    def _pass_on(self, budget: str) -> None:
        """Look at the first call of the line, unless that is under way."""
        if budget in self._passing:
            self._passing[budget] = True
            return
        first = self._lines.first(budget)
        if first is not None:
            self._passing[budget] = False
            self._engine.spawn(self._look_at_first(budget, first), "")

    async def _look_at_first(self, budget: str, waiter: Waiter) -> None:
        try:
            await self._free(waiter, budget)
        finally:
            again = self._passing.pop(budget)
        if again:
            self._pass_on(budget)

    def _free_soon(self, waiter: Waiter, budget: str) -> None:
        self._engine.spawn(self._free(waiter, budget), "")

    async def _free(self, waiter: Waiter, budget: str) -> None:
        """Have the call looked at, if somebody waits for it still. One that does not wait any more leaves its line."""
        run_id, call_id = waiter
        if waiter not in self._waiting:
            for line in self._leave(waiter):
                self._pass_on(line)
            return
        command = c.FreeBudget(at=self._engine.clock.now(), actor="engine", budget=budget, call_id=call_id)
        try:
            decision = await self._engine.insist(run_id, command)
        except HeadgateError:  # the run is gone, or the log is: then nobody is admitted anyway
            decision = None
        call = None if decision is None else decision.run.calls.get(call_id)
        if call is None or call.state != "waiting":
            for line in self._leave(waiter):
                self._pass_on(line)


def _end_of(budget: str) -> int:
    _, _, period, start = scope_of(budget)
    return ends_at(period, start) if start else FOR_EVER


def _answer(call: Call, skipped: tuple[str, ...]) -> Admission:
    if call.state == "refused":
        return Denied(Failure(call.code, call.reason, retryable=False))
    return Admitted(call.model, call.reservation, skipped)


def _skipped(events: list[e.Event], call_id: str) -> tuple[str, ...]:
    return tuple(event.model for event in events if isinstance(event, g.ModelSkipped) and event.call_id == call_id)
