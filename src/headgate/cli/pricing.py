"""What `check` knows of model calls: prices and token counts, from the providers that would be asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from headgate.authoring.estimate import Pricing
from headgate.core.values import Price
from headgate.ports import Attempt, Message, ModelProvider, ModelRequest

__all__ = ["pricing_of"]


def pricing_of(providers: Mapping[str, ModelProvider]) -> Pricing:
    """Return prices and counts as the engine of this process has them."""
    from headgate.core.token_budget import MAX_TOKENS_UNDER_BUDGET

    def price_of(model: str) -> Price | None:
        provider, _, name = model.partition("/")
        return providers[provider].price(name) if provider in providers else None

    def count(activity: str, model: str, parameters: dict[str, Any]) -> int | None:
        provider, _, name = model.partition("/")
        request = _embedding_request(parameters) if activity == "embedding" else _prompt_request(parameters)
        if request is None or provider not in providers:
            return None
        return providers[provider].count(msgspec.structs.replace(request, model=name))

    return Pricing(price_of, count, MAX_TOKENS_UNDER_BUDGET, _nearest)


def _nearest(model: str) -> str:
    from headgate.llm.model_names import nearest_models

    provider, _, name = model.partition("/")
    return next((f"{provider}/{near}" for near in nearest_models(provider, name)), "")


def _prompt_request(parameters: dict[str, Any]) -> ModelRequest | None:
    from headgate.activities.prompt_parameters import request_of

    try:
        return request_of(parameters, max_tokens_default=None)
    except Attempt:
        return None


def _embedding_request(parameters: dict[str, Any]) -> ModelRequest | None:
    given: object = parameters.get("input")
    texts = cast("list[object]", given) if isinstance(given, list) else [given]
    if not all(isinstance(text, str) for text in texts):
        return None
    return ModelRequest(model="", messages=tuple(Message("user", str(text)) for text in texts))
