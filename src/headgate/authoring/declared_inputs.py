"""The inputs that a workflow declares: names with a type, or with type, default, choice and description."""

from __future__ import annotations

from typing import Any

from headgate.authoring.document import Scalar
from headgate.authoring.fields import Field, Reading
from headgate.authoring.vocabulary import INPUT
from headgate.core.definition import Input

__all__ = ["read_inputs"]

INPUT_TYPES = ("string", "number", "integer", "boolean", "object", "array", "file", "any")


def read_inputs(reading: Reading, field: Field) -> tuple[Input, ...] | None:
    """Return the inputs that a workflow declares, or None where they cannot be read."""
    before = len(reading.problems)
    inputs = tuple(_input(reading, name, entry) for name, entry in reading.mapping(field).items())
    return None if len(reading.problems) > before else inputs


def _input(reading: Reading, name: str, field: Field) -> Input:
    if field.empty:
        return Input(name=name)
    if isinstance(field.node, Scalar):
        return _typed_input(name, {"type": reading.choice(field, INPUT_TYPES)})
    fields = reading.known(field, INPUT, f"input {name}")
    found: dict[str, Any] = {}
    if "type" in fields:
        found["type"] = reading.choice(fields["type"], INPUT_TYPES)
    if "description" in fields:
        found["description"] = reading.text(fields["description"])
    if "enum" in fields:
        found["enum"] = tuple(reading.value(item) for item in reading.listed(fields["enum"]))
    if "default" in fields:
        found |= {"default": reading.value(fields["default"]), "required": False}
    if "required" in fields:
        found["required"] = _required(reading, fields["required"], has_default="default" in fields)
    if "trusted" in fields:
        found["trusted"] = reading.flag(fields["trusted"])
    return _typed_input(name, found)


def _required(reading: Reading, field: Field, *, has_default: bool) -> bool | None:
    required = reading.flag(field)
    if required and has_default:
        reading.note("an input with a default is never missing; remove `required: true` or the default.", field)
    return required


def _typed_input(name: str, found: dict[str, Any]) -> Input:
    return Input(name=name, **{key: value for key, value in found.items() if value is not None})
