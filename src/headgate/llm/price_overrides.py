"""Prices that people set themselves: a small YAML or JSON file, which wins over every list.

    openai/gpt-4o: {input: 2.50, output: 10, cache_read: 1.25}
    acme/large:
      - {input: 3, output: 15}
      - {input: 2, output: 12, valid_from: 2026-06-01}
    acme/long:
      input: 3
      output: 15
      above: {200000: {input: 6, output: 22.5}}
      tiers: {batch: {input: 1.5, output: 7.5, above: {200000: {input: 3, output: 11.25}}}}

US dollars per million tokens, as exact decimals, and `request` dollars for each call; `valid_from` is a day or a time,
in UTC where it names no other zone. Of several entries the one with the latest `valid_from` that has come holds. What a
service tier, or a long call, does not name costs there as it does otherwise. The file is read again when it changes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, cast

import msgspec

from headgate.core.errors import Invalid, Unavailable
from headgate.core.money import NANO, exact_dollars
from headgate.core.values import BY_HAND, STANDARD, Price, Rates, Tier, Variant

__all__ = [
    "ENTRIES_MAX",
    "FILE_BYTES_MAX",
    "RATES",
    "TIERS_MAX",
    "SetPrice",
    "read_prices",
    "read_rate",
    "read_time",
    "require_model",
    "set_price",
    "write_prices",
]

FILE_BYTES_MAX = 4 * 1024 * 1024
ENTRIES_MAX = 10_000
DOLLARS_MAX = 1_000_000
"""No model costs so much for a million tokens, nor for a call; a price above it is a slip of the unit."""
RATES = Rates.__struct_fields__
TIERS_MAX = 20
"""Of lengths, and of service tiers, that one price may name."""
HEAD = """# Prices in US dollars per million tokens; they win over every list. `valid_from` is in UTC.
# `headgate prices set` writes this file anew, without comments of your own.
"""


class SetPrice(msgspec.Struct, frozen=True):
    """A price as it was set; `since` is a time in microseconds, 0: always."""

    price: Price
    since: int = 0


Entries = dict[str, tuple[SetPrice, ...]]


def read_prices(path: Path) -> Entries:
    """Return the entries of a file by "provider/model", each by rising `since`.

    Raises `Invalid` for what is no price, naming the entry; `Unavailable` for a file that cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise Unavailable(f"The prices in {path} cannot be read: {error.strerror or error}.") from None
    if len(data) > FILE_BYTES_MAX:
        raise Invalid(f"{path} has more than {FILE_BYTES_MAX} bytes, which no file of prices needs.")
    return _entries_of(_parsed(data, path), str(path))


def _parsed(data: bytes, path: Path) -> Any:
    """Return the document with its numbers as they are written: a float has lost the exact price."""
    if path.suffix == ".json":
        try:
            return json.loads(data, parse_float=Decimal, parse_int=Decimal)
        except (ValueError, RecursionError) as error:
            raise Invalid(f"{path} is not JSON: {error}") from None
    import yaml

    try:
        # BaseLoader makes texts, lists and maps, and nothing else.
        return yaml.load(data, yaml.BaseLoader) or {}  # noqa: S506 - see above
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"{path} is not YAML: {' '.join(str(error).split())}") from None


def _entries_of(document: Any, source: str) -> Entries:
    """Return the entries of a parsed document. Raises `Invalid`."""
    if not isinstance(document, dict):
        raise Invalid(f"{source}: expected a map from provider/model to prices, got {type(document).__name__}.")
    given = cast("dict[Any, Any]", document)
    if len(given) > ENTRIES_MAX:
        raise Invalid(f"{source} has {len(given)} entries; at most {ENTRIES_MAX} are read.")
    return {str(name): _entry(str(name), value, source) for name, value in given.items()}


