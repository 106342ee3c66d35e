"""Budgets that cannot work: models without a price under one, and limits below what a single call reserves."""

from __future__ import annotations

import contextlib
from decimal import Decimal, InvalidOperation
from typing import Any

from headgate.authoring.check_reach import certain
from headgate.authoring.checking import Checking
from headgate.authoring.estimate import Pricing, models_of
from headgate.authoring.positions import Path
from headgate.core.catalogue import MODEL_CALLS
from headgate.core.definition import Activity, Budget
from headgate.core.graph import Graph
from headgate.core.money import nano, show

__all__ = ["check_budgets", "check_prices"]


def check_budgets(checking: Checking) -> None:
    """Warn of activities that are allowed more than the whole run."""
    whole = checking.definition.budget
    for activity in checking.definition.activities:
        own = activity.budget
        if whole is not None and own is not None and own.limit > whole.limit:
            message = f"the budget of {activity.key} ({show(own.limit)}) is more than the run's ({show(whole.limit)})."
            checking.warn(("activities", activity.key, "budget"), message)


def check_prices(checking: Checking, graph: Graph, pricing: Pricing) -> None:
    """Note calls that every budget above them would refuse: they have no price, or one call reserves more than the
    limit. Warn where that is so of some models only, or of an activity that need not run."""
    sure = certain(checking.definition.activities, graph)
    for number, activity in enumerate(checking.definition.activities):
        if activity.name in MODEL_CALLS:
            _check_priced(checking, activity, pricing)
            for budget, place in _budgets(checking, activity):
                _check_limit(checking, activity, budget, place, pricing, runs=number in sure)


def _budgets(checking: Checking, activity: Activity) -> list[tuple[Budget, Path]]:
    found: list[tuple[Budget, Path]] = []
    if (own := _max_cost(activity)) is not None:
        found.append((Budget(own), ("activities", activity.key, "parameters", "max_cost")))
    if activity.budget is not None:
        found.append((activity.budget, ("activities", activity.key, "budget")))
    if checking.definition.budget is not None:
        found.append((checking.definition.budget, ("budget",)))
    return [(budget, place) for budget, place in found if budget.limit > 0]


def _max_cost(activity: Activity) -> int | None:
    """Return the limit of each single call, where the definition says it outright."""
    given: object = activity.parameters.get("max_cost")
    if isinstance(given, str | int | float | Decimal) and not isinstance(given, bool):
        with contextlib.suppress(InvalidOperation):
            return nano(Decimal(str(given)))
    return None


def _check_priced(checking: Checking, activity: Activity, pricing: Pricing) -> None:
    models = models_of(activity)
    unpriced = [model for model in models if "/" in model and pricing.price_of(model) is None]
    if not unpriced:
        return
    place: Path = ("activities", activity.key, "parameters", "model")
    named = " and ".join(_with_nearest(model, pricing) for model in unpriced)
    if not _budgets(checking, activity):
        checking.warn(place, f"no price is known of {named}: its calls are counted, and cost nothing here.")
    elif len(unpriced) < _models_named(activity):
        checking.warn(place, f"no price is known of {named}: under a budget it is never asked.")
    else:
        checking.note(
            place,
            f"under a budget every call of {activity.key!r} would be refused: no price is known of {named}. "
            "Name a model with a price, or remove the budget.",
        )


def _with_nearest(model: str, pricing: Pricing) -> str:
    near = pricing.nearest(model)
    return f"{model} (did you mean {near}?)" if near else model


def _models_named(activity: Activity) -> int:
    given: object = activity.parameters.get("model")
    return len(given) if isinstance(given, list) else 1  # a JSON list


def _check_limit(
    checking: Checking, activity: Activity, budget: Budget, place: Path, pricing: Pricing, *, runs: bool
) -> None:
    least = _least_reservation(activity, pricing)
    if least is None or budget.action in ("alert", "ask") or least <= budget.limit:
        return
    whose = "the run" if place == ("budget",) else activity.key
    what = "max_cost" if place[-1] == "max_cost" else "the budget"
    message = (
        f"{what} of {whose} is {show(budget.limit)}, but one call of {activity.key} reserves at least "
        f"{show(least)} (its text and max_tokens at the model's price), so it would be refused. "
        "Raise the limit, or lower max_tokens."
    )
    if runs and activity.cache is None and activity.on_failure == "fail":
        checking.note(place, message)
    else:
        checking.warn(place, message)


def _least_reservation(activity: Activity, pricing: Pricing) -> int | None:
    """Return the least that a call reserves with any of its models, whatever its templates become; None: unknown."""
    models = models_of(activity)
    if len(models) < _models_named(activity):
        return None  # a template may name a cheaper one
    parameters = {name: value for name, value in activity.parameters.items() if not _holds_template(value)}
    most: Any = parameters.get("max_tokens", 0 if "max_tokens" in activity.parameters else None)
    if activity.name == "embedding":
        parameters.setdefault("input", [""])
        most = 0
    elif "messages" not in parameters:
        parameters.setdefault("prompt", "")
    if isinstance(most, bool) or not isinstance(most, int | None):
        return None
    reservations: list[int] = []
    for model in models:
        price = pricing.price_of(model)
        if price is not None:
            tokens = pricing.count(activity.name, model, parameters)
            if tokens is None:
                return None
            reservations.append(price.worst_case(tokens, pricing.max_tokens_under_budget if most is None else most))
    return min(reservations, default=None)


def _holds_template(value: object) -> bool:
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, dict):
        return any(_holds_template(entry) for entry in value.values())  # JSON
    if isinstance(value, list | tuple):
        return any(_holds_template(entry) for entry in value)  # JSON
    return False
