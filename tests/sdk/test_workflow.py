"""A workflow built in Python and the YAML that says the same are one definition, there and back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import headgate
from headgate.authoring import InvalidDefinition, load_definition
from headgate.authoring.definition_text import ACTIVITY_WRITERS, DERIVED, WORKFLOW_WRITERS, document_of, write_yaml
from headgate.core.catalogue import BUILTINS
from headgate.core.definition import Activity, Definition
from headgate.core.errors import Invalid

ROOT = Path(__file__).parents[2]


def definition_files() -> list[Any]:
    found = [*ROOT.glob("examples/**/*.yaml"), *ROOT.glob("tests/authoring/long_form/*.yaml")]
    found += ROOT.glob("tests/e2e/flows/*.yaml")
    files = [path for path in sorted(found) if re.search(r"^activities:", path.read_text("utf-8"), re.MULTILINE)]
    return [pytest.param(path, id=path.relative_to(ROOT).as_posix()) for path in files]


def one_of_each() -> dict[str, Any]:
    """A workflow that uses every key of the format that can be used today."""
    return {
        "name": "all",
        "description": "two\nlines",
        "inputs": {"url": {"type": "string", "default": "x", "description": "where"}, "n": "integer", "items": None},
        "budget": {"limit": 0.000000001, "action": "fallback"},
        "timeout": "2h",
        "labels": {"team": "no", "cost": "010"},
        "notify": {
            "on": "failed",
            "email": ["a@example.org", "b@example.org"],
            "slack": "S",
            "webhook": "http://x.y/z",
            "secret": "K",
        },
        "activities": {
            "first": {"use": "echo", "with": {"a": ["{{ INPUT.url }}", 1, 1.0, None, True]}, "retry": 3},
            "second": {
                "use": "echo",
                "with": {"b": "{{ first.a[0] }}"},
                "after": [{"activity_key": "first", "conditions": ["first.a == 1", "true"]}],
                "retry": {"max_attempts": 2, "base_seconds": 0.1},
                "timeout": 2.3,
                "budget": "0.25",
                "delay": "5s",
                "on_failure": "continue",
                "outputs": ["echo"],
            },
            "each": {
                "use": "echo",
                "for_each": "{{ INPUT.items }}",
                "max_parallel": 3,
                "with": {"c": "{{ ITEM }}"},
                "when": "INPUT.n > 1",
                "iteration_scoped": True,
                "streaming": True,
            },
            "asked": {"wait_for": {"event_name": "go", "timeout": "3d", "on_timeout": "skip"}, "join": "any"},
            "child": {"workflow": {"name": "other", "budget": 0.1}, "with": {"x": 1}, "after": ["asked", "each"]},
            "far": {"use": "thing", "queue": "gpu", "scheduled_for": "2030-01-31T09:00:00Z"},
        },
        "outputs": {"end": "{{ second.b }}"},
    }


@pytest.mark.parametrize("path", definition_files())
def test_a_file_keeps_its_version_as_a_workflow_and_as_yaml_again(path: Path):
    text = path.read_text("utf-8")
    names = frozenset(re.findall(r"(?:use|activity_name): ([\w-]+)", text)) - BUILTINS.keys()
    functions = [headgate.activity(name=name)(lambda **_: None) for name in names]

    workflow = headgate.Workflow.from_yaml(path, functions=functions)

    version = load_definition(text, activities=names).version
    assert workflow.definition().version == version
    assert load_definition(workflow.to_yaml(), activities=names).version == version


def test_every_key_of_the_format_survives():
    definition = load_definition(msgspec.json.encode(one_of_each()))

    workflow = headgate.Workflow.from_yaml(msgspec.json.encode(one_of_each()).decode())

    assert workflow.definition() == definition
    assert load_definition(workflow.to_yaml()) == definition


def test_no_field_of_a_definition_is_forgotten_when_it_is_written():
    assert {*ACTIVITY_WRITERS, *DERIVED} == {*Activity.__struct_fields__}
    assert {*WORKFLOW_WRITERS, "name", "activities"} == {*Definition.__struct_fields__}


def test_the_long_form_is_kept_where_the_short_one_would_wait_for_more():
    text = """
name: long
activities:
  - {key: a, activity_name: echo, parameters: {x: 1}}
  - {key: b, activity_name: echo, depends_on: [a]}
  - {key: c, activity_name: echo, depends_on: [b], parameters: {y: "{{ a.x }}"}}
