"""What `--json` prints: times as ISO 8601 in UTC, money as decimal strings of dollars, everything else as it is.

Content (inputs, outputs, an event's content) is the user's and is printed untouched.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import msgspec

from headgate.client.frames import error_of
from headgate.core.errors import HeadgateError, Invalid
from headgate.core.money import exact_dollars
from headgate.core.view import RunSummary, RunView
from headgate.ports import EventView

__all__ = ["error_form", "event_form", "iso", "run_form"]

TIMES = frozenset({"at", "until", "created_at", "updated_at", "finished_at", "scheduled_at", "started_at", "ended_at"})
MONEY = frozenset(
    {
        *("cost", "reserved", "limit", "reservation", "released", "replaces", "needed", "amount", "spent"),
        *("child_limit", "worst_case", "saved", "needed_limit", "left", "was", "max_cost"),
    }
)
CONTENT = frozenset({"input", "output", "outputs", "content", "labels", "details"})
PRICES = frozenset({"input", "output", "cache_read", "cache_write"})


def iso(at: int) -> str:
    """Return microseconds since 1970 as `2026-01-31T09:00:00.000000Z`."""
    return (
        datetime.fromtimestamp(at / 1_000_000, UTC)
        .replace(microsecond=at % 1_000_000)
        .strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    )


def run_form(run: RunView | RunSummary) -> dict[str, Any]:
    """Return a run, or its line in a list, as `--json` prints it. Every field is there, also where it is empty."""
    return _form(run)


def event_form(event: EventView) -> dict[str, Any]:
    """Return an event as one line of `--json`."""
    return _form(event)


def error_form(error: HeadgateError) -> dict[str, Any]:
    """Return an error as `--json` prints it, its problems with line and column."""
    form = msgspec.to_builtins(error_of(error))
    if isinstance(error, Invalid):
        form["problems"] = [msgspec.structs.asdict(problem) for problem in error.problems]
    return {"error": form}


def _form(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return _fields({name: getattr(value, name) for name in value.__struct_fields__})
    if isinstance(value, dict):
        return _fields(cast("dict[str, Any]", value))
    if isinstance(value, list | tuple):
        return [_form(part) for part in cast("list[Any]", value)]
    return value


def _fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    form: dict[str, Any] = {}
    for name, value in fields.items():
        if name == "price" and isinstance(value, dict):
            form["price"] = _price(cast("dict[str, Any]", value))
        elif name in CONTENT:
            form[name] = value
        elif name in TIMES and isinstance(value, int):
            form[name] = iso(value) if value else None
        elif name in MONEY and (value is None or isinstance(value, int)):
            form[f"{name}_usd"] = None if value is None else exact_dollars(value)
        elif name == "cost_nano":
            form["cost_usd"] = None if value is None else exact_dollars(value)
        elif name == "over" and value:
            budget, limit, spent, reserved = value
            form["over"] = _fields({"budget": budget, "limit": limit, "spent": spent, "reserved": reserved})
        else:
            form[name] = _form(value)
    return form


def _price(price: dict[str, Any]) -> dict[str, Any]:
    return {
        (f"{name}_usd_per_million" if name in PRICES else name): exact_dollars(part)
        if name in PRICES and part is not None
        else [_price(tier) for tier in part or ()]
        if name == "tiers"
        else part
        for name, part in price.items()
    }
