"""Every refusal, with its exact place and advice."""

from __future__ import annotations

import pytest
from tests.authoring.refused.files import HEAD
from tests.authoring.refused.flow import BOUNDS, GRAPH, REFERENCES
from tests.authoring.refused.settings import NOTIFY, POLICIES, YAML
from tests.authoring.refused.words import ACTIVITIES, NOT_YET, SHAPE

from headgate.authoring import InvalidDefinition, load_definition

ALL = {**SHAPE, **NOT_YET, **ACTIVITIES, **BOUNDS, **GRAPH, **REFERENCES, **YAML, **POLICIES, **NOTIFY}


def test_no_two_refusals_share_a_name():
    tables = (SHAPE, NOT_YET, ACTIVITIES, BOUNDS, GRAPH, REFERENCES, YAML, POLICIES, NOTIFY)

    assert len(ALL) == sum(len(table) for table in tables)


@pytest.mark.parametrize(("marked", "said"), ALL.values(), ids=ALL.keys())
def test_what_cannot_work_is_refused_at_its_place_with_advice(marked: str, said: str):
    place = marked.index("§")
    text = marked.replace("§", "")
    expected = (marked.count("\n", 0, place) + 1, place - marked.rfind("\n", 0, place))

    with pytest.raises(InvalidDefinition) as caught:
        load_definition(text, source="flow.yaml")

    problem = next((p for p in caught.value.problems if said in p.message), None)
    assert problem is not None, [str(p) for p in caught.value.problems]
    assert (problem.line, problem.column) == expected
    assert problem.source == "flow.yaml"
    assert len(caught.value.problems) == 1, [str(p) for p in caught.value.problems]


def test_all_problems_are_found_at_once_and_told_in_the_order_of_the_file():
    text = HEAD + "  a: {use: ecko, retry: 0, frob: 1}\n  b: {use: echo, after: [c], with: {x: '{{ d.e }}'}}\n"

    with pytest.raises(InvalidDefinition) as caught:
        load_definition(text, source="flow.yaml")

    problems = caught.value.problems
    assert [(p.line, p.column) for p in problems] == [(3, 12), (3, 25), (3, 28), (4, 26), (4, 44)]
    assert [p.path for p in problems] == [
        "activities.a.use",
        "activities.a.retry",
        "activities.a.frob",
        "activities.b.after[0]",
        "activities.b.with.x",
    ]
    assert str(caught.value).startswith("flow.yaml has 5 problems:\n  flow.yaml:3:12: there is no activity")
    assert caught.value.code == "invalid_definition"


def test_paths_use_the_authors_words_and_the_keys_of_a_list():
    activity = "{key: fetch, activity_name: http_request, parameters: {url: '{{ nope }}'}}"
    text = f"name: x\nactivities:\n  - {activity}\n"

    with pytest.raises(InvalidDefinition) as caught:
        load_definition(text)

    assert caught.value.problems[0].path == "activities.fetch.parameters.url"


def test_a_billion_laughs_are_refused_at_once():
    lines = ["name: x", "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]

    with pytest.raises(InvalidDefinition, match="aliases to add at most 10,000 values"):
        load_definition("\n".join(lines))


def test_more_than_a_mebibyte_is_refused_unread():
    with pytest.raises(InvalidDefinition, match="at most 1,048,576 bytes, got 1,048,577"):
        load_definition(b"x" * (1024 * 1024 + 1))


def test_bytes_that_are_not_utf_8_are_refused_with_their_place():
    with pytest.raises(InvalidDefinition, match="byte 0xff") as caught:
        load_definition("name: ü\nx: ".encode() + b"\xff\n")

    assert (caught.value.problems[0].line, caught.value.problems[0].column) == (2, 4)


def test_utf_16_is_refused_with_advice():
    with pytest.raises(InvalidDefinition, match="save it as UTF-8"):
        load_definition("name: x".encode("utf-16"))


JSON = {
    "a duplicate key": (
        '{"name": "x",\n "activities": {"a": {"use": "echo", §"use": "echo"}}}',
        "first in line 2, column 23",
    ),
    "an unknown key": (
        '{"name": "x", "activities": {"a": {"use": "echo", §"retri": 1}}}',
        'Did you mean "retry"?',
    ),
    "half a surrogate pair": (
        '{"name": "x", "activities": {"a": {"use": "echo", "with": {"x": §"\\ud800"}}}}',
        "half of a surrogate pair",
    ),
    "too large a number": (
        '{"name": "x", "activities": {"a": {"use": "echo", "with": {"x": §1e999}}}}',
        "too large",
    ),
    "a name that is nothing": (
        '{"name": "x", "activities": {"a": {"use": "echo", "with": {"x": "\\n{{ §nope.x }}"}}}}',
        'there is no "nope"',
    ),
}


@pytest.mark.parametrize(("marked", "said"), JSON.values(), ids=JSON.keys())
def test_json_is_refused_with_its_places_too(marked: str, said: str):
    place = marked.index("§")
    expected = (marked.count("\n", 0, place) + 1, place - marked.rfind("\n", 0, place))

    with pytest.raises(InvalidDefinition) as caught:
        load_definition(marked.replace("§", ""))

    assert [(p.line, p.column) for p in caught.value.problems] == [expected]
    assert said in caught.value.problems[0].message
