"""A JSON Schema as vendors take it whose models are held to one: what they do not take becomes words. No I/O here.

Nothing is lost by that: the answer is checked against the whole schema all the same (`llm_prompt`). What a vendor would
refuse is moved into the `description`, where the model may still read it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec

__all__ = ["closed_schema", "open_schema"]

DROPPED = ("$schema", "title", "discriminator", "examples")
UNTOLD = {
    "string": ("minLength", "maxLength", "pattern"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "array": ("maxItems", "contains", "uniqueItems", "prefixItems"),
    "object": ("minProperties", "maxProperties", "patternProperties", "propertyNames"),
}
"""Per type, the keywords that Anthropic refuses, or that Claude, Qwen and others refuse on AWS."""
FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
SCHEMAS = ("items", "additionalProperties", "contains", "propertyNames")
MAPS = ("properties", "$defs", "definitions", "patternProperties")
LISTS = ("anyOf", "allOf", "prefixItems")
KINDS = {str: "string", bool: "boolean", int: "integer", float: "number"}
DEPTH_MAX = 100
"""A schema nested deeper goes as it is from there on: its vendor may say what it thinks of it."""

Schema = dict[str, Any]


def closed_schema(schema: Mapping[str, Any]) -> Schema:
    """Return the schema for Claude, and for what AWS holds to one: objects are closed, limits are words."""
    return _walked(schema, _close, 0)


def open_schema(schema: Mapping[str, Any]) -> Schema:
    """Return the schema for Gemini: a constant is an enumeration of one, and `oneOf` is `anyOf`."""
    return _walked(schema, lambda part: part, 0)


def _walked(schema: Mapping[str, Any], change: Callable[[Schema], Schema], depth: int) -> Schema:
    part = {name: value for name, value in schema.items() if name not in DROPPED}
    if "oneOf" in part:
        part["anyOf"] = [*part.pop("oneOf"), *part.get("anyOf", [])]
    if "const" in part:
        part["enum"] = [part.pop("const")]
        if kind := KINDS.get(type(part["enum"][0])):
            part.setdefault("type", kind)
    if depth < DEPTH_MAX:
        _descend(part, change, depth + 1)
    return change(part)


def _descend(part: Schema, change: Callable[[Schema], Schema], depth: int) -> None:
    for name in SCHEMAS:
        if isinstance(part.get(name), dict):
            part[name] = _walked(part[name], change, depth)
    for name in MAPS:
        if isinstance(inner := part.get(name), dict):
            named = cast("dict[str, Any]", inner)
            part[name] = {key: _inner(value, change, depth) for key, value in named.items()}
    for name in LISTS:
        if isinstance(inner := part.get(name), list):
            part[name] = [_inner(value, change, depth) for value in cast("list[Any]", inner)]


def _inner(value: Any, change: Callable[[Schema], Schema], depth: int) -> Any:
    return _walked(cast("Schema", value), change, depth) if isinstance(value, dict) else value


def _close(part: Schema) -> Schema:
    kinds = part.get("type")
    told: Schema = {}
    for kind in cast("list[Any]", kinds) if isinstance(kinds, list) else [kinds]:
        told |= {name: part.pop(name) for name in UNTOLD.get(str(kind), ()) if name in part}
        if kind == "object":
            part["additionalProperties"] = False
        if kind == "array" and isinstance(least := part.get("minItems"), int) and least > 1:
            told["minItems"] = part.pop("minItems")
        if kind == "string" and "format" in part and part["format"] not in FORMATS:
            told["format"] = part.pop("format")
    if told:
        words = ", ".join(f"{name}: {msgspec.json.encode(value).decode()}" for name, value in told.items())
        before = f"{part['description']} " if isinstance(part.get("description"), str) else ""
        part["description"] = f"{before}({words})"
    return part
