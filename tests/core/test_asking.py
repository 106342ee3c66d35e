"""Budgets that ask: calls that wait for a person, limits that are raised, refusals that hold, what a death leaves."""

from __future__ import annotations

from typing import Any

import pytest

from headgate.authoring import load_definition
from headgate.core import gate_events as g
from headgate.core.errors import Invalid, NotFound, Refused
from headgate.core.values import SharedBudget
from headgate.testing.rehearsal import Rehearsal, candidate

ASKS = "name: t\nbudget: {limit: 0.0000001, action: ask}\nactivities: {a: {use: echo, retry: 3}, b: {use: echo}}"


def asking(text: str = ASKS, **rest: Any) -> Rehearsal:
    return Rehearsal(load_definition(text), **rest).start()


def shared(limit: int, **fields: Any) -> SharedBudget:
    return SharedBudget("default/tenant/day/2026-11-29", "the budget of tenant per day", limit, **fields)


# --- One call -----------------------------------------------------------------------------------------------------


def test_a_call_above_its_own_max_cost_goes_to_the_next_model_or_is_refused():
    run = Rehearsal("name: t\nactivities: {a: {use: echo}}").start()

    dear = run.ask_for("a", "c1", candidate(50), max_cost=40)
    cheap = run.ask_for("a", "c2", candidate(50, "x/dear"), candidate(40, "x/cheap"), max_cost=40)

    assert (dear.state, dear.code) == ("refused", "budget_exceeded")
    assert "the call's max_cost has $0.00000004 left of $0.00000004" in dear.reason
    assert (cheap.state, cheap.model) == ("admitted", "x/cheap")
    run.check()


# --- Asking -------------------------------------------------------------------------------------------------------


def test_a_call_that_does_not_fit_waits_for_a_person_and_says_what_can_be_done():
    run = asking()
    run.ask_for("a", "c1", candidate(70))
    run.settle("c1", 70)

    call = run.ask_for("a", "c2", candidate(60, "acme/large"))

    assert call.state == "waiting"
    assert run.status == "running", "b can be worked on"
    run.complete("b")
    assert run.status == "waiting"
    assert run.why() == (
        "a waits for a person: acme/large would cost up to $0.00000006; the run's budget has $0.00000003 left of "
        "$0.0000001; `headgate budget raise rehearsed --to 0.00000013` or `headgate budget refuse rehearsed`"
    )
    run.check()


def test_a_person_is_asked_only_when_no_model_of_the_list_fits_and_about_the_first():
    run = asking()

    fits = run.ask_for("a", "c1", candidate(200, "x/dear"), candidate(90, "x/cheap"))
    asks = run.ask_for("b", "c2", candidate(200, "x/dear"), candidate(150, "x/less"))

    assert (fits.state, fits.model) == ("admitted", "x/cheap")
    assert (asks.state, asks.model) == ("waiting", "x/dear")


def test_a_call_that_asks_keeps_no_other_from_going_on():
    run = asking()
    run.ask_for("a", "c1", candidate(500))

    small = run.ask_for("b", "c2", candidate(40))

    assert small.state == "admitted"


def test_a_raised_limit_lets_the_call_go_on_and_a_limit_that_is_still_too_low_has_it_ask_again():
    run = asking()
    call = run.ask_for("a", "c1", candidate(200))

    run.raise_budget(150)
    run.free("c1")
    again = [event.limit for event in run.kinds(g.CallWaiting)]
    run.raise_budget(200)
    assert run.status == "running"
    run.free("c1")

    assert again == [100, 150]
    assert call.call_id in run.run.calls
    assert run.run.calls["c1"].state == "admitted"
    assert [(event.was, event.limit, event.by) for event in run.kinds(g.BudgetRaised)] == [
        (100, 150, "ann"),
        (150, 200, "ann"),
    ]
    run.check()


def test_the_budget_of_one_activity_is_raised_by_its_name():
    run = asking("name: t\nactivities: {a: {use: echo, budget: {limit: 0.0000001, action: ask}}, b: {use: echo}}")
    run.ask_for("a", "c1", candidate(120))

    assert "`headgate budget raise rehearsed --activity a --to 0.00000012`" in run.why("a")
    run.raise_budget(120, key="a")
    run.free("c1")

    assert run.run.calls["c1"].state == "admitted"
    with pytest.raises(Refused, match="Activity 'b' has no budget"):
        run.raise_budget(120, key="b")
    with pytest.raises(NotFound, match="has no activity 'c'"):
        run.raise_budget(120, key="c")
    run.check()


def test_a_limit_is_raised_at_any_time_once_and_never_lowered():
    run = asking()
    run.ask_for("a", "c1", candidate(90))
    waiting = run.ask_for("b", "c2", candidate(40))
    assert waiting.state == "waiting"

    run.raise_budget(140)

    assert run.run.calls["c2"].state == "admitted", "it waited only for what the other had reserved"
    assert run.raise_budget(140) == []
    with pytest.raises(Invalid, match="expected a higher limit to raise it to"):
        run.raise_budget(139)
    run.check()