def _entry(name: str, value: Any, source: str) -> tuple[SetPrice, ...]:
    require_model(name, source)
    given = cast("list[Any]", value if isinstance(value, list) else [value])
    prices = sorted((_one(name, fields, source) for fields in given), key=lambda one: one.since)
    if not prices or len({one.since for one in prices}) < len(prices):
        raise Invalid(f"{source}: {name} needs one price for each valid_from, and at least one.")
    return tuple(prices)


def require_model(name: str, source: str) -> None:
    """Raise `Invalid` unless `name` is a "provider/model" whose price can be set."""
    provider, _, model = name.partition("/")
    if not provider or not model:
        raise Invalid(f'{source}: expected a model like "openai/gpt-4o", got {name!r}.')
    if provider == "demo":
        raise Invalid(f"{source}: {name} is a demo model. Their prices are notional, and cannot be set.")
    if provider == "scripted":
        raise Invalid(f"{source}: {name} is scripted. Set its price in the script, under `prices`.")


def _one(name: str, fields: Any, source: str) -> SetPrice:
    given = _map(fields, f"{source}: expected {name} to be like {{input: 3, output: 15}}")
    if "input" not in given:
        raise Invalid(f"{source}: {name} has no price of its input.")
    what = f"{source}: {name}"
    _require_known(given, what, "above", "tiers", "valid_from")
    rates = _rates(given, what)
    above = _above(given.get("above") or {}, rates, what)
    tiers = _map(given.get("tiers") or {}, f"{what}.tiers: expected it to be like {{batch: {{input: 1.5}}}}")
    _require_few(tiers, f"{what}.tiers")
    variants = tuple(_variant(tier, value, given, above, what) for tier, value in tiers.items())
    return set_price(name, rates, str(given.get("valid_from") or ""), source, above, variants)


def _variant(tier: str, fields: Any, standard: dict[str, Any], above: tuple[Tier, ...], what: str) -> Variant:
    """Return the price of a service tier, of which what is not named is as in the standard one."""
    what = f"{what}.tiers.{tier}"
    if tier in STANDARD:
        raise Invalid(f"{what}: that is the standard tier, whose price stands outside `tiers`.")
    given = _map(fields, f"{what}: expected it to be like {{input: 1.5, output: 7.5}}")
    _require_known(given, what, "above")
    rates = _rates(standard | given, what)
    return Variant(name=tier, **rates, tiers=_above(given["above"], rates, what) if "above" in given else above)


def _above(value: Any, rates: Mapping[str, int], what: str) -> tuple[Tier, ...]:
    given = _map(value, f"{what}.above: expected it to be like {{200000: {{input: 6, output: 22.5}}}}")
    _require_few(given, f"{what}.above")
    found: list[Tier] = []
    for length, fields in given.items():
        if not (length.isascii() and length.isdecimal()):
            raise Invalid(f"{what}.above: expected numbers of tokens, got {length!r}.")
        where = f"{what}.above.{length}"
        own = _map(fields, f"{where}: expected it to be like {{input: 6, output: 22.5}}")
        _require_known(own, where)
        found.append(Tier(above=int(length), **{**rates, **_rates(own, where)}))
    return tuple(sorted(found, key=lambda tier: tier.above))