"""

    workflow = headgate.Workflow.from_yaml(text)

    assert workflow.definition() == load_definition(text) == load_definition(workflow.to_yaml())
    assert "activity_name: echo" in workflow.to_yaml()


ODD_TEXTS = [
    *("no", "null", "~", "0o17", "1e5", "12:30", "010", "1_000", "<<", "=", ".nan", "-", "- x", "a: b", "a #b"),
    *(
        "",
        " ",
        "x ",
        " x",
        "\n",
        "a\n",
        "a\n\n",
        "\na",
        "a\n  b\n",
        "\ta\nb",
        "a\\n",
        "é",
        "'",
        '"',
        "%x",
        "@x",
    ),
    *(
        "{{ a0 }}",
        "x {{ INPUT.y }}\n\n  z",
        "{% if INPUT.x %}a{% endif %}",
        "x" * 200,
        "true",
        "2026-01-01",
        "&a",
    ),
]
TEXTS = st.one_of(
    st.sampled_from(ODD_TEXTS),
    st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn")), max_size=12),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), TEXTS).filter(
        lambda value: value not in (float("inf"), float("-inf"))
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)
SECONDS = st.floats(0.001, 1e6)
ACTIVITIES = st.fixed_dictionaries(
    {"use": st.sampled_from(["echo", "transform"])},
    optional={
        "with": st.dictionaries(TEXTS, VALUES, max_size=3),
        "retry": st.one_of(
            st.integers(1, 9),
            st.fixed_dictionaries(
                {"max_attempts": st.integers(1, 9)},
                optional={"strategy": st.just("fixed"), "base_seconds": SECONDS, "factor": st.floats(1, 9)},
            ),
        ),
        "budget": st.decimals("0.000000001", 100, places=9).map(lambda amount: f"{amount:f}"),
        "timeout": SECONDS,
        "delay": st.just("5s"),
        "iteration_scoped": st.booleans(),
        "on_failure": st.sampled_from(["fail", "continue"]),
        "join": st.sampled_from(["all", "any", "default"]),
        "for_each": st.one_of(st.just("{{ INPUT.items }}"), st.lists(VALUES, max_size=3)),
        "wait_for": st.one_of(
            st.just("go"), st.fixed_dictionaries({"event_name": st.just("go"), "timeout_seconds": SECONDS})
        ),
        "when": st.sampled_from(["true", "INPUT.x > 1", "{{ INPUT.x == 'yes' }}"]),
    },
)


@given(st.lists(ACTIVITIES, min_size=1, max_size=4), st.booleans(), st.data())
@settings(max_examples=60)
def test_any_definition_keeps_its_version_through_yaml(bodies: list[dict[str, Any]], long: bool, data: st.DataObject):
    for number, body in enumerate(bodies):
        body["after"] = data.draw(st.lists(st.integers(0, number - 1).map("a{}".format), unique=True)) if number else []
        if number and data.draw(st.booleans()):
            body["with"] = {**body.get("with", {}), "read": "{{ a0.x }}"}
    keyed = {f"a{number}": body for number, body in enumerate(bodies)}
    document: dict[str, Any] = {"name": "x", "activities": keyed}
    if long:
        names = {"use": "activity_name", "with": "parameters", "after": "depends_on"}
        document["activities"] = [
            {"key": key, **{names.get(name, name): value for name, value in body.items()}}
            for key, body in keyed.items()
        ]
    try:
        definition = load_definition(msgspec.json.encode(document))
    except InvalidDefinition:
        return  # a text that is no template after all, a reference that waits for nothing

    text = write_yaml(document_of(definition))

    assert load_definition(text) == definition
    assert yaml.safe_load(text)["name"] == "x"


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_a_text_stays_that_text_as_a_value_and_as_a_key(text: str):
    document = {"name": "x", "activities": {"a0": {"use": "echo"}, "a": {"use": "echo", "with": {text: [text]}}}}
    definition = load_definition(msgspec.json.encode(document))

    written = write_yaml(document_of(definition))

    assert load_definition(written) == definition


@pytest.mark.parametrize("seconds", [263134.39288483054, 135529.79703417825, 135702.1681057538, 2.3, 30, 0.001])
def test_a_timeout_keeps_its_last_microsecond(seconds: float):
    document = {"name": "x", "activities": {"a": {"use": "echo", "timeout": seconds}}}
    definition = load_definition(msgspec.json.encode(document))

    assert load_definition(write_yaml(document_of(definition))) == definition


# --- Building ------------------------------------------------------------------------------------------------------


def test_references_wire_activities_as_templates_do():
    flow = headgate.Workflow("wired", inputs={"url": "string"}, budget="0.05", labels={"team": "a"})
    fetch = flow.add("fetch", "http_request", with_={"url": flow.input.url}, retry=2)
    flow.add("rows", "echo", for_each=fetch.response.body.rows, with_={"row": flow.item, "n": flow.index})
    flow.add("end", "echo", with_={"all": [f"got {flow['rows']['*'].row} of", {"at": fetch.response.body["a b"][0]}]})
    flow.outputs = {"end": flow["end"].all}

    definition = flow.definition()

    assert definition == load_definition(
        """
name: wired
inputs: {url: string}
budget: 0.05
labels: {team: a}
activities:
  fetch: {use: http_request, with: {url: "{{ INPUT.url }}"}, retry: 2}
  rows: {use: echo, for_each: "{{ fetch.response.body.rows }}", with: {row: "{{ ITEM }}", n: "{{ INDEX }}"}}
  end:
    use: echo
    with: {all: ["got {{ rows[*].row }} of", {at: '{{ fetch.response.body["a b"][0] }}'}]}
