"""JSON schemas as far as the demo models fill them: objects, arrays, plain values, enums, references,
nullable unions."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Any

from headgate.llm.demo.refusal import cannot

__all__ = ["Schema", "nullable", "problem", "resolved", "unwrapped"]

Schema = dict[str, Any]
_BEYOND = (
    "not",
    "if",
    "patternProperties",
    "dependentRequired",
    "dependentSchemas",
    "prefixItems",
    "contains",
    "propertyNames",
)
_DEPTH_MAX = 40
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}


def unwrapped(schema: Schema) -> Schema:
    """Return the schema itself where it comes as `{"name": …, "schema": {…}}` or `{"json_schema": {…}}`."""
    for key in ("json_schema", "schema"):
        if (
            isinstance(schema.get(key), dict)
            and "properties" not in schema
            and schema.get("type") in (None, "json_schema")
        ):
            return unwrapped(schema[key])
    return schema


def resolved(schema: Any, root: Schema, depth: int = 0) -> Schema:
    """Return `schema` with references followed and unions reduced to their first branch that is not null."""
    if schema is True or schema is None:
        return {}
    if not isinstance(schema, dict) or depth > _DEPTH_MAX:
        raise cannot("fill this response schema: it allows nothing, or its references go in circles")
    if beyond := next((key for key in _BEYOND if key in schema), None):
        raise cannot(f"fill a response schema with `{beyond}`")
    if "$ref" in schema:
        return resolved(
            {**_target(schema["$ref"], root), **{k: v for k, v in schema.items() if k != "$ref"}},
            root,
            depth + 1,
        )
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return _of_union(schema, key, root, depth)
    if "allOf" in schema:
        merged: Schema = {k: v for k, v in schema.items() if k != "allOf"}
        for branch in schema["allOf"]:
            merged = _merged(merged, resolved(branch, root, depth + 1))
        return merged
    return schema


def _target(reference: str, root: Schema) -> Schema:
    found: Any = root
    for key in reference.removeprefix("#").strip("/").split("/") if reference.startswith("#") else ["?"]:
        if key:
            found = found.get(key.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        raise cannot(f"follow the reference `{reference}` of the response schema")
    return found


def _of_union(schema: Schema, key: str, root: Schema, depth: int) -> Schema:
    branches = [resolved(branch, root, depth + 1) for branch in schema[key]]
    rest = {k: v for k, v in schema.items() if k != key}
    real = [branch for branch in branches if branch.get("type") != "null" and branch.get("const", 0) is not None]
    if not real:
        return {**rest, "type": "null"}
    if all("const" in branch for branch in real):
        chosen: Schema = {"enum": [branch["const"] for branch in real]}
    else:
        chosen = real[0]
    allows_null = len(real) < len(branches)
    return {**rest, **chosen, **({"x-nullable": True} if allows_null else {})}


def _merged(left: Schema, right: Schema) -> Schema:
    merged = {**left, **right}
    if "properties" in left and "properties" in right:
        merged["properties"] = {**left["properties"], **right["properties"]}
    if "required" in left or "required" in right:
        merged["required"] = [*left.get("required", []), *right.get("required", [])]
    return merged


def nullable(schema: Schema) -> bool:
    """Tell whether a resolved schema allows null."""
    types = schema.get("type")
    return (
        bool(schema.get("x-nullable") or schema.get("nullable"))
        or types == "null"
        or (isinstance(types, list) and "null" in types)
        or ("enum" in schema and None in schema["enum"])
    )


def problem(value: Any, schema: Any, root: Schema, path: str = "") -> str:
    """Return what is wrong with `value` under `schema`, beginning with its path; empty where it is valid."""
    shape = resolved(schema, root)
    if value is None:
        return "" if nullable(shape) or not shape.get("type") else f"{path or 'the answer'} is null"
    if "enum" in shape and value not in shape["enum"]:
        return f"{path} is not one of the enum"
    if "const" in shape and value != shape["const"]:
        return f"{path} is not the constant"
    if (types := _types(shape)) and not any(_is(value, name) for name in types):
        return f"{path or 'the answer'} is not of type {'/'.join(types)}"
    if isinstance(value, dict):
        return _object_problem(value, shape, root, path)
    if isinstance(value, list):
        return _array_problem(value, shape, root, path)
    return _plain_problem(value, shape, path)


def _types(shape: Schema) -> list[str]:
    types = shape.get("type", [])
    return [types] if isinstance(types, str) else list(types)


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(name, ()))


def _object_problem(value: dict[str, Any], shape: Schema, root: Schema, path: str) -> str:
    properties = shape.get("properties", {})
    if missing := next((name for name in shape.get("required", []) if name not in value), None):
        return f"{path}.{missing}".lstrip(".") + " is missing"
    if len(value) < shape.get("minProperties", 0):
        return f"{path} has too few properties"
    for name, inner in value.items():
        expected = properties.get(name, shape.get("additionalProperties", True))
        if expected is False:
            return f"{path}.{name} is not allowed"
        if found := problem(inner, expected, root, f"{path}.{name}".lstrip(".")):
            return found
    return ""


def _array_problem(value: list[Any], shape: Schema, root: Schema, path: str) -> str:
    if not shape.get("minItems", 0) <= len(value) <= shape.get("maxItems", len(value)):
        return f"{path or 'the list'} has {len(value)} items"
    if shape.get("uniqueItems") and any(item in value[:index] for index, item in enumerate(value)):
        return f"{path} repeats an item"
    found = (problem(item, shape.get("items", {}), root, f"{path}[{index}]") for index, item in enumerate(value))
    return next((text for text in found if text), "")


def _plain_problem(value: Any, shape: Schema, path: str) -> str:
    if isinstance(value, str):
        if not shape.get("minLength", 0) <= len(value) <= shape.get("maxLength", len(value)):
            return f"{path} is {len(value)} characters long"
        if "pattern" in shape and not re.search(shape["pattern"], value):
            return f"{path} does not match its pattern"
        return "" if _has_format(value, shape.get("format", "")) else f"{path} is not a {shape['format']}"
    if isinstance(value, bool):
        return ""
    low, high = shape.get("minimum"), shape.get("maximum")
    above, below = shape.get("exclusiveMinimum"), shape.get("exclusiveMaximum")
    outside = (
        (low is not None and value < low)
        or (high is not None and value > high)
        or (above is not None and value <= above)
        or (below is not None and value >= below)
        or (shape.get("multipleOf") and round(value / shape["multipleOf"], 9) % 1 != 0)
    )
    return f"{path} is out of bounds" if outside else ""


def _has_format(value: str, form: str) -> bool:
    try:
        if form == "date":
            date.fromisoformat(value)
        elif form == "date-time":
            return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False
    patterns = {
        "email": r"\S+@\S+\.\S+",
        "uri": r"[A-Za-z][\w+.-]*:\S+",
        "uuid": r"[0-9a-fA-F-]{36}",
        "time": r"\d\d:\d\d:\d\d\S*",
    }
    return re.fullmatch(patterns[form], value) is not None if form in patterns else True
