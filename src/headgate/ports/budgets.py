"""Budgets above the run: the rules that people set, and how they stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import msgspec

__all__ = ["BudgetListener", "BudgetNews", "BudgetRule", "BudgetRules", "BudgetStanding", "Period"]

Period = Literal["hour", "day", "month", "total"]


class BudgetRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What may be spent within a scope and a period of the UTC calendar. `limit` is in nano-dollars.

    `scope` is `tenant`, `workflow:NAME`, `label:KEY=VALUE`, `model:PROVIDER/MODEL` or `provider:NAME`; names of models
    and providers may hold `*` and `?`. There is one rule of a scope and a period for each tenant.
    """

    tenant: str = "default"
    scope: str
    period: Period
    limit: int
    action: Literal["abort", "alert", "fallback", "ask"] = "abort"
    warn_percent: int = 0
    since: int = 0
    """When it was set first (microseconds)."""
    by: str = ""

    @property
    def id(self) -> str:
        return f"{self.tenant}/{self.scope}/{self.period}"


class BudgetStanding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A rule, and how its budget of the present period stands; calls at demo prices are counted apart."""

    rule: BudgetRule
    start: str
    """The period, such as `2026-11-29`."""
    spent: int = 0
    reserved: int = 0
    demo_spent: int = 0
    demo_reserved: int = 0
    waiting: int = 0
    """How many calls wait for room in it, or for a person."""


class BudgetNews(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to know of a budget: so much of it is spent (`alert`), more than its limit was reported
    (`overrun`), or a call waits for a person to raise it (`ask`). Amounts are in nano-dollars, `at` in microseconds."""

    kind: Literal["alert", "overrun", "ask"]
    tenant: str
    run_id: str
    workflow: str
    place: str
    at: int
    budget: str
    """How people know it."""
    limit: int
    spent: int
    percent: int = 0
    model: str = ""
    needed: int = 0
    """Of a call that asks: to which model it would go, and what it would cost at most."""


BudgetListener = Callable[[BudgetNews], None]
"""Told of each, after the commit that holds it. It must not wait, and what it raises is logged."""


class BudgetRules(Protocol):
    """The rules of one log; tested by tests/conformance/test_budget_rules.py. What was saved or removed is seen by
    everybody who asks after that. Every method raises `Unavailable`."""

    async def save(self, rule: BudgetRule) -> None:
        """Keep the rule in the place of the one of the same tenant, scope and period."""
        ...

    async def remove(self, rule: BudgetRule) -> bool: ...

    async def all(self) -> list[BudgetRule]:
        """Return all, by tenant, scope and period. Cheap while nothing has changed."""
        ...