outputs: {end: "{{ end.all }}"}
"""
    )
    assert load_definition(flow.to_yaml()) == definition


def test_what_is_waited_for_besides_is_named_by_key_or_by_reference():
    flow = headgate.Workflow("after")
    first = flow.add("first", "echo", with_={"x": 1})
    second = flow.add("second", "echo", after=first)

    flow.add("third", "echo", after=["first", {"activity_key": second, "condition": "first.x == 1"}])

    edges = {activity.key: [edge.key for edge in activity.depends_on] for activity in flow.definition().activities}
    assert edges == {"first": [], "second": ["first"], "third": ["first", "second"]}


def test_what_the_decorator_said_holds_where_add_says_nothing():
    @headgate.activity(name="get", attempts=3, timeout="30s")
    def fetch(url: str) -> str:
        return url

    flow = headgate.Workflow("settled")
    flow.add("a", fetch, with_={"url": "x"})
    flow.add("b", fetch, with_={"url": "x"}, retry=1, timeout=5)

    a, b = flow.definition().activities
    assert (a.name, a.retry.max_attempts if a.retry else 0, a.timeout_seconds) == ("get", 3, 30.0)
    assert (b.name, b.retry.max_attempts if b.retry else 0, b.timeout_seconds) == ("get", 1, 5.0)


def test_a_problem_is_reported_with_the_line_of_its_add():
    flow = headgate.Workflow("wrong")
    flow.add("fine", "echo")
    flow.add("bad", "http_request", with_={"ur1": "x"})  # this line

    with pytest.raises(InvalidDefinition) as caught:
        flow.definition()

    line = next(
        n for n, text in enumerate(Path(__file__).read_text("utf-8").splitlines(), 1) if text.endswith("# this line")
    )
    problems = caught.value.problems
    assert {(problem.source, problem.line) for problem in problems} == {(__file__, line)}
    assert any('no parameter "ur1". Did you mean "url"?' in problem.message for problem in problems)


def test_a_key_that_is_misspelled_is_refused_with_the_nearest():
    flow = headgate.Workflow("wrong")
    flow.add("a", "echo", on_failur="continue")

    with pytest.raises(InvalidDefinition, match=r'unknown key "on_failur".*Did you mean "on_failure"'):
        flow.definition()


def test_a_key_is_used_once_and_a_name_stands_for_one_function():
    def fetch() -> int:
        return 1

    other = headgate.activity(name="fetch")(lambda: 2)
    flow = headgate.Workflow("twice")
    flow.add("a", fetch)

    with pytest.raises(Invalid, match="activity 'a' already"):
        flow.add("a", "echo")
    with pytest.raises(Invalid, match="another function called 'fetch'"):
        flow.add("b", other)
    with pytest.raises(KeyError, match="no activity 'c' yet; it has a"):
        flow["c"]


def test_a_reference_is_no_value_to_decide_by():
    reference = headgate.Workflow("x").input.n

    with pytest.raises(TypeError, match="known only when the workflow runs"):
        bool(reference)
    with pytest.raises(TypeError, match="for_each"):
        list(reference)
    with pytest.raises(AttributeError, match=r"\['_hidden'\]"):
        _ = reference._hidden
    assert str(reference["_hidden"]) == '{{ INPUT.n["_hidden"] }}'


def test_a_value_that_json_cannot_hold_is_refused():
    flow = headgate.Workflow("wrong")
    flow.add("a", "echo", with_={"x": object()})

    with pytest.raises(Invalid, match="workflow wrong holds a value that JSON cannot"):
        flow.definition()


def test_files_beside_a_definition_keep_the_version_too(tmp_path: Path):
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "short@1.md").write_text("Say {{ INPUT.word }}")
    (tmp_path / "double.py").write_text("result = {'n': 2}")
    path = tmp_path / "flow.yaml"
    path.write_text(
        "name: files\nactivities:\n  a: {use: llm_prompt, with: {model: demo/small, template: short@1}}\n"
        "  b: {use: script, with: {script_file: double.py}}\n"
    )

    workflow = headgate.Workflow.from_yaml(path)

    definition = workflow.definition()
    (tmp_path / "again.yaml").write_text(workflow.to_yaml())
    assert "result = " not in workflow.to_yaml()
    assert headgate.Workflow.from_yaml(tmp_path / "again.yaml").definition() == definition
    assert definition.activities[0].parameters["prompt"] == "Say {{ INPUT.word }}"


@pytest.mark.parametrize("name", ["../secret.py", "/etc/hostname"])
def test_no_file_outside_of_the_folder_is_read(name: str, tmp_path: Path):
    flow = headgate.Workflow("outside", folder=tmp_path)
    flow.add("a", "script", with_={"script_file": name})

    with pytest.raises(InvalidDefinition, match="not in the definition's folder"):
        flow.definition()
