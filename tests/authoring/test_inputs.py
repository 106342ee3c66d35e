"""A run's input against what the workflow declares."""

from __future__ import annotations

from typing import Any

import pytest

from headgate.authoring import InvalidInput, load_definition, validate_input
from headgate.core.definition import Definition

TEXT = """
name: x
inputs:
  city: {type: string, description: where}
  days: {type: integer, default: 3}
  kind: {type: string, enum: [short, long], default: short}
  ratio: number
  options: {type: object, required: false}
activities: {a: {use: echo}}
"""
GOOD = {"city": "Ulm", "ratio": 1}


def declared() -> Definition:
    return load_definition(TEXT)


def test_what_is_missing_gets_its_default():
    completed = validate_input(declared(), GOOD)

    assert completed == {"city": "Ulm", "days": 3, "kind": "short", "ratio": 1, "options": None}
    assert validate_input(declared(), completed) == completed


REFUSED: dict[str, tuple[Any, dict[str, str]]] = {
    "missing": ({"ratio": 1}, {"INPUT.city": "the input city (where) is missing: give a text."}),
    "nothing": (None, {"INPUT.city": "is missing", "INPUT.ratio": "is missing: give a number"}),
    "unknown": ({**GOOD, "dayz": 2}, {"INPUT.dayz": 'no input "dayz". Did you mean "days"?'}),
    "wrong type": ({"city": 4, "ratio": "x"}, {"INPUT.city": "a text, got 4", "INPUT.ratio": 'got "x"'}),
    "true is no number": ({"city": "Ulm", "ratio": True}, {"INPUT.ratio": "a number, got true"}),
    "half a day": ({**GOOD, "days": 1.5}, {"INPUT.days": "a whole number, got 1.5"}),
    "not of the choice": ({**GOOD, "kind": "shrt"}, {"INPUT.kind": 'got "shrt". Did you mean "short"'}),
    "null for a text": ({"city": None, "ratio": 1}, {"INPUT.city": "a text, got nothing"}),
    "a list": ([1], {"INPUT": "a map of city, days, kind, ratio, options, got a list"}),
}


@pytest.mark.parametrize(("given", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_fit_is_refused_by_path(given: Any, said: dict[str, str]):
    with pytest.raises(InvalidInput) as caught:
        validate_input(declared(), given)

    found = {problem.path: problem.message for problem in caught.value.problems}
    assert found.keys() == said.keys()
    for path, words in said.items():
        assert words in found[path]
        assert words in str(caught.value)


@pytest.mark.parametrize("value", [None, 1, "x", [1], {"a": 1}])
def test_without_declared_inputs_anything_passes_as_it_is(value: Any):
    definition = load_definition("name: x\nactivities: {a: {use: echo}}\n")

    assert validate_input(definition, value) is value


def test_a_workflow_that_declares_no_input_takes_none():
    definition = load_definition("name: x\ninputs: {}\nactivities: {a: {use: echo}}\n")

    assert validate_input(definition, None) == {}
    with pytest.raises(InvalidInput, match="Known are nothing"):
        validate_input(definition, {"a": 1})
