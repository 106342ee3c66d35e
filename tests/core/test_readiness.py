"""When an activity is ready, and when it is skipped."""

from __future__ import annotations

from tests.core.rehearsed import CHAIN, FORK, rehearse


def test_an_activity_runs_when_what_it_depends_on_is_completed():
    run = rehearse(CHAIN)
    assert run.tasks == ["a"]

    run.complete("a")
    assert run.tasks == ["b"]

    run.complete("b")
    run.complete("c")
    assert run.status == "completed"
    run.check()


def test_a_join_waits_for_all_of_its_unconditional_dependencies():
    run = rehearse("name: t\nactivities: {a: {use: echo}, b: {use: echo}, c: {use: echo, after: [a, b]}}")

    run.complete("a")
    assert run.tasks == ["b"]

    run.complete("b")
    assert run.tasks == ["c"]


def test_of_conditional_edges_one_that_applies_is_enough_and_the_others_drop_out():
    run = rehearse(FORK)

    run.complete("a", {"go": "left"})
    run.complete("left")

    assert run.tasks == ["end"]
    assert run.statuses["right"] == "skipped"
    run.check()


def test_conditions_on_one_edge_must_all_be_true():
    text = """
name: t
activities:
  a: {use: echo}
  b: {use: echo, after: [{activity_key: a, conditions: ["{{ a.x }}", "{{ a.y }}"]}]}
"""
    both, one = rehearse(text), rehearse(text)

    both.complete("a", {"x": True, "y": True})
    one.complete("a", {"x": True, "y": False})

    assert both.tasks == ["b"]
    assert one.statuses["b"] == "skipped"
    assert one.status == "completed"


def test_an_activity_to_which_no_edge_applies_is_skipped_and_says_why():
    run = rehearse(FORK)

    run.complete("a", {"go": "nowhere"})

    assert run.statuses == {"a": "completed", "left": "skipped", "right": "skipped", "end": "skipped"}
    assert run.place("left").error == "no condition of its dependencies is true"
    assert run.status == "completed"


def test_join_all_skips_as_soon_as_one_edge_does_not_apply():
    text = """
name: t
activities:
  a: {use: echo}
  slow: {use: echo}
  b:
    use: echo
    join: all
    after: [{activity_key: a, condition: "{{ a.ok }}"}, {activity_key: slow, condition: "true"}]
"""
    run = rehearse(text)

    run.complete("a", {"ok": False})

    assert run.statuses["b"] == "skipped"
    assert run.place("b").error == "not every dependency applies"
    assert run.tasks == ["slow"]


def test_join_any_is_ready_as_soon_as_one_edge_applies_and_runs_once():
    run = rehearse("name: t\nactivities: {a: {use: echo}, b: {use: echo}, c: {use: echo, join: any, after: [a, b]}}")

    run.complete("b")
    assert run.tasks == ["a", "c"]

    run.complete("c")
    run.complete("a")
    assert run.scheduled().count("c") == 1
    assert run.status == "completed"
    run.check()


def test_join_any_is_skipped_only_when_nothing_can_apply_any_more():
    run = rehearse("name: t\nactivities: {a: {use: echo}, b: {use: echo}, c: {use: echo, join: any, after: [a, b]}}")

    run.fail("a", retryable=False)
    assert run.statuses["c"] == "not_scheduled"

    run.fail("b", retryable=False)
    assert run.statuses["c"] == "skipped"


def test_a_false_condition_of_an_activity_that_runs_already_changes_nothing():
    text = """
name: t
activities:
  a: {use: echo}
  b: {use: echo}
  c:
    use: echo
    join: any
    after: [{activity_key: a, condition: "true"}, {activity_key: b, condition: "{{ b.value > 9 }}"}]
"""
    run = rehearse(text)
    run.complete("a")

    run.complete("b", {"value": 7})

    assert run.tasks == ["c"]
    run.check()


def test_when_decides_with_what_is_known_and_names_its_text():
    text = "name: t\nactivities: {a: {use: echo}, b: {use: echo, after: [a], when: '{{ INPUT.wanted }}'}}"
    yes, no = rehearse(text, wanted=True), rehearse(text, wanted=False)

    yes.complete("a")
    no.complete("a")

    assert yes.tasks == ["b"]
    assert no.place("b").error == "its condition is false: {{ INPUT.wanted }}"
    assert no.status == "completed"
