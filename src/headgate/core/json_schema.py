"""The part of JSON Schema that a model's answer, and a person's to a form, are checked against.

Checked are `type`, `required`, `properties`, `additionalProperties`, `items`, `enum` and `const`. Other
keywords are the provider's or the form's matter, and pass here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

__all__ = ["problems_with"]

PROBLEMS_MAX = 5


def problems_with(value: object, schema: dict[str, Any]) -> list[str]:
    """Return what is wrong with `value`, each with its place (`$.items[2].price`); empty: it fits."""
    found: list[str] = []
    for problem in _problems(value, schema, "$"):
        found.append(problem)
        if len(found) == PROBLEMS_MAX:
            break
    return found


def _problems(value: object, schema: object, place: str) -> Iterator[str]:
    if schema is False:
        yield f"{place} is not allowed"
    if not isinstance(schema, dict):
        return
    rules = cast("dict[str, Any]", schema)
    types = rules.get("type")
    if types is not None and not _has_type(value, types):
        yield f"expected {place} to be {_named(types)}, got {_shown(value)}"
        return
    if "enum" in rules and not any(_equal(value, allowed) for allowed in rules["enum"]):
        yield f"expected {place} to be one of {_shown(rules['enum'])}, got {_shown(value)}"
    if "const" in rules and not _equal(value, rules["const"]):
        yield f"expected {place} to be {_shown(rules['const'])}, got {_shown(value)}"
    if isinstance(value, dict):
        yield from _problems_of_fields(cast("dict[str, Any]", value), rules, place)
    elif isinstance(value, list) and "items" in rules:
        for number, item in enumerate(cast("list[Any]", value)):
            yield from _problems(item, rules["items"], f"{place}[{number}]")


def _problems_of_fields(value: dict[str, Any], rules: dict[str, Any], place: str) -> Iterator[str]:
    fields: dict[str, Any] = rules.get("properties") or {}
    for name in rules.get("required") or ():
        if name not in value:
            yield f"{place}.{name} is missing"
    for name, field in value.items():
        yield from _problems(field, fields.get(name, rules.get("additionalProperties")), f"{place}.{name}")


def _whole(value: object) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and value.is_integer())


_TYPES: dict[str, Callable[[object], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "integer": lambda value: _whole(value) and not isinstance(value, bool),
}


def _has_type(value: object, types: object) -> bool:
    names = cast("list[object]", types) if isinstance(types, list) else [types]
    return any(_TYPES[name](value) for name in names if isinstance(name, str) and name in _TYPES)


def _equal(left: object, right: object) -> bool:
    """JSON's equality: true is not 1."""
    return isinstance(left, bool) == isinstance(right, bool) and left == right


def _named(types: object) -> str:
    return " or ".join(str(name) for name in cast("list[object]", types)) if isinstance(types, list) else str(types)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
