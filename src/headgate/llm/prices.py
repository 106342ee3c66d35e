"""What models cost, by their vendors' public lists on the day each entry names; the rest is unpriced.

An unpriced model is refused under a budget, so a missing line is safe where a guessed one is not. Overrides
win over this table.
"""

from __future__ import annotations

from collections.abc import Mapping

from headgate.core.money import nano
from headgate.core.values import Price

__all__ = ["FREE", "price_of"]

FREE = Price(id="free")
"""A model on the caller's own machine: it costs nothing that is counted here."""

_OPENAI_LISTED = "2025-08-07"
_OPENAI: dict[str, tuple[str, str, str]] = {
    # Dollars per million tokens: input, input read from the cache, output. Standard tier.
    "gpt-5": ("1.25", "0.125", "10"),
    "gpt-5-mini": ("0.25", "0.025", "2"),
    "gpt-5-nano": ("0.05", "0.005", "0.40"),
    "gpt-4.1": ("2", "0.50", "8"),
    "gpt-4.1-mini": ("0.40", "0.10", "1.60"),
    "gpt-4.1-nano": ("0.10", "0.025", "0.40"),
    "gpt-4o": ("2.50", "1.25", "10"),
    "gpt-4o-mini": ("0.15", "0.075", "0.60"),
    "o3": ("2", "0.50", "8"),
    "o3-mini": ("1.10", "0.55", "4.40"),
    "o4-mini": ("1.10", "0.275", "4.40"),
    "text-embedding-3-small": ("0.02", "0.02", "0"),
    "text-embedding-3-large": ("0.13", "0.13", "0"),
}
_SNAPSHOTS = {
    "gpt-5-2025-08-07": "gpt-5",
    "gpt-5-mini-2025-08-07": "gpt-5-mini",
    "gpt-5-nano-2025-08-07": "gpt-5-nano",
    "gpt-4.1-2025-04-14": "gpt-4.1",
    "gpt-4.1-mini-2025-04-14": "gpt-4.1-mini",
    "gpt-4.1-nano-2025-04-14": "gpt-4.1-nano",
    "gpt-4o-2024-11-20": "gpt-4o",
    "gpt-4o-2024-08-06": "gpt-4o",
    "gpt-4o-mini-2024-07-18": "gpt-4o-mini",
    "o3-2025-04-16": "o3",
    "o3-mini-2025-01-31": "o3-mini",
    "o4-mini-2025-04-16": "o4-mini",
}


def price_of(provider: str, model: str, overrides: Mapping[str, Price] | None = None) -> Price | None:
    """Return the price of `model`, or None where it is not known. `overrides` are keyed "provider/model"."""
    override = (overrides or {}).get(f"{provider}/{model}")
    if override is not None:
        return override
    if provider == "ollama":
        return FREE
    listed = _OPENAI.get(_SNAPSHOTS.get(model, model)) if provider == "openai" else None
    if listed is None:
        return None
    fresh, cached, output = listed
    return Price(
        input=nano(fresh),
        output=nano(output),
        cache_read=nano(cached),
        id=f"openai/{_SNAPSHOTS.get(model, model)}@{_OPENAI_LISTED}",
    )
