"""The settings of an activity, read from their fields: attempts, budget, cache, waiting."""

from __future__ import annotations

from typing import Any

import msgspec

from headgate.authoring.document import Mapping, Scalar
from headgate.authoring.fields import Field, Reading, describe
from headgate.authoring.policies import read_policies
from headgate.authoring.vocabulary import (
    BUDGET,
    BUDGET_ACTIONS,
    CACHE,
    RETRY,
    SIGNAL_WAIT,
    STREAMING,
)
from headgate.core.definition import Backoff, Budget, Cache, SignalWait

__all__ = ["read_budget", "read_retry", "read_settings"]

TTL_SECONDS_MAX = 315_360_000.0


def read_settings(reading: Reading, fields: dict[str, Field]) -> dict[str, Any]:
    """Return the attributes of an `Activity` that the settings among `fields` (by canonical key) give."""
    found: dict[str, Any] = {}
    for name, read in READERS.items():
        if name in fields:
            found[name] = read(reading, fields[name])
    found["cache"] = _read_cache(reading, fields.get("cache"), fields.get("cache_ttl"))
    return {name: value for name, value in found.items() if value is not None}


def read_retry(reading: Reading, field: Field) -> Backoff | None:
    """Return the attempts: `retry: 3` is three in all, a map says how they are spaced."""
    if not isinstance(field.node, Mapping):
        attempts = reading.whole(field)
        return None if attempts is None else Backoff(max_attempts=attempts)
    fields = reading.known(field, RETRY, "retry")
    read = {
        "max_attempts": reading.whole,
        "strategy": lambda field: reading.choice(field, ("exponential", "fixed")),
        "base_seconds": reading.number,
        "factor": reading.number,
        "max_seconds": reading.number,
    }
    found = {name: read[name](entry) for name, entry in fields.items()}
    return msgspec.structs.replace(Backoff(), **{name: value for name, value in found.items() if value is not None})


def read_budget(reading: Reading, field: Field) -> Budget | None:
    """Return a budget: an amount of US dollars, or a map of limit and action."""
    if not isinstance(field.node, Mapping):
        limit = reading.dollars(field)
        return None if limit is None else Budget(limit=limit)
    fields = reading.known(field, BUDGET, "budget")
    if "limit" not in fields:
        reading.note("a budget needs `limit`, in US dollars: budget: {limit: 0.25}.", field)
        return None
    limit = reading.dollars(fields["limit"])
    action = "abort"
    if "action" in fields:
        action = _action(reading, fields["action"])
    return None if limit is None or action is None else msgspec.convert({"limit": limit, "action": action}, Budget)


def _action(reading: Reading, field: Field) -> str | None:
    word = reading.choice(field, BUDGET_ACTIONS)
    return None if word is None else BUDGET_ACTIONS[word]


def _read_cache(reading: Reading, field: Field | None, ttl: Field | None) -> Cache | None:
    """Return how results are reused, or None: nothing said, or said to be off (the definition is the same then)."""
    fields = reading.known(field, CACHE, "cache") if field is not None and isinstance(field.node, Mapping) else {}
    if field is None or isinstance(field.node, Mapping):
        enabled = reading.flag(fields["enabled"]) if "enabled" in fields else field is not None or ttl is not None
    else:
        enabled = reading.flag(field)
    found: dict[str, Any] = {}
    if (seconds := _time_to_live(reading, fields.get("ttl_seconds"), ttl)) is not None:
        found["ttl_seconds"] = seconds
    if "key" in fields:
        found["key"] = _cache_key(reading, fields["key"])
    if "mode" in fields:
        _refuse_semantic(reading, fields["mode"])
    return Cache(**found) if enabled else None


def _time_to_live(reading: Reading, inside: Field | None, beside: Field | None) -> float | None:
    if inside is not None and beside is not None:
        reading.note("`cache_ttl` says what `ttl` inside of `cache` says; keep one of them.", beside, at_key=True)
    field = inside or beside
    seconds = None if field is None else reading.seconds(field)
    if field is not None and seconds is not None and not 0 < seconds <= TTL_SECONDS_MAX:
        reading.note(f"expected more than 0 and at most {TTL_SECONDS_MAX:.0f} seconds, got {seconds:g}.", field)
        return None
    return seconds


def _cache_key(reading: Reading, field: Field) -> tuple[str, ...]:
    texts = [reading.text(entry, "a template such as {{INPUT.document}}") for entry in reading.listed(field)]
    if not texts:
        reading.note("an empty key would make all calls the same; name what tells them apart, or leave it out.", field)
    return tuple(text for text in texts if text is not None)


def _refuse_semantic(reading: Reading, field: Field) -> None:
    node = field.node
    if isinstance(node, Scalar) and node.value == "semantic":
        reading.note('the cache mode "semantic" is not built yet. Leave `mode` out: equal calls share a result.', field)
        return
    reading.choice(field, ("exact",))


def _signal_wait(reading: Reading, field: Field) -> SignalWait | None:
    if not isinstance(field.node, Mapping):
        name = reading.text(field, "a signal's name, or a map with event_name")
        return None if name is None else SignalWait(event_name=name)
    fields = reading.known(field, SIGNAL_WAIT, "wait_for_signal")
    if "event_name" not in fields:
        reading.note("it needs `event_name`, the name of the signal to wait for.", field)
        return None
    found: dict[str, Any] = {"event_name": reading.text(fields["event_name"], "a signal's name")}
    if "timeout_seconds" in fields:
        found["timeout_seconds"] = reading.seconds(fields["timeout_seconds"])
    if "on_timeout" in fields:
        found["on_timeout"] = reading.choice(fields["on_timeout"], ("fail", "skip", "continue"))
    found = {name: value for name, value in found.items() if value is not None}
    return SignalWait(**found) if "event_name" in found else None


def _streaming(reading: Reading, field: Field) -> bool | None:
    if not isinstance(field.node, Mapping):
        return reading.flag(field)
    fields = reading.known(field, STREAMING, "streaming")
    return reading.flag(fields["enabled"]) if "enabled" in fields else True


def _delay(reading: Reading, field: Field) -> str | None:
    node = field.node
    if isinstance(node, Scalar) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        reading.note(f'expected delay to have a unit, got {describe(node)}. Write "{node.text}s" for seconds.', field)
        return None
    return reading.text(field, "a duration such as 30s, or a template")


def _on_failure(reading: Reading, field: Field) -> str | None:
    return reading.choice(field, ("fail", "continue"))


def _scheduled_for(reading: Reading, field: Field) -> str | None:
    return reading.text(field, "a time such as 2030-01-31T09:00:00Z, or a template")


READERS: dict[str, Any] = {
    "timeout_seconds": Reading.seconds,
    "retry": read_retry,
    "budget": read_budget,
    "delay": _delay,
    "scheduled_for": _scheduled_for,
    "wait_for_signal": _signal_wait,
    "on_failure": _on_failure,
    "iteration_scoped": Reading.flag,
    "iteration_limit": Reading.whole,
    "streaming": _streaming,
    "policies": read_policies,
    "trusted": Reading.flag,
}
