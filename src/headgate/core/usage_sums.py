"""Several requests to a provider that make up one answer, as one usage: tool loops, batches of texts to embed."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from headgate.core.values import Price, Usage

__all__ = ["COUNTS", "add_up_usages"]

COUNTS = (
    *("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens"),
    *("reasoning_tokens", "audio_input_tokens", "audio_output_tokens", "cache_read_audio_tokens", "estimated_input"),
)
"""The fields of a usage that are numbers of tokens."""


def add_up_usages(usages: Sequence[Usage], price: Price | None = None) -> Usage:
    """Return the sum of what the requests behind one answer used.

    With `price` each request is reckoned by itself, since its length, its tier and its fee are its own, and the sum
    says its cost. Provider, model and tier are those of the last that names one; a part that is estimated makes the
    sum so.
    """
    counts = {name: sum(getattr(usage, name) for usage in usages) for name in COUNTS}
    costs = [usage.cost_nano if price is None else price.cost(usage) for usage in usages]
    known = [cost for cost in costs if cost is not None]
    total = Usage(
        provider=_last(usages, "provider"),
        model=_last(usages, "model"),
        tier=_last(usages, "tier"),
        estimated=any(usage.estimated for usage in usages),
        cost_nano=sum(known) if known and len(known) == len(costs) else None,
    )
    return msgspec.structs.replace(total, **counts)


def _last(usages: Sequence[Usage], name: str) -> str:
    return next((value for usage in reversed(usages) if (value := getattr(usage, name))), "")
