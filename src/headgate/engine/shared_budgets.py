"""The budgets above the run: which of them concern a call, how they stand, and what an append moves in them.

A budget is a row of the store. A call that is admitted reserves in each row that concerns it, in the append that holds
its event, and the event names the rows; what it settles is moved in those rows, whatever the rules have become and
whichever day it is by then. What counts in a rule's budget without having reserved there (a call that was admitted
before the rule was set, a cost that a worker reports) is booked from its spend row, in the budget of that row's time.

Appends are committed in the order in which they are encoded. So a rule is first taken note of here, and its row is
made by the next append: what was encoded before is in the spend rows that it begins with, what comes after is booked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from headgate.core import commands as c
from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.core.definition import BudgetAction
from headgate.core.errors import NotFound
from headgate.core.run import Run
from headgate.core.values import Candidate, SharedBudget
from headgate.engine.budget_scopes import budget_id, concerns_model, concerns_run, rule_id
from headgate.ports import BudgetRule, Move, OverBudget, SpendRow

if TYPE_CHECKING:
    from headgate.engine.engine import Engine

__all__ = ["SharedBudgets"]

NOTHING = OverBudget("", 0, 0, 0)


class SharedBudgets:
    """One per engine. It holds all rules, as its keeper knows them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._rules: dict[str, BudgetRule] = {}
        self._tenants: frozenset[str] = frozenset()
        self.waiting: Callable[[str], int] = lambda budget: 0
        """How many calls wait for room in the budget."""

    @property
    def rules(self) -> list[BudgetRule]:
        return list(self._rules.values())

    def load(self, rules: Iterable[BudgetRule]) -> None:
        """Take these as the rules there are."""
        self._rules = {rule.id: rule for rule in rules}
        self._tenants = frozenset(rule.tenant for rule in self._rules.values())

    def put(self, rule: BudgetRule) -> None:
        self.load([*(known for known in self._rules.values() if known.id != rule.id), rule])

    def remove(self, rule: BudgetRule) -> None:
        self.load([known for known in self._rules.values() if known.id != rule.id])

    def rule(self, name: str) -> BudgetRule | None:
        return self._rules.get(name)

    def concern(self, run: Run) -> bool:
        """Whether there may be a budget above this run."""
        return bool(run.outer) or run.tenant in self._tenants

    def _concerning(self, run: Run) -> list[BudgetRule]:
        name = run.plan.definition.name
        return [rule for rule in self._rules.values() if concerns_run(rule, run.tenant, name, run.labels)]

    # --- How they stand --------------------------------------------------------------------------------------------

    async def told(self, run: Run, command: c.AdmitCall | c.FreeBudget) -> c.AdmitCall | c.FreeBudget:
        """Return the command with the budgets that concern its call, as they stand now."""
        candidates: tuple[Candidate, ...] = ()
        if isinstance(command, c.AdmitCall):
            candidates = command.candidates
        elif (call := run.calls.get(command.call_id or next(iter(run.waiting_calls), ""))) is not None:
            candidates = call.candidates
        # Only who comes anew goes behind those that wait. Who has waited in one line and is first there goes if there
        # is room for it everywhere: sent to the end of another line, calls of two lines could change places for ever.
        new = isinstance(command, c.AdmitCall)
        at = max(command.at, run.at)
        shared = tuple([budget async for budget in self._standing(run, candidates, at, new=new)])
        return msgspec.structs.replace(command, shared=shared)

    async def _standing(
        self, run: Run, candidates: Sequence[Candidate], at: int, *, new: bool
    ) -> AsyncIterator[SharedBudget]:
        if not candidates:
            return
        for name in run.outer:
            yield await self._tree(name, self.waiting(name) if new else 0)
        for rule in self._concerning(run):
            for simulated in (False, True):
                of = [one for one in candidates if bool(one.price and one.price.simulated) == simulated]
                models = tuple(one.model for one in of if concerns_model(rule, one.model))
                if models:
                    every = len(models) == len(candidates)
                    budget = budget_id(rule, at, simulated=simulated)
                    before = self.waiting(budget) if new else 0
                    yield await self._of_rule(rule, budget, () if every else models, before)

    async def _of_rule(self, rule: BudgetRule, budget: str, models: tuple[str, ...], before: int) -> SharedBudget:
        stands = await self._engine.log.budget(budget) or NOTHING
        return SharedBudget(
            budget,
            f"the budget of {rule.scope} per {rule.period}"
            if rule.period != "total"
            else f"the budget of {rule.scope}",
            rule.limit,
            stands.spent,
            stands.reserved,
            rule.action,
            models,
            before,
            rule.warn_percent,
        )

    async def _tree(self, name: str, before: int) -> SharedBudget:
        stands = await self._engine.log.budget(name) or NOTHING
        root = name.removeprefix("tree:")
        shown = f"the budget of run {root} with the runs below it" if root != name else f"budget {name!r}"
        return SharedBudget(
            name,
            shown,
            stands.limit,
            stands.spent,
            stands.reserved,
            await self._action_of(root) if root != name else "abort",
            before=before,
        )

    async def _action_of(self, run_id: str) -> BudgetAction:
        try:
            budget = (await self._engine.lane(run_id)).run.budget
        except NotFound:
            return "abort"
        return budget.action if budget is not None else "abort"

    async def left(self, run: Run) -> int | None:
        """Return the least that is left of any budget above the run; None: there is none."""
        if not self.concern(run):
            return None
        now = self._engine.clock.now()
        limits: list[int] = []
        for name in run.outer:
            stands = await self._engine.log.budget(name) or NOTHING
            limits.append(stands.limit - stands.spent)
        for rule in self._concerning(run):
            stands = await self._engine.log.budget(budget_id(rule, now, simulated=False)) or NOTHING
            limits.append(rule.limit - stands.spent)
        return max(0, min(limits)) if limits else None

    # --- What an append moves --------------------------------------------------------------------------------------

    def moves(self, run: Run, events: Sequence[e.Event], spend: Sequence[SpendRow]) -> list[Move]:
        """Return what the events, with their spend rows, change in the budgets above the run."""
        moves: list[Move] = []
        reserved: dict[int, tuple[str, ...]] = {}
        for event in events:
            match event:
                case e.RunStarted() if run.limit is not None:
                    moves += [Move(budget, limit=run.limit) for budget in run.outer]
                case g.BudgetRaised() if not event.place and f"tree:{run.id}" in run.outer:
                    moves.append(Move(f"tree:{run.id}", limit=event.limit, sets=True))
                case g.CallAdmitted():
                    moves += [self._reservation(event, budget) for budget in event.budgets or run.outer]
                case g.CallSettled() if event.outcome != "lost":
                    budgets, amount = event.budgets or run.outer, event.cost - event.replaces
                    moves += [Move(budget, reserve=-event.released, spend=amount) for budget in budgets]
                    reserved[event.version] = event.budgets
                case g.CallForfeited():
                    budgets = event.budgets or run.outer
                    moves += [Move(budget, reserve=-event.amount, spend=event.amount) for budget in budgets]
                    reserved[event.version] = event.budgets
                case e.ActivityCompleted() | e.AttemptFailed() if event.cost:
                    moves += [Move(budget, spend=event.cost) for budget in run.outer]
                case _:
                    pass
        if spend and self._rules:
            moves += self._booked(self._concerning(run), spend, reserved)
        return moves

    def _reservation(self, event: g.CallAdmitted, budget: str) -> Move:
        rule = self._rules.get(rule_id(budget))
        limit = None if rule is None else rule.limit
        return Move(budget, reserve=event.reservation, limit=limit, beyond=budget in event.beyond)

    def _booked(
        self, rules: list[BudgetRule], spend: Sequence[SpendRow], reserved: dict[int, tuple[str, ...]]
    ) -> Iterable[Move]:
        for row in spend:
            if not row.cost:
                continue
            had = {rule_id(budget) for budget in reserved.get(row.version, ())}
            for rule in rules:
                if rule.id not in had and concerns_model(rule, f"{row.provider}/{row.model}"):
                    budget = budget_id(rule, row.at, simulated=row.simulated)
                    yield Move(budget, spend=row.cost, limit=rule.limit)
