"""What a run may cost at most, said before it starts, as far as it can be said from the definition and a sample input.

Per activity: how often it runs, times its attempts, times the most that one attempt's model calls can cost. A number is
given only where every factor is known from the definition and the sample; what depends on what a run finds out is
unknown, and named as such. A budget bounds what it covers, known or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, cast

import msgspec

from headgate.core.catalogue import BUILTINS, MODEL_CALLS, default_backoff
from headgate.core.definition import ITERATION_LIMIT_DEFAULT, Activity, Definition
from headgate.core.expression import ExpressionError, Template, compile_value
from headgate.core.graph import Graph, analyse
from headgate.core.model_list import ModelEntry, entries_of, names_of, read_entry
from headgate.core.values import Price

__all__ = ["ActivityEstimate", "Estimate", "Pricing", "estimate_cost", "models_of"]

ITEMS_RENDERED_MAX = 10_000
"""Of a longer list each item would have to be rendered to know its size; its cost is left unknown."""
KNOWN_BEFORE = frozenset({"INPUT", "ITEM", "INDEX"})
"""The names in templates that have a value before anything has run."""


class Pricing(msgspec.Struct, frozen=True):
    """What is known of model calls before they are made, as the engine will know it."""

    price_of: Callable[[str], Price | None]
    """The price of `provider/model`; None: not known."""
    count: Callable[[str, str, dict[str, Any]], int | None]
    """An upper estimate of the input tokens of an activity's call (its name, the model, its rendered parameters); None:
    it cannot be counted."""
    max_tokens_under_budget: int
    """`max_tokens` of a call under a budget that sets none."""
    nearest: Callable[[str], str] = lambda _: ""
    """The priced `provider/model` that an unpriced one may have been meant to be, or nothing."""


class ActivityEstimate(msgspec.Struct, frozen=True):
    """The most that an activity may cost. Money is in nano-dollars; None means unknown, and `unknown` says why."""

    key: str
    calls: int | None = None
    """How often it runs: its items times the iterations of its loops."""
    attempts: int = 1
    per_attempt: int | None = None
    most: int | None = None
    simulated: bool = False
    """Its models have notional prices."""
    unknown: str = ""
    bounded_by: str = ""
    """The budget that is less than what it might cost otherwise."""


class Estimate(msgspec.Struct, frozen=True):
    """The most that a run may cost, real and notional money apart. None: unknown."""

    activities: tuple[ActivityEstimate, ...]
    most: int | None
    simulated: int | None
    limit: int | None
    """The run's budget, which holds real and notional money together, where it has one that stops calls."""
    assumptions: tuple[str, ...]


def models_of(activity: Activity) -> tuple[str, ...]:
    """Return the models that an activity names; templates are left out."""
    return tuple(model for model in names_of(activity.parameters.get("model")) if not _is_template(model))


def estimate_cost(definition: Definition, value: object, pricing: Pricing) -> Estimate:
    """Return the most that a run of `definition` with the input `value` may cost."""
    graph = analyse(definition.activities)
    costing = [
        _Costing(definition, graph, number, value, pricing).estimate()
        for number, activity in enumerate(definition.activities)
        if activity.name in MODEL_CALLS or activity.workflow is not None or _is_foreign(activity)
    ]
    most = _sum(found.most for found in costing if not found.simulated)
    simulated = _sum(found.most for found in costing if found.simulated)
    budget = definition.budget
    limit = None if budget is None or budget.action == "alert" else budget.limit
    return Estimate(tuple(costing), most, simulated, limit, tuple(_assumptions(definition, graph)))


def _entries(given: object) -> list[ModelEntry]:
    """Return the models that are named, as far as they can be read: what cannot is told where they are checked."""
    found: list[ModelEntry] = []
    for entry in entries_of(given):
        with suppress(ValueError):
            found.append(read_entry(entry))
    return found


def _sum(amounts: Iterable[int | None]) -> int | None:
    total = 0
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total


def _is_foreign(activity: Activity) -> bool:
    """Whether somebody else's code runs it, which may report any cost."""
    return bool(activity.name) and activity.name not in BUILTINS


def _is_template(value: object) -> bool:
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def _assumptions(definition: Definition, graph: Graph) -> list[str]:
    said = [
        "every attempt fails but the last, and each is paid for",
        "every model of a list is asked in each attempt",
        "every answer is as long as max_tokens allows",
    ]
    if any(dependency.conditions for a in definition.activities for dependency in a.depends_on) or any(
        activity.when is not None for activity in definition.activities
    ):
        said.append("every branch is taken")
    for loop in graph.loops:
        head = definition.activities[loop.head]
        default = "" if head.iteration_limit else " by default"
        said.append(f"the loop at {head.key} goes round {_iterations(head)} times, its limit{default}")
    if any(activity.cache is not None for activity in definition.activities):
        said.append("nothing is found in the cache")
    return said


