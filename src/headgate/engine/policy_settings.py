"""What a worker is told of the policies of an attempt's model calls, in its assignment's settings.

`policies` are those of the process, then the workflow's and the activity's; `placeholder_key` is there where personal
data is cut out, and is the run's own: with the run's content key it goes when the run is erased. `untrusted` are the
texts among the parameters that anybody may have written, as they were before a template had them.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from headgate.core.catalogue import BUILTINS, MODEL_CALLERS
from headgate.core.definition import Definition, PolicyUse, policies_of
from headgate.core.expression import Reference
from headgate.core.names import Names
from headgate.core.place import Place
from headgate.core.run import Run
from headgate.core.scope import EVERY, View
from headgate.core.token_budget import TOKEN_BUDGET
from headgate.ports.policy import Guards, texts_of

__all__ = ["placeholder_key", "policy_settings", "scrubbed_input"]

SCRUBBING = frozenset({"pii", "secrets"})
READING = "injection"


def policy_settings(
    run: Run, place: Place, values: Mapping[int, object], always: Sequence[PolicyUse], content_key: bytes
) -> dict[str, Any]:
    """Return the settings; none where no policy applies, or the activity is one of ours that calls no model."""
    activity = place.planned.activity
    if activity.name in BUILTINS and activity.name not in MODEL_CALLERS:
        return {}
    uses = (*always, *policies_of(run.plan.definition, activity))
    if not uses:
        return {}
    names = {use.use for use in uses}
    settings: dict[str, Any] = {"policies": [msgspec.to_builtins(use) for use in uses]}
    if names & SCRUBBING:
        settings["placeholder_key"] = placeholder_key(content_key).hex()
    if TOKEN_BUDGET in names:
        settings["token_budget"] = True
    if place.approved:
        settings["approved"] = True
    if READING in names or any(":" in name for name in names):
        settings["untrusted"] = untrusted_texts(run, place, values)
    return settings


def placeholder_key(content_key: bytes) -> bytes:
    """Return the key that a run's placeholders are made with."""
    return hmac.digest(content_key, b"headgate placeholders", hashlib.sha256)


def scrubbed_input(guards: Guards, definition: Definition, value: Any, content_key: bytes) -> Any:
    """Return a run's input with its texts scrubbed for good: as the workflow's `pii` and `secrets` say, or both.

    Raises `Invalid` for an input that is a kept file: what is in it would stay.
    """
    uses = [use for use in definition.policies if use.use in SCRUBBING] or [
        PolicyUse(name) for name in sorted(SCRUBBING)
    ]
    return guards.scrub(value, [msgspec.to_builtins(use) for use in uses], placeholder_key(content_key))


def untrusted_texts(run: Run, place: Place, values: Mapping[int, object]) -> list[str]:
    """Return the texts that the parameters take from untrusted places: all of what a reference stands for, whatever a
    filter then leaves of it."""
    names = Names(run, values, place)
    found: dict[str, None] = {}
    for reference in run.plan.taint.of(run.plan, place.planned):
        for text in texts_of(_value_of(names, reference)):
            if not text.isspace():
                found[text] = None
    found.pop("", None)
    return list(found)


def _value_of(names: Names, reference: Reference) -> Any:
    """Return what a reference stands for, as far as its path can be followed."""
    try:
        value: Any = names[reference.root]
    except KeyError:
        return None
    for part in reference.path:
        if isinstance(value, View):
            value = value.every() if part == EVERY else value.field(part) if isinstance(part, str) else value
        elif isinstance(value, dict) and part in value:
            value = value[part]  # JSON
        else:
            break
    return value.plain() if isinstance(value, View) else value
