"""What a failure does to the activities around it."""

from __future__ import annotations

import pytest
from tests.core.rehearsed import CHAIN, rehearse


def test_a_chain_behind_a_failed_activity_is_skipped_at_once():
    run = rehearse(CHAIN)

    run.fail("a", retryable=False)

    assert run.statuses == {"a": "failed", "b": "skipped", "c": "skipped"}
    assert run.place("b").error == "its dependency 'a' was not completed"
    assert (run.status, run.run.code) == ("failed", "broken")
    assert run.run.error == "activity 'a' failed: a is broken"
    run.check()


def test_siblings_of_a_failed_activity_finish_first():
    run = rehearse("name: t\nactivities: {a: {use: echo}, b: {use: echo}, c: {use: echo, after: [b]}}")

    run.fail("a", retryable=False)
    assert run.status == "running"
    run.complete("b")
    run.complete("c")

    assert run.status == "failed"
    assert run.statuses == {"a": "failed", "b": "completed", "c": "completed"}


@pytest.mark.parametrize("condition", ["{{ a.status == 'failed' }}", "{{ a.error.code == 'broken' }}"])
def test_a_failure_that_an_edge_reads_is_handled_and_the_run_completes(condition: str):
    run = rehearse(
        f"""
name: t
activities:
  a: {{use: echo}}
  cure: {{use: echo, after: [{{activity_key: a, condition: "{condition}"}}]}}
  normal: {{use: echo, after: [a]}}
"""
    )

    run.fail("a", retryable=False)
    assert run.tasks == ["cure"]
    run.complete("cure")

    assert run.status == "completed"
    assert run.statuses["normal"] == "skipped"
    run.check()


def test_a_failure_that_an_edge_reads_without_applying_still_fails_the_run():
    run = rehearse(
        """
name: t
activities:
  a: {use: echo}
  cure: {use: echo, after: [{activity_key: a, condition: "{{ a.error.code == 'other' }}"}]}
"""
    )

    run.fail("a", retryable=False)

    assert run.status == "failed"
    assert run.statuses["cure"] == "skipped"


def test_on_failure_continue_goes_on_as_if_it_had_completed():
    run = rehearse("name: t\nactivities: {a: {use: echo, on_failure: continue}, b: {use: echo, after: [a]}}")

    run.fail("a", retryable=False)
    assert run.tasks == ["b"]
    run.complete("b")

    assert run.status == "completed"
    assert run.statuses["a"] == "failed"


def test_a_skip_on_which_an_edge_asks_for_the_status_is_not_passed_on():
    run = rehearse(
        """
name: t
activities:
  a: {use: echo}
  b: {use: echo, after: [{activity_key: a, condition: "{{ a.go }}"}]}
  c: {use: echo, after: [{activity_key: b, condition: "{{ b.status == 'skipped' }}"}]}
"""
    )

    run.complete("a", {"go": False})

    assert run.tasks == ["c"]


def test_a_typo_in_a_condition_fails_that_activity_with_its_place_and_nothing_else():
    run = rehearse(
        """
name: t
activities:
  a: {use: echo}
  b: {use: echo, after: [a], when: "{{ INPUT.n < a.n }}"}
  c: {use: echo, after: [a]}
""",
        n="text",
    )

    run.complete("a", {"n": 1})

    assert run.statuses["b"] == "failed"
    assert run.place("b").code == "expression_error"
    assert "'b'" in run.place("b").error
    assert "INPUT.n < a.n" in run.place("b").error
    assert run.tasks == ["c"]
    run.complete("c")
    assert run.status == "failed"
    run.check()


def test_an_edge_whose_condition_cannot_be_evaluated_fails_its_target():
    run = rehearse(
        """
name: t
activities:
  a: {use: echo}
  b: {use: echo, after: [{activity_key: a, condition: "{{ a.n < 'x' }}"}]}
"""
    )

    run.complete("a", {"n": 1})

    assert (run.statuses["b"], run.place("b").code) == ("failed", "expression_error")


def test_a_condition_that_cannot_be_evaluated_leaves_a_target_alone_that_another_edge_has_opened():
    run = rehearse(
        """
name: t
budget: 1
activities:
  a: {use: echo}
  b: {use: echo}
  c:
    use: echo
    join: any
    after: [{activity_key: a, condition: "true"}, {activity_key: b, condition: "{{ b.n < 'x' }}"}]
"""
    )
    run.complete("a")

    run.complete("b", {"n": 1})

    assert run.tasks == ["c"]
    run.complete("c")
    assert run.status == "completed"
    run.check()
