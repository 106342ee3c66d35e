"""What a run costs stands in rows: one for each call, with its events."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine.spend_lab import CHILD, KeptLog, price_of, usage_of

from headgate.authoring import load_definition
from headgate.core.definition import Definition
from headgate.core.plan import compile_plan
from headgate.core.values import Candidate, Failure, Price, Usage, Variant
from headgate.engine.folding import fold_run
from headgate.engine.spend import rebuild_spend
from headgate.engine.start import Start
from headgate.llm.scripted import ScriptedProvider
from headgate.ports import (
    Admitted,
    CallRequest,
    Completed,
    Failed,
    Log,
    Settlement,
    SpendRow,
)
from headgate.testing.simulation import Crash, World
from headgate.testing.story_definitions import GIVEN, definitions

PRICE = Price(input=3_000_000_001, output=15_000_000_000, cache_read=300_000_000, id="list:lab/m")
USED = Usage(
    provider="lab",
    model="m-1",
    input_tokens=1_001,
    output_tokens=77,
    cache_read_tokens=300,
    cache_write_tokens=5,
    cache_write_1h_tokens=7,
    audio_input_tokens=11,
    reasoning_tokens=13,
    audio_output_tokens=17,
    cache_read_audio_tokens=19,
    tier="default",
    estimated_input=1_100,
)
ONE = "name: one\nlabels: {team: ops}\nactivities: {ask: {use: mine, retry: 2}}\n"
OUTSIDE = (
    "name: out\nactivities: {ask: {use: theirs, worker: outside}, more: {use: theirs, worker: outside, after: [ask]}}\n"
)


async def spent(log: Log, run_id: str, definition: Definition) -> int:
    row = await log.run(run_id)
    assert row is not None
    return (await fold_run(log, row, compile_plan(definition))).spent


# --- Whatever happens -------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(definitions(), st.integers(0, 1_000), st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=3))
def test_the_rows_of_a_run_add_up_to_what_it_spent_and_are_the_same_from_the_log(
    definition: Definition, seed: int, deaths: list[tuple[int, bool]]
):
    log = KeptLog()
    crashes = [Crash(commit, after) for commit, after in deaths]
    world = World(log, [definition, CHILD], seed=seed, crashes=crashes, greedy=bool(seed % 2))

    async def look() -> None:
        await world.run([Start(workflow="story", input=GIVEN, run_id="story0", trace_id="t")])
        for row in await log.runs(limit=1_000):
            rows = await log.spend(row.id)
            assert sum(one.cost for one in rows) == await spent(log, row.id, world.definitions[row.workflow])
            await rebuild_spend(log, row.id)
            assert await log.spend(row.id) == rows

    asyncio.run(look())


def test_that_property_meets_rows_of_every_kind():
    definition = load_definition(
        "name: many\nactivities: {each: {use: echo, retry: 4, on_failure: continue, for_each: [1,2,3,4,5,6,7,8,9]}}"
    )
    kinds: Counter[str] = Counter()
    for seed in range(3):
        log = KeptLog()
        world = World(log, [definition], seed=seed, greedy=True)
        asyncio.run(world.run([Start(workflow="many", input=GIVEN, run_id="many", trace_id="t")]))
        kinds.update(row.kind for row in asyncio.run(log.spend("many")))

    assert kinds["call"] > 10
    assert kinds["forfeit"] > 3


# --- One call at a time -----------------------------------------------------------------------------------------------


def asking(outcome: Callable[[Any], Any]) -> Callable[[dict[str, Any], Any], Any]:
    """Return an activity that makes one call; `outcome` gets the context and the call's id."""

    async def ask(parameters: dict[str, Any], ctx: Any) -> Any:
        call_id, answer = await ctx.admit(CallRequest("h", (Candidate("lab/m", 10_000_000, PRICE),)))
        assert isinstance(answer, Admitted)
        ended = outcome(ctx)
        if ended is not None:
            await ctx.settle(call_id, Settlement.used(ended) if isinstance(ended, Usage) else Settlement(ended))
        return "done"

    return ask


def rows_of_one(play: Any, outcome: Callable[[Any], Any]) -> list[SpendRow]:
    rows: list[SpendRow] = []

    async def scene(bench: Any) -> None:
        run_id = await bench.start(ONE)
        row = await bench.finished(run_id)
        rows.extend(await bench.log.spend(run_id))
        assert sum(one.cost for one in rows) == row.head.cost

    play(scene, activities={"mine": asking(outcome)})
    return rows


def test_a_settled_call_is_one_row_with_its_tokens_price_and_labels(play: Any):
    (row,) = rows_of_one(play, lambda _: USED)

    assert row.cost == PRICE.cost(USED) > 0
    assert price_of(row) == PRICE
    assert usage_of(row) == msgspec.structs.replace(USED, provider="", model="")
    assert (row.kind, row.activity, row.place, row.attempt, row.workflow) == ("call", "ask", "ask", 1, "one")
    assert (row.provider, row.model, row.simulated, json.loads(row.labels)) == ("lab", "m-1", False, {"team": "ops"})


def test_a_call_that_was_priced_otherwise_keeps_the_price_that_was_used(play: Any):
    other = Price(input=1_000_000_000, output=2_000_000_000, simulated=True, id="list:lab/m-1")

    (row,) = rows_of_one(play, lambda _: msgspec.structs.replace(USED, cost_nano=other.cost(USED), price=other))

    assert price_of(row) == other
    assert row.cost == other.cost(USED) != PRICE.cost(USED)
    assert row.simulated


