"""Prices that people set themselves: a small YAML or JSON file, which wins over every list.

    openai/gpt-4o: {input: 2.50, output: 10, cache_read: 1.25}
    acme/large:
      - {input: 3, output: 15}
      - {input: 2, output: 12, valid_from: 2026-06-01}

US dollars per million tokens, as exact decimals; `valid_from` is a day or a time, in UTC where it names no other zone.
Of several entries the one with the latest `valid_from` that has come holds. The file is read again when it changes.
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
from headgate.core.money import NANO
from headgate.core.values import BY_HAND, Price

__all__ = [
    "ENTRIES_MAX",
    "FILE_BYTES_MAX",
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
"""No model costs so much for a million tokens; a price above it is a slip of the unit."""
RATES = ("input", "output", "cache_read", "cache_write")
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
    if not isinstance(fields, dict):
        raise Invalid(f"{source}: expected {name} to be like {{input: 3, output: 15}}, got {fields!r}.")
    given = cast("dict[str, Any]", fields)
    unknown = sorted(given.keys() - {*RATES, "valid_from"})
    if unknown:
        raise Invalid(f"{source}: {name} has {', '.join(unknown)}; known are {', '.join(RATES)} and valid_from.")
    if "input" not in given:
        raise Invalid(f"{source}: {name} has no price of its input.")
    rates = {rate: _rate(given[rate], f"{source}: {name}.{rate}") for rate in RATES if rate in given}
    return set_price(name, rates, str(given.get("valid_from") or ""), source)


def set_price(name: str, rates: Mapping[str, int], valid_from: str, source: str) -> SetPrice:
    """Return the price of `name`, with an id that says that it was set, and since when it holds."""
    since = read_time(valid_from, f"{source}: {name}.valid_from") if valid_from else 0
    label = f"{BY_HAND}{name}@{valid_from}" if valid_from else f"{BY_HAND}{name}"
    price = Price(rates["input"], rates.get("output", 0), rates.get("cache_read"), rates.get("cache_write"), id=label)
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


def _form(one: SetPrice) -> dict[str, str]:
    rates = {rate: getattr(one.price, rate) for rate in RATES}
    form = {rate: _dollars(value) for rate, value in rates.items() if value is not None}
    since = one.price.id.rpartition("@")[2] if one.since else ""
    return form | ({"valid_from": since} if since else {})


def _dollars(amount: int) -> str:
    """Return nano-dollars as an exact decimal text of dollars, without an exponent."""
    return format((Decimal(amount) / NANO).normalize(), "f")


def _yaml_text(forms: dict[str, list[dict[str, str]]]) -> str:
    lines: list[str] = []
    for name, prices in forms.items():
        lines.append(f"{json.dumps(name)}:")
        lines += ["  - {" + ", ".join(f"{key}: {value}" for key, value in form.items()) + "}" for form in prices]
    return "".join(f"{line}\n" for line in lines)


def _json_text(forms: dict[str, list[dict[str, str]]]) -> str:
    return json.dumps(forms, indent=2) + "\n"
