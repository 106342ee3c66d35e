"""Loops: bodies that go round, exits that wait, loops in loops, limits, and what fails inside."""

from __future__ import annotations

import pytest

from headgate.core import events as e
from headgate.core.errors import StaleAttempt
from headgate.testing.rehearsal import Rehearsal

HEAD_TAIL = """
name: loop
activities:
  head:
    use: echo
    after: [{activity_key: tail, condition: "{{ tail.more }}"}]
  tail: {use: echo, after: [head]}
  exit: {use: echo, after: [tail]}
"""

NESTED = """
name: nested
activities:
  outer:
    use: echo
    after: [{activity_key: last, condition: "{{ outer.iteration < 2 }}"}]
  inner:
    use: echo
    after: [outer, {activity_key: tail, condition: "{{ inner.iteration < 3 }}"}]
  tail: {use: echo, after: [inner]}
  last: {use: echo, after: [tail]}
  exit: {use: echo, after: [last]}
"""


def work_off(run: Rehearsal, outputs: dict[str, list[object]] | None = None, steps_max: int = 1_000) -> list[str]:
    """Complete every task in order, with the outputs given for its activity; return the keys in that order."""
    done: list[str] = []
    for _ in range(steps_max):
        if not run.tasks:
            return done
        path = run.tasks[0]
        key = run.place(path).planned.key
        waiting = (outputs or {}).get(key) or [None]
        run.complete(path, waiting.pop(0) if len(waiting) > 1 else waiting[0])
        done.append(key)
    raise AssertionError(f"the run does not end: {done}")


def test_head_and_tail_run_three_times_and_the_exit_behind_the_tail_once():
    run = Rehearsal(HEAD_TAIL).start()

    done = work_off(run, {"tail": [{"more": True}, {"more": True}, {"more": False}]})

    assert done == ["head", "tail"] * 3 + ["exit"]
    assert run.status == "completed"
    run.check()


def test_each_iteration_is_a_place_of_its_own():
    run = Rehearsal(HEAD_TAIL).start()

    work_off(run, {"tail": [{"more": True}, {"more": False}]})

    assert run.scheduled() == ["head", "tail", "head@1", "tail@1", "exit"]
    assert [event.iteration for event in run.events if isinstance(event, e.ActivityScheduled)] == [0, 0, 1, 1, 0]


def test_an_iteration_reads_the_outputs_of_the_one_before():
    run = Rehearsal(
        """
name: t
activities:
  head: {use: echo, after: [{activity_key: tail, condition: "{{ tail.n < 3 }}"}]}
  tail: {use: echo, after: [head]}
"""
    ).start()

    done = work_off(run, {"tail": [{"n": 1}, {"n": 2}, {"n": 3}, {"n": 0}]})

    assert done.count("tail") == 3
    assert run.place("tail@2").refs == [place.version for place in run.kinds(e.ActivityCompleted)[1::2]]


def test_a_loop_of_four_activities_resets_all_that_lies_between_head_and_tail():
    run = Rehearsal(
        """
name: t
activities:
  start: {use: echo}
  head: {use: echo, after: [start, {activity_key: tail, condition: "{{ tail.more }}"}]}
  left: {use: echo, after: [head]}
  right: {use: echo, after: [head]}
  tail: {use: echo, after: [left, right]}
  beside: {use: echo, after: [left]}
"""
    ).start()

    done = work_off(run, {"tail": [{"more": True}, {"more": False}]})

    assert done == ["start", "head", "left", "right", "tail", "head", "left", "right", "tail", "beside"]
    run.check()


def test_a_branch_inside_a_loop_may_take_another_way_each_time():
    run = Rehearsal(
        """
name: t
activities:
  head: {use: echo, iteration_limit: 2, after: [{activity_key: tail, condition: "true"}]}
  left: {use: echo, after: [{activity_key: head, condition: "{{ head.way == 'left' }}"}]}
  right: {use: echo, after: [{activity_key: head, condition: "{{ head.way == 'right' }}"}]}
  tail: {use: echo, after: [{activity_key: left, condition: "true"}, {activity_key: right, condition: "true"}]}
"""
    ).start()

    done = work_off(run, {"head": [{"way": "left"}, {"way": "right"}]})

    assert done == ["head", "left", "tail", "head", "right", "tail"]
    assert run.status == "completed"
    run.check()


def test_an_inner_loop_begins_again_at_iteration_0_with_each_turn_of_the_outer():
    run = Rehearsal(NESTED).start()

    done = work_off(run)

    assert done == (["outer"] + ["inner", "tail"] * 3 + ["last"]) * 2 + ["exit"]
    iterations = [
        event.iteration for event in run.events if isinstance(event, e.ActivityScheduled) and event.place[:5] == "inner"
    ]
    assert iterations == [0, 1, 2, 0, 1, 2]
    assert run.status == "completed"
    run.check()


def test_what_only_an_inner_loop_leads_back_from_belongs_to_the_outer_loop_too():
    run = Rehearsal(
        """
name: t
activities:
  outer: {use: echo, iteration_limit: 2, after: [{activity_key: last, condition: "true"}]}
  inner: {use: echo, iteration_limit: 2, after: [outer, {activity_key: aside, condition: "true"}]}
  aside: {use: echo, after: [inner]}
  last: {use: echo, after: [inner]}
"""
    ).start()

    done = work_off(run)

    assert done == ["outer", "inner", "aside", "inner", "aside", "last"] * 2
    assert run.status == "completed"
    run.check()


