"""The budgets above a call, as levels that can be compared: the call's own, its activity's, its run's, and the shared.

Levels of one call are looked at from the inside out, so the innermost that does not fit is the one that is named.
"""

from __future__ import annotations

from typing import NamedTuple

from headgate.core.definition import Budget
from headgate.core.money import show
from headgate.core.place import Place
from headgate.core.run import Call, Run
from headgate.core.values import Candidate, SharedBudget

__all__ = ["Level", "Over", "beyond", "levels_above", "own_levels", "scope_of"]

Over = tuple[str, int, int, int]


class Level(NamedTuple):
    """One budget as it stands. `name` is how people know it; `id` is that of a shared one."""

    name: str
    limit: int
    spent: int
    reserved: int
    action: str
    id: str = ""
    key: str = ""
    """Whose it is, where it is an activity's."""
    before: int = 0
    """How many calls wait for room in it and came before this one."""
    warn_percent: int = 0

    def fits_spent(self, amount: int) -> bool:
        return self.spent + amount <= self.limit

    def fits_now(self, amount: int) -> bool:
        return self.spent + self.reserved + amount <= self.limit


def own_levels(run: Run, owner: Place) -> list[Level]:
    """Return the budgets of the activity and of the run: those that are folded from the run's own log."""
    levels: list[Level] = []
    key = owner.planned.key
    if (budget := run.budget_of(key)) is not None:
        levels.append(_own(f"the budget of activity {key!r}", budget, owner.cost, owner.reserved, key))
    if (budget := run.budget) is not None:
        levels.append(_own("the run's budget", budget, run.total_cost, run.reserved))
    return levels


def _own(name: str, budget: Budget, spent: int, reserved: int, key: str = "") -> Level:
    return Level(name, budget.limit, spent, reserved, budget.action, key=key)


def levels_above(
    run: Run, owner: Place, call: Call, candidate: Candidate, shared: tuple[SharedBudget, ...], over: Over | None
) -> list[Level]:
    """Return the budgets above a call that goes to `candidate`. `over` is what the store said last of one of them."""
    levels = own_levels(run, owner)
    if call.max_cost is not None:
        levels.insert(0, Level("the call's max_cost", call.max_cost, 0, 0, "abort"))
    told = over
    for budget in shared:
        if budget.models and candidate.model not in budget.models:
            continue
        level = Level(
            budget.name,
            budget.limit,
            budget.spent,
            budget.reserved,
            budget.action,
            id=budget.id,
            before=budget.before,
            warn_percent=budget.warn_percent,
        )
        if over is not None and over[0] == budget.id:
            level, told = level._replace(limit=over[1], spent=over[2], reserved=over[3]), None
        levels.append(level)
    if told is not None and not shared:
        levels.append(Level(f"budget {told[0]!r}", told[1], told[2], told[3], "abort"))
    return levels


def beyond(level: Level, candidate: Candidate) -> str:
    """Return the sentence that says why the candidate does not fit."""
    return (
        f"{candidate.model} would cost up to {show(candidate.worst_case)}; "
        f"{level.name} has {show(max(0, level.limit - level.spent))} left of {show(level.limit)}"
    )


def scope_of(budget_id: str) -> tuple[str, str, str, str]:
    """Return tenant, scope, period and start of a rule's budget; of the budget of a tree of runs: `("", "tree", the
    run's id, "")`."""
    if budget_id.startswith("tree:"):
        return "", "tree", budget_id.removeprefix("tree:"), ""
    tenant, _, rest = budget_id.removesuffix("/demo").partition("/")
    parts = rest.rsplit("/", 2)
    return (tenant, parts[0], parts[1], parts[2]) if len(parts) == 3 else ("", budget_id, "", "")
