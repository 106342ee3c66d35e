"""What a worker says that it used of models by itself, as the ledger takes it: priced by the server where it can be."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

import msgspec

from headgate.api.http.route import Call
from headgate.core.errors import Invalid
from headgate.core.money import nano
from headgate.core.values import Usage

__all__ = ["Dollars", "UsageReport", "unpriced", "usage_of"]

USD_MAX = 1_000_000

Tokens = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
Dollars = float | str
"""As a number, or as its text: decimals are sent so."""


class UsageReport(msgspec.Struct, frozen=True):
    """What a worker used of a model by itself. In `input_tokens` are those that the cache was read for, not those that
    were written to it. `cost_usd` None: priced by the server where it knows the model, but for what a cache stored."""

    provider: str = ""
    model: str = ""
    input_tokens: Tokens = 0
    output_tokens: Tokens = 0
    cache_read_tokens: Tokens = 0
    cache_creation_tokens: Tokens = 0
    cache_storage_token_hours: Dollars | None = None
    cost_usd: Dollars | None = None


def usage_of(call: Call[Any, Any], reported: list[UsageReport], cost_usd: Dollars | None) -> tuple[Usage, ...]:
    """Return what the worker used, priced; `cost_usd` is what it spent beside that, on something that is no model."""
    usages = [_priced(call, one) for one in reported]
    if cost_usd is not None and (beside := _nano(cost_usd)):
        usages.append(Usage(cost_nano=beside))
    return tuple(usages)


def _priced(call: Call[Any, Any], one: UsageReport) -> Usage:
    usage = Usage(
        provider=one.provider,
        model=one.model,
        input_tokens=max(one.input_tokens, one.cache_read_tokens) + one.cache_creation_tokens,
        output_tokens=one.output_tokens,
        cache_read_tokens=one.cache_read_tokens,
        cache_write_tokens=one.cache_creation_tokens,
    )
    if one.cost_usd is not None:
        return msgspec.structs.replace(usage, cost_nano=_nano(one.cost_usd))
    price = call.doors.price(one.provider, one.model)
    return usage if price is None else msgspec.structs.replace(usage, cost_nano=price.cost(usage), price=price)


def unpriced(call: Call[Any, Any], reported: list[UsageReport]) -> list[str]:
    """Return what is to be said of usage that counts for nothing: the work is done, so it is taken all the same."""
    said: list[str] = []
    for one in reported:
        if one.cost_usd is not None:
            continue
        name = f"{one.provider}/{one.model}"
        if call.doors.price(one.provider, one.model) is None:
            said.append(f"No price of {name} is known: what it was used for counts as free. Report its cost_usd.")
        if _amount(one.cache_storage_token_hours or 0):
            said.append(f"What the cache of {name} stored counts as free. Report it in cost_usd.")
    return said


def _nano(usd: Dollars) -> int:
    amount = _amount(usd)
    if not (amount.is_finite() and 0 <= amount < USD_MAX):
        raise Invalid(f"expected cost_usd to be 0 to {USD_MAX:,}, got {usd!r}")
    return nano(amount)


def _amount(told: Dollars) -> Decimal:
    try:
        return Decimal(str(told))
    except ArithmeticError:
        return Decimal("nan")
