"""How calls end, and what they cost more than was reserved for them."""

from __future__ import annotations

import pytest
from tests.core.crowds import limited

from headgate.core import gate_events as g
from headgate.testing.rehearsal import Rehearsal, candidate

# --- How calls end ----------------------------------------------------------------------------------------------------


def test_a_call_that_was_never_sent_gives_its_reservation_back():
    run = limited(100)
    run.admit("a", "c1", candidate(70))

    run.settle("c1", outcome="never_sent")

    assert (run.run.spent, run.run.reserved) == (0, 0)
    run.check()


def test_a_lost_call_forfeits_its_reservation_by_name():
    run = limited(100)
    run.admit("a", "c1", candidate(70))

    run.settle("c1", outcome="lost")

    assert (run.run.spent, run.run.reserved) == (70, 0)
    assert [event.amount for event in run.kinds(g.CallForfeited)] == [70]
    run.check()


@pytest.mark.parametrize("end", ["complete", "fail", "lose", "time_out"])
def test_an_attempt_that_ends_forfeits_the_calls_that_it_left_open(end: str):
    run = limited(100)
    run.admit("a", "c1", candidate(70))

    getattr(run, end)("a")

    assert (run.run.spent, run.run.reserved) == (70, 0)
    run.check()


def test_a_run_whose_time_is_up_forfeits_the_calls_that_are_open():
    run = Rehearsal("name: t\ntimeout: 1m\nactivities: {a: {use: echo}, b: {use: echo}}").start(limit=100)
    run.admit("a", "c1", candidate(70))
    run.admit("b", "c2", candidate(60))

    run.pass_time(61)

    assert (run.run.spent, run.run.reserved) == (70, 0)
    assert not run.run.waiting_calls
    run.check()


@pytest.mark.parametrize("again", ["retry", "next attempt", "end of run"])
def test_what_a_forfeited_call_really_cost_replaces_the_forfeit_whenever_it_comes(again: str):
    run = limited(100)
    run.admit("a", "c1", candidate(70))
    run.fail("a", retryable=again == "next attempt")
    if again == "next attempt":
        run.pass_time(10)
        run.admit("a", "c2", candidate(20))
    else:
        run.complete("b")
        assert run.status == "failed"
    if again == "retry":
        run.retry()

    settled = run.settle("c1", 30)

    assert [type(event) for event in settled] == [g.CallSettled]
    assert run.run.spent == 30
    assert run.place("a").cost == 30
    assert run.settle("c1", 50) == []
    run.check()


def test_a_late_settlement_of_an_iteration_that_is_over_counts_for_the_activity():
    run = Rehearsal("name: t\nactivities: {a: {use: echo, budget: 1, iteration_limit: 3, after: [a]}}").start()
    run.admit("a", "c1", candidate(70))
    run.complete("a")
    assert run.tasks == ["a@1"]

    run.settle("c1", 20)

    assert (run.place("a@1").cost, run.run.spent) == (20, 20)
    run.check()


# --- Overruns ---------------------------------------------------------------------------------------------------------


def test_a_cost_above_its_reservation_is_named_and_stops_every_further_admission():
    run = limited(100)
    run.honest = False
    run.admit("a", "c1", candidate(50))

    run.settle("c1", 150)
    call = run.admit("b", "c2", candidate(0))

    overrun = run.kinds(g.BudgetOverrun)
    assert [(event.limit, event.spent) for event in overrun] == [(100, 150)]
    assert call is not None
    assert call.state == "refused"


@pytest.mark.parametrize("report", ["complete", "fail"])
def test_a_cost_that_a_worker_reports_with_its_outcome_is_named_when_it_passes_a_limit(report: str):
    run = limited(100)
    run.honest = False

    getattr(run, report)("a", cost=101)

    assert [event.budget for event in run.kinds(g.BudgetOverrun)] == ["the run's budget"]


def test_an_overrun_by_a_late_settlement_is_named_too():
    run = Rehearsal("name: t\nactivities: {a: {use: echo, for_each: [1, 2], budget: 0.0000001}}").start()
    run.honest = False
    run.admit("a[0]", "c1", candidate(60))
    run.complete("a[0]")

    run.settle("c1", 500)

    assert [event.budget for event in run.kinds(g.BudgetOverrun)] == ["the budget of activity 'a'"]
    call = run.admit("a[1]", "c2", candidate(1))
    assert call is not None
    assert call.state == "refused"
