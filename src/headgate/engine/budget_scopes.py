"""What a rule's budget is for, and which part of the calendar it counts: pure reading of scopes and periods."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase

from headgate.core.budget_levels import scope_of
from headgate.core.errors import Invalid
from headgate.ports import BudgetRule, Opening, Period

__all__ = [
    "FOR_EVER",
    "budget_id",
    "checked_scope",
    "concerns_model",
    "concerns_run",
    "ends_at",
    "opening_of",
    "period_of",
    "rule_id",
]

SECOND = 1_000_000
FOR_EVER = 1 << 62
SCOPE_CHARACTERS_MAX = 200
FORMATS: dict[str, str] = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}
NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
MODEL = re.compile(r"[\w*?.-]+/[\w*?.:@/+-]+")
PROVIDER = re.compile(r"[\w*?.-]+")


def checked_scope(scope: str) -> str:
    """Return the scope. Raises `Invalid` for one that is none."""
    kind, _, name = scope.partition(":")
    good = {
        "tenant": not name and ":" not in scope,
        "workflow": NAME.fullmatch(name) is not None,
        "label": bool(name.partition("=")[0]) and "=" in name,
        "model": MODEL.fullmatch(name) is not None,
        "provider": PROVIDER.fullmatch(name) is not None,
    }
    if not good.get(kind, False) or len(scope) > SCOPE_CHARACTERS_MAX:
        raise Invalid(
            "Expected a scope to be tenant, workflow:NAME, label:KEY=VALUE, model:PROVIDER/MODEL or provider:NAME "
            f"(* and ? stand for anything in the last two), got {scope!r}."
        )
    return scope


def concerns_run(rule: BudgetRule, tenant: str, workflow: str, labels: Mapping[str, str]) -> bool:
    """Whether calls of such a run may count in the rule's budget."""
    if rule.tenant != tenant:
        return False
    kind, _, name = rule.scope.partition(":")
    if kind == "workflow":
        return name == workflow
    if kind == "label":
        key, _, value = name.partition("=")
        return labels.get(key) == value
    return True


def concerns_model(rule: BudgetRule, model: str) -> bool:
    """Whether a call to `provider/model` counts in the budget of a rule that concerns its run."""
    kind, _, name = rule.scope.partition(":")
    if kind == "model":
        return fnmatchcase(model, name)
    return kind != "provider" or fnmatchcase(model.partition("/")[0], name)


def period_of(period: Period, at: int) -> tuple[str, int, int]:
    """Return the period that `at` (microseconds) is in: its name, its first microsecond, and the first after it."""
    if period == "total":
        return "total", 0, FOR_EVER
    name = datetime.fromtimestamp(at // SECOND, UTC).strftime(FORMATS[period])
    return name, _start(period, name), ends_at(period, name)


def ends_at(period: str, name: str) -> int:
    """Return the first microsecond after the period of this name."""
    if period not in FORMATS:
        return FOR_EVER
    start = datetime.strptime(name, FORMATS[period]).replace(tzinfo=UTC)
    if period == "month":
        return _micro((start + timedelta(days=32)).replace(day=1))
    return _micro(start + timedelta(hours=1 if period == "hour" else 24))


def _start(period: str, name: str) -> int:
    return _micro(datetime.strptime(name, FORMATS[period]).replace(tzinfo=UTC))


def _micro(moment: datetime) -> int:
    return round(moment.timestamp()) * SECOND


def budget_id(rule: BudgetRule, at: int, *, simulated: bool) -> str:
    """Return the id of the budget in which the rule counts at this time. Notional money has one of its own."""
    return f"{rule.id}/{period_of(rule.period, at)[0]}" + ("/demo" if simulated else "")


def rule_id(budget: str) -> str:
    """Return the id of the rule that a budget belongs to; empty: to none."""
    tenant, scope, period, start = scope_of(budget)
    return f"{tenant}/{scope}/{period}" if start else ""


def opening_of(rule: BudgetRule, at: int, *, simulated: bool) -> Opening:
    """Return the spend rows that the rule's budget of this time begins with."""
    _, since, until = period_of(rule.period, at)
    kind, _, name = rule.scope.partition(":")
    key, _, value = name.partition("=")
    return Opening(
        rule.tenant,
        since,
        until,
        simulated,
        workflow=name if kind == "workflow" else "",
        label=(key, value) if kind == "label" else None,
        model=name if kind == "model" else "",
        provider=name if kind == "provider" else "",
    )
