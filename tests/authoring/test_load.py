"""What files mean: both forms, defaults, values, dependencies that nobody wrote."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headgate.authoring import InvalidDefinition, check_definition, load_definition
from headgate.core.definition import (
    Activity,
    Backoff,
    Budget,
    Definition,
    Dependency,
    Input,
    SignalWait,
    SubWorkflow,
)

SAME = {
    "keys and parameters": (
        """
name: x
activities:
  a: {use: echo, with: {text: hello}}
  b: {use: echo, after: [a]}
""",
        """
name: x
activities:
  - {key: a, worker: std, activity_name: echo, parameters: {text: hello}}
  - {key: b, worker: std, activity_name: echo, depends_on: [{activity_key: a}]}
""",
    ),
    "settings": (
        """
name: x
budget: 0.25
activities:
  a:
    {use: echo, retry: 3, budget: 0.05, timeout: 30s, delay: 5m, wait_for: go, on_failure: continue}
""",
        """
name: x
settings: {budget: {limit: 0.25, action: abort}}
activities:
  - key: a
    activity_name: echo
    settings:
      retry: {max_attempts: 3}
      budget: {limit: 0.050}
      timeout_seconds: 30
      delay: 5m
      wait_for_signal: {event_name: go}
      on_failure: continue
""",
    ),
    "dependencies that nobody wrote": (
        """
name: x
activities:
  a: {use: echo}
  b: {use: echo, with: {x: '{{ a.y }}'}}
  c: {use: echo, when: b.ok, for_each: '{{ a.y }}'}
""",
        """
name: x
activities:
  - {key: a, activity_name: echo}
  - {key: b, activity_name: echo, parameters: {x: '{{ a.y }}'}, depends_on: [a]}
  - {key: c, activity_name: echo, when: b.ok, for_each: '{{ a.y }}', depends_on: [a, b]}
""",
    ),
    "the queue of a script": (
        "name: x\nactivities: {a: {use: script, with: {script: OUTPUT = 1}}}\n",
        """
name: x
activities:
  - {key: a, worker: py-std, activity_name: script, parameters: {script: OUTPUT = 1}}
""",
    ),
    "defaults": (
        """
name: x
settings: {max_retries: 2, timeout: 10}
activities: {a: {use: echo}, b: {use: echo, retry: 1}}
""",
        """
name: x
activities:
  - {key: a, activity_name: echo, settings: {retry: {max_attempts: 3}, timeout_seconds: 10}}
  - {key: b, activity_name: echo, settings: {retry: 1, timeout_seconds: 10.0}}
""",
    ),
    "YAML and JSON": (
        "name: x\nactivities: {a: {use: echo, with: {n: 1.5, t: true, z: null, l: [1, '2']}}}\n",
        """{"name": "x", "activities":
        {"a": {"use": "echo", "with": {"n": 1.5, "t": true, "z": null, "l": [1, "2"]}}}}""",
    ),
    "an alias and what it stands for": (
        "name: x\nactivities:\n  a: {use: echo, with: &w {n: [1]}}\n  b: {use: echo, with: *w}\n",
        "name: x\nactivities:\n  a: {use: echo, with: {n: [1]}}\n  b: {use: echo, with: {n: [1]}}\n",
    ),
}


@pytest.mark.parametrize(("short", "long"), SAME.values(), ids=SAME.keys())
def test_two_forms_of_a_workflow_are_equal_and_have_one_version(short: str, long: str):
    first, second = load_definition(short), load_definition(long.encode())

    assert first == second
    assert first.version == second.version


EVERYTHING = """
name: all_of_it
description: everything
budget: {limit: 1, action: fallback}
timeout: 2h
labels: {team: blue, cost_centre: 4711}
inputs:
  city: string
  days: {type: integer, default: 3, description: how many, enum: [1, 3]}
  notes:
outputs: {answer: "{{ last.result }}", run: "{{ WORKFLOW.id }}"}
activities:
  ask:
    use: llm_prompt
    queue: std
    with: {model: openai_like/m, prompt: "{{ INPUT.city }}", max_tokens: 10}
    outputs: [text]
    retry: {max_attempts: 2, strategy: fixed, base_seconds: 0.5}
    wait_for: {event_name: go, timeout: 1m, on_timeout: continue}
    streaming: {enabled: true}
  each:
    use: echo
    for_each: [1, 2]
    max_parallel: 2
    with: {x: "{{ ITEM }} {{ INDEX }}"}
    on_failure: continue
  child: {workflow: {name: other, version: abc, budget: 0.5}, with: {x: "{{ ask.text }}"}}
  last:
    use: mine
    queue: pool
    join: any
    after: [child, {activity_key: each, conditions: ["{{ each.x }}", "true"]}]
