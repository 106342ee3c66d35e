"""The policies of a workflow or an activity: names, or maps of a name and options, each checked where it stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headgate.authoring.document import Mapping, Scalar
from headgate.authoring.fields import Field, Reading
from headgate.authoring.problems import one_of
from headgate.authoring.vocabulary import PII_KINDS, POLICIES, POLICY, Key, Table
from headgate.core.definition import PolicyUse

__all__ = ["read_policies", "read_scrub"]

POLICIES_MAX = 50
TOKENS_MAX = 1_000_000_000_000
REQUESTS_MAX = 1_000_000_000
RATE_SECONDS_MAX = 86_400
NOT_DRY = {
    "side_effects": "it says before anything runs whom it concerns",
    "rate_limit": "a call that it does not hold tells nothing of how long it would have waited",
}
NEEDS = {
    "allow_list": ("models", "deny"),
    "token_budget": ("call", "activity", "run"),
    "rate_limit": ("requests", "tokens", "money"),
}
"""Options of which a policy needs one, lest it do nothing."""


def read_policies(reading: Reading, field: Field) -> tuple[PolicyUse, ...]:
    """Return the policies in their order; what cannot be read is noted and left out."""
    entries = reading.listed(field)
    if isinstance(field.node, Mapping):
        reading.expected("a list of policies, such as [pii, secrets]", field)
        return ()
    if len(entries) > POLICIES_MAX:
        reading.note(f"expected at most {POLICIES_MAX} policies, got {len(entries)}.", field)
        return ()
    found: dict[str, PolicyUse] = {}
    for entry in entries:
        policy = _policy(reading, entry)
        if policy is not None and found.setdefault(policy.use, policy) is not policy:
            reading.note(f'the policy "{policy.use}" stands here twice; remove one.', entry)
    return tuple(found.values())


def read_scrub(reading: Reading, field: Field) -> str | None:
    """Return what is scrubbed before it is stored."""
    return reading.choice(field, ("input",))


def _policy(reading: Reading, field: Field) -> PolicyUse | None:
    if not isinstance(field.node, Mapping):
        name = reading.text(field, "a policy's name, or a map with use")
        return None if name is None else _checked(reading, field, name, {})
    fields = dict(field.entries())
    if "use" not in fields:
        reading.note("a policy needs `use`, its name: {use: pii, restore: false}.", field)
        return None
    name = reading.text(fields["use"], "a policy's name")
    return None if name is None else _checked(reading, field, name, fields)


def _checked(reading: Reading, field: Field, name: str, fields: dict[str, Field]) -> PolicyUse | None:
    if name not in POLICIES and ":" not in name:
        near = reading.near(name, POLICIES)
        own = "One of your own is named package:policy."
        reading.note(
            f'there is no policy "{name}".{near} Known are {one_of(POLICIES)}. {own}', fields.get("use", field)
        )
        return None
    dry_run = reading.flag(fields["dry_run"]) if "dry_run" in fields else False
    if dry_run and name in NOT_DRY:
        reading.note(f"{name} cannot run dry: {NOT_DRY[name]}.", fields["dry_run"])
    options = {key: entry for key, entry in fields.items() if key not in POLICY}
    if ":" in name:
        return PolicyUse(name, {key: reading.value(entry) for key, entry in options.items()}, bool(dry_run))
    values = _options(reading, name, options)
    _check_whole(reading, field, name, options)
    return PolicyUse(name, values, bool(dry_run))


def _options(reading: Reading, name: str, fields: dict[str, Field]) -> dict[str, Any]:
    table: Table = {**POLICY, **POLICIES[name]}
    values: dict[str, Any] = {}
    for key, entry in fields.items():
        known: Key | None = table.get(key)
        if known is None:
            reading.note(f'unknown key "{key}" in policy {name}.{reading.near(key, table)}', entry, at_key=True)
        elif (value := READERS[key](reading, entry)) is not None:
            values[key] = value
    return values


def _check_whole(reading: Reading, field: Field, name: str, options: dict[str, Field]) -> None:
    """Note a policy that does nothing as it stands."""
    needs = NEEDS.get(name, ())
    if needs and options.keys().isdisjoint(needs):
        reading.note(f"{name} does nothing without {one_of(needs)}.", field)
    if name == "side_effects" and "after_untrusted" not in options:
        reading.note("side_effects needs `after_untrusted: approve`.", field)


# --- Options: each returns None for what it cannot take ---------------------------------------------------------


def _kinds(reading: Reading, field: Field) -> list[str] | None:
    kinds = [reading.choice(entry, PII_KINDS) for entry in reading.listed(field)]
    if not kinds:
        reading.note("no kind at all: name some, or leave `kinds` out for all of them.", field)
    return [kind for kind in PII_KINDS if kind in kinds] or None


def _patterns(reading: Reading, field: Field) -> list[str] | None:
    texts = [reading.text(entry, "a model, or a pattern such as openai/*") for entry in reading.listed(field)]
    for text, entry in zip(texts, reading.listed(field), strict=True):
        if text is not None and "/" not in text and "*" not in text:
            reading.note(f'"{text}" matches no model, for these are named provider/model: {text}/*.', entry)
    return [text for text in texts if text is not None] or None


def _tokens(reading: Reading, field: Field) -> int | None:
    tokens = reading.whole(field)
    if tokens is not None and not 1 <= tokens <= TOKENS_MAX:
        reading.note(f"expected a number of tokens from 1 to {TOKENS_MAX:,}, got {tokens}.", field)
        return None
    return tokens


def _requests(reading: Reading, field: Field) -> int | None:
    requests = reading.whole(field)
    if requests is not None and not 1 <= requests <= REQUESTS_MAX:
        reading.note(f"expected a number of requests from 1 to {REQUESTS_MAX:,}, got {requests}.", field)
        return None
    return requests


def _money(reading: Reading, field: Field) -> str | None:
    """Return the amount as it stands there: exact, and as it is read again."""
    amount = reading.dollars(field)
    if amount is None or not isinstance(field.node, Scalar):
        return None
    if amount < 1:
        reading.note(f"expected an amount above 0, got {field.node.text.strip()}.", field)
        return None
    return field.node.text.strip()


def _period(reading: Reading, field: Field) -> int | None:
    seconds = reading.seconds(field)
    if seconds is None:
        return None
    if not 1 <= seconds <= RATE_SECONDS_MAX or seconds != int(seconds):
        reading.note(f"expected whole seconds from 1 to {RATE_SECONDS_MAX:,} (a day), got {seconds:g} s.", field)
        return None
    return int(seconds)


def _threshold(reading: Reading, field: Field) -> float | None:
    threshold = reading.number(field)
    if threshold is not None and not 0 < threshold <= 1:
        reading.note(f"expected a threshold above 0 and at most 1, got {threshold:g}.", field)
        return None
    return threshold


def _names(reading: Reading, field: Field) -> list[str] | None:
    texts = [reading.text(entry, "the name or key of an activity") for entry in reading.listed(field)]
    return [text for text in texts if text is not None] or None


READERS: dict[str, Callable[[Reading, Field], Any]] = {
    "kinds": _kinds,
    "restore": Reading.flag,
    "threshold": _threshold,
    "action": lambda reading, field: reading.choice(field, ("deny", "record", "approve")),
    "models": _patterns,
    "deny": _patterns,
    "requests": _requests,
    "tokens": _tokens,
    "money": _money,
    "per": _period,
    "call": _tokens,
    "activity": _tokens,
    "run": _tokens,
    "after_untrusted": lambda reading, field: reading.choice(field, ("approve",)),
    "also": _names,
}
