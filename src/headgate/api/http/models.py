"""Routes of models: which providers can be asked, and which models are known, with their prices."""

from __future__ import annotations

import asyncio

import msgspec

from headgate.api.http.route import Call, NoQuery, Route
from headgate.api.models import KnownModel
from headgate.core.errors import Invalid
from headgate.core.money import dollars

__all__ = ["ROUTES"]

LIMIT_MAX = 1_000


class ProviderLine(msgspec.Struct, frozen=True):
    name: str


class ProviderList(msgspec.Struct, frozen=True):
    providers: list[ProviderLine]
    count: int


class ModelSearch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`query` is a part of the name; `available`: only models whose provider can be asked here."""

    query: str = ""
    provider: str | None = None
    available: bool = False
    limit: int = 50


class ModelLine(msgspec.Struct, frozen=True, kw_only=True):
    """Prices are US dollars per million tokens, `request` per call; null: as the bucket around it."""

    provider: str
    model: str
    available: bool
    simulated: bool
    input_usd_per_million: float
    output_usd_per_million: float
    cache_read_usd_per_million: float | None
    cache_write_usd_per_million: float | None
    request_usd: float
    price_id: str


class ModelList(msgspec.Struct, frozen=True):
    models: list[ModelLine]
    count: int


async def list_providers(call: Call[NoQuery, None]) -> ProviderList:
    """List the providers of models that this server can ask"""
    lines = [ProviderLine(name) for name in call.doors.models.providers()]
    return ProviderList(lines, len(lines))


async def search_models(call: Call[NoQuery, ModelSearch]) -> ModelList:
    """Search the models whose prices are known: those that can be asked first, cheapest first"""
    body = call.body
    if not 1 <= body.limit <= LIMIT_MAX:
        raise Invalid(f"expected limit to be 1 to {LIMIT_MAX}, got {body.limit}")
    # The list of prices is large, and read when it is first looked for: not on the loop.
    found = await asyncio.to_thread(
        call.doors.models.search, body.query, provider=body.provider, available=body.available, limit=body.limit
    )
    return ModelList([_line(one) for one in found], len(found))


def _line(one: KnownModel) -> ModelLine:
    price = one.price
    return ModelLine(
        provider=one.provider,
        model=one.model,
        available=one.available,
        simulated=price.simulated,
        input_usd_per_million=dollars(price.input),
        output_usd_per_million=dollars(price.output),
        cache_read_usd_per_million=None if price.cache_read is None else dollars(price.cache_read),
        cache_write_usd_per_million=None if price.cache_write is None else dollars(price.cache_write),
        request_usd=dollars(price.request),
        price_id=price.id,
    )


ROUTES = (
    Route(method="GET", path="/llm/providers", function=list_providers, answer=ProviderList),
    Route(method="POST", path="/llm/models/search", function=search_models, body=ModelSearch, answer=ModelList),
)