"""


def test_everything_that_can_be_said_is_kept():
    definition = load_definition(EVERYTHING, providers=frozenset({"openai_like"}))

    ask, each, child, last = definition.activities
    assert definition.budget == Budget(1_000_000_000, "fallback")
    assert definition.timeout_seconds == 7200.0
    assert definition.labels == {"team": "blue", "cost_centre": "4711"}
    assert definition.inputs == (
        Input("city", "string"),
        Input("days", "integer", required=False, default=3, description="how many", enum=(1, 3)),
        Input("notes"),
    )
    assert definition.outputs == {"answer": "{{ last.result }}", "run": "{{ WORKFLOW.id }}"}
    assert ask.retry == Backoff(2, "fixed", 0.5)
    assert ask.wait_for_signal == SignalWait("go", 60.0, "continue")
    assert ask.streaming
    assert (each.for_each, each.max_parallel, each.on_failure) == ([1, 2], 2, "continue")
    assert child.workflow == SubWorkflow("other", "abc", 500_000_000)
    assert (child.name, child.depends_on) == ("", (Dependency("ask"),))
    assert last.depends_on == (Dependency("child"), Dependency("each", ("{{ each.x }}", "true")))
    assert (last.queue, last.join) == ("pool", "any")
    assert msgspec.json.decode(msgspec.json.encode(definition), type=Definition) == definition


VALUES = {
    "no": "no",
    "on": "on",
    "yes": "yes",
    "y": "y",
    "010": "010",
    "-07": "-07",
    "12:30:45": "12:30:45",
    "2024-01-31": "2024-01-31",
    "1_000": "1_000",
    "1.2.3": "1.2.3",
    "0b11": "0b11",
    "=": "=",
    "0o17": 15,
    "0xff": 255,
    "+12": 12,
    "-3": -3,
    "0": 0,
    "1.5": 1.5,
    "1.": 1.0,
    ".5": 0.5,
    "1e3": 1000.0,
    "true": True,
    "FALSE": False,
    "null": None,
    "~": None,
    "": None,
    "'12'": "12",
    '"\\u00fc"': "ü",
    "nan": "nan",
    "9223372036854775807": 2**63 - 1,
}


@pytest.mark.parametrize(("written", "meant"), VALUES.items())
def test_values_are_those_of_the_core_schema_of_yaml_1_2(written: str, meant: Any):
    text = f"name: x\nactivities:\n  a:\n    use: echo\n    with:\n      x: {written}\n"

    found = load_definition(text).activities[0].parameters["x"]

    assert found == meant
    assert type(found) is type(meant)


def test_keys_are_texts_whatever_they_look_like():
    text = "name: x\nactivities: {a: {use: echo, with: {on: 1, 404: 2, true: 3, ~: 4}}}\n"

    definition = load_definition(text)

    assert definition.activities[0].parameters == {"on": 1, "404": 2, "true": 3, "~": 4}


@pytest.mark.parametrize(
    ("written", "nano"),
    [("0.1", 100_000_000), ("1e-9", 1), ("'0.30'", 300_000_000), ("9007199.254740993", 9007199254740993)],
)
def test_money_is_read_from_its_text_and_never_was_a_float(written: str, nano: int):
    definition = load_definition(f"name: x\nbudget: {written}\nactivities: {{a: {{use: echo}}}}\n")

    assert definition.budget == Budget(nano)


def keys(definition: Definition, target: str) -> list[str]:
    found = next(activity for activity in definition.activities if activity.key == target)
    return [dependency.key for dependency in found.depends_on]


def test_the_head_of_a_loop_may_read_the_iteration_before_without_depending_on_it():
    definition = load_definition("""
name: loop
activities:
  search:
    use: echo
    with: {plan: "{{ plan.x }}", before: "{{ analyse.x }}"}
    after: [{activity_key: evaluate, condition: "not evaluate.ok"}]
  analyse: {use: echo, with: {found: "{{ search.x }}", mine: "{{ analyse.x }}"}}
  evaluate: {use: echo, with: {analysis: "{{ analyse.x }}", plan: "{{ plan.x }}"}}
  plan: {use: echo}
""")

    assert keys(definition, "search") == ["evaluate", "plan"]
    assert keys(definition, "analyse") == ["search"]
    assert keys(definition, "evaluate") == ["analyse", "plan"]


def test_a_loop_that_is_entered_nowhere_else_is_read_the_same_way():
    definition = load_definition("""
