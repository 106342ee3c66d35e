"""Which calls are admitted: crowds, waiting, choice, in any order."""

from __future__ import annotations

import os
from collections.abc import Sequence

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from tests.core.crowds import limited, one_task

from headgate.core import commands as c
from headgate.core import gate_events as g
from headgate.core.definition import Activity, Backoff, Budget, Definition
from headgate.core.values import SharedBudget
from headgate.testing.rehearsal import Rehearsal, candidate
from headgate.testing.stories import Move, moves, play
from headgate.testing.story_checks import bring_to_an_end
from headgate.testing.story_definitions import GIVEN, definitions, shared_budgets

EXAMPLES = 2_000 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 60


def crowd(limit: int, size: int = 100) -> Rehearsal:
    definition = Definition(
        name="crowd", activities=(Activity(key="a", name="echo", for_each=list(range(size)), max_parallel=size),)
    )
    return Rehearsal(definition, thorough=False).start(limit=limit)


# --- Crowds -----------------------------------------------------------------------------------------------------------


def test_of_a_hundred_parallel_calls_that_cost_their_worst_case_exactly_as_many_happen_as_fit():
    run = crowd(limit=1_000)
    for number in range(100):
        run.admit(f"a[{number}]", f"c{number}", candidate(100))
    assert len([call for call in run.run.calls.values() if call.state == "admitted"]) == 10

    for number in range(10):
        run.settle(f"c{number}", 100)

    states = [call.state for call in run.run.calls.values()]
    assert (states.count("settled"), states.count("refused")) == (10, 90)
    assert (run.run.spent, run.run.reserved) == (1_000, 0)
    run.check()


def test_of_a_hundred_calls_that_cost_a_tenth_of_their_worst_case_at_least_ninety_happen_each_in_its_turn():
    run = crowd(limit=1_000)
    for number in range(100):
        run.admit(f"a[{number}]", f"c{number}", candidate(100))
    happened: list[str] = []

    while admitted := [call for call in run.run.calls.values() if call.state == "admitted"]:
        happened.append(admitted[0].call_id)
        run.settle(admitted[0].call_id, 10)

    assert len(happened) >= 90
    assert happened == [f"c{number}" for number in range(len(happened))]
    for refused in run.kinds(g.CallRefused):
        spent = sum(event.cost for event in run.kinds(g.CallSettled) if event.version < refused.version)
        assert spent + 100 > 1_000, "a call was refused that fitted beside what was spent"
    run.check()


# --- Waiting ----------------------------------------------------------------------------------------------------------


def test_a_call_that_only_others_reservations_keep_out_waits_and_says_so():
    run = limited(100)
    run.admit("a", "c1", candidate(70))

    call = run.admit("b", "c2", candidate(60))

    assert call is not None
    assert call.state == "waiting"
    sentence = run.why("b")
    assert sentence.startswith("waits for $0.00000007 reserved by 1 call: scripted/model needs $0.00000006")
    assert run.why("a") == ""


def test_who_waits_is_woken_first_come_first_served():
    run = limited(100, text="name: t\nactivities: {a: {use: echo}, b: {use: echo}, c: {use: echo}, d: {use: echo}}")
    run.admit("a", "c1", candidate(90))
    run.admit("b", "c2", candidate(60))
    run.admit("c", "c3", candidate(40))
    small = run.admit("d", "c4", candidate(5))

    assert small is not None
    assert small.state == "waiting", "it would fit, but others came before it"
    run.settle("c1", 0)

    states = {call.call_id: call.state for call in run.run.calls.values()}
    assert states == {"c1": "settled", "c2": "admitted", "c3": "admitted", "c4": "waiting"}
    run.check()


def test_a_call_that_waits_is_refused_once_it_fits_no_more_beside_what_is_spent():
    run = limited(100)
    run.admit("a", "c1", candidate(70))
    run.admit("b", "c2", candidate(60))

    run.settle("c1", 70)

    refused = run.run.calls["c2"]
    assert (refused.state, refused.code) == ("refused", "budget_exceeded")
    assert "has $0.00000003 left of $0.0000001" in refused.reason
    run.check()


def test_a_call_that_waits_is_refused_when_its_attempt_ends():
    run = limited(100)
    run.admit("a", "c1", candidate(70))
    run.admit("b", "c2", candidate(60))

    run.time_out("b")

    assert [event.code for event in run.kinds(g.CallRefused)] == ["attempt_over"]
    assert not run.run.waiting_calls
    run.check()


def test_a_call_that_is_asked_for_again_has_the_same_answer():
    run = limited(100)
    first = run.admit("a", "c1", candidate(70))
    before = len(run.events)

    again = run.admit("a", "c1", candidate(70))

    assert first is not None
    assert again is not None
    assert (first.state, again.state, len(run.events)) == ("admitted", "admitted", before)


# --- Choice -----------------------------------------------------------------------------------------------------------


def test_candidates_fall_back_to_the_first_that_fits_and_each_skip_says_why():
    run = limited(100)

    call = run.admit("a", "c1", candidate(500, "x/dear"), candidate(200, "x/less"), candidate(50, "x/cheap"))

    assert call is not None
    assert (call.state, call.model, call.reservation) == ("admitted", "x/cheap", 50)
    skipped = run.kinds(g.ModelSkipped)
    assert [event.model for event in skipped] == ["x/dear", "x/less"]
    assert "x/dear would cost up to $0.0000005" in skipped[0].reason


