"""What becomes of activities: readiness, conditions, skips, failures, attempts, delays, waits, children, the end."""

from __future__ import annotations

import pytest

from headgate.core import commands as c
from headgate.core import events as e
from headgate.core.decide import decide, wanted
from headgate.core.errors import Invalid, NotFound, Refused, StaleAttempt
from headgate.core.retry import LOST_ATTEMPTS_MAX
from headgate.core.values import Failure
from headgate.testing.rehearsal import NOON, SECOND, Rehearsal

CHAIN = """
name: chain
activities:
  a: {use: echo}
  b: {use: echo, after: [a]}
  c: {use: echo, after: [b]}
"""

FORK = """
name: fork
activities:
  a: {use: echo}
  left: {use: echo, after: [{activity_key: a, condition: "{{ a.go == 'left' }}"}]}
  right: {use: echo, after: [{activity_key: a, condition: "{{ a.go == 'right' }}"}]}
  end: {use: echo, after: [{activity_key: left, condition: "true"}, {activity_key: right, condition: "true"}]}
"""


def rehearse(text: str, **given: object) -> Rehearsal:
    return Rehearsal(text).start(given)


# --- Readiness ----------------------------------------------------------------------------------------------------


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


# --- Failures -----------------------------------------------------------------------------------------------------


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


# --- Attempts -----------------------------------------------------------------------------------------------------

RETRIED = (
    "name: t\nactivities: {a: {use: echo, retry: {max_attempts: 3, base_seconds: 2, factor: 2, max_seconds: 300}}}"
)


def test_a_retryable_failure_waits_longer_each_time_and_then_fails_for_good():
    run = rehearse(RETRIED)

    run.fail("a")
    first = run.run.timers["a", "retry"] - run.at
    assert 1.8 * SECOND <= first <= 2.2 * SECOND
    assert run.status == "waiting"
    assert run.why("a") == "retries in 2.0 s after: a is broken" or run.why("a").startswith("retries in")
    run.pass_time(3)
    assert run.place("a").attempt == 2
    run.fail("a")
    assert 3.6 * SECOND <= run.run.timers["a", "retry"] - run.at <= 4.4 * SECOND
    run.pass_time(5)
    run.fail("a")

    assert (run.status, run.place("a").attempt) == ("failed", 3)
    run.check()


def test_a_failure_that_is_not_retryable_is_not_tried_again():
    run = rehearse(RETRIED)

    run.fail("a", retryable=False)

    assert run.status == "failed"


def test_a_retry_never_comes_before_the_time_that_the_failure_asks_for():
    run = rehearse(RETRIED)
    failure = Failure("rate_limited", "429", retry_after_seconds=60)

    run.feed(c.FailActivity(at=run.at, place="a", attempt=1, error=failure))

    assert run.run.timers["a", "retry"] == run.at + 60 * SECOND


def test_a_timed_out_attempt_counts_and_fails_as_timed_out():
    run = rehearse("name: t\nactivities: {a: {use: echo, retry: 1}}")

    run.time_out("a")

    assert (run.status, run.run.code) == ("failed", "timed_out")


def test_a_lost_attempt_gets_a_new_number_and_does_not_count_as_a_failure():
    run = rehearse("name: t\nactivities: {a: {use: echo, retry: 1}}")

    run.lose("a")

    assert run.tasks == ["a"]
    assert (run.place("a").attempt, run.place("a").failures) == (2, 0)
    with pytest.raises(StaleAttempt, match="stands at attempt 2"):
        run.complete("a", attempt=1)


def test_an_attempt_that_is_lost_again_and_again_fails_as_worker_lost():
    run = rehearse("name: t\nactivities: {a: {use: echo}}")

    for _ in range(LOST_ATTEMPTS_MAX):
        run.lose("a")

    assert (run.status, run.run.code) == ("failed", "worker_lost")
    assert run.place("a").attempt == LOST_ATTEMPTS_MAX


def test_a_report_that_is_repeated_changes_nothing():
    run = rehearse(CHAIN)
    run.complete("a", 7)

    assert run.complete("a", 8, attempt=1) == []
    assert run.fail("a", attempt=1) == []
    assert run.lose("a", attempt=1) == []

    assert run.contents[run.place("a").ref] == 7


def test_a_report_of_an_attempt_that_was_never_handed_out_is_invalid():
    run = rehearse(CHAIN)

    with pytest.raises(Invalid, match="has not been handed out"):
        run.complete("a", attempt=2)
    with pytest.raises(NotFound, match="no activity 'z'"):
        run.complete("z", attempt=1)


def test_a_report_after_the_end_of_the_run_is_stale():
    run = rehearse("name: t\ntimeout: 10s\nactivities: {a: {use: echo}}")
    run.pass_time(11)

    assert run.status == "failed"
    with pytest.raises(StaleAttempt, match="is failed, and waits for attempt 1 of activity 'a' no more"):
        run.complete("a", attempt=1)
    assert run.run.code == "timed_out"


# --- Time ---------------------------------------------------------------------------------------------------------


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


# --- Sub-workflows ------------------------------------------------------------------------------------------------

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


# --- The whole ----------------------------------------------------------------------------------------------------


def test_the_outputs_of_a_workflow_are_its_content_and_an_error_in_them_fails_the_run():
    text = "name: t\noutputs: {{sum: '{{{{ a.x {} }}}}'}}\nactivities: {{a: {{use: echo}}}}"
    good, bad = rehearse(text.format("+ 1")), rehearse(text.format("< 1"))

    good.complete("a", {"x": 1})
    bad.complete("a", {"x": "text"})

    assert good.contents[good.run.outputs_version] == {"sum": 2}
    assert (bad.status, bad.run.code) == ("failed", "expression_error")
    good.check()
    bad.check()


def test_a_start_that_is_repeated_does_nothing():
    run = rehearse(CHAIN)
    before = len(run.events)

    run.start({})

    assert len(run.events) == before


def test_every_event_of_a_run_carries_its_trace_id_its_cause_and_a_growing_version():
    run = rehearse(FORK)
    run.complete("a", {"go": "left"})
    run.complete("left")
    run.complete("end")

    assert {event.trace_id for event in run.events} == {"trace"}
    assert [event.version for event in run.events] == list(range(1, len(run.events) + 1))
    assert [event.at for event in run.events] == sorted(event.at for event in run.events)


def test_a_command_of_the_past_does_not_turn_time_back():
    run = rehearse(CHAIN)
    run.pass_time(100)
    run.complete("a")

    run.feed(c.CompleteActivity(at=NOON, place="b", attempt=1, output=None))

    assert run.events[-1].at == run.at


@pytest.mark.parametrize(
    "command",
    [
        c.Signal(at=NOON, name="go"),
        c.Cancel(at=NOON),
        c.Pause(at=NOON),
        c.Resume(at=NOON),
        c.DecideApproval(at=NOON),
    ],
)
def test_what_is_asked_of_a_run_that_is_over_is_refused(command: c.Command):
    run = rehearse("name: t\nactivities: {a: {use: echo}}")
    run.complete("a")

    with pytest.raises(Refused, match="is completed"):
        run.feed(command)


def test_deciding_needs_no_more_contents_than_it_asks_for():
    run = rehearse(FORK)
    completed = c.CompleteActivity(at=NOON, place="a", attempt=1, output={"go": "left"})

    assert wanted(run.run, completed) == set()
    assert any(isinstance(event, e.EdgeDecided) for event in decide(run.run, completed))
