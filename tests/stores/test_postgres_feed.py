"""What followers of PostgreSQL's events see, however many write them."""

from __future__ import annotations

import asyncio
import random

import asyncpg
from tests.postgres_logs import SCHEMA, another_node, server_url, sql

from headgate.stores.postgres import PostgresLog
from headgate.testing.log_conformance import HandmadeRun, on_a_loop


@on_a_loop
async def test_the_feed_waits_for_a_transaction_that_began_earlier_and_ends_later(log: PostgresLog):
    early = await asyncpg.connect(server_url(), server_settings={"search_path": SCHEMA})
    run = HandmadeRun(log, "run-1")
    await run.commit()
    seen = await log.feed(0, 10)

    async with early.transaction():
        await early.execute(
            "insert into events select (pg_current_xact_id()::text::bigint << 20) + 1, 99, 1, 0, 'x', '', '', null"
        )
        await run.commit()
        meanwhile = await log.feed(seen[-1].pos, 10)

    after = await log.feed(seen[-1].pos, 10)
    assert meanwhile == []
    assert [(row.run, row.version) for row in after] == [(99, 1), (run.key, 2)]
    await early.close()


@on_a_loop
async def test_followers_of_sixteen_nodes_see_every_event_once_whenever_they_start(log: PostgresLog):
    nodes = [log, *(another_node() for _ in range(15))]
    written: dict[int, int] = {}
    finished = asyncio.Event()
    shared = [HandmadeRun(log, f"shared-{number}") for number in range(4)]
    for run in shared:
        await run.commit()

    async with asyncio.TaskGroup() as group:
        followers = [group.create_task(follow(nodes[number], finished)) for number in range(2)]
        writers = [asyncio.create_task(write(node, number, written)) for number, node in enumerate(nodes)]
        contenders = [asyncio.create_task(contend(node, shared)) for node in nodes[:6]]
        await writers[3]
        followers += [group.create_task(follow(nodes[5], finished))]
        await asyncio.gather(*writers, *contenders)
        finished.set()

    for run in await log.runs(limit=1_000):
        written[run.key] = run.head.version
    for follower in followers:
        seen = follower.result()
        assert [pos for pos, _, _ in seen] == sorted({pos for pos, _, _ in seen})
        for key, versions in written.items():
            assert [version for _, run, version in seen if run == key] == list(range(1, versions + 1))
        assert len(seen) == sum(written.values())
    for node in nodes[1:]:
        await node.close()


async def write(node: PostgresLog, number: int, written: dict[int, int]) -> None:
    chance = random.Random(number)
    runs = [HandmadeRun(node, f"run-{number}-{n}") for n in range(8)]
    for _ in range(12):
        batch = chance.sample(runs, chance.randint(1, 8))
        items = [run.append([None] * chance.randint(1, 5)) for run in batch]
        for run, item, outcome in zip(batch, items, await node.commit(items), strict=True):
            assert outcome == "accepted"
            run.settle(item, outcome)


async def contend(node: PostgresLog, shared: list[HandmadeRun]) -> None:
    """Append to runs that other nodes append to as well, upon what the log says of them."""
    for number in range(24):
        run = HandmadeRun(node, shared[number % 4].id)
        row = await node.run(run.id)
        assert row is not None
        run.row, run.head = row, row.head
        assert await run.commit([None, None]) in ("accepted", "version_conflict")


async def follow(node: PostgresLog, finished: asyncio.Event) -> list[tuple[int, int, int]]:
    seen: list[tuple[int, int, int]] = []
    while True:
        last = finished.is_set()
        page = await node.feed(seen[-1][0] if seen else 0, 50)
        seen.extend((row.pos, row.run, row.version) for row in page)
        if last and not page:
            return seen


@on_a_loop
async def test_positions_go_on_in_a_server_whose_transaction_ids_are_lower(log: PostgresLog):
    run = HandmadeRun(log, "run-1")
    await run.commit()
    await sql("update meta set value = 1000000000 where name = 'position_offset'")
    there = another_node()
    seen = await there.feed(0, 10)
    run._log = there
    await run.commit()
    await there.close()
    await sql("update meta set value = 0 where name = 'position_offset'")  # dumped there, restored here

    here = another_node()
    run._log = here
    await run.commit()

    assert [row.version for row in await here.feed(0, 10)] == [1, 2, 3]
    assert [row.version for row in await here.feed(seen[-1].pos, 10)] == [2, 3]
    await here.close()
    await sql("update meta set value = 0 where name = 'position_offset'")
