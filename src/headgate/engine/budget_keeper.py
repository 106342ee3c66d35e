"""The keeper of budgets above the run: sets, changes and removes their rules, and says how they stand."""

from __future__ import annotations

import asyncio

import msgspec

from headgate.core.errors import Invalid, NotFound, Refused, Unavailable
from headgate.engine.budget_scopes import budget_id, checked_scope, opening_of, period_of
from headgate.engine.engine import Engine
from headgate.engine.ledger import Ledger
from headgate.ports import Append, BudgetRule, BudgetRules, BudgetStanding, Head, Log, Move, Outcome, OverBudget

__all__ = ["RULES_MAX", "BudgetKeeper", "standing_of"]

RULES_MAX = 1_000
"""Each call is held against all of them."""
OF_NO_RUN = Head("", 0, b"", None, 0, 0, 0, 0, None, "")
NOTHING = OverBudget("", 0, 0, 0)


class BudgetKeeper:
    """One per engine."""

    def __init__(self, engine: Engine, ledger: Ledger, rules: BudgetRules) -> None:
        self._engine = engine
        self._ledger = ledger
        self._rules = rules
        self._one_by_one = asyncio.Lock()

    async def open(self) -> None:
        """Take up the rules that are set. Raises `Unavailable`."""
        self._engine.shared.load(await self._rules.all())

    async def refresh(self) -> None:
        """Take up what other nodes have changed. A rule that is new here begins anew with what its period has cost:
        what this node spent before it knew of the rule is counted from now on. Raises `Unavailable`: nothing was taken
        up."""
        async with self._one_by_one:
            rules = {rule.id: rule for rule in await self._rules.all()}
            before = {rule.id: rule for rule in self._engine.shared.rules}
            if rules == before:
                return
            self._engine.shared.load(rules.values())
            now = self._engine.clock.now()
            new = [move for name in rules.keys() - before.keys() for move in _openings(rules[name], now)]
            try:
                if new:
                    await self._append(new)
            except BaseException:
                self._engine.shared.load(before.values())
                raise
        for name in rules.keys() | before.keys():
            if rules.get(name) != before.get(name):
                self._ledger.changed(rules.get(name) or before[name])

    async def set(self, rule: BudgetRule) -> BudgetStanding:
        """Set a rule, or change the one of the same scope and period: its new limit holds from now on, also for calls
        that wait. A new one begins with what the period has cost so far. Raises `Invalid`, `Refused`, `Unavailable`."""
        checked_scope(rule.scope)
        if rule.limit < 0 or not 0 <= rule.warn_percent < 100:
            raise Invalid("Expected a limit of at least 0, and to be warned at less than all of it.")
        async with self._one_by_one:
            before = self._engine.shared.rule(rule.id)
            if before is None and len(self._engine.shared.rules) >= RULES_MAX:
                raise Refused(f"There are {RULES_MAX} budget rules already; remove one first.")
            now = self._engine.clock.now()
            rule = msgspec.structs.replace(rule, since=before.since if before else now)
            # No wait between these two: what is encoded from here on counts in the rule, and is committed after the
            # rows that it counts in.
            self._engine.shared.put(rule)
            made = self._append(_openings(rule, now) if before is None else _limits(rule, now))
            try:
                await made
                await self._rules.save(rule)
            except BaseException:
                self._engine.shared.remove(rule)
                if before is not None:
                    self._engine.shared.put(before)
                raise
        self._ledger.changed(rule)
        return await self.standing(rule)

    async def remove(self, rule: BudgetRule) -> BudgetStanding:
        """Remove a rule; return it as it stood. Calls that it kept waiting go on. Raises `NotFound`."""
        async with self._one_by_one:
            known = self._known(rule)
            stood = await self.standing(known)
            await self._rules.remove(known)
            self._engine.shared.remove(known)
        self._ledger.changed(known)
        return stood

    def _known(self, rule: BudgetRule) -> BudgetRule:
        known = self._engine.shared.rule(rule.id)
        if known is None:
            own = (each for each in self._engine.shared.rules if each.tenant == rule.tenant)
            there = ", ".join(f"{each.scope} per {each.period}" for each in own) or "there is none"
            raise NotFound(f"There is no budget of {rule.scope} per {rule.period}; {there}.")
        return known

    async def standings(self, tenant: str | None = None) -> list[BudgetStanding]:
        """Return all rules, or a tenant's, as they stand in the present period."""
        meant = [rule for rule in self._engine.shared.rules if tenant in (None, rule.tenant)]
        return [await self.standing(rule) for rule in sorted(meant, key=lambda rule: rule.id)]

    async def standing(self, rule: BudgetRule) -> BudgetStanding:
        stood = await standing_of(self._engine.log, rule, self._engine.clock.now())
        return msgspec.structs.replace(stood, waiting=self._ledger.waiting_for(rule))

    def _append(self, moves: list[Move]) -> asyncio.Future[None]:
        answer: asyncio.Future[None] = self._engine.loop.create_future()

        def done(_: Append, outcome: Outcome) -> None:
            if answer.done():
                return
            if outcome == "accepted":
                answer.set_result(None)
            else:
                answer.set_exception(
                    outcome if isinstance(outcome, Exception) else Unavailable(f"The budget was not made: {outcome}.")
                )

        self._engine.appender.append(Append(0, 0, [], OF_NO_RUN, moves=moves), done)
        return answer


def _openings(rule: BudgetRule, now: int) -> list[Move]:
    return [
        Move(
            budget_id(rule, now, simulated=simulated),
            limit=rule.limit,
            opening=opening_of(rule, now, simulated=simulated),
        )
        for simulated in (False, True)
    ]


def _limits(rule: BudgetRule, now: int) -> list[Move]:
    return [Move(budget_id(rule, now, simulated=simulated), limit=rule.limit, sets=True) for simulated in (False, True)]


async def standing_of(log: Log, rule: BudgetRule, now: int) -> BudgetStanding:
    """Return how a rule stands, as the log says."""
    real, demo = [await log.budget(budget_id(rule, now, simulated=simulated)) or NOTHING for simulated in (False, True)]
    return BudgetStanding(
        rule=rule,
        start=period_of(rule.period, now)[0],
        spent=real.spent,
        reserved=real.reserved,
        demo_spent=demo.spent,
        demo_reserved=demo.reserved,
    )
