"""What a misspelt model may have been meant to be: the nearest names that have a price with its provider."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache

from headgate.core.errors import HeadgateError
from headgate.core.values import Price
from headgate.llm.price_list import PriceList
from headgate.llm.prices import PriceBook
from headgate.ports import ProviderError

__all__ = ["nearest_models", "with_suggestion"]

NAMES_MAX = 3
LIKENESS_MIN = 0.6


def nearest_models(provider: str, model: str, prices: Mapping[str, Price] | None = None) -> list[str]:
    """Return up to three names of `provider` that are like `model`, the likest first; none where `model` is one."""
    known = {*_listed(prices.list if isinstance(prices, PriceBook) else _bundled(), provider)}
    known |= {name.partition("/")[2] for name in prices or () if name.partition("/")[0] == provider}
    return [] if model in known else difflib.get_close_matches(model, sorted(known), n=NAMES_MAX, cutoff=LIKENESS_MIN)


def _listed(listing: PriceList, provider: str) -> list[str]:
    try:
        return [listed.model for listed in listing.all() if listed.provider == provider]
    except HeadgateError:  # a list of one's own that cannot be read, which is said where prices are read
        return []


@cache
def _bundled() -> PriceList:
    return PriceList()


def with_suggestion(
    error: ProviderError, provider: str, model: str, prices: Mapping[str, Price] | None = None
) -> ProviderError:
    """Return `error`; one that says that there is no such model also says which there are."""
    near = nearest_models(provider, model, prices) if error.kind == "not_found" else []
    if not near:
        return error
    named = " or ".join(f"{provider}/{name}" for name in near)
    return ProviderError(
        f"{error.message} Did you mean {named}?",
        status=error.status,
        code=error.kind,
        retryable=error.retryable,
        sent=error.sent,
        retry_after_seconds=error.retry_after_seconds,
        usage=error.usage,
        rates=error.rates,
    )
