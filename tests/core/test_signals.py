"""Signals and approvals: early ones are kept, each is delivered once, and waiting for them may end in time."""

from __future__ import annotations

import pytest

from headgate.core import events as e
from headgate.core.decide import SIGNALS_MAX
from headgate.core.errors import NotFound, Refused
from headgate.testing.rehearsal import SECOND, Rehearsal

WAITING = "name: t\nactivities: {first: {use: echo}, a: {use: echo, after: [first], wait_for: go}}"


def test_an_activity_waits_for_its_signal_and_then_runs():
    run = Rehearsal(WAITING).start()
    run.complete("first")
    assert run.tasks == []
    assert run.why().startswith("a waits for signal 'go' since")

    run.signal("go", {"by": "ann"})

    assert run.tasks == ["a"]
    assert run.contents[run.place("a").signal] == {"by": "ann"}
    run.check()


def test_a_signal_that_comes_before_its_wait_is_kept():
    run = Rehearsal(WAITING).start()
    run.signal("go", 1)

    run.complete("first")

    assert run.tasks == ["a"]
    assert run.run.signals == []
    run.check()


def test_each_signal_is_delivered_once_in_the_order_in_which_they_came():
    run = Rehearsal(
        """
name: t
activities:
  a: {use: echo, wait_for: go, iteration_limit: 3, after: [a]}
"""
    ).start()
    run.signal("go", 1)
    run.signal("go", 2)
    run.signal("go", 3)

    seen = []
    for path in ("a", "a@1", "a@2"):
        seen.append(run.contents[run.place(path).signal])
        run.complete(path)

    assert seen == [1, 2, 3]
    assert run.status == "completed"
    run.check()


def test_one_signal_wakes_one_of_two_that_wait_for_it():
    run = Rehearsal("name: t\nactivities: {a: {use: echo, wait_for: go}, b: {use: echo, wait_for: go}}").start()

    run.signal("go")

    assert run.tasks == ["a"]


def test_the_one_that_has_waited_longest_gets_the_signal():
    run = Rehearsal(
        "name: t\nactivities: {late: {use: echo, delay: 10s, wait_for: go}, early: {use: echo, wait_for: go}}"
    ).start()
    run.pass_time(10)

    run.signal("go")

    assert run.tasks == ["early"]


def test_a_signal_for_an_activity_is_nobody_elses():
    run = Rehearsal("name: t\nactivities: {a: {use: echo, wait_for: go}, b: {use: echo, wait_for: go}}").start()

    run.signal("go", key="b")

    assert run.tasks == ["b"]
    with pytest.raises(NotFound, match="no activity 'z'"):
        run.signal("go", key="z")


def test_an_activity_that_only_waits_completes_with_the_signals_data():
    run = Rehearsal("name: t\nactivities: {a: {wait_for: go}, b: {use: echo, after: [a]}}").start()

    run.signal("go", {"n": 3})

    assert run.contents[run.place("a").ref] == {"n": 3}
    assert run.tasks == ["b"]
    run.check()


@pytest.mark.parametrize(
    ("action", "status", "tasks"), [("fail", "failed", []), ("skip", "skipped", []), ("continue", "scheduled", ["a"])]
)
def test_a_signal_that_does_not_come_in_time_fails_skips_or_continues(action: str, status: str, tasks: list[str]):
    run = Rehearsal(
        "name: t\nactivities: "
        f"{{a: {{use: echo, wait_for: {{event_name: go, timeout_seconds: 60, on_timeout: {action}}}}}}}"
    ).start()

    run.pass_time(59)
    assert run.place("a").status == "waiting"
    run.pass_time(1)

    assert (run.place("a").status, run.tasks) == (status, tasks)
    if action == "fail":
        assert run.run.code == "timed_out"
    run.check()


def test_a_signal_after_its_timeout_is_kept_for_somebody_else():
    run = Rehearsal(
        "name: t\nactivities: {a: {use: echo, wait_for: {event_name: go, timeout_seconds: 1, on_timeout: continue}}}"
    ).start()
    run.pass_time(1)

    run.signal("go")

    assert len(run.run.signals) == 1
    assert run.place("a").signal == 0


