"""The verbs on a whole run: cancel, pause, resume, retry."""

from __future__ import annotations

import pytest

from headgate.core import events as e
from headgate.core.errors import Refused, StaleAttempt
from headgate.testing.rehearsal import Rehearsal, candidate

TWO = "name: t\nactivities: {a: {use: echo}, b: {use: echo}, c: {use: echo, after: [a, b]}}"
CHAIN = "name: t\nactivities: {a: {use: echo}, b: {use: echo, after: [a]}, c: {use: echo, after: [b]}}"
LOOP = """
name: t
activities:
  head: {use: echo, after: [{activity_key: tail, condition: "{{ tail.more }}"}]}
  tail: {use: echo, after: [head]}
  exit: {use: echo, after: [tail]}
"""


# --- Cancel -------------------------------------------------------------------------------------------------------


def test_cancel_drops_what_is_queued_and_waits_for_what_is_out():
    run = Rehearsal(TWO).start()

    run.cancel("a")
    assert run.statuses == {"a": "scheduled", "b": "cancelled", "c": "not_scheduled"}
    assert run.status == "cancelling"
    assert run.why() == "is being cancelled; 1 activities are still out"
    run.complete("a", "its last word")

    assert run.status == "cancelled"
    assert run.contents[run.place("a").ref] == "its last word"
    assert run.statuses["c"] == "cancelled"
    run.check()


def test_cancel_with_nothing_out_is_at_once():
    run = Rehearsal(TWO).start()

    run.cancel()

    assert run.status == "cancelled"
    run.check()


def test_after_a_grace_of_thirty_seconds_a_cancelled_run_waits_no_longer():
    run = Rehearsal(TWO).start()
    run.admit("a", "c", candidate(10))
    run.cancel("a")

    run.pass_time(29)
    assert run.status == "cancelling"
    run.pass_time(1)

    assert run.status == "cancelled"
    assert (run.run.reserved, run.run.spent) == (0, 10)
    run.check()


@pytest.mark.parametrize("report", ["fail", "lose", "time_out"])
def test_what_is_out_when_a_run_is_cancelled_is_not_tried_again(report: str):
    run = Rehearsal("name: t\nactivities: {a: {use: echo, retry: 5}}").start()
    run.cancel("a")

    getattr(run, report)("a")

    assert run.status == "cancelled"
    assert run.statuses == {"a": "cancelled"}
    run.check()


@pytest.mark.parametrize("report", ["complete", "fail"])
def test_a_report_that_comes_after_the_grace_is_told_that_the_run_was_cancelled(report: str):
    run = Rehearsal("name: t\nactivities: {a: {use: echo}}").start()
    run.cancel("a")
    run.pass_time(30_000_000)
    assert run.status == "cancelled"

    with pytest.raises(StaleAttempt, match=r"was cancelled: stop working on attempt 1 of activity 'a'"):
        getattr(run, report)("a")


def test_an_output_that_was_recorded_while_the_run_was_being_cancelled_may_be_reported_again():
    run = Rehearsal("name: t\nactivities: {a: {use: echo}}").start()
    run.cancel("a")
    run.complete("a")

    assert run.complete("a") == []


def test_cancel_cancels_the_child_and_every_wait():
    run = Rehearsal(
        """
name: t
activities:
  sub: {workflow: child}
  s: {wait_for: go}
  d: {use: echo, delay: 1d}
  w: {use: wait, with: {seconds: 9}}
"""
    ).start()
    run.suspend("sub", "child", child_run="child-1", child_definition="child")
    run.suspend("w", "timer", until=run.at + 9_000_000)

    run.cancel()

    assert [message.id for message in run.run.messages.values()] == ["cancel:child-1"]
    assert set(run.statuses.values()) == {"cancelled"}
    run.check()


def test_cancel_twice_is_once():
    run = Rehearsal(TWO).start()
    run.cancel("a")

    assert run.cancel("a") == []


def test_a_call_is_not_admitted_once_the_run_is_being_cancelled():
    run = Rehearsal(TWO).start(limit=100)
    run.cancel("a")

    with pytest.raises(StaleAttempt):
        run.admit("a", "c", candidate(1))


def test_items_under_way_are_awaited_too():
    run = Rehearsal("name: t\nactivities: {a: {use: echo, for_each: [1, 2, 3]}}").start()

    run.cancel("a[1]")
    assert run.tasks == ["a[1]"]
    run.complete("a[1]")

    assert run.status == "cancelled"
    run.check()


# --- Pause --------------------------------------------------------------------------------------------------------


def test_a_pause_takes_what_is_reported_and_fires_no_timer():
    run = Rehearsal("name: t\nactivities: {a: {use: echo}, b: {use: echo, delay: 10s}}").start()

    run.pause()
    run.complete("a")
    run.pass_time(60)
    assert run.status == "paused"
    assert run.run.attention_at is None
    assert run.why().startswith("is paused")
    run.resume()

    assert run.tasks == ["b"]
    assert run.status == "running"
    run.check()


