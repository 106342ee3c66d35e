"""What every log keeps true of budgets and of what was spent, asked of each adapter alike."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from tests.conformance.logs import DAY, begun

from headgate.ports import Append, Head, Log, Move, Opening, OverBudget, SpendRow, SpendTotal, SpendWanted
from headgate.testing.log_conformance import NOON, HandmadeRun, on_a_loop

# --- Budgets ---------------------------------------------------------------------------------------------


@on_a_loop
async def test_a_budget_is_made_once_and_keeps_its_first_limit(log: Log):
    run = await begun(log, moves=[Move("team", limit=100)])

    await run.commit(moves=[Move("team", limit=900)])

    assert await log.budget("team") == OverBudget("team", 100, 0, 0)
    assert await log.budget("nobody") is None


@on_a_loop
async def test_a_reservation_is_admitted_up_to_the_limit_and_not_beyond(log: Log):
    run = await begun(log, moves=[Move("team", limit=100)])

    first = await run.commit(moves=[Move("team", reserve=60)])
    beyond = await run.commit(moves=[Move("team", reserve=41)])
    exactly = await run.commit(moves=[Move("team", reserve=40)])

    assert (first, exactly) == ("accepted", "accepted")
    assert beyond == OverBudget("team", 100, 0, 60)
    assert await log.budget("team") == OverBudget("team", 100, 0, 100)


@on_a_loop
async def test_a_settlement_is_booked_even_above_the_limit_and_stops_the_next(log: Log):
    run = await begun(log, moves=[Move("team", limit=100)])
    await run.commit(moves=[Move("team", reserve=90)])

    settled = await run.commit(moves=[Move("team", reserve=-90, spend=130)])
    after = await run.commit(moves=[Move("team", reserve=1)])

    assert settled == "accepted"
    assert after == OverBudget("team", 100, 130, 0)


@on_a_loop
async def test_budgets_move_together_or_not_at_all(log: Log):
    run = await begun(log, moves=[Move("a", limit=100), Move("b", limit=10), Move("c", limit=100)])

    outcome = await run.commit(moves=[Move("c", reserve=50), Move("b", reserve=11), Move("a", reserve=50)])

    assert outcome == OverBudget("b", 10, 0, 0)
    left = [await log.budget(name) for name in "abc"]
    assert left == [OverBudget("a", 100, 0, 0), OverBudget("b", 10, 0, 0), OverBudget("c", 100, 0, 0)]


@on_a_loop
async def test_moves_of_one_budget_are_made_in_their_order(log: Log):
    run = await begun(log, moves=[Move("team", limit=10), Move("team", reserve=10)])

    outcome = await run.commit(moves=[Move("team", reserve=-10, spend=4), Move("team", reserve=6)])
    refused = await run.commit(moves=[Move("team", reserve=1), Move("team", reserve=-6)])

    assert outcome == "accepted"
    assert refused == OverBudget("team", 10, 4, 6)


@on_a_loop
async def test_a_budget_that_was_never_made_admits_nothing(log: Log):
    run = await begun(log)

    assert await run.commit(moves=[Move("nobody", reserve=1)]) == OverBudget("nobody", 0, 0, 0)
    assert await run.commit(moves=[Move("nobody", reserve=-1, spend=1)]) == "accepted"


@on_a_loop
async def test_a_hundred_concurrent_reservations_never_pass_the_limit(log: Log):
    await begun(log, "owner", moves=[Move("team", limit=10)])
    runs = [await begun(log, f"run-{number}") for number in range(100)]

    outcomes = await asyncio.gather(*(run.commit(moves=[Move("team", reserve=1)]) for run in runs))

    assert outcomes.count("accepted") == 10
    assert outcomes.count(OverBudget("team", 10, 0, 10)) == 90
    assert await log.budget("team") == OverBudget("team", 10, 0, 10)


@on_a_loop
async def test_a_reservation_that_is_meant_to_goes_beyond_the_limit(log: Log):
    run = await begun(log, moves=[Move("team", limit=100)])

    assert await run.commit(moves=[Move("team", reserve=130, beyond=True)]) == "accepted"
    assert await run.commit(moves=[Move("team", reserve=1)]) == OverBudget("team", 100, 0, 130)


@on_a_loop
async def test_a_limit_that_is_set_holds_for_a_budget_that_is_there(log: Log):
    run = await begun(log, moves=[Move("team", limit=100), Move("team", reserve=40)])

    await run.commit(moves=[Move("team", limit=50, sets=True), Move("new", limit=7, sets=True)])

    assert await log.budget("team") == OverBudget("team", 50, 0, 40)
    assert await log.budget("new") == OverBudget("new", 7, 0, 0)


@pytest.mark.parametrize(
    ("opening", "spent"),
    [
        ({}, 2 + 16 + 32 + 64),
        ({"since": NOON + 1}, 32),
        ({"until": NOON + 1}, 2 + 16 + 64),
        ({"simulated": True}, 4),
        ({"tenant": "other"}, 8),
        ({"workflow": "letters"}, 2 + 16 + 32 + 64),
        ({"workflow": "bills"}, 0),
        ({"label": ("team", "red")}, 16),
        ({"label": ("team", "re")}, 0),
        ({"model": "acme/l*"}, 2 + 16 + 32),
        ({"model": "acme/large"}, 2 + 16 + 32),
        ({"model": "acme/?"}, 0),
        ({"provider": "ac*"}, 2 + 16 + 32),
        ({"provider": "b"}, 64),
    ],
)
@on_a_loop
async def test_a_budget_begins_with_what_the_spend_rows_of_its_scope_hold(log: Log, opening: Any, spent: int):
    run = await begun(log, moves=[Move("team", limit=5), Move("team", reserve=3, spend=1)])
    rows = [
        {"cost": 2},
        {"cost": 4, "simulated": True},
        {"cost": 8, "tenant": "other"},
        {"cost": 16, "labels": '{"team":"red"}'},
        {"cost": 32, "at": NOON + 1},
        {"cost": 64, "provider": "b", "model": "c"},
    ]
    costs = [run.spent(part=number, **fields) for number, fields in enumerate(rows)]
    await run.commit(spend=costs)
    wanted = Opening(**{"tenant": "default", "since": NOON - DAY, "until": NOON + DAY} | opening)

    moves = [Move("team", limit=500, opening=wanted), Move("other", limit=7, opening=wanted), Move("other", spend=1)]
    (outcome,) = await log.commit([Append(0, 0, [], Head("", 0, b"", None, 0, 0, 0, 0, None, ""), moves=moves)])

    assert outcome == "accepted"
    assert await log.budget("team") == OverBudget("team", 500, spent, 3)
    assert await log.budget("other") == OverBudget("other", 7, spent + 1, 0)
    assert [row.id for row in await log.runs()] == ["run-1"]


# --- What was spent ----------------------------------------------------------------------------------------


@on_a_loop
async def test_spend_rows_are_there_with_their_events_and_in_their_order(log: Log):
    run = await begun(log)
    rows = [run.spent(-7, kind="forfeit"), run.spent(12, part=1, estimated=True, simulated=True, labels='{"a":"b"}')]
    counts = [*(name for name in SpendRow._fields if name.endswith("_tokens")), "estimated_input"]
    rows += [run.spent(3, part=2, tier="flex", **{name: 10**number for number, name in enumerate(counts)})]

    await run.commit(spend=rows)

    assert await log.spend("run-1") == rows
    assert await log.spend("another") == []


@on_a_loop
async def test_a_refused_append_leaves_no_spend_row(log: Log):
    run = await begun(log, moves=[Move("team", limit=10)])
    late = run.append(spend=[run.spent(5)])
    poor = run.append(spend=[run.spent(6)], moves=[Move("team", reserve=11)])
    await run.commit(spend=[run.spent(1)])

    outcomes = await log.commit([late])
    poor.expected_version = run.head.version
    outcomes += await log.commit([poor])

    assert outcomes[0] == "version_conflict"
    assert outcomes[1] == OverBudget("team", 10, 0, 0)
    assert [row.cost for row in await log.spend("run-1")] == [1]


@on_a_loop
async def test_every_bucket_of_tokens_is_added_up_and_estimated_calls_are_counted(log: Log):
    run = await begun(log)
    counts = [name for name in SpendTotal._fields if name.endswith("_tokens")]
    tokens = {name: 10**number for number, name in enumerate(counts)}
    await run.commit(spend=[run.spent(1, **tokens), run.spent(2, part=1, tier="batch", estimated=True, **tokens)])

    (total,) = await log.spend_totals("run", SpendWanted())

    assert len(counts) == 9
    assert {name: getattr(total, name) for name in counts} == {name: 2 * value for name, value in tokens.items()}
    assert (total.calls, total.estimated) == (2, 1)
    assert [(one.name, one.cost) for one in await log.spend_totals("tier", SpendWanted())] == [("batch", 2), ("", 1)]


@on_a_loop
async def test_the_newest_rows_tell_what_inputs_were_estimated_at(log: Log):
    run = await begun(log)
    told = {"estimated_input": 120}
    await run.commit(spend=[run.spent(1, **told, input_tokens=7)])
    rows = [run.spent(1, at=NOON + 1), run.spent(2, part=1, at=NOON + 2, estimated=True, **told)]
    await run.commit(spend=[*rows, run.spent(3, part=2, at=NOON + 3, model="m", **told)])

    assert await log.estimates(10) == [("acme", "m", 120, 100), ("acme", "large", 120, 7)]
    assert await log.estimates(3) == [("acme", "m", 120, 100)]


@on_a_loop
async def test_totals_are_exact_by_every_property_and_demo_prices_apart(log: Log):
    run = await begun(log)
    big = 4_000_000_000_000_000_001
    await run.commit(spend=[run.spent(big), run.spent(2, part=1, model="small"), run.spent(3, part=2, simulated=True)])
    await run.commit(
        spend=[
            run.spent(4, activity="ask", at=NOON + DAY, prompt="v2", labels='{"team":"ops"}'),
            run.spent(0, part=1, kind="cached", saved=9, input_tokens=0, output_tokens=0, cache_read_tokens=0),
        ]
    )

    assert {
        by: [(total.name, total.simulated, total.cost) for total in await log.spend_totals(by, SpendWanted())]
        for by in ("activity", "run", "workflow", "model", "provider", "day", "prompt", "kind", "label:team")
    } == {
        "activity": [("answer", False, big + 2), ("ask", False, 4), ("answer", True, 3)],
        "run": [("run-1", False, big + 6), ("run-1", True, 3)],
        "workflow": [("letters", False, big + 6), ("letters", True, 3)],
        "model": [("acme/large", False, big + 4), ("acme/large", True, 3), ("acme/small", False, 2)],
        "provider": [("acme", False, big + 6), ("acme", True, 3)],
        "day": [("2026-01-01", False, big + 2), ("2026-01-02", False, 4), ("2026-01-01", True, 3)],
        "prompt": [("", False, big + 2), ("v2", False, 4), ("", True, 3)],
        "kind": [("call", False, big + 6), ("call", True, 3), ("cached", False, 0)],
        "label:team": [("", False, big + 2), ("ops", False, 4), ("", True, 3)],
    }
    assert await log.spend_totals("run", SpendWanted()) == [
        SpendTotal("run-1", False, 3, 1, 300, 150, 60, 0, 20, big + 6, 9),
        SpendTotal("run-1", True, 1, 0, 100, 50, 20, 0, 5, 3, 0),
    ]


@on_a_loop
async def test_only_wanted_rows_are_added_up(log: Log):
    run = await begun(log)
    other = await begun(log, "run-2", workflow="bills")
    await run.commit(spend=[run.spent(1, labels='{"team":"ops","x":"1"}'), run.spent(2, part=1, at=NOON + DAY)])
    await other.commit(spend=[other.spent(4, labels='{"team":"ops"}')])

    async def cost(**wanted: Any) -> int:
        return sum(total.cost for total in await log.spend_totals("run", SpendWanted(**wanted)))

    assert await cost() == 7
    assert await cost(runs=("run-1",)) == 3
    assert await cost(runs=("run-1", "run-2")) == 7
    assert await cost(since=NOON + 1) == 2
    assert await cost(until=NOON + DAY) == 5
    assert await cost(workflow="bills") == 4
    assert await cost(labels={"team": "ops"}) == 5
    assert await cost(labels={"team": "ops", "x": "1"}) == 1
    assert await cost(runs=("nobody",)) == 0


@on_a_loop
async def test_a_runs_totals_hold_those_of_the_runs_below_it(log: Log):
    run = await begun(log)
    for name, parent in (("child", "run-1"), ("grandchild", "child"), ("stranger", "")):
        below = HandmadeRun(log, name)
        below.row = msgspec.structs.replace(below.row, parent=parent)
        await below.commit(spend=[below.spent(10)])
    await run.commit(spend=[run.spent(1)])

    totals = await log.spend_totals("run", SpendWanted(runs=("run-1",)))

    assert [(total.name, total.cost) for total in totals] == [("child", 10), ("grandchild", 10), ("run-1", 1)]


@on_a_loop
async def test_spend_rows_are_replaced_run_by_run_and_as_often_as_one_likes(log: Log):
    run = await begun(log)
    other = await begun(log, "run-2")
    await run.commit(spend=[run.spent(1), run.spent(2, part=1)])
    await other.commit(spend=[other.spent(4)])

    for _ in range(2):
        await log.replace_spend("run-1", [run.spent(8, version=2)])

    assert [row.cost for row in await log.spend("run-1")] == [8]
    assert [row.cost for row in await log.spend("run-2")] == [4]
