"""What vendors list: the data set of `genai-prices`, or one like it from a file, made into our prices.

The data set is imported when a price is first asked for (a fifth of a second, some 20 MB), and never fetched. What a
`Price` cannot say is not guessed: a model that is also charged by the character, page, second or citation, or apart for
its images and video, is unpriced here (an embedding model is not: it is given texts only). Prices of searches and other
tools on the vendor's side are left out. Variants are service tiers and batches, each key of theirs taking the place of
the standard one, as the data set means it; those by route or kind of search are passed over.
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
from headgate.core.values import STANDARD, Price, Tier, Variant

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, PriceVariant, Provider

__all__ = ["LIST_BYTES_MAX", "Listed", "PriceList", "is_price_list"]

LIST_BYTES_MAX = 64 * 1024 * 1024
FOUND_MAX = 2_000
"""How many names are remembered; then all are forgotten and looked up again."""
THEIR_NAMES = {"bedrock": "aws"}
"""Providers that the data set knows by another name."""
RATES = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "cache_audio_read_mtok": "cache_read_audio",
    "input_audio_mtok": "audio_input",
    "output_audio_mtok": "audio_output",
    "output_reasoning_mtok": "reasoning",
}
"""Their names of rates, and ours."""
REQUEST = "requests_kcount"
TOOLS = frozenset(
    {"web_searches_kcount", "storage_searches_kcount", "social_searches_kcount", "code_executions_kcount"}
)
"""What the vendor's own tools cost; a call of ours has none of these unless its `extra` asks for one."""
SIGHTS = frozenset({"input_image_mtok", "cache_image_read_mtok", "input_video_mtok", "input_audio_mtok"})
"""What costs apart of what an embedding model is given; ours are given texts only."""

Fields = dict[str, Any]


class _Dated(msgspec.Struct, frozen=True):
    """Prices of the data set, and when they hold."""

    fields: Fields
    since: str
    holds: Callable[[datetime], bool]


class _Variant(msgspec.Struct, frozen=True):
    """Prices that take the place of the standard ones at a service tier."""

    name: str
    fields: Fields
    holds: Callable[[datetime], bool]


class Listed:
    """A model of the list. Of its prices the last that holds is the one; of its variants, for each rate, the first."""

    def __init__(self, provider: str, model: str, source: str, prices: list[_Dated], variants: list[_Variant]) -> None:
        self.provider = provider
        self.model = model
        self._source = source
        self._prices = prices
        self._variants = variants
        self._made: dict[tuple[int, ...], Price | None] = {}
        self._newest: tuple[int, Price | None] | None = None
        """The second that was asked for last, and the price then: prices change by the day, or by the minute of it."""

    def price(self, at: int) -> Price | None:
        """Return the price at a time (microseconds), or None: it cannot be expressed."""
        second = at // 1_000_000
        if self._newest is None or self._newest[0] != second:
            self._newest = second, self._price_at(second)
        return self._newest[1]

    def _price_at(self, second: int) -> Price | None:
        when = datetime.fromtimestamp(second, UTC)
        held = [number for number, dated in enumerate(self._prices) if dated.holds(when)]
        active = [number for number, variant in enumerate(self._variants) if variant.holds(when)]
        key = (held[-1] if held else 0, *active)
        if key not in self._made:
            self._made[key] = self._price(self._prices[key[0]], [self._variants[number] for number in active])
        return self._made[key]

    def _price(self, dated: _Dated, active: list[_Variant]) -> Price | None:
        rates = _rates_of(dated.fields)
        if rates is None:
            return None
        name = f"{self._source}@{dated.since}" if dated.since else self._source
        variants: list[Variant] = []
        for tier in dict.fromkeys(variant.name for variant in active):
            changed: Fields = {}
            for variant in active:
                if variant.name == tier:
                    changed = variant.fields | changed
            other = _rates_of(dated.fields | changed)
            if other is not None and other != rates:
                variants.append(Variant(name=tier, **other))
        return Price(**rates, id=name, variants=tuple(variants))


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
        return Listed(provider, model.id, source, list(_dated(model)), list(_variants(model)))