def test_of_a_price_with_service_tiers_the_row_keeps_that_of_the_tier_that_answered(play: Any):
    batch = Variant(1_000_000_000, 2_000_000_000, name="batch")
    asked = msgspec.structs.replace(PRICE, variants=(batch,))

    async def ask(parameters: dict[str, Any], ctx: Any) -> str:
        call_id, _ = await ctx.admit(CallRequest("h", (Candidate("lab/m", 10_000_000, asked),)))
        await ctx.settle(call_id, Settlement.used(msgspec.structs.replace(USED, tier="batch")))
        return "done"

    async def scene(bench: Any) -> None:
        run_id = await bench.start(ONE)
        await bench.finished(run_id)
        (row,) = await bench.log.spend(run_id)
        assert price_of(row) == Price(1_000_000_000, 2_000_000_000, id="list:lab/m#batch")
        assert (row.tier, row.cost) == ("batch", price_of(row).cost(usage_of(row)))

    play(scene, activities={"mine": ask})


def test_a_cost_that_was_only_told_has_no_price(play: Any):
    (row,) = rows_of_one(play, lambda _: msgspec.structs.replace(USED, cost_nano=17))

    assert (row.cost, row.price) == (17, "")


@pytest.mark.parametrize(("outcome", "costs"), [("never_sent", []), ("lost", [10_000_000]), (None, [10_000_000])])
def test_a_call_that_was_not_made_costs_nothing_and_a_lost_one_its_reservation(
    play: Any, outcome: Any, costs: list[int]
):
    rows = rows_of_one(play, lambda _: outcome)

    assert [(row.kind, row.cost, row.price, row.input_tokens) for row in rows] == [
        ("forfeit", cost, "", 0) for cost in costs
    ]


def test_a_settlement_after_a_forfeit_takes_the_forfeit_back(play: Any):
    rows: list[SpendRow] = []

    async def scene(bench: Any) -> None:
        protocol = bench.app.protocol
        run_id = await bench.start(OUTSIDE)
        (task,) = await protocol.poll(["outside"], worker_id="w", count=1, wait_seconds=10)
        await protocol.admit(
            task.activity_id, call_id="c", request=CallRequest("h", (Candidate("lab/m", 5_000_000, PRICE),))
        )
        await protocol.report([Completed(task.activity_id, "done")], worker_id="w")
        before = await bench.log.spend(run_id)
        for _ in range(2):
            await protocol.settle(task.activity_id, call_id="c", settlement=Settlement.used(USED))
        rows.extend(await bench.log.spend(run_id))
        assert [(row.kind, row.cost) for row in before] == [("forfeit", 5_000_000)]
        assert (await bench.log.run(run_id)).head.cost == PRICE.cost(USED)
        await rebuild_spend(bench.log, run_id)
        assert await bench.log.spend(run_id) == rows

    play(scene, work=False)

    assert [(row.kind, row.cost, bool(row.price)) for row in rows] == [
        ("forfeit", 5_000_000, False),
        ("forfeit", -5_000_000, False),
        ("call", PRICE.cost(USED), True),
    ]


def test_what_a_worker_reports_is_a_row_for_each_usage_also_where_it_failed(play: Any):
    rows: list[SpendRow] = []
    usages = (
        Usage(provider="lab", model="m", input_tokens=10, cost_nano=7),
        Usage(provider="lab", model="n", cost_nano=5),
    )

    async def scene(bench: Any) -> None:
        run_id = await bench.start(OUTSIDE)
        for report in (
            lambda id_: Completed(id_, 1, usages),
            lambda id_: Failed(id_, Failure("no", "no", False), usages),
        ):
            (task,) = await bench.app.protocol.poll(["outside"], worker_id="w", count=1, wait_seconds=1)
            for _ in range(2):
                await bench.app.protocol.report([report(task.activity_id)], worker_id="w")
        rows.extend(await bench.log.spend(run_id))
        assert (await bench.finished(run_id)).head.cost == 24

    play(scene, work=False)

    assert [(row.activity, row.kind, row.model, row.cost) for row in rows] == [
        ("ask", "reported", "m", 7),
        ("ask", "reported", "n", 5),
        ("more", "reported", "m", 7),
        ("more", "reported", "n", 5),
    ]


REUSED = """
name: reused
activities:
  ask: {use: llm_prompt, with: {model: MODEL, prompt: "Summarise: It rains. The river rises."}, cache: {ttl: 1h}}
"""


@pytest.mark.parametrize(("model", "demo"), [("demo/small", True), ("scripted/m", False)])
def test_what_a_reused_result_saved_is_a_row_and_at_demo_prices_it_is_marked_as_such(play: Any, model: str, demo: bool):
    async def scene(bench: Any) -> None:
        for _ in range(2):
            run_id = await bench.start(REUSED.replace("MODEL", model))
            await bench.finished(run_id)
        (row,) = await bench.log.spend(run_id)
        assert (row.kind, row.cost, row.price, row.simulated) == ("cached", 0, "", demo)
        assert row.saved > 0
        await rebuild_spend(bench.log, run_id)
        assert await bench.log.spend(run_id) == [row]

    usage = {"input_tokens": 100, "output_tokens": 50}
    play(scene, scripted=ScriptedProvider({"m": [{"text": "x", "usage": usage}]}, {"m": PRICE}))