def test_timers_that_came_due_in_a_pause_fire_on_resume_earliest_first():
    run = Rehearsal(
        "name: t\nactivities: {late: {use: echo, delay: 20s}, early: {use: echo, delay: 10s}, far: {wait_for: x}}"
    ).start()
    run.pause()
    run.at += 60_000_000

    run.resume()

    assert run.tasks == ["early", "late"]
    run.check()


def test_pause_and_resume_repeated_do_nothing():
    run = Rehearsal(TWO).start()
    run.pause()

    assert run.pause() == []
    run.resume()
    assert run.resume() == []


def test_a_run_that_is_being_cancelled_cannot_be_paused_and_a_paused_one_can_be_cancelled():
    one, two = Rehearsal(TWO).start(), Rehearsal(TWO).start()
    one.cancel("a")
    two.pause()

    with pytest.raises(Refused, match="being cancelled"):
        one.pause()
    two.cancel()

    assert two.status == "cancelled"
    two.check()


# --- Retry --------------------------------------------------------------------------------------------------------


def test_retry_goes_on_from_what_failed_and_keeps_what_is_completed():
    run = Rehearsal(CHAIN).start()
    run.complete("a", "kept")
    run.fail("b", retryable=False)
    assert run.status == "failed"

    run.retry()
    assert run.tasks == ["b"]
    assert run.place("b").attempt == 2
    run.complete("b")
    run.complete("c")

    assert run.status == "completed"
    assert run.scheduled() == ["a", "b", "b", "c"]
    run.check()


def test_what_was_spent_before_a_retry_stays_spent():
    run = Rehearsal(CHAIN).start(limit=100)
    run.admit("a", "c1", candidate(80))
    run.settle("c1", 80)
    run.fail("a", retryable=False)

    run.retry()
    call = run.admit("a", "c2", candidate(30))

    assert call is not None
    assert call.code == "budget_exceeded"
    assert run.run.spent == 80
    run.check()


def test_a_cancelled_run_can_be_retried_to_its_end():
    run = Rehearsal(TWO).start()
    run.cancel("a")
    run.complete("a", "last word")
    assert run.status == "cancelled"

    run.retry()
    assert run.tasks == ["b"]
    run.complete("b")
    assert run.tasks == ["c"]
    run.complete("c")

    assert run.status == "completed"
    run.check()


def test_what_completed_while_the_run_was_being_cancelled_leads_on_after_a_retry():
    run = Rehearsal(CHAIN).start()
    run.cancel("a")
    run.complete("a")

    run.retry()

    assert run.tasks == ["b"]
    run.check()


def test_a_run_whose_time_was_up_can_be_retried_with_all_its_time():
    run = Rehearsal("name: t\ntimeout: 1m\n" + CHAIN.removeprefix("name: t\n")).start()
    run.complete("a")
    run.pass_time(61)
    assert run.run.code == "timed_out"

    run.retry()
    assert run.tasks == ["b"]
    run.pass_time(59)
    run.complete("b")
    run.complete("c")

    assert run.status == "completed"
    run.check()


@pytest.mark.parametrize("more", [True, False])
def test_a_loop_that_was_cut_off_goes_on_where_it_was(more: bool):
    run = Rehearsal(LOOP).start()
    run.complete("head")
    run.complete("tail", {"more": True})
    run.complete("head@1")
    run.cancel("tail@1")
    run.complete("tail@1", {"more": more})
    assert run.status == "cancelled"

    run.retry()

    assert run.tasks == (["head@2"] if more else ["exit"])
    run.check()


def test_a_failed_iteration_is_tried_again_and_the_loop_goes_on():
    run = Rehearsal(LOOP).start()
    run.complete("head")
    run.complete("tail", {"more": True})
    run.complete("head@1")
    run.fail("tail@1", retryable=False)

    run.retry()
    run.complete("tail@1", {"more": True})
    run.complete("head@2")
    run.complete("tail@2", {"more": False})
    run.complete("exit")

    assert run.status == "completed"
    run.check()


def test_retry_of_an_any_join_does_not_wait_for_what_failed():
    run = Rehearsal(
        "name: t\nactivities: {a: {use: echo}, b: {use: echo}, c: {use: echo, join: any, after: [a, b]}}"
    ).start()
    run.complete("a")
    run.fail("c", retryable=False)
    run.fail("b", retryable=False)

    run.retry()

    assert sorted(run.tasks) == ["b", "c"]
    run.check()


def test_a_completed_run_cannot_be_retried_and_a_running_one_need_not():
    run = Rehearsal("name: t\nactivities: {a: {use: echo}}").start()
    assert run.retry() == []
    run.complete("a")

    with pytest.raises(Refused, match="nothing to retry"):
        run.retry()


def test_retry_is_one_fact_and_the_old_outcomes_stay_in_the_history():
    run = Rehearsal(CHAIN).start()
    run.fail("a", retryable=False)
    run.retry()
    run.fail("a", retryable=False)

    assert [type(event) for event in run.kinds(e.RunRetried, e.RunFailed)] == [e.RunFailed, e.RunRetried, e.RunFailed]
    assert [event.attempt for event in run.kinds(e.AttemptFailed)] == [1, 2]
