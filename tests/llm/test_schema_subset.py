"""A schema as vendors take it: nothing that they refuse is left in it, and what it meant is still said."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.llm.schema_subset import DROPPED, FORMATS, UNTOLD, closed_schema, open_schema

SCALARS = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("string")},
        optional={
            "minLength": st.integers(0, 9),
            "pattern": st.just("^a"),
            "format": st.sampled_from(["date", "phone"]),
            "title": st.just("T"),
        },
    ),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["integer", "number"])},
        optional={"minimum": st.integers(0, 9), "multipleOf": st.just(2), "description": st.just("How many.")},
    ),
    st.fixed_dictionaries({"type": st.just(["string", "null"])}, optional={"maxLength": st.just(3)}),
    st.fixed_dictionaries({"const": st.sampled_from(["x", 1, True])}),
    st.fixed_dictionaries({"enum": st.just(["a", "b"]), "type": st.just("string")}),
    st.just({"$ref": "#/$defs/D"}),
)


def holding(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "properties": st.dictionaries(st.sampled_from(["a", "title", "pattern"]), inner),
            },
            optional={
                "additionalProperties": st.booleans() | inner,
                "required": st.just(["a"]),
                "minProperties": st.just(1),
                "examples": st.just([{}]),
            },
        ),
        st.fixed_dictionaries(
            {"type": st.just("array"), "items": inner},
            optional={"minItems": st.integers(0, 3), "maxItems": st.just(5), "uniqueItems": st.just(True)},
        ),
        st.fixed_dictionaries({"oneOf": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=2)}),
    )


SCHEMAS = st.recursive(SCALARS, holding, max_leaves=6).map(
    lambda schema: {"$schema": "x", "title": "T", **schema, "$defs": {"D": {"type": "integer", "minimum": 1}}}
)


def parts_of(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every schema in a schema."""
    if not isinstance(schema, dict):
        return
    yield schema
    for name in ("items", "additionalProperties", "contains"):
        yield from parts_of(schema.get(name))
    for name in ("properties", "$defs"):
        for inner in schema.get(name, {}).values():
            yield from parts_of(inner)
    for name in ("anyOf", "oneOf", "allOf"):
        for inner in schema.get(name, []):
            yield from parts_of(inner)


def kinds_of(part: dict[str, Any]) -> list[Any]:
    kind = part.get("type")
    return kind if isinstance(kind, list) else [kind]


@given(schema=SCHEMAS)
def test_nothing_that_is_refused_is_left_and_objects_are_closed(schema: dict[str, Any]):
    before = copy.deepcopy(schema)
    closed = closed_schema(schema)

    assert schema == before, "what was given is not changed"
    for part in parts_of(closed):
        assert part.keys().isdisjoint({*DROPPED, "oneOf", "const"})
        for kind in kinds_of(part):
            assert part.keys().isdisjoint(UNTOLD.get(kind, ()))
        if "object" in kinds_of(part):
            assert part["additionalProperties"] is False
        assert part.get("minItems", 0) <= 1
        assert part.get("format", "date") in FORMATS


@given(schema=SCHEMAS)
def test_closing_a_schema_again_changes_nothing(schema: dict[str, Any]):
    closed = closed_schema(schema)

    assert closed_schema(closed) == closed


@pytest.mark.slow  # its SDK takes a second to import
@given(schema=SCHEMAS)
def test_anthropics_own_way_finds_nothing_more_to_move(schema: dict[str, Any]):
    from anthropic import transform_schema

    closed = closed_schema(schema)
    if any(isinstance(part.get("type"), list) for part in parts_of(closed)):
        return  # it does not know that a type may be one of several
    if any("$ref" in part and len(part) > 1 for part in parts_of(closed)):
        return  # it drops what stands beside a reference

    assert words_of(transform_schema(closed)) == words_of(closed)


def words_of(schema: Any) -> list[str]:
    return [part["description"] for part in parts_of(schema) if "description" in part]


def test_what_is_moved_is_said_in_words():
    schema = {
        "type": "object",
        "properties": {
            "n": {"type": "integer", "minimum": 1, "description": "How many."},
            "many": {"type": "array", "items": {"type": "string", "pattern": "^a"}, "minItems": 2},
            "one": {"type": "array", "minItems": 1},
            "kind": {"const": "x"},
        },
    }

    closed = closed_schema(schema)["properties"]

    assert closed["n"] == {"type": "integer", "description": "How many. (minimum: 1)"}
    assert closed["many"] == {
        "type": "array",
        "items": {"type": "string", "description": '(pattern: "^a")'},
        "description": "(minItems: 2)",
    }
    assert closed["one"] == {"type": "array", "minItems": 1}
    assert closed["kind"] == {"enum": ["x"], "type": "string"}


def test_gemini_keeps_limits_and_loses_what_it_does_not_know():
    schema = {
        "$schema": "x",
        "type": "object",
        "properties": {"title": {"oneOf": [{"type": "string", "minLength": 2}]}},
    }

    assert open_schema(schema) == {
        "type": "object",
        "properties": {"title": {"anyOf": [{"type": "string", "minLength": 2}]}},
    }


def test_a_schema_without_a_bottom_is_not_followed_for_ever():
    schema: dict[str, Any] = {"type": "string", "minLength": 1}
    for _ in range(5_000):
        schema = {"type": "array", "items": schema}

    assert closed_schema(schema)["type"] == "array"
