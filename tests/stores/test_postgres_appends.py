"""What an append leaves in the tables of PostgreSQL, and what it costs to write."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from tests.postgres_logs import SCHEMA, Proxy, another_node, server_url, sql, until_blocked

from headgate.core.errors import Unavailable
from headgate.engine.lane import INLINE_BYTES_MAX
from headgate.ports import Append, Move, Opening, OverBudget
from headgate.stores.postgres import PostgresLog
from headgate.testing.log_conformance import NOON, HandmadeRun, on_a_loop


@pytest.mark.parametrize(
    "statement",
    [
        "update events set data = 'x'",
        "update events set content = 'x'",
        "delete from events",
        "truncate events",
    ],
)
@on_a_loop
async def test_events_are_append_only_also_for_whoever_holds_the_password(log: PostgresLog, statement: str):
    run = HandmadeRun(log, "run-1")
    await run.commit(["content"])

    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        await sql(statement)

    assert await log.contents(run.key, [1]) == {1: b'"content"'}
    await sql("update events set content = null")
    assert await log.contents(run.key, [1]) == {}


@on_a_loop
async def test_a_text_with_nul_in_it_spoils_neither_its_run_nor_the_batch(log: PostgresLog):
    one, two = HandmadeRun(log, "run-1"), HandmadeRun(log, "run-2")

    outcomes = await log.commit(
        [
            one.append(error="a\0b", spend=[one.spent(1, version=1, prompt="p\0q", labels='{"team":"x\\u0000y"}')]),
            two.append(),
        ]
    )

    row = await log.run("run-1")
    assert outcomes == ["accepted", "accepted"]
    assert row is not None
    assert row.head.error == "a�b"
    assert [spend.prompt for spend in await log.spend("run-1")] == ["p�q"]


@pytest.mark.parametrize("refusal", ["over budget", "repeated", "version_conflict", "run_exists"])
@on_a_loop
async def test_what_is_refused_leaves_no_row_in_any_table(log: PostgresLog, refusal: str):
    first = HandmadeRun(log, "run-1")
    await first.commit(moves=[Move("team", limit=5)], commands=["known"])
    before = await everything()
    run = first if refusal == "version_conflict" else HandmadeRun(log, "run-1" if refusal == "run_exists" else "run-2")
    item = run.append(
        ["x" * (INLINE_BYTES_MAX + 1)],
        moves=[
            Move("another", limit=9),
            Move("another", spend=1),
            Move("team", reserve=9 * (refusal == "over budget")),
        ],
        commands=["unknown", "known" if refusal == "repeated" else "unheard-of"],
        spend=[run.spent(3)],
    )
    item.expected_version -= refusal == "version_conflict"

    (outcome,) = await log.commit([item])

    assert outcome == (OverBudget("team", 5, 0, 0) if refusal == "over budget" else refusal)
    assert await everything() == before


@on_a_loop
async def test_a_budget_that_begins_counts_the_rows_of_the_items_before_it_and_is_undone_with_its_item(
    log: PostgresLog,
):
    run, poor = HandmadeRun(log, "run-1"), HandmadeRun(log, "run-2")
    await log.commit([run.append(moves=[Move("team", limit=5), Move("zero", limit=1)]), poor.append()])
    for one in (run, poor):
        one.settle(one.append(), "accepted")
    spent = [run.spent(7, model="a_b%", provider="x"), run.spent(100, part=1, model="a-b%", provider="x")]
    opening = Opening("default", NOON, NOON + 1, model="x/a_b%")
    nothing = Append(0, 0, [], run.head, moves=[Move("new", limit=50, opening=opening), Move("new", spend=1)])

    outcomes = await log.commit(
        [
            run.append(spend=spent),
            poor.append(
                moves=[
                    Move("team", limit=9, opening=opening),
                    Move("team", limit=8, sets=True),
                    Move("zero", reserve=2),
                ],
                spend=[poor.spent(1_000, model="a_b%", provider="x")],
            ),
            nothing,
        ]
    )

    assert outcomes == ["accepted", OverBudget("zero", 1, 0, 0), "accepted"]
    assert await log.budget("team") == OverBudget("team", 5, 0, 0)
    assert await log.budget("new") == OverBudget("new", 50, 8, 0)
    assert [row.cost for row in await log.spend("run-1")] == [7, 100]
    assert await log.spend("run-2") == []


@on_a_loop
async def test_a_raised_limit_stands_in_the_runs_row(log: PostgresLog):
    run, other = HandmadeRun(log, "run-1"), HandmadeRun(log, "run-2")
    for one in (run, other):
        await one.commit()

    for moves in ([], [Move("team", limit=1)]):
        item = run.append(moves=moves)
        item.limit = 7 + len(moves)
        assert await log.commit([item, other.append()]) == ["accepted", "accepted"]
        run.settle(item, "accepted")
        other.settle(other.append(), "accepted")
        rows = {row.id: row.limit for row in await log.runs()}
        assert rows == {"run-1": item.limit, "run-2": None}


async def everything() -> dict[str, list[asyncpg.Record]]:
    return {name: await sql(f"select * from {name}") for name in TABLES}


TABLES = ("runs", "events", "blobs", "budgets", "answers", "spend")


@on_a_loop
async def test_a_batch_is_one_round_trip_whatever_is_in_it(log: PostgresLog):
    runs = [HandmadeRun(log, f"run-{number}") for number in range(5)]
    async with Proxy(server_url()) as proxy:
        far = PostgresLog(proxy.url, schema=SCHEMA)
        for _ in range(2):  # the first time the statement is prepared
            items = [run.append([None, "x"], moves=[Move("team", limit=99)], spend=[run.spent(1)]) for run in runs]
            before = proxy.asked
            assert await far.commit(items) == ["accepted"] * 5
            trips = proxy.asked - before
            for run, item in zip(runs, items, strict=True):
                run.settle(item, "accepted")
        await far.close()

    assert trips == 1


@on_a_loop
async def test_who_is_cancelled_while_the_server_writes_is_let_go_when_it_has(log: PostgresLog):
    run = HandmadeRun(log, "run-1")
    await run.commit()
    other = await asyncpg.connect(server_url(), server_settings={"search_path": SCHEMA})
    async with other.transaction():
        await other.execute("select from runs where key = $1 for update", run.key)
        commit = asyncio.create_task(log.commit([run.append(["x"])]))
        await until_blocked()
        commit.cancel()
        closing = asyncio.create_task(log.close())
        await asyncio.sleep(0)
        assert not commit.done()
    await other.close()

    with pytest.raises(asyncio.CancelledError):
        await commit
    await closing
    there = another_node()
    assert await there.contents(run.key, [2]) == {2: b'"x"'}
    await there.close()


@on_a_loop
async def test_what_never_goes_through_is_given_up_and_says_why(log: PostgresLog):
    run = HandmadeRun(log, "run-1")
    await run.commit()
    stray = "insert into events values ((select max(pos) + 1 from events), $1, 2, 0, 'x', '', '', null)"
    await sql(stray, run.key)  # an event that its run's row knows nothing of

    with pytest.raises(Unavailable, match=r"events_by_run.*Nothing was written"):
        await log.commit([run.append(["x"])])

    row = await log.run("run-1")
    assert row is not None
    assert row.head == run.head
