"""Many nodes commit to the same tables of PostgreSQL."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack

import asyncpg
import pytest
from tests.postgres_logs import SCHEMA, another_node, server_url, sql, until_blocked

from headgate.engine.audit import verify
from headgate.ports import Move, OverBudget
from headgate.stores.postgres import KEYS_AT_HAND_MIN, KEYS_PER_BLOCK, PostgresLog
from headgate.testing.log_conformance import HandmadeRun, on_a_loop


@on_a_loop
async def test_of_two_nodes_that_race_for_one_run_one_loses_and_leaves_no_trace(log: PostgresLog):
    other = another_node()
    run = HandmadeRun(log, "run-1")
    await run.commit(moves=[Move("team", limit=100)])

    for number in range(40):
        moves = [Move("team", reserve=1)] if number % 2 else []
        mine = run.append(["mine"], moves=moves, spend=[run.spent(1)])
        theirs = run.append(["theirs"], moves=moves, spend=[run.spent(2)])
        (first,), (second,) = await asyncio.gather(log.commit([mine]), other.commit([theirs]))
        assert sorted([first, second]) == ["accepted", "version_conflict"]
        run.settle(mine if first == "accepted" else theirs, "accepted")

    await other.close()
    assert await log.budget("team") == OverBudget("team", 100, 0, 20)
    assert len(await log.spend("run-1")) == 40
    assert await verify(log) == []


@on_a_loop
async def test_nodes_whose_batches_cross_do_not_deadlock(log: PostgresLog):
    nodes = [log, another_node(), another_node()]
    before = await deadlocks()
    async with asyncio.TaskGroup() as group:
        for number, node in enumerate(nodes):
            group.create_task(crossing(node, number))
    for node in nodes[1:]:
        await node.close()
    await log.close()

    assert await deadlocks() == before


async def crossing(node: PostgresLog, number: int) -> None:
    """Begin forty shared runs or go on with them, then move six shared budgets, each time in another order."""
    chance = random.Random(number)
    own = [HandmadeRun(node, f"own-{number}-{n}") for n in range(6)]
    for _ in range(15):
        runs = [HandmadeRun(node, f"run-{n}") for n in range(40)]
        known = {row.id: row for row in await node.runs(limit=40)}
        for run in runs:
            if run.id in known:
                run.row, run.head = known[run.id], known[run.id].head
        chance.shuffle(runs)
        await node.commit([run.append() for run in runs[:20]])
    for _ in range(60):
        budgets = [f"budget-{n}" for n in range(6)]
        chance.shuffle(budgets)
        items = [run.append(moves=[Move(name, spend=1, limit=9)]) for run, name in zip(own, budgets, strict=True)]
        for run, item, outcome in zip(own, items, await node.commit(items), strict=True):
            run.settle(item, outcome)


async def deadlocks() -> int:
    await sql("select pg_stat_force_next_flush()")
    return (await sql("select deadlocks from pg_stat_database where datname = current_database()"))[0][0]


@pytest.mark.parametrize(("table", "column"), [("runs", "id"), ("budgets", "id")])
@on_a_loop
async def test_who_waits_for_the_first_of_its_locks_holds_none_of_the_others(log: PostgresLog, table: str, column: str):
    names = [f"{letter}-of-many" for letter in "abcdefgh"]
    runs = [HandmadeRun(log, name) for name in names]
    items = [run.append(moves=[Move(run.id, limit=9)]) for run in runs]
    await log.commit(items)
    for run, item in zip(runs, items, strict=True):
        run.settle(item, "accepted")
    batch = [run.append(moves=[Move(run.id, spend=1)]) for run in reversed(runs)]
    other = await asyncpg.connect(server_url(), server_settings={"search_path": SCHEMA})
    lock = f"select from {table} where {column} = $1 for update nowait"

    async with other.transaction():
        await other.execute(lock, names[0])
        commit = asyncio.create_task(log.commit(batch))
        await until_blocked()
        for name in names[1:]:
            await other.execute(lock, name)

    assert await commit == ["accepted"] * 8
    await other.close()


@on_a_loop
async def test_who_waits_for_an_id_that_is_taken_holds_no_head_yet(log: PostgresLog):
    mine, taken = HandmadeRun(log, "mine"), HandmadeRun(log, "taken")
    begun = [mine.append(), taken.append()]
    await log.commit(begun)
    mine.settle(begun[0], "accepted")
    other = await asyncpg.connect(server_url(), server_settings={"search_path": SCHEMA})

    async with other.transaction():
        await other.execute("update runs set updated_at = updated_at + 1 where id = 'taken'")
        commit = asyncio.create_task(log.commit([mine.append(), HandmadeRun(log, "taken").append()]))
        await until_blocked()
        await other.execute("select from runs where id = 'mine' for update nowait")

    assert await commit == ["accepted", "run_exists"]
    await other.close()


@on_a_loop
async def test_a_batch_that_loses_a_deadlock_is_written_all_the_same(log: PostgresLog):
    one, two = HandmadeRun(log, "run-1"), HandmadeRun(log, "run-2")
    await log.commit([one.append(), two.append()])
    for run in (one, two):
        run.settle(run.append(), "accepted")
    other = await asyncpg.connect(server_url(), server_settings={"search_path": SCHEMA, "deadlock_timeout": "1h"})
    async with AsyncExitStack() as stack:
        stack.push_async_callback(other.close)
        async with other.transaction():
            await other.execute("select from runs where key = $1 for update", two.key)
            commit = asyncio.create_task(log.commit([one.append(["x"]), two.append(["y"])]))
            await until_blocked()
            await other.execute("select from runs where key = $1 for update", one.key)  # the log's side is the victim

        assert await commit == ["accepted", "accepted"]
    assert await log.contents(two.key, [2]) == {2: b'"y"'}


@on_a_loop
async def test_nodes_never_give_out_the_same_number_however_many_are_asked_for_at_once(log: PostgresLog):
    other = another_node()

    keys = [node.new_key() for _ in range(3 * KEYS_PER_BLOCK) for node in (log, other)]

    assert len(set(keys)) == 6 * KEYS_PER_BLOCK
    assert min(keys) > 0
    await other.close()


@on_a_loop
async def test_numbers_are_taken_before_they_run_out(log: PostgresLog):
    await HandmadeRun(log, "run-1").commit()
    for _ in range(KEYS_PER_BLOCK - KEYS_AT_HAND_MIN + 1):
        log.new_key()
    assert log._refill is not None
    left = len(log._keys)

    await log._refill

    assert len(log._keys) == left + KEYS_PER_BLOCK