name: loop
activities:
  draft:
    use: echo
    with: {hints: "{{ review.hints }}"}
    after: [{activity_key: decide, condition: decide.again}]
  review: {use: echo, with: {text: "{{ draft.text }}"}}
  decide: {use: echo, with: {hints: "{{ review.hints }}"}}
""")

    assert keys(definition, "draft") == ["decide"]
    assert keys(definition, "decide") == ["review"]


def test_an_unconditional_loop_ends_by_its_limit():
    definition = load_definition("""
name: x
activities:
  a: {use: echo, after: [b], iteration_limit: 3}
  b: {use: echo, after: [a]}
""")

    assert definition.activities[0].iteration_limit == 3


def test_activities_registered_in_python_are_known_by_their_names():
    text = "name: x\nactivities: {a: {use: mine, with: {any: 1}}}\n"

    definition = load_definition(text, activities=frozenset({"mine"}))

    assert definition.activities[0].queue == "std"
    with pytest.raises(InvalidDefinition, match='no activity "mine"'):
        load_definition(text)


def test_switched_off_settings_that_are_not_built_yet_are_no_fault():
    activities = "{a: {use: echo, cache: false}, b: {use: echo, cache: {enabled: false}}}"

    definition = load_definition(f"name: x\nactivities: {activities}\n")

    assert [activity.cache for activity in definition.activities] == [None, None]


def test_a_definition_built_in_python_is_checked_by_the_same_rules():
    definition = Definition(
        name="x",
        activities=(
            Activity(key="a", name="ecko", retry=Backoff(max_attempts=0), depends_on=(Dependency("b"),)),
            Activity(key="a", name="echo", parameters={"x": ["{{ nope }}"]}),
        ),
        labels={str(number): "x" for number in range(17)},
    )

    found = {problem.path: problem.message for problem in check_definition(definition)}

    assert found["labels"] == "expected at most 16 labels, got 17; remove some."
    assert found["activities.a.retry.max_attempts"] == "expected retry to be at least 1, got 0."
    assert found["activities.a.activity_name"].startswith('there is no activity "ecko"')
    assert found["activities.a"] == '2 activities have the key "a"; rename all but one.'
    assert found["activities.a.depends_on[0].key"] == 'there is no activity "b".'
    assert found["activities.a.parameters.x[0]"].startswith('there is no "nope"')


def test_an_empty_definition_built_in_python_is_refused():
    problems = check_definition(Definition(name="", activities=()))

    assert [problem.path for problem in problems] == ["name", "activities"]


@pytest.mark.slow
def test_a_long_chain_is_read_without_recursion():
    lines = ["name: long", "activities:", "  a0: {use: echo}"]
    lines += [f"  a{n}: {{use: echo, after: [a{n - 1}]}}" for n in range(1, 5_000)]
    lines += ["  last: {use: echo, after: [a4999], with: {x: '{{ a0.x }} {{ a2500.x }}'}}"]

    definition = load_definition("\n".join(lines))

    assert len(definition.activities) == 5_001
    assert keys(definition, "last") == ["a4999", "a0", "a2500"]


def test_inside_a_loop_each_activity_may_read_what_an_iteration_before_left_behind_it():
    definition = load_definition("""
name: x
activities:
  - {key: a, activity_name: echo, depends_on: [{activity_key: d, condition: d.again}]}
  - {key: b, activity_name: echo, depends_on: [a]}
  - {key: c, activity_name: echo, depends_on: [b], parameters: {last: "{{ d.hint }}"}}
  - {key: d, activity_name: echo, depends_on: [c]}
""")

    assert keys(definition, "c") == ["b"]


def test_loops_that_overlap_without_nesting_are_refused_for_each_would_wait_for_the_other():
    tangled = {
        "a0": [("a5", "true"), ("a1", ""), ("a3", "")],
        "a1": [("a1", "true"), ("a5", "true"), ("a3", "")],
        "a2": [("a4", "true"), ("a1", ""), ("a2", "true")],
        "a3": [("a1", ""), ("a4", "")],
        "a4": [("a5", "true"), ("a4", ""), ("a2", "true")],
        "a5": [("a4", "true"), ("a2", "")],
    }
    activities = tuple(
        Activity(
            key=key,
            name="echo",
            iteration_limit=3,
            depends_on=tuple(Dependency(name, (condition,) if condition else ()) for name, condition in edges),
        )
        for key, edges in tangled.items()
    )

    problems = check_definition(Definition(name="tangled", activities=activities))

    assert any("neither lies inside the other" in problem.message for problem in problems)