def test_a_loop_may_have_two_tails():
    run = Rehearsal(
        """
name: t
activities:
  head:
    use: echo
    after:
      - {activity_key: one, condition: "{{ one.more }}"}
      - {activity_key: two, condition: "{{ two.more }}"}
  one: {use: echo, after: [{activity_key: head, condition: "{{ head.way == 1 }}"}]}
  two: {use: echo, after: [{activity_key: head, condition: "{{ head.way == 2 }}"}]}
"""
    ).start()

    done = work_off(
        run,
        {
            "head": [{"way": 1}, {"way": 2}],
            "one": [{"more": True}, {"more": False}],
            "two": [{"more": True}, {"more": False}],
        },
    )

    assert done == ["head", "one", "head", "two", "head", "two"]
    assert run.status == "completed"
    run.check()


def test_a_loop_ends_at_its_limit_and_says_so():
    run = Rehearsal("name: t\nactivities: {a: {use: echo, iteration_limit: 4, after: [a]}}").start()

    done = work_off(run)

    assert done == ["a"] * 4
    decided = run.kinds(e.LoopDecided)[-1]
    assert isinstance(decided, e.LoopDecided)
    assert (decided.again, decided.reason) == (False, "its limit of 4 iterations is reached")
    assert run.status == "completed"


def test_a_loop_without_a_limit_ends_after_a_hundred_iterations():
    run = Rehearsal("name: t\nactivities: {a: {use: echo, after: [{activity_key: a, condition: 'true'}]}}").start()

    assert work_off(run) == ["a"] * 100


def test_a_failure_in_the_body_ends_the_loop_and_skips_what_is_behind_it():
    run = Rehearsal(HEAD_TAIL).start()

    run.complete("head")
    run.complete("tail", {"more": True})
    run.fail("head@1", retryable=False)

    assert run.statuses == {"head": "failed", "tail": "skipped", "exit": "skipped"}
    assert run.status == "failed"
    run.check()


def test_a_failure_in_the_body_that_is_handled_does_not_end_the_loop():
    run = Rehearsal(
        """
name: t
activities:
  head: {use: echo, after: [{activity_key: tail, condition: "{{ head.iteration < 2 }}"}]}
  tail: {use: echo, on_failure: continue, after: [head]}
  exit: {use: echo, after: [{activity_key: tail, condition: "true"}]}
"""
    ).start()
    run.complete("head")
    run.fail("tail", retryable=False)

    assert run.statuses["tail"] == "failed"
    assert run.kinds(e.LoopDecided)
    run.check()


def test_a_loop_repeats_on_a_failure_that_its_back_edge_reads():
    run = Rehearsal(
        """
name: t
activities:
  head: {use: echo, after: [{activity_key: tail, condition: "{{ tail.status == 'failed' }}"}]}
  tail: {use: echo, on_failure: continue, after: [head]}
"""
    ).start()
    run.complete("head")
    run.fail("tail", retryable=False)
    assert run.tasks == ["head@1"]

    run.complete("head@1")
    run.complete("tail@1")

    assert run.status == "completed"
    run.check()


def test_a_loop_whose_condition_cannot_be_evaluated_fails_at_its_head():
    run = Rehearsal(
        """
name: t
activities:
  head: {use: echo, after: [{activity_key: tail, condition: "{{ tail.n < 'x' }}"}]}
  tail: {use: echo, after: [head]}
  exit: {use: echo, after: [tail]}
"""
    ).start()

    work_off(run, {"tail": [{"n": 1}]})

    assert run.place("head").code == "expression_error"
    assert run.status == "failed"
    run.check()


def test_a_delay_holds_every_iteration():
    run = Rehearsal("name: t\nactivities: {a: {use: echo, delay: 10s, iteration_limit: 3, after: [a]}}").start()
    scheduled = 0

    for _ in range(3):
        assert run.tasks == []
        run.pass_time(10)
        scheduled += len(run.tasks)
        work_off(run)

    assert scheduled == 3
    assert run.status == "completed"
    run.check()


def test_costs_accumulate_over_iterations():
    run = Rehearsal("name: t\nactivities: {a: {use: echo, iteration_limit: 3, after: [a]}}").start()

    for path in ("a", "a@1", "a@2"):
        run.complete(path, cost=10)

    assert (run.place("a@2").cost, run.place("a@2").round_cost, run.run.spent) == (30, 10, 30)
    run.check()


def test_a_loop_that_never_begins_is_skipped_whole():
    run = Rehearsal(
        """
name: t
activities:
  start: {use: echo}
  head:
    use: echo
    after:
      - {activity_key: start, condition: "{{ start.go }}"}
      - {activity_key: tail, condition: "{{ tail.more }}"}
  tail: {use: echo, after: [head]}
  exit: {use: echo, after: [tail]}
"""
    ).start()

    run.complete("start", {"go": False})

    assert run.statuses == {"start": "completed", "head": "skipped", "tail": "skipped", "exit": "skipped"}
    assert run.status == "completed"
    run.check()


def test_a_report_of_an_iteration_that_is_over_is_not_taken_for_the_next():
    run = Rehearsal(HEAD_TAIL).start()
    run.complete("head")
    run.complete("tail", {"more": True})

    assert run.tasks == ["head@1"]
    before = len(run.events)
    with pytest.raises(StaleAttempt):
        run.complete("head", "late", attempt=1)

    assert len(run.events) == before
    assert run.tasks == ["head@1"]