def _map(value: Any, expected: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Invalid(f"{expected}, got {value!r}.")
    return {str(key): one for key, one in cast("dict[Any, Any]", value).items()}


def _require_known(given: Mapping[str, Any], what: str, *more: str) -> None:
    unknown = sorted(given.keys() - {*RATES, *more})
    if unknown:
        known = ", ".join([*RATES, *more])
        raise Invalid(f"{what} has {', '.join(unknown)}; known are {known}.")


def _require_few(given: Mapping[str, Any], what: str) -> None:
    if len(given) > TIERS_MAX:
        raise Invalid(f"{what} has {len(given)} entries; at most {TIERS_MAX} are read.")


def _rates(given: Mapping[str, Any], what: str) -> dict[str, int]:
    return {rate: _rate(given[rate], f"{what}.{rate}") for rate in RATES if rate in given}


def set_price(
    name: str,
    rates: Mapping[str, int],
    valid_from: str,
    source: str,
    above: tuple[Tier, ...] = (),
    variants: tuple[Variant, ...] = (),
) -> SetPrice:
    """Return the price of `name`, with an id that says that it was set, and since when it holds."""
    since = read_time(valid_from, f"{source}: {name}.valid_from") if valid_from else 0
    label = f"{BY_HAND}{name}@{valid_from}" if valid_from else f"{BY_HAND}{name}"
    price = msgspec.structs.replace(Price(id=label, tiers=above, variants=variants), **rates)
    return SetPrice(price, since)


def _rate(value: Any, what: str) -> int:
    return read_rate(str(value).strip(), what)


def read_rate(text: str, what: str) -> int:
    """Return dollars per million tokens in nano-dollars. Raises `Invalid` for what that cannot say exactly."""
    with suppress(InvalidOperation):
        dollars = Decimal(text)
        if dollars.is_finite() and 0 <= dollars <= DOLLARS_MAX and dollars * NANO % 1 == 0:
            return int(dollars * NANO)
    raise Invalid(
        f"{what}: expected US dollars per million tokens, from 0 to {DOLLARS_MAX} with at most 9 decimals, "
        f"got {text!r}."
    )


def read_time(text: str, what: str) -> int:
    """Return a day or a time as microseconds since 1970; UTC where it names no zone. Raises `Invalid`."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(
            f"{what}: expected a day like 2026-01-31, or a time like 2026-01-31T09:00, got {text!r}."
        ) from None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return int(when.timestamp()) * 1_000_000 + when.microsecond


# --- Writing -----------------------------------------------------------------------------------------------------


def write_prices(path: Path, entries: Entries) -> None:
    """Write the file anew, whole or not at all. Raises `Unavailable`."""
    forms = {name: [_form(one) for one in entries[name]] for name in sorted(entries)}
    text = _json_text(forms) if path.suffix == ".json" else HEAD + _yaml_text(forms)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink()
        raise Unavailable(f"{path} cannot be written: {error.strerror or error}. Nothing was changed.") from None


def _form(one: SetPrice) -> dict[str, Any]:
    since = one.price.id.rpartition("@")[2] if one.since else ""
    form = _rates_form(one.price) | _above_form(one.price.tiers)
    if one.price.variants:
        form["tiers"] = {
            variant.name: _rates_form(variant) | _above_form(variant.tiers) for variant in one.price.variants
        }
    return form | ({"valid_from": since} if since else {})


def _rates_form(rates: Rates) -> dict[str, Any]:
    found = {rate: getattr(rates, rate) for rate in RATES}
    return {
        rate: exact_dollars(value)
        for rate, value in found.items()
        if value is not None and (value or rate != "request")
    }


def _above_form(tiers: tuple[Tier, ...]) -> dict[str, Any]:
    return {"above": {str(tier.above): _rates_form(tier) for tier in tiers}} if tiers else {}


def _yaml_text(forms: dict[str, list[dict[str, Any]]]) -> str:
    lines: list[str] = []
    for name, prices in forms.items():
        lines.append(f"{json.dumps(name)}:")
        lines += [f"  - {_yaml_map(form)}" for form in prices]
    return "".join(f"{line}\n" for line in lines)


def _yaml_map(form: dict[str, Any]) -> str:
    parts = (f"{_key(key)}: {_yaml_map(value) if isinstance(value, dict) else value}" for key, value in form.items())
    return "{" + ", ".join(parts) + "}"


def _key(key: str) -> str:
    return key if key.isidentifier() or key.isdecimal() else json.dumps(key)


def _json_text(forms: dict[str, list[dict[str, Any]]]) -> str:
    return json.dumps(forms, indent=2) + "\n"