def test_a_model_without_a_price_is_refused_under_a_budget_and_admitted_without_one():
    under, free = limited(100), Rehearsal(one_task).start()

    refused = under.admit("a", "c1", candidate(0, "x/unknown", priced=False))
    admitted = free.admit("a", "c1", candidate(0, "x/unknown", priced=False))

    assert refused is not None
    assert admitted is not None
    assert (refused.state, refused.code) == ("refused", "unpriced_model")
    assert "Set a price, or remove the limit" in refused.reason
    assert admitted.state == "admitted"


def test_a_model_without_a_price_is_passed_over_for_one_that_has_one():
    run = limited(100)

    call = run.admit("a", "c1", candidate(0, "x/unknown", priced=False), candidate(10, "x/known"))

    assert call is not None
    assert (call.state, call.model) == ("admitted", "x/known")


def test_the_action_alert_admits_beyond_the_limit_and_says_so():
    run = limited(100, "alert")

    call = run.admit("a", "c1", candidate(500))

    assert call is not None
    assert call.state == "admitted"
    admitted = run.kinds(g.CallAdmitted)
    assert "would cost up to $0.0000005; the run's budget has $0.0000001 left" in admitted[0].alert


def test_an_alert_below_a_strict_budget_does_not_open_the_strict_one():
    text = "name: t\nactivities: {a: {use: echo, budget: {limit: 0.00000001, action: alert}}, b: {use: echo}}"
    full, crowded = limited(100, text=text), limited(100, text=text)
    crowded.admit("b", "c0", candidate(90))

    refused = full.admit("a", "c1", candidate(101))
    waiting = crowded.admit("a", "c1", candidate(50))

    assert refused is not None
    assert waiting is not None
    assert (refused.state, waiting.state) == ("refused", "waiting")
    assert "the run's budget" in refused.reason


def test_the_budget_of_an_activity_holds_over_its_attempts():
    run = Rehearsal("name: t\nactivities: {a: {use: echo, retry: 5, budget: 0.0000001}}").start()
    run.admit("a", "c1", candidate(60))
    run.settle("c1", 60)
    run.fail("a")
    run.pass_time(10)

    call = run.admit("a", "c2", candidate(60))

    assert call is not None
    assert call.state == "refused"
    assert "the budget of activity 'a' has $0.00000004 left" in call.reason


def test_without_a_budget_everything_is_admitted_and_counted():
    run = Rehearsal(one_task).start()

    for number in range(5):
        run.admit("a", f"c{number}", candidate(10**12))
        run.settle(f"c{number}", 10**12)

    assert run.run.spent == 5 * 10**12


def test_a_limit_of_nothing_admits_only_what_costs_nothing():
    run = limited(0)

    free, paid = run.admit("a", "c1", candidate(0)), run.admit("a", "c2", candidate(1))

    assert free is not None
    assert paid is not None
    assert (free.state, paid.state) == ("admitted", "refused")


# --- Any order --------------------------------------------------------------------------------------------------------


MARKET = Definition(
    name="market",
    activities=(
        Activity(key="a", name="echo", for_each=[1, 2, 3, 4, 5], retry=Backoff(max_attempts=9), budget=Budget(150)),
        Activity(key="b", name="echo", retry=Backoff(max_attempts=9)),
    ),
)
"""Six that want to spend at the same time."""

any_order = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def spend_in_any_order(
    definition: Definition, story: list[Move], limit: int, shared: Sequence[SharedBudget] = ()
) -> Rehearsal:
    run = Rehearsal(definition, thorough=False, shared=shared).start(GIVEN, limit=limit)
    told: list[c.Command] = []
    for move in story:
        play(run, move, told)  # after each event: spent + reserved <= limit, in every level (`Rehearsal.honest`)
        run.check_state()
    bring_to_an_end(run)
    return run


def check_accounts(run: Rehearsal) -> None:
    forfeited = sum(lost.amount for lost in run.kinds(g.CallForfeited))
    settled = sum(call.cost - call.replaces for call in run.kinds(g.CallSettled))
    assert run.run.reserved == 0
    assert run.run.spent == forfeited + settled
    assert [budget.reserved for budget in run.standing] == [0] * len(run.standing)
    run.check()


@any_order
@given(definitions(children=False), moves(60, money=True), st.integers(0, 200), shared_budgets())
def test_whatever_is_asked_of_any_workflow_money_is_never_overspent(
    definition: Definition, story: list[Move], limit: int, shared: list[SharedBudget]
):
    run = spend_in_any_order(definition, story, limit, shared)

    check_accounts(run)


@any_order
@given(moves(100, money=True), st.integers(50, 300), shared_budgets())
def test_whatever_a_crowd_asks_money_is_never_overspent(story: list[Move], limit: int, shared: list[SharedBudget]):
    run = spend_in_any_order(MARKET, story, limit, shared)

    event(
        f"calls waited: {bool(run.kinds(g.CallWaiting))}, asked: {any(call.asks for call in run.kinds(g.CallWaiting))}"
    )
    check_accounts(run)
