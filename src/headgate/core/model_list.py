"""What an author writes under `model`: one model, or a list in order of preference, each a name or a map of settings.

    model:
      - {model: openai/gpt-5, attempts: 2}
      - anthropic/claude-haiku-4-5

`attempts` is how often a model is asked before the next one is, while it fails for a reason that may pass.
`when_limited: next` has the next one asked while a rate keeps this one waiting; `wait` (the default) waits.
"""

from __future__ import annotations

from typing import Literal, cast

import msgspec

__all__ = ["ATTEMPTS_MAX", "ENTRY_KEYS", "WHEN_LIMITED", "ModelEntry", "entries_of", "names_of", "read_entry"]

ATTEMPTS_MAX = 10
ENTRY_KEYS = ("model", "attempts", "when_limited")
WHEN_LIMITED = ("wait", "next")


class ModelEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One model of the list."""

    model: str
    attempts: int = 1
    when_limited: Literal["wait", "next"] = "wait"


def entries_of(given: object) -> list[object]:
    """Return the entries of a `model`, each as it is written."""
    return list(cast("list[object] | tuple[object, ...]", given)) if isinstance(given, list | tuple) else [given]


def names_of(given: object) -> list[str]:
    """Return the names that a `model` holds, templates among them; what is no name is left out."""
    found: list[str] = []
    for entry in entries_of(given):
        name = cast("dict[str, object]", entry).get("model") if isinstance(entry, dict) else entry
        if isinstance(name, str):
            found.append(name)
    return found


def read_entry(entry: object) -> ModelEntry:
    """Return one entry. Raises `ValueError` with what is wrong: the end of a sentence that begins with `expected`."""
    if isinstance(entry, str):
        return ModelEntry(entry)
    if not isinstance(entry, dict):
        raise ValueError(f'a model to be "provider/model", or a map of {", ".join(ENTRY_KEYS)}, got {_shown(entry)}')
    fields = cast("dict[str, object]", entry)
    if unknown := sorted(str(key) for key in fields.keys() - set(ENTRY_KEYS)):
        raise ValueError(f"the keys {', '.join(ENTRY_KEYS)} of a model, got {unknown[0]}")
    model, attempts, when = fields.get("model"), fields.get("attempts", 1), fields.get("when_limited", "wait")
    if not isinstance(model, str):
        raise ValueError(f'model to be "provider/model", got {_shown(model)}')
    if isinstance(attempts, float) and attempts.is_integer():  # templates that divide yield floats
        attempts = int(attempts)
    if not isinstance(attempts, int) or isinstance(attempts, bool) or not 1 <= attempts <= ATTEMPTS_MAX:
        raise ValueError(f"attempts of {model} to be a whole number from 1 to {ATTEMPTS_MAX}, got {_shown(attempts)}")
    if when not in WHEN_LIMITED:
        raise ValueError(f"when_limited of {model} to be {' or '.join(WHEN_LIMITED)}, got {_shown(when)}")
    return ModelEntry(model, attempts, when)


def _shown(value: object) -> str:
    return "null" if value is None else repr(value)[:80]