def is_price_list(value: object) -> bool:
    """Return whether a document looks like the data set: a list of providers, each with models."""
    return (
        isinstance(value, list) and bool(value) and all(isinstance(one, dict) and "models" in one for one in value)
    )  # any JSON


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
    from genai_prices.types import _providers_from_raw  # pyright: ignore[reportPrivateUsage]  # it has no public reader

    try:
        raw = json.loads(data, parse_float=Decimal)
        if not is_price_list(raw):
            raise Invalid(f"{source} is not a list of providers with models, as genai-prices publishes it.")
        return _providers_from_raw(raw)
    except (ValueError, RecursionError) as error:  # pydantic's errors are ValueErrors
        first = str(error).strip().splitlines()
        raise Invalid(f"{source} is not a price list: {' '.join(first[:3])}") from None


# --- One model's prices ------------------------------------------------------------------------------------------


def _dated(model: ModelInfo) -> Iterator[_Dated]:
    if not isinstance(model.prices, list):
        yield _Dated(_fields(model.prices), "", _always)
        return
    for conditional in model.prices:
        constraint = conditional.constraint
        since, holds = ("", _always) if constraint is None else (_since(constraint), constraint.active)
        yield _Dated(_fields(conditional.prices), since, holds)


def _variants(model: ModelInfo) -> Iterator[_Variant]:
    for variant in model.price_variants or ():
        name = _tier_of(variant)
        if name:
            holds = _always if variant.constraint is None else variant.constraint.active
            yield _Variant(name, _fields(variant.prices), holds)


def _tier_of(variant: PriceVariant) -> str:
    """Return what we call the tier that a variant is of; empty: it is no tier, or the standard one."""
    if len(variant.when) != 1:
        return ""
    ((kind, name),) = variant.when.items()
    return name if kind in ("processing", "service_tier", "speed") and name not in STANDARD else ""


def _fields(prices: object) -> Fields:
    return {name: value for name, value in vars(prices).items() if value is not None}


def _always(_: datetime) -> bool:
    return True


def _since(constraint: Any) -> str:
    start = getattr(constraint, "start_date", None)
    if start is not None:
        return start.isoformat()
    return f"{constraint.start_time:%H:%M}-{constraint.end_time:%H:%M}"


def _rates_of(fields: Fields) -> dict[str, Any] | None:
    """Return what these fields of the data set come to, with `tiers`, or None where it cannot be said exactly."""
    if not _can_be_said(fields):
        return None
    heard = frozenset[str]() if "output_mtok" in fields else SIGHTS
    known = {ours: fields[theirs] for theirs, ours in RATES.items() if theirs in fields and theirs not in heard}
    request = _rate(fields[REQUEST], None) // 1_000 if REQUEST in fields else 0
    starts = sorted({tier.start for value in known.values() for tier in getattr(value, "tiers", ())})

    def rates(above: int | None) -> dict[str, int]:
        found = {name: _rate(value, above) for name, value in known.items()}
        return found | ({"request": request} if request else {})

    return {**rates(None), "tiers": tuple(Tier(above=start, **rates(start)) for start in starts)}


def _can_be_said(fields: Fields) -> bool:
    odd = fields.keys() - RATES.keys() - TOOLS - {REQUEST}
    if "output_mtok" not in fields:
        odd -= SIGHTS
    fee = fields.get(REQUEST, Decimal(0))
    return "input_mtok" in fields and not odd and isinstance(fee, Decimal) and fee * 10**6 % 1 == 0


def _rate(value: Any, above: int | None) -> int:
    """Return a price in nano-dollars per million tokens, of calls longer than `above` (None: of short ones)."""
    if isinstance(value, Decimal):
        return nano(value)
    reached = [tier.price for tier in value.tiers if above is not None and tier.start <= above]
    return nano(reached[-1] if reached else value.base)
