"""What a child's end, its late calls and its retries tell its parent of money, in whatever order that comes."""

from __future__ import annotations

import os
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headgate.core import commands as c
from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.core.messages import CORRECTED_SINCE
from headgate.core.run import Message
from headgate.core.values import Usage
from headgate.testing.rehearsal import NOON, Rehearsal, candidate
from headgate.testing.stories import Move, moves, play
from headgate.testing.story_checks import bring_to_an_end

EXAMPLES = 2_000 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 60

CHILD = "name: child\nactivities: {a: {use: echo, retry: 1}, b: {use: echo, retry: 3, on_failure: continue}}"
PARENT = "name: parent\nactivities: {sub: {workflow: child}, slow: {use: echo}}"
WORST = 100


def child_run(run_id: str = "child-1", *, decider: int = 0) -> Rehearsal:
    run = Rehearsal(CHILD, run_id=run_id)
    begun = {"parent_run": "p", "parent_place": "sub", "parent_attempt": 1}
    run.feed(c.StartRun(at=NOON, workflow="child", definition="v", trace_id="t", decider=decider, **begun))
    return run


def parent_run() -> Rehearsal:
    run = Rehearsal(PARENT).start()
    run.suspend("sub", "child", child_run="child-1", child_definition="child")
    return run


def child_with_a_forfeit(*, decider: int = 0) -> Rehearsal:
    """A child that has ended, with one call of which nobody knows what it cost."""
    run = child_run(decider=decider)
    run.admit("a", "call", candidate(WORST))
    run.lose("a")
    run.complete("a")
    run.complete("b")
    return run


def settle(run: Rehearsal, cost: int, call_id: str = "call") -> list[e.Event]:
    used = Usage(cost_nano=cost)
    return run.feed(c.SettleCall(at=run.at, call_id=call_id, outcome="used", usage=used))


def tell(parent: Rehearsal, child: Rehearsal, message: Message) -> list[e.Event]:
    """Do what the courier does with a message."""
    fields = {"at": parent.at, "place": message.place, "attempt": message.attempt, "child_run": child.run.id}
    if message.kind == "correct_parent":
        return parent.feed(c.CorrectChild(of=message.of, amount=message.amount, **fields))
    return parent.feed(c.FinishChild(status="completed", cost=message.amount, **fields))


def correct(run: Rehearsal, amount: int, *, of: int = 9, place: str = "sub") -> list[e.Event]:
    return run.feed(c.CorrectChild(at=run.at, place=place, attempt=1, child_run="child-1", of=of, amount=amount))


def test_a_finished_child_tells_the_cost_of_its_end_whatever_is_settled_before_that_is_delivered():
    child = child_with_a_forfeit()

    (settled, *_) = settle(child, 30)

    assert [(told.id, told.kind, told.amount, told.of) for told in child.run.messages.values()] == [
        ("parent", "tell_parent", WORST, 0),
        (f"cost:{settled.version}", "correct_parent", 30 - WORST, settled.version),
    ]
    child.check()


def test_a_settlement_that_changes_nothing_and_one_of_a_run_without_a_parent_tell_nothing():
    child, orphan = child_with_a_forfeit(), Rehearsal(CHILD).start()
    orphan.admit("a", "call", candidate(WORST))
    orphan.lose("a")
    orphan.complete("a")
    orphan.complete("b")

    settle(child, WORST)
    settle(orphan, 30)

    assert list(child.run.messages) == ["parent"]
    assert (orphan.run.total_cost, orphan.run.messages) == (30, {})


def test_a_run_that_was_started_under_earlier_rules_tells_no_correction():
    child = child_with_a_forfeit(decider=CORRECTED_SINCE - 1)

    settle(child, 30)

    assert list(child.run.messages) == ["parent"]