def test_a_refused_call_fails_as_if_the_action_were_abort():
    run = asking()
    run.ask_for("a", "c1", candidate(200, "acme/large"))

    run.refuse_calls(by="bob")

    call = run.run.calls["c1"]
    assert (call.state, call.code) == ("refused", "budget_exceeded")
    assert call.reason == (
        "bob refused: acme/large would cost up to $0.0000002; the run's budget has $0.0000001 left of $0.0000001."
    )
    with pytest.raises(Refused, match="No call of run rehearsed waits for a person"):
        run.refuse_calls()
    run.check()


def test_refusing_the_calls_of_one_activity_leaves_the_others_asking():
    run = asking()
    run.ask_for("a", "c1", candidate(200))
    run.ask_for("b", "c2", candidate(200))

    run.refuse_calls(key="b")

    assert [run.run.calls[name].state for name in ("c1", "c2")] == ["waiting", "refused"]
    run.check()


@pytest.mark.parametrize("end", ["cancel", "time_out", "lose"])
def test_a_call_that_asks_ends_with_its_attempt(end: str):
    run = asking()
    run.ask_for("a", "c1", candidate(200))

    run.cancel() if end == "cancel" else getattr(run, end)("a")

    assert not run.run.asking_calls
    run.check()


# --- After a death --------------------------------------------------------------------------------------------------


def test_an_attempt_whose_call_asked_when_its_process_died_asks_anew_under_its_number():
    run = asking()
    run.ask_for("a", "claim-1/1", candidate(200))

    run.forget_waiting()
    assert list(run.run.asking_calls) == ["claim-1/1"], "people can still answer"
    run.ask_for("a", "claim-2/1", candidate(200))

    assert list(run.run.asking_calls) == ["claim-2/1"]
    assert list(run.run.calls) == ["claim-2/1"]
    run.raise_budget(200)
    run.free("claim-2/1")
    assert run.run.calls["claim-2/1"].state == "admitted"
    assert run.place("a").lost == 0
    run.check()


def test_a_call_that_nobody_waits_for_any_more_is_not_admitted_by_a_higher_limit():
    run = asking()
    run.ask_for("a", "claim-1/1", candidate(200))
    run.forget_waiting()

    run.raise_budget(300)

    assert (run.run.reserved, run.status) == (0, "running")
    assert run.ask_for("a", "claim-2/1", candidate(200)).state == "admitted"
    run.check()


def test_what_a_person_refused_is_not_asked_again_by_the_next_claim_unless_the_limit_was_raised():
    run = asking()
    run.ask_for("a", "claim-1/1", candidate(200))
    run.refuse_calls(by="bob")

    again = run.ask_for("a", "claim-2/1", candidate(200))
    run.raise_budget(300)
    raised = run.ask_for("a", "claim-3/1", candidate(200))

    assert (again.state, again.reason) == ("refused", run.kinds(g.CallRefused)[0].message)
    assert raised.state == "admitted"
    run.check()


def test_calls_that_only_waited_for_others_are_forgotten_with_their_process():
    run = asking()
    run.ask_for("a", "claim-1/1", candidate(70))
    run.ask_for("b", "claim-1/2", candidate(60))

    run.forget_waiting()
    run.settle("claim-1/1", 0)

    assert "claim-1/2" not in run.run.calls
    assert run.forget_waiting() == []
    run.check()


# --- Above the run ------------------------------------------------------------------------------------------------


def test_a_call_waits_in_the_line_of_a_shared_budget_and_is_admitted_when_that_has_room():
    run = Rehearsal("name: t\nactivities: {a: {use: echo}}", shared=[shared(100, reserved=60)]).start()
    call = run.ask_for("a", "c1", candidate(60))
    assert (call.state, call.line) == ("waiting", "default/tenant/day/2026-11-29")
    assert run.free("c1") == [], "nothing has changed"

    run.shared = {call.line: shared(100)}
    run.free("c1")

    assert run.run.calls["c1"].budgets == (call.line,)
    assert run.standing == (shared(100, reserved=60),)
    run.settle("c1", 40)
    assert run.standing == (shared(100, spent=40),)
    run.check()


def test_a_call_does_not_overtake_those_that_came_before_it_to_a_shared_budget():
    run = Rehearsal("name: t\nactivities: {a: {use: echo}}", shared=[shared(100, before=1)]).start()

    call = run.ask_for("a", "c1", candidate(1))

    assert call.state == "waiting"


def test_a_shared_budget_that_is_overspent_is_named_once():
    run = Rehearsal("name: t\nactivities: {a: {use: echo}}", shared=[shared(100, spent=101)]).start()

    first, second = run.ask_for("a", "c1", candidate(0)), run.ask_for("a", "c2", candidate(0))

    assert (first.state, second.state) == ("refused", "refused")
    assert [(event.limit, event.spent) for event in run.kinds(g.BudgetOverrun)] == [(100, 101)]
    run.check()


def test_an_alert_of_the_runs_own_budget_is_an_event_once():
    run = asking("name: t\nbudget: {limit: 0.0000001, action: alert}\nactivities: {a: {use: echo}}")

    for number in range(3):
        run.ask_for("a", f"c{number}", candidate(60))
        run.settle(f"c{number}", 60)

    assert [(event.budget, event.percent) for event in run.kinds(g.BudgetAlert)] == [("the run's budget", 100)]
    run.check()