def _iterations(head: Activity) -> int:
    return head.iteration_limit or ITERATION_LIMIT_DEFAULT


class _Unknown(Exception):
    """A factor cannot be said before the run; the text says why."""


class _Costing:
    """The estimate of one activity."""

    def __init__(self, definition: Definition, graph: Graph, number: int, value: object, pricing: Pricing) -> None:
        self.definition = definition
        self.activity = definition.activities[number]
        self.names = frozenset(activity.key for activity in definition.activities)
        self.heads = [definition.activities[loop.head] for loop in graph.loops if number in loop.body]
        self.value = value
        self.pricing = pricing
        prices = [pricing.price_of(model) for model in models_of(self.activity)]
        self.simulated = bool(prices) and all(price is not None and price.simulated for price in prices)

    def estimate(self) -> ActivityEstimate:
        activity = self.activity
        calls = per_attempt = most = None
        unknown = ""
        attempts = (activity.retry or default_backoff(activity.name)).max_attempts
        try:
            items = self._items()
            calls = (1 if items is None else len(items)) * self._rounds()
            attempt_costs = self._attempt_costs(items)
            per_attempt = max(attempt_costs, default=0)
            most = sum(attempt_costs) * self._rounds() * attempts
        except _Unknown as error:
            unknown = str(error)
        bounded_by = ""
        limit = self._limit()
        if limit is not None and (most is None or most > limit):
            most, bounded_by = limit, "its budget"
        return ActivityEstimate(activity.key, calls, attempts, per_attempt, most, self.simulated, unknown, bounded_by)

    def _limit(self) -> int | None:
        """Return what a budget of its own lets it spend in all its attempts and iterations."""
        budget = self.activity.budget
        return None if budget is None or budget.action == "alert" else budget.limit

    def _rounds(self) -> int:
        rounds = 1
        for head in self.heads:
            rounds *= _iterations(head)
        return rounds

    def _items(self) -> list[Any] | None:
        if self.activity.for_each is None:
            return None
        items = self._rendered(self.activity.for_each, {}, "the number of its items")
        if not isinstance(items, list):
            raise _Unknown("its items are no list with this input")
        if len(cast("list[Any]", items)) > ITEMS_RENDERED_MAX:
            raise _Unknown(f"it has more than {ITEMS_RENDERED_MAX:,} items")
        return cast("list[Any]", items)

    def _attempt_costs(self, items: list[Any] | None) -> list[int]:
        """Return the most that one attempt costs, for each item."""
        if self.activity.workflow is not None and self.activity.workflow.budget is not None:
            return [self.activity.workflow.budget] * (1 if items is None else len(items))
        if self.activity.workflow is not None:
            raise _Unknown(f"what the workflow {self.activity.workflow.name} costs is not known here")
        if self.activity.name not in MODEL_CALLS:
            raise _Unknown("what an activity of your own costs is known when it has run")
        scopes = [{}] if items is None else [{"ITEM": item, "INDEX": index} for index, item in enumerate(items)]
        return [self._attempt_cost(scope) for scope in scopes]

    def _attempt_cost(self, scope: Mapping[str, object]) -> int:
        parameters = self._rendered(self.activity.parameters, scope, "the size of its input")
        return sum(
            entry.attempts * self._call_cost(entry.model, parameters) for entry in _entries(parameters.get("model"))
        )

    def _call_cost(self, model: str, parameters: dict[str, Any]) -> int:
        price = self.pricing.price_of(model)
        if price is None:
            if self._under_budget():
                return 0  # under a budget a model without a price is never asked
            raise _Unknown(f"no price is known of {model}")
        if not (price.input or price.output) or (price.simulated and not self.simulated):
            return 0  # notional money beside real money counts for nothing
        tokens = self.pricing.count(self.activity.name, model, parameters)
        if tokens is None:
            raise _Unknown("its parameters with this input are no request to a model")
        return price.worst_case(tokens, self._output_tokens(parameters))

    def _output_tokens(self, parameters: dict[str, Any]) -> int:
        if self.activity.name == "embedding":
            return 0
        most = parameters.get("max_tokens")
        if most is None and self._under_budget():
            return self.pricing.max_tokens_under_budget
        if isinstance(most, bool) or not isinstance(most, int | float):
            raise _Unknown("it sets no max_tokens, so its answer may have any length")
        return int(most)

    def _under_budget(self) -> bool:
        budgets = (self.activity.budget, self.definition.budget, self.activity.parameters.get("max_cost"))
        return any(budget is not None for budget in budgets)

    def _rendered(self, value: Any, scope: Mapping[str, object], what: str) -> Any:
        try:
            template: Template = compile_value(value, where="parameters", names=self.names)
            if later := sorted(template.roots - KNOWN_BEFORE):
                raise _Unknown(f"{what} depends on {', '.join(later)}")
            return template.render({"INPUT": self.value, **scope})
        except ExpressionError as error:
            raise _Unknown(f"with this input {error.problems[0].message}") from None
