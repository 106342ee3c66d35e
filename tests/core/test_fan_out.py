"""`for_each`: items in order, at most so many at a time, and what becomes of those that fail."""

from __future__ import annotations

import pytest

from headgate.core.errors import StaleAttempt
from headgate.core.names import Names
from headgate.core.view import output_of
from headgate.testing.rehearsal import Rehearsal, candidate

EACH = """
name: each
activities:
  a:
    use: echo
    for_each: "{{ INPUT.items }}"
    max_parallel: %d
    on_failure: %s
    retry: %d
  b: {use: echo, after: [a]}
"""


def each(items: object, *, parallel: int = 100, on_failure: str = "fail", retry: int = 1) -> Rehearsal:
    return Rehearsal(EACH % (parallel, on_failure, retry)).start({"items": items})


def test_every_item_is_a_place_and_the_outputs_stand_in_the_order_of_the_items():
    run = each(["x", "y", "z"])
    assert run.tasks == ["a[0]", "a[1]", "a[2]"]

    for number in (2, 0, 1):
        run.complete(f"a[{number}]", f"out {number}")

    assert output_of(run.place("a"), run.contents) == ["out 0", "out 1", "out 2"]
    assert run.tasks == ["b"]
    run.check()


def test_no_more_items_are_under_way_than_max_parallel_allows():
    run = each(list(range(5)), parallel=2)
    assert run.tasks == ["a[0]", "a[1]"]

    run.complete("a[1]")
    assert run.tasks == ["a[0]", "a[2]"]
    assert run.why("a") == "1 of 5 items done, 2 under way"

    while run.tasks[0] != "b":
        run.complete(run.tasks[0])
        assert len(run.tasks) <= 2
    assert [path for path in run.scheduled() if path != "b"] == [f"a[{number}]" for number in range(5)]
    run.check()


def test_an_empty_list_completes_with_an_empty_list():
    run = each([])

    assert run.statuses["a"] == "completed"
    assert output_of(run.place("a"), run.contents) == []
    assert run.tasks == ["b"]
    run.check()


@pytest.mark.parametrize("items", ["text", 7, {"a": 1}, None])
def test_what_is_no_list_fails_the_activity_and_says_what_it_got(items: object):
    run = each(items)

    assert run.place("a").code == "expression_error"
    assert f"expected a list of items, got {type(items).__name__}" in run.place("a").error


def test_too_many_items_fail_the_activity():
    run = each([0] * 100_001)

    assert "100001 items are more than the 100000" in run.place("a").error


def test_a_failed_item_fails_the_activity_after_the_others_have_finished():
    run = each(["x", "y", "z"])

    run.fail("a[1]", retryable=False)
    assert run.tasks == ["a[0]", "a[2]"]
    run.complete("a[0]")
    run.complete("a[2]")

    assert run.statuses == {"a": "failed", "b": "skipped"}
    assert run.place("a").error == "item 1: a[1] is broken (1 of 3 items failed)"
    run.check()


def test_on_failure_continue_leaves_null_for_the_item_that_failed():
    run = each(["x", "y"], on_failure="continue")

    run.fail("a[0]", retryable=False)
    run.complete("a[1]", "good")

    assert run.statuses["a"] == "completed"
    assert output_of(run.place("a"), run.contents) == [None, "good"]
    assert run.tasks == ["b"]
    run.check()


def test_an_item_is_retried_by_itself():
    run = each(["x", "y"], retry=2)

    run.fail("a[0]")
    run.complete("a[1]")
    assert run.tasks == []
    run.pass_time(10)
    assert (run.tasks, run.place("a[0]").attempt) == (["a[0]"], 2)
    run.complete("a[0]", "second")

    assert run.tasks == ["b"]
    run.check()


