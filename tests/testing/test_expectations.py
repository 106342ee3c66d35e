"""What is expected of outputs: subsets of maps, whole lists, and matchers."""

from __future__ import annotations

from typing import Any

import pytest

from headgate.testing.expectations import differences


def places(wanted: Any, got: Any) -> list[str]:
    return [mismatch.where for mismatch in differences("outputs", wanted, got)]


@pytest.mark.parametrize(
    ("wanted", "got"),
    [
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1}, {"a": 1.0}),
        ([{"a": 1}], [{"a": 1, "b": 2}]),
        ({"a": {"matches": "^x+$"}}, {"a": "xxx"}),
        ({"a": {"contains": "late"}}, {"a": "too late"}),
        ({"a": {"contains": 3}}, {"a": [1, 3]}),
        ({"a": {"any": True}}, {"a": False}),
        ({"a": {"any": False}}, {"a": None}),
        ({"a": None}, {"a": None}),
        ({}, {"a": 1}),
    ],
)
def test_what_is_as_expected_is_no_difference(wanted: Any, got: Any):
    assert places(wanted, got) == []


@pytest.mark.parametrize(
    ("wanted", "got", "where"),
    [
        ({"a": 1}, {"b": 1}, "outputs.a"),
        ({"a": 1}, {"a": True}, "outputs.a"),
        ({"a": True}, {"a": 1}, "outputs.a"),
        ({"a": "1"}, {"a": 1}, "outputs.a"),
        ({"a": [1, 2]}, {"a": [1]}, "outputs.a"),
        ({"a": [{"b": 1}, {"b": 2}]}, {"a": [{"b": 1}, {"b": 3}]}, "outputs.a[1].b"),
        ({"a": {"matches": "^x+$"}}, {"a": "xxy"}, "outputs.a"),
        ({"a": {"matches": "1"}}, {"a": 1}, "outputs.a"),
        ({"a": {"contains": "late"}}, {"a": "early"}, "outputs.a"),
        ({"a": {"any": True}}, {"a": None}, "outputs.a"),
        ({"a": {"b": 1}}, {"a": [1]}, "outputs.a"),
        ({"a": [1]}, {"a": {"b": 1}}, "outputs.a"),
        ({"a": 1}, None, "outputs"),
    ],
)
def test_what_is_different_is_named_by_its_path(wanted: Any, got: Any, where: str):
    assert places(wanted, got) == [where]