@pytest.mark.parametrize("order", ["end first", "correction first"])
def test_a_correction_counts_once_and_commutes_with_the_childs_end(order: str):
    parent, child = parent_run(), child_with_a_forfeit()
    settle(child, 30)
    told = list(child.run.messages.values())

    for message in told if order == "end first" else reversed(told):
        tell(parent, child, message)
        again = tell(parent, child, message)
        assert again == [], "it was told before"

    assert (parent.run.total_cost, parent.place("sub").cost) == (30, 30)
    parent.check()


def test_two_corrections_of_one_child_and_equal_ones_of_two_children_all_count():
    parent = parent_run()

    correct(parent, 3, of=7)
    correct(parent, 3, of=8)
    parent.feed(c.CorrectChild(at=parent.at, place="sub", attempt=1, child_run="child-2", of=7, amount=3))

    assert parent.run.total_cost == 9


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
def test_a_parent_that_has_ended_is_corrected_and_tells_its_own_parent(end: str):
    middle = child_run()
    middle.complete("b")
    match end:
        case "completed":
            middle.complete("a")
        case "failed":
            middle.fail("a", retryable=False)
        case _:
            middle.cancel()
    assert middle.status == end
    middle.feed(c.ConfirmMessage(at=middle.at, message="parent"))

    (corrected,) = correct(middle, -7, place="a")

    assert middle.run.total_cost == -7
    (message,) = middle.run.messages.values()
    assert (message.id, message.amount) == (f"cost:{corrected.version}", -7)
    middle.check()


def test_a_correction_of_a_round_or_item_that_is_over_is_counted_by_its_activity():
    parent = parent_run()

    correct(parent, 5, place="sub@3[2]")

    assert (parent.place("sub").cost, parent.run.total_cost) == (5, 5)
    parent.check()


def test_a_correction_upwards_names_the_limit_that_it_passes():
    run = Rehearsal(PARENT + "\nbudget: 0.00000001").start()
    run.honest = False

    correct(run, 11)

    assert [event.budget for event in run.kinds(g.BudgetOverrun)] == ["the run's budget"]


def test_a_correction_downwards_lets_a_call_go_on_that_waits_for_the_money():
    run = Rehearsal(PARENT + "\nbudget: 0.0000001").start()
    run.suspend("sub", "child", child_run="child-1", child_definition="child")
    run.finish_child("sub", "child-1", cost=60)
    run.admit("slow", "first", candidate(30))
    waits = run.admit("slow", "second", candidate(35))
    assert waits is not None
    assert waits.state == "waiting"

    correct(run, -60)

    assert run.run.calls["second"].state == "admitted"


def test_a_child_that_is_retried_tells_its_first_end_again_and_what_came_to_it_since():
    child = child_run()
    child.complete("b", cost=4)
    child.fail("a", retryable=False, cost=1)
    first = child.run.messages["parent"]

    child.retry()
    assert child.run.messages == {}, "it has not ended"
    child.complete("a", cost=2)

    again, correction = child.run.messages.values()
    assert (first.amount, again.amount, correction.amount) == (5, 5, 2)
    child.check()


# --- Any story ----------------------------------------------------------------------------------------------------


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(moves(40, money=True), st.randoms(use_true_random=False))
def test_whatever_becomes_of_a_child_and_in_whatever_order_it_is_told_its_parent_comes_to_its_cost(
    story: list[Move], chance: Random
):
    parent, child = parent_run(), child_run()
    told: list[c.Command] = []
    messages: dict[tuple[str, int], Message] = {}
    for move in story:
        play(child, move, told)
        child.check_state()
        messages |= {(message.id, message.amount): message for message in child.run.messages.values()}
    bring_to_an_end(child)
    for call in list(child.run.calls.values()):
        settle(child, chance.randint(0, max(0, call.reservation)), call.call_id)
    child.check()
    messages |= {(message.id, message.amount): message for message in child.run.messages.values()}

    carried = [*messages.values(), *messages.values()]
    chance.shuffle(carried)
    for message in carried:
        tell(parent, child, message)

    assert parent.run.total_cost == child.run.total_cost
    parent.check()