def test_no_more_signals_are_kept_than_the_bound():
    run = Rehearsal("name: t\nactivities: {a: {use: echo}}", thorough=False).start()
    for _ in range(SIGNALS_MAX):
        run.signal("noise")

    with pytest.raises(Refused, match=f"already keeps {SIGNALS_MAX} signals"):
        run.signal("noise")

    assert len(run.run.signals) == SIGNALS_MAX


# --- Approvals ----------------------------------------------------------------------------------------------------

APPROVAL = "name: t\nactivities: {ok: {use: approval, with: {title: Send?}}, b: {use: echo, after: [ok]}}"


def asked(action: str = "fail", until: int | None = None) -> Rehearsal:
    run = Rehearsal(APPROVAL).start()
    run.suspend("ok", "approval", until=until, on_timeout=action, parameters={"title": "Send?"})
    return run


@pytest.mark.parametrize("approved", [True, False])
def test_a_persons_decision_is_the_activitys_output(approved: bool):
    run = asked()
    assert run.why().startswith("waits for approval 'ok' since")

    run.approve(approved=approved)

    output = run.contents[run.place("ok").ref]
    assert output == {"approved": approved, "by": "ann", "at": run.at, "comment": "", "data": None}
    assert run.tasks == ["b"]
    run.check()


@pytest.mark.parametrize(("action", "approved"), [("approve", True), ("reject", False)])
def test_an_approval_that_nobody_decides_may_decide_itself(action: str, approved: bool):
    run = asked(action, until=1_800_000_060 * SECOND)

    run.pass_time(60)

    output = run.contents[run.place("ok").ref]
    assert isinstance(output, dict)
    assert (output["approved"], output["by"]) == (approved, "timeout")
    run.check()


def test_an_approval_that_nobody_decides_may_fail():
    run = asked("fail", until=1_800_000_060 * SECOND)

    run.pass_time(60)

    assert (run.status, run.run.code) == ("failed", "timed_out")
    run.check()


def test_a_decision_ends_the_time_limit_of_its_approval():
    run = asked("fail", until=1_800_000_060 * SECOND)

    run.approve()

    assert run.run.timers == {}
    assert run.run.attention_at is None
    run.pass_time(61)
    assert run.tasks == ["b"]
    run.check()


def test_of_several_open_approvals_one_must_be_named():
    run = Rehearsal("name: t\nactivities: {a: {use: approval}, b: {use: approval}}").start()
    run.suspend("a", "approval")
    run.suspend("b", "approval")

    with pytest.raises(Refused, match=r"several open approvals: a, b\. Name one"):
        run.approve()
    with pytest.raises(NotFound, match=r"no open approval 'z'; open: a, b"):
        run.approve("z")
    run.approve("b")
    run.approve()

    assert run.status == "completed"
    run.check()


def test_a_decision_where_nothing_is_open_is_refused():
    run = Rehearsal(APPROVAL).start()

    with pytest.raises(Refused, match="no open approval"):
        run.approve()


def test_an_approval_is_decided_once():
    run = asked()
    run.approve()

    with pytest.raises(Refused, match="no open approval"):
        run.approve(approved=False)

    assert len(run.kinds(e.ApprovalDecided)) == 1


def test_a_kept_signal_that_is_taken_and_passed_on_in_one_decision_is_known_to_its_conditions():
    run = Rehearsal(
        """
name: t
activities:
  first: {use: echo}
  told: {after: [first], wait_for: go}
  yes: {use: echo, after: [{activity_key: told, condition: "{{ told.signal_data.well }}"}]}
  no: {use: echo, after: [{activity_key: told, condition: "{{ not told.well }}"}]}
"""
    ).start()
    run.signal("go", {"well": True})

    run.complete("first")

    assert run.tasks == ["yes"]
    assert run.place("no").status == "skipped"
    run.check()


def test_the_data_of_a_signal_that_never_came_is_null_however_deep_one_looks():
    run = Rehearsal(
        """
name: t
activities:
  told: {wait_for: {event_name: go, timeout: 5s, on_timeout: continue}}
  late: {use: echo, after: [{activity_key: told, condition: "{{ told.signal_data.by.name }} == null"}]}
"""
    ).start()

    run.pass_time(5)

    assert run.tasks == ["late"]
    run.check()
