"""Activities that wait: for a time, or for a run of their own."""

from __future__ import annotations

import pytest
from tests.core.rehearsed import CHAIN, rehearse

from headgate.core import commands as c
from headgate.testing.rehearsal import NOON, SECOND, Rehearsal

# --- Time -------------------------------------------------------------------------------------------------------------


def test_a_delay_holds_the_activity_until_its_time():
    run = rehearse("name: t\nactivities: {a: {use: echo, delay: 10s}}")

    assert run.tasks == []
    assert run.why() == "a starts in 10 s (delay)"
    run.pass_time(9)
    assert run.tasks == []
    run.pass_time(1)
    assert run.tasks == ["a"]
    run.check()


def test_a_time_in_the_past_opens_at_once_and_one_to_come_waits():
    past = rehearse("name: t\nactivities: {a: {use: echo, scheduled_for: '2001-01-01T00:00:00Z'}}")
    future = rehearse(
        "name: t\nactivities: {a: {use: echo, scheduled_for: '{{ INPUT.when }}'}}", when=NOON / SECOND + 60
    )

    assert past.tasks == ["a"]
    assert future.tasks == []
    future.pass_time(60)
    assert future.tasks == ["a"]


def test_a_delay_that_is_none_fails_the_activity_with_its_text():
    run = rehearse("name: t\nactivities: {a: {use: echo, delay: '{{ INPUT.pause }}'}}", pause="soon")

    assert run.place("a").code == "expression_error"
    assert "soon" in run.place("a").error


def test_a_wait_of_weeks_is_one_timer():
    run = rehearse("name: t\nactivities: {a: {use: wait, with: {duration: 3w}}}")
    run.suspend("a", "timer", until=run.at + 3 * 7 * 86_400 * SECOND, parameters={"duration": "3w"})

    run.pass_time(3 * 7 * 86_400 - 1)
    assert run.status == "waiting"
    run.pass_time(1)

    assert run.status == "completed"
    assert len(run.events) == 6
    run.check()


def test_a_wait_whose_time_is_past_is_over_in_the_same_decision():
    run = rehearse("name: t\nactivities: {a: {use: wait, with: {seconds: 0}}}")

    run.suspend("a", "timer", until=run.at)

    assert run.status == "completed"
    run.check()


def test_a_run_that_takes_longer_than_its_time_fails_and_cancels_what_is_open():
    run = rehearse("name: t\ntimeout: 1m\nactivities: {a: {use: echo}, b: {use: echo, after: [a]}}")

    run.pass_time(60)

    assert (run.status, run.run.code) == ("failed", "timed_out")
    assert run.statuses == {"a": "cancelled", "b": "cancelled"}
    run.check()


# --- Sub-workflows ----------------------------------------------------------------------------------------------------


PARENT = "name: t\nactivities: {sub: {workflow: child, retry: 2, with: {x: 1}}, after: {use: echo, after: [sub]}}"


def parent() -> Rehearsal:
    run = rehearse(PARENT)
    run.suspend("sub", "child", child_run="child-1", child_definition="child", parameters={"x": 1})
    return run


def test_a_child_is_started_by_a_message_and_its_outputs_are_the_activitys():
    run = parent()
    assert [message.kind for message in run.run.messages.values()] == ["start_child"]
    assert run.why("sub") == "waits for run child-1"

    run.feed(c.ConfirmMessage(at=run.at, message="start:child-1"))
    run.finish_child("sub", "child-1", output={"y": 2}, cost=5)

    assert run.contents[run.place("sub").ref] == {"y": 2}
    assert run.tasks == ["after"]
    assert run.run.total_cost == 5
    run.check()


def test_a_child_that_failed_is_retried_as_a_new_child():
    run = parent()

    run.finish_child("sub", "child-1", "failed", cost=3)
    assert run.why("sub").startswith("retries in")
    run.pass_time(10)
    run.suspend("sub", "child", child_run="child-2", child_definition="child")
    assert run.finish_child("sub", "child-1", output="late") == []
    run.finish_child("sub", "child-2", output="good", cost=4)

    assert run.contents[run.place("sub").ref] == "good"
    assert run.run.total_cost == 7
    run.check()


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_child_that_did_not_complete_fails_the_activity_and_says_how(status: str):
    run = rehearse("name: t\nactivities: {sub: {workflow: child}}")
    run.suspend("sub", "child", child_run="child-1", child_definition="child")

    run.finish_child("sub", "child-1", status)

    assert (run.status, run.run.code) == ("failed", f"child_{status}")


def test_a_parent_that_runs_out_of_time_cancels_its_child():
    run = rehearse("name: t\ntimeout: 1m\nactivities: {sub: {workflow: child}}")
    run.suspend("sub", "child", child_run="child-1", child_definition="child")

    run.pass_time(61)

    assert [message.id for message in run.run.messages.values()] == ["cancel:child-1"]
    run.check()


def test_a_finished_child_keeps_its_message_to_the_parent_until_it_is_accepted():
    run = Rehearsal(CHAIN)
    run.feed(
        c.StartRun(
            at=NOON,
            workflow="chain",
            definition="v",
            trace_id="t",
            parent_run="p",
            parent_place="sub",
            parent_attempt=1,
        )
    )
    for key in "abc":
        run.complete(key)

    assert run.run.attention_at == 0
    run.feed(c.ConfirmMessage(at=run.at, message="parent"))

    assert run.run.attention_at is None
    assert run.feed(c.ConfirmMessage(at=run.at, message="parent")) == []
