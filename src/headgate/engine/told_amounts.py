"""What a worker may say that a call costs, or has used: amounts that budgets can be reckoned with.

A worker may be anybody's program. A negative amount would make room in a budget, and one beyond 64 bits would fail only
where it is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from headgate.core.errors import Invalid
from headgate.core.values import Price, Rates, Usage
from headgate.ports import CallRequest

__all__ = ["check_request", "check_usage", "check_usages"]

COST_NANO_MAX = 10**15
"""A million dollars: of one call."""
TOKENS_MAX = 10**9
CANDIDATES_MAX = 20
USAGES_MAX = 1_000
"""Of one report."""
NAME_CHARACTERS_MAX = 200

RATES = Rates.__struct_fields__
TOKENS = tuple(name for name in Usage.__struct_fields__ if name.endswith("_tokens"))
rates_of, tokens_of = attrgetter(*RATES), attrgetter(*TOKENS)
"""All of them at once: every call is looked at."""


def check_request(request: CallRequest) -> None:
    """Raise `Invalid` for a request that names no model, or amounts that cannot be."""
    if not 1 <= len(request.candidates) <= CANDIDATES_MAX:
        raise Invalid(f"expected a call to name 1 to {CANDIDATES_MAX} models, got {len(request.candidates)}")
    for candidate in request.candidates:
        if candidate.price is not None:
            _check_price(candidate.price)
        _check("worst_case", candidate.worst_case, COST_NANO_MAX)
        _check("input_tokens", candidate.input_tokens, TOKENS_MAX)
        _check("output_tokens", candidate.output_tokens, TOKENS_MAX)
    if request.max_cost is not None:
        _check("max_cost", request.max_cost, COST_NANO_MAX)


def _check_price(price: Price) -> None:
    of_variants = [tier for variant in price.variants for tier in variant.tiers]
    for rates in (price, *price.tiers, *price.variants, *of_variants):
        amounts = [amount for amount in rates_of(rates) if amount is not None]
        if not _fit(amounts, COST_NANO_MAX):
            for name, amount in zip(RATES, rates_of(rates), strict=True):
                _check(f"the price of {name}", amount or 0, COST_NANO_MAX)


def check_usages(usages: Sequence[Usage]) -> None:
    """Raise `Invalid` for more of them than one attempt can have, and for amounts that cannot be."""
    if len(usages) > USAGES_MAX:
        raise Invalid(f"expected usage of at most {USAGES_MAX:,} entries, got {len(usages):,}; sum up those of a model")
    for usage in usages:
        check_usage(usage)


def check_usage(usage: Usage) -> None:
    """Raise `Invalid` for amounts that cannot be, and for names that are none."""
    if max(len(usage.provider), len(usage.model)) > NAME_CHARACTERS_MAX:
        raise Invalid(f"expected provider and model to have at most {NAME_CHARACTERS_MAX} characters")
    if not _fit(tokens_of(usage), TOKENS_MAX):
        for name, amount in zip(TOKENS, tokens_of(usage), strict=True):
            _check(name, amount, TOKENS_MAX)
    if usage.cost_nano is not None:
        _check("cost_nano", usage.cost_nano, COST_NANO_MAX)


def _fit(amounts: Sequence[int], most: int) -> bool:
    return min(amounts) >= 0 and max(amounts) <= most


def _check(name: str, amount: int, most: int) -> None:
    if not 0 <= amount <= most:
        raise Invalid(f"expected {name} to be 0 to {most:,}, got {amount!r}")
