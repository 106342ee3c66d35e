"""Whose turn it is: tenants in rotation, each one's calls in order, and nobody forgotten."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from headgate.engine.turns import Turns

CALLS = st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from("mn")), max_size=60)


def served(turns: Turns[int], blocked: frozenset[str] = frozenset()) -> list[tuple[str, str, int]]:
    found: list[tuple[str, str, int]] = []
    while (first := turns.next(blocked)) is not None:
        found.append(first)
        turns.served(first[0], first[1])
    return found


@given(CALLS)
def test_everybody_is_served_once_and_each_line_in_order(calls: list[tuple[str, str]]):
    turns: Turns[int] = Turns()
    for number, (tenant, model) in enumerate(calls):
        turns.add(tenant, model, number)

    order = served(turns)

    assert sorted(number for _, _, number in order) == list(range(len(calls)))
    assert len(turns) == 0
    lines: dict[tuple[str, str], list[int]] = defaultdict(list)
    for tenant, model, number in order:
        lines[tenant, model].append(number)
    assert all(line == sorted(line) for line in lines.values())


@given(CALLS)
def test_while_several_tenants_wait_none_is_served_twice_before_another(calls: list[tuple[str, str]]):
    turns: Turns[int] = Turns()
    left: dict[str, int] = defaultdict(int)
    for number, (tenant, model) in enumerate(calls):
        turns.add(tenant, model, number)
        left[tenant] += 1

    for (tenant, _, _), (following, _, _) in pairwise(served(turns)):
        left[tenant] -= 1
        others = [other for other, count in left.items() if count and other != tenant]
        assert following != tenant or not others


def test_a_tenant_with_a_thousand_calls_keeps_nobody_waiting_for_a_second_turn():
    turns: Turns[int] = Turns()
    for number in range(1_000):
        turns.add("large", "m", number)
    turns.add("small", "m", -1)

    assert [tenant for tenant, _, _ in served(turns)][:3] == ["large", "small", "large"]


def test_a_model_that_must_wait_keeps_no_other_one_waiting():
    turns: Turns[int] = Turns()
    for number, model in enumerate("mmnmn"):
        turns.add("A", model, number)

    assert [number for _, _, number in served(turns, frozenset("m"))] == [2, 4]
    assert len(turns) == 3


@given(CALLS, st.data())
def test_whoever_leaves_is_gone_and_leaves_nothing_behind(calls: list[tuple[str, str]], data: st.DataObject):
    turns: Turns[int] = Turns()
    for number, (tenant, model) in enumerate(calls):
        turns.add(tenant, model, number)
    leaving = data.draw(st.sets(st.sampled_from(range(len(calls))))) if calls else set[int]()

    for number in leaving:
        assert turns.remove(*calls[number], number)
        assert not turns.remove(*calls[number], number)

    assert {number for _, _, number in served(turns)} == set(range(len(calls))) - leaving
    assert not list(turns)
    assert not turns.waits_for("m")