def test_retry_of_the_run_keeps_completed_items_and_numbers_attempts_on():
    run = each(["x", "y", "z"])
    run.complete("a[0]", "kept")
    run.fail("a[1]", retryable=False)
    run.complete("a[2]", "kept too")

    run.retry()
    assert run.tasks == ["a[1]"]
    assert run.place("a[1]").attempt == 2
    with pytest.raises(StaleAttempt):
        run.complete("a[1]", "late", attempt=1)
    run.complete("a[1]", "new")

    assert output_of(run.place("a"), run.contents) == ["kept", "new", "kept too"]
    assert run.tasks == ["b"]
    run.check()


def test_retry_after_the_runs_time_was_up_begins_items_that_were_under_way_anew():
    run = Rehearsal("name: t\ntimeout: 1m\nactivities: {a: {use: echo, for_each: [1, 2, 3], max_parallel: 2}}").start()
    run.complete("a[0]")
    run.pass_time(61)

    run.retry()
    assert run.tasks == ["a[1]", "a[2]"]
    assert [run.place(path).attempt for path in run.tasks] == [2, 2]
    run.complete("a[1]")
    run.complete("a[2]")

    assert run.status == "completed"
    run.check()


def test_items_know_their_item_and_index():
    run = each(["x", {"deep": [1]}])

    names = Names(run.run, run.contents, run.place("a[1]"))

    assert names["ITEM"] == {"deep": [1]}
    assert names["INDEX"] == 1


def test_a_fan_out_in_a_loop_is_evaluated_anew_in_every_iteration():
    run = Rehearsal(
        """
name: t
activities:
  plan: {use: echo, iteration_limit: 3, after: [{activity_key: work, condition: "{{ plan.more }}"}]}
  work: {use: echo, for_each: "{{ plan.parts }}", after: [plan]}
"""
    ).start()

    run.complete("plan", {"parts": [1, 2], "more": True})
    run.complete("work[0]")
    run.complete("work[1]")
    run.complete("plan@1", {"parts": [3], "more": False})
    assert run.tasks == ["work@1[0]"]
    run.complete("work@1[0]")

    assert run.status == "completed"
    run.check()


def test_a_lost_item_is_handed_out_again():
    run = each(["x"])

    run.lose("a[0]")

    assert (run.tasks, run.place("a[0]").attempt) == (["a[0]"], 2)


def test_the_budget_of_a_fan_out_holds_for_all_items_together():
    text = "name: t\nactivities: {a: {use: echo, for_each: [1, 2, 3], budget: 0.000000025}}"
    run = Rehearsal(text).start()

    states = []
    for number in range(3):
        call = run.admit(f"a[{number}]", f"c{number}", candidate(10))
        assert call is not None
        states.append(call.state)

    assert states == ["admitted", "admitted", "waiting"]
    run.check()


def test_what_an_item_cost_is_corrected_when_its_forfeit_is_settled_after_it_ended():
    run = each(["x", "y"])
    run.admit("a[0]", "c", candidate(100))
    run.complete("a[0]")
    assert run.place("a").cost == 100

    run.settle("c", 30)

    assert (run.place("a").cost, run.run.spent) == (30, 30)
    run.check()


INDEXED = """
name: t
inputs: {items: array}
activities:
  say: {use: echo, for_each: "{{ INPUT.items }}", with: {word: "{{ ITEM }}"}, on_failure: continue}
  again:
    use: echo
    for_each: "{{ INPUT.items }}"
    when: "{{ say[0].word == 'a' and say[-1].word == 'c' and say[1].word == null }}"
    with: {word: "{{ say[INDEX].word }}", whole: "{{ say[INDEX] }}", mixed: "<{{ say[INDEX].echo.word }}>"}
"""


def test_an_item_of_another_activity_is_read_by_its_index():
    run = Rehearsal(INDEXED).start({"items": ["a", "b", "c"]})
    run.complete("say[0]", {"word": "a"})
    run.fail("say[1]", retryable=False)
    run.complete("say[2]", {"word": "c"})

    place = run.place("again[2]")
    rendered = place.planned.parameters.render(Names(run.run, run.contents, place))

    assert run.tasks == ["again[0]", "again[1]", "again[2]"]
    assert rendered == {"word": "c", "whole": {"word": "c"}, "mixed": "<c>"}
    run.check()
