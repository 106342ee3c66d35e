"""What vendors list: the data set of `genai-prices`, or one like it from a file, made into our prices.

The data set is imported when a price is first asked for (a fifth of a second, some 20 MB), and never fetched. What a
`Price` cannot say is not guessed: a model that is also charged by request, by character, or apart for its reasoning
is unpriced here. Prices of audio, images, video, searches and of caches kept for an hour are left out: the calls that
are made here have none of these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from headgate.core.errors import Invalid, Unavailable
from headgate.core.money import nano
from headgate.core.values import Price, Tier

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

__all__ = ["LIST_BYTES_MAX", "Listed", "PriceList", "is_price_list"]

LIST_BYTES_MAX = 64 * 1024 * 1024
FOUND_MAX = 2_000
"""How many names are remembered; then all are forgotten and looked up again."""
THEIR_NAMES = {"bedrock": "aws"}
"""Providers that the data set knows by another name."""
RATES = ("input", "output", "cache_read", "cache_write")
NOT_CHARGED_HERE = ("audio", "image", "video", "document", "searches", "cache_write_1h")
"""Words in the names of prices that no call of ours meets."""


class Dated(msgspec.Struct, frozen=True):
    """A price and when it holds. `price` None: it cannot be expressed."""

    price: Price | None
    since: str
    holds: Callable[[datetime], bool]


class Listed(msgspec.Struct, frozen=True):
    """A model of the list. Of its prices the last that holds is the one."""

    provider: str
    model: str
    prices: tuple[Dated, ...]

    def price(self, at: int) -> Price | None:
        """Return the price at a time (microseconds), or None: it cannot be expressed."""
        when = datetime.fromtimestamp(at / 1_000_000, UTC)
        return next((dated for dated in reversed(self.prices) if dated.holds(when)), self.prices[0]).price


class PriceList:
    """The data set that comes with the package, or with `path` one in a file of its own."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._providers: list[Provider] | None = None
        self._found: dict[tuple[str, str], Listed | None] = {}
        self.name = ""
        """What prices of this list are named after; known once it is read."""

    def find(self, provider: str, model: str) -> Listed | None:
        """Return the model that a provider of ours knows by `model`, aliases and dated names included, or None.

        Raises `Invalid` and `Unavailable` for a file that is no price list or cannot be read.
        """
        key = provider, model
        if key not in self._found:
            if len(self._found) >= FOUND_MAX:
                self._found.clear()
            self._found[key] = self._find(provider, model)
        return self._found[key]

    def all(self) -> Iterator[Listed]:
        """Yield every model of the list, under our name of its provider. Raises as `find` does."""
        ours = {theirs: name for name, theirs in THEIR_NAMES.items()}
        for provider in self._read():
            for model in provider.models:
                yield self._listed(ours.get(provider.id, provider.id), provider.id, model)

    def _find(self, provider: str, model: str) -> Listed | None:
        providers = self._read()
        theirs = THEIR_NAMES.get(provider, provider)
        known = next((one for one in providers if one.id == theirs), None)
        if known is None:
            return None
        name = model.removeprefix("models/")  # as Google's API names its models
        for candidate in (name, name.removesuffix("-latest")):
            found = known.find_model(candidate, all_providers=providers)
            if found is not None:
                return self._listed(provider, theirs, found)
        return None

    def _read(self) -> list[Provider]:
        if self._providers is None:
            if self._path is None:
                import genai_prices
                from genai_prices.data import providers

                self.name, self._providers = f"genai-prices-{genai_prices.__version__}", providers
            else:
                data = _bytes_of(self._path)
                self.name = f"price-list-{hashlib.sha256(data).hexdigest()[:12]}"
                self._providers = _providers_in(data, str(self._path))
        return self._providers

    def _listed(self, provider: str, theirs: str, model: ModelInfo) -> Listed:
        source = f"{self.name}:{theirs}/{model.id}"
        return Listed(provider, model.id, tuple(_dated(model, source)))


def is_price_list(value: object) -> bool:
    """Return whether a document looks like the data set: a list of providers, each with models."""
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) and "models" in one for one in value)  # pyright: ignore[reportUnknownVariableType] - any JSON


def _bytes_of(path: Path) -> bytes:
    try:
        if path.stat().st_size > LIST_BYTES_MAX:
            raise Invalid(f"{path} has more than {LIST_BYTES_MAX} bytes, which no price list needs.")
        return path.read_bytes()
    except OSError as error:
        raise Unavailable(f"The price list {path} cannot be read: {error.strerror or error}.") from None


def _providers_in(data: bytes, source: str) -> list[Provider]:
    import json

    # The package reads lists that it has fetched with this; it has no public name for it.
    from genai_prices.types import _providers_from_raw  # pyright: ignore[reportPrivateUsage]

    try:
        raw = json.loads(data, parse_float=Decimal)
        if not is_price_list(raw):
            raise Invalid(f"{source} is not a list of providers with models, as genai-prices publishes it.")
        return _providers_from_raw(raw)
    except (ValueError, RecursionError) as error:  # pydantic's errors are ValueErrors
        first = str(error).strip().splitlines()
        raise Invalid(f"{source} is not a price list: {' '.join(first[:3])}") from None


# --- One model's prices ------------------------------------------------------------------------------------------


def _dated(model: ModelInfo, source: str) -> Iterator[Dated]:
    if not isinstance(model.prices, list):
        yield Dated(_price(vars(model.prices), source), "", _always)
        return
    for conditional in model.prices:
        constraint = conditional.constraint
        since = "" if constraint is None else _since(constraint)
        holds = _always if constraint is None else constraint.active
        yield Dated(_price(vars(conditional.prices), f"{source}@{since}" if since else source), since, holds)


def _always(_: datetime) -> bool:
    return True


def _since(constraint: Any) -> str:
    start = getattr(constraint, "start_date", None)
    if start is not None:
        return start.isoformat()
    return f"{constraint.start_time:%H:%M}-{constraint.end_time:%H:%M}"


def _price(given: dict[str, Any], source: str) -> Price | None:
    """Return the price that these fields of the data set come to, or None where it cannot be said exactly."""
    fields = {name: value for name, value in given.items() if value is not None}
    known = {name: fields.pop(f"{name}_mtok", None) for name in RATES}
    if known["input"] is None or any(not _is_foreign(name) for name in fields):
        return None
    tiers = sorted({tier.start for value in known.values() for tier in getattr(value, "tiers", ())})
    base = {name: _rate(value, None) for name, value in known.items()}
    steps = [Tier(above=start, **_rates({n: _rate(value, start) for n, value in known.items()})) for start in tiers]
    return Price(**_rates(base), id=source, tiers=tuple(steps))


def _is_foreign(name: str) -> bool:
    return any(word in name for word in NOT_CHARGED_HERE)


def _rates(rates: dict[str, int | None]) -> dict[str, Any]:
    return {name: rate for name, rate in rates.items() if rate is not None}


def _rate(value: Any, above: int | None) -> int | None:
    """Return a price in nano-dollars per million tokens, of calls longer than `above` (None: of short ones)."""
    if value is None or isinstance(value, Decimal):
        return None if value is None else nano(value)
    reached = [tier.price for tier in value.tiers if above is not None and tier.start <= above]
    return nano(reached[-1] if reached else value.base)
