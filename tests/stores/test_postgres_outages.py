"""A server of PostgreSQL that goes away, and comes back."""

from __future__ import annotations

import asyncio
import random

import asyncpg
import pytest
from tests.postgres_logs import SCHEMA, Proxy, server_url, until_blocked
from tests.servers import PrivatePostgres

from headgate.core.errors import Unavailable
from headgate.engine.audit import verify
from headgate.ports import Move, OverBudget
from headgate.stores.postgres import CommitUnknown, PostgresLog
from headgate.testing.log_conformance import HandmadeRun, on_a_loop

PATIENT_SECONDS = 60.0


@pytest.mark.parametrize("when", ["before the server has it", "after the server has done it"])
@on_a_loop
async def test_a_commit_whose_answer_is_lost_is_written_once_and_told_as_it_was(log: PostgresLog, when: str):
    run, stale, poor = (HandmadeRun(log, name) for name in ("run-1", "run-2", "run-3"))
    new = HandmadeRun(log, "run-4")
    for one in (run, stale, poor):
        await one.commit(moves=[Move("team", limit=10)])
    late = stale.append(["late"])
    await stale.commit(["first"])
    batch = [
        run.append(["x"], moves=[Move("team", reserve=4)], commands=["c-1"], spend=[run.spent(3)]),
        late,
        poor.append(moves=[Move("team", reserve=7)]),
        new.append(["n"]),
    ]
    async with Proxy(server_url()) as proxy:
        far = PostgresLog(proxy.url, schema=SCHEMA, patience_seconds=PATIENT_SECONDS)
        await far.commit([HandmadeRun(log, "warm").append()])
        proxy.cut(when)

        outcomes = await far.commit(batch)

        await far.close()
        assert proxy.cuts == 1
    assert outcomes == ["accepted", "version_conflict", OverBudget("team", 10, 0, 4), "accepted"]
    assert await log.contents(run.key, [2, 3]) == {2: b'"x"'}
    assert await log.budget("team") == OverBudget("team", 10, 0, 4)
    assert len(await log.spend("run-1")) == 1
    assert await verify(log) == []


@on_a_loop
async def test_a_commit_that_the_server_is_still_at_when_the_connection_breaks_is_written_once(log: PostgresLog):
    run = HandmadeRun(log, "run-1")
    await run.commit()
    item = run.append(["x"])
    holder = await asyncpg.connect(server_url(), server_settings={"search_path": SCHEMA})
    async with Proxy(server_url()) as proxy:
        far = PostgresLog(proxy.url, schema=SCHEMA, patience_seconds=PATIENT_SECONDS)
        await far.commit([HandmadeRun(log, "warm").append()])
        async with holder.transaction():
            await holder.execute("select from runs where key = $1 for update", run.key)
            commit = asyncio.create_task(far.commit([item]))
            await until_blocked()
            proxy.drop()
            await until_blocked(2)

        assert await commit == ["accepted"]
        await far.close()
    await holder.close()
    assert await log.contents(run.key, [2, 3]) == {2: b'"x"'}


@on_a_loop
async def test_a_commit_whose_outcome_stays_unknown_is_told_so_and_not_as_unwritten(log: PostgresLog):
    run = HandmadeRun(log, "run-1")
    await run.commit()
    async with Proxy(server_url()) as proxy:
        far = PostgresLog(proxy.url, schema=SCHEMA, patience_seconds=0)
        await far.commit([HandmadeRun(log, "warm").append()])
        proxy.cut("after the server has done it", for_good=True)

        with pytest.raises(CommitUnknown, match="may or may not be written"):
            await far.commit([run.append(["x"])])

        with pytest.raises(Unavailable, match=r"cannot be reached.*Nothing was") as raised:
            await far.commit([run.append(["y"])])
        assert not isinstance(raised.value, CommitUnknown)
        await far.close()
    assert await log.contents(run.key, [2]) == {2: b'"x"'}


@pytest.mark.slow
@on_a_loop
async def test_a_server_killed_in_the_middle_of_commits_loses_nothing_that_it_acknowledged(
    own_server: PrivatePostgres,
):
    nodes = [PostgresLog(own_server.url, schema="killed", patience_seconds=PATIENT_SECONDS) for _ in range(3)]
    acknowledged: dict[str, int] = {}
    stop = asyncio.Event()

    async def work(node: PostgresLog, number: int) -> None:
        chance = random.Random(number)
        runs = [HandmadeRun(node, f"run-{number}-{n}") for n in range(10)]
        while not stop.is_set():
            batch = chance.sample(runs, chance.randint(1, 10))
            items = [run.append([None] * chance.randint(1, 3), moves=[Move("all", spend=1, limit=0)]) for run in batch]
            for run, item, outcome in zip(batch, items, await node.commit(items), strict=True):
                assert outcome == "accepted"
                run.settle(item, outcome)
                acknowledged[run.id] = run.head.version
                appends[0] += 1

    async def more(count: int) -> None:
        wanted = appends[0] + count
        while appends[0] < wanted and not any(worker.done() for worker in workers):  # noqa: ASYNC110 - six of them
            await asyncio.sleep(0.001)

    appends = [0]
    workers = [asyncio.create_task(work(nodes[number % 3], number)) for number in range(6)]
    for _ in range(3):
        await more(300)
        await asyncio.to_thread(own_server.kill)
        await asyncio.to_thread(own_server.start)
    await more(300)
    stop.set()
    await asyncio.gather(*workers)

    rows = {row.id: row for row in await nodes[0].runs(limit=1_000)}
    assert {name: row.head.version for name, row in rows.items()} == acknowledged
    for row in rows.values():
        versions = [event.version for event in await nodes[0].events(row.key)]
        assert versions == list(range(1, row.head.version + 1))
    assert await nodes[0].budget("all") == OverBudget("all", 0, appends[0], 0)
    assert await verify(nodes[0]) == []
    for node in nodes:
        await node.close()


@on_a_loop
async def test_reads_and_appends_go_on_when_the_server_is_back(own_server: PrivatePostgres):
    log = PostgresLog(own_server.url, schema="back", patience_seconds=PATIENT_SECONDS)
    run = HandmadeRun(log, "run-1")
    await run.commit()
    await asyncio.gather(*(log.run("run-1") for _ in range(4)))

    await asyncio.to_thread(own_server.kill)
    reads = [asyncio.create_task(log.run("run-1")) for _ in range(6)]
    commit = asyncio.create_task(log.commit([run.append(["x"])]))
    await asyncio.to_thread(own_server.start)

    assert {row.id for row in await asyncio.gather(*reads) if row} == {"run-1"}
    assert await commit == ["accepted"]
    assert await log.contents(run.key, [2, 3]) == {2: b'"x"'}
    await log.close()
