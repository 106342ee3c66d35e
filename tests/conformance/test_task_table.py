"""What every table of tasks keeps true (`ports.TaskTable`): tasks, claims, leases."""

from __future__ import annotations

import asyncio
from collections import Counter

import asyncpg
import pytest
from tests.postgres_logs import SCHEMA, server_url, sql
from tests.task_tables import LEASE_SECONDS, age, claim, nodes, offer, task

from headgate.core.errors import Invalid
from headgate.ports import Append, Task
from headgate.stores.postgres import PostgresLog
from headgate.testing.log_conformance import HandmadeRun, on_a_loop

# --- With the events --------------------------------------------------------------------------------------------------


@on_a_loop
async def test_tasks_stand_and_fall_with_their_append():
    async with nodes() as (log, other):
        run = HandmadeRun(log, "run-1")
        await run.commit()
        mine, theirs = run.append(["mine"]), run.append(["theirs"])
        mine.offers, theirs.offers = [offer("a")], [offer("b")]

        (first,) = await log.commit([mine])
        (second,) = await other.commit([theirs])
        run.settle(mine, first)

        assert (first, second) == ("accepted", "version_conflict")
        assert await claim(other, "other") == [task("a")]

        ends = run.append(["ended"])
        ends.over, ends.offers = [("run-1", "a", 1)], [offer("a", attempt=2)]
        assert await log.commit([ends]) == ["accepted"]
        assert [tuple(row) for row in await sql("select place, attempt, holder from queue")] == [("a", 2, "")]


@on_a_loop
async def test_a_task_that_is_offered_again_stays_in_the_hands_it_is_in_and_one_beside_it_is_born():
    async with nodes(1) as (log,):
        run = HandmadeRun(log, "run-1")
        await run.commit()
        await log.tasks.add([offer("a")])
        assert await claim(log, "one") == [task("a")]
        resumes = run.append(["resumed"])
        resumes.offers = [offer("b"), offer("a")]

        assert await log.commit([resumes]) == ["accepted"]

        rows = await sql("select place, holder from queue order by place")
        assert [tuple(row) for row in rows] == [("a", "one"), ("b", "")]


@on_a_loop
async def test_the_end_of_a_run_takes_all_its_tasks_and_no_others():
    async with nodes(1) as (log,):
        run = HandmadeRun(log, "run-1")
        await run.commit()
        await log.tasks.add([offer("a"), offer("b"), offer("c", run="run-2")])
        ends: Append = run.append(["ended"])
        ends.over = [("run-1", "", 0)]

        assert await log.commit([ends]) == ["accepted"]

        assert [row["place"] for row in await sql("select place from queue")] == ["c"]


@on_a_loop
async def test_a_task_that_is_born_in_a_nodes_hands_is_claimed_by_nobody_until_its_lease_is_over():
    async with nodes() as (log, other):
        run = HandmadeRun(log, "run-1")
        item = run.append(["first"])
        item.offers = [offer("a", node="one", held=True)]
        await log.commit([item])

        assert await claim(other, "two") == []
        assert await other.tasks.overdue("two", 10) == []
        assert await log.tasks.renew([task("a")], ["one"]) == [True]
        await age(LEASE_SECONDS + 1)
        (found,) = await other.tasks.overdue("two", 10)
        assert (found.task, found.deadline_passed) == (task("a"), False)
        assert found.held_seconds >= LEASE_SECONDS


# --- Claims -----------------------------------------------------------------------------------------------------------


@on_a_loop
async def test_of_many_that_claim_at_once_each_gets_tasks_of_its_own():
    async with nodes(4) as logs:
        await logs[0].tasks.add([offer(f"p{number}") for number in range(200)])

        async def work(number: int, log: PostgresLog) -> list[Task]:
            mine: list[Task] = []
            while found := await claim(log, f"node-{number}", count=7):
                mine += found
            return mine

        shares = await asyncio.gather(*(work(number, log) for number, log in enumerate(logs)))

        counted = Counter(one for share in shares for one in share)
        assert set(counted.values()) == {1}
        assert len(counted) == 200
        assert sum(bool(share) for share in shares) > 1


@on_a_loop
async def test_tasks_are_claimed_oldest_first_and_of_the_named_queues_only():
    async with nodes(1) as (log,):
        for place in ("a", "b", "c"):
            await log.tasks.add([offer(place)])
        await log.tasks.add([offer("x", queue="gpu")])

        assert await claim(log, "one", count=2) == [task("a"), task("b")]
        assert await claim(log, "one") == [task("c")]
        assert await claim(log, "one", queue="gpu") == [task("x", queue="gpu")]


@on_a_loop
async def test_a_worker_of_one_tenant_gets_no_task_of_another():
    async with nodes(1) as (log,):
        await log.tasks.add([offer("a")._replace(tenant="ann"), offer("b")._replace(tenant="bob")])

        claimed = await log.tasks.claim(["std"], node="one", worker_id="w", count=10, tenant="bob")

        assert [one for one, _ in claimed] == [task("b")._replace(tenant="bob")]
        assert await claim(log, "one") == [task("a")._replace(tenant="ann")]


@on_a_loop
async def test_what_a_node_has_decided_is_left_to_it_for_a_moment():
    async with nodes() as (log, other):
        await log.tasks.add([offer("a", node="one"), offer("b", node="one")])

        assert await claim(other, "two") == []
        assert await claim(log, "one", count=1) == [task("a")]
        await age(1.0)
        assert await claim(other, "two") == [task("b")]


@on_a_loop
async def test_a_node_claims_what_it_has_decided_before_what_others_have():
    async with nodes(1) as (log,):
        await log.tasks.add([offer("theirs", node="two"), offer("anybodys"), offer("mine", node="one")])
        await age(1.0)

        assert await claim(log, "one", count=2) == [task("mine"), task("theirs")]


@on_a_loop
async def test_what_is_released_is_free_and_what_is_removed_is_gone():
    async with nodes() as (log, other):
        await log.tasks.add([offer("a"), offer("b"), offer("c")])
        claimed = await claim(log, "one")

        await other.tasks.release(claimed, "two")  # not theirs to release
        await other.tasks.remove(claimed, "two")
        assert await claim(other, "two") == []
        await log.tasks.release([task("a")], "one")
        await log.tasks.remove([task("b")], "one")

        assert await claim(other, "two") == [task("a")]
        assert len(await other.tasks.claims_of("run-1")) == 2


# --- Leases -----------------------------------------------------------------------------------------------------------


@on_a_loop
async def test_a_lease_is_renewed_by_any_node_in_the_name_of_its_holder():
    async with nodes() as (log, other):
        await log.tasks.add([offer("a"), offer("b")])
        await claim(log, "one")
        await age(LEASE_SECONDS - 1)

        assert await other.tasks.renew([task("a"), task("b"), task("c")], ["one", "two", "one"]) == [True, False, False]

        await age(2)
        assert [found.task for found in await other.tasks.overdue("two", 10)] == [task("b")]


@on_a_loop
async def test_a_table_says_what_is_in_whose_hands():
    async with nodes() as (log, other):
        await log.tasks.add([offer("a"), offer("b", queue="more"), offer("free", queue="none")])
        await claim(log, "one")
        await claim(other, "two", queue="more")

        named = [task("a"), task("a", attempt=2), task("b"), task("free"), task("never")]

        assert await other.tasks.holds(named, "one") == [True, False, False, False, False]
        assert await other.tasks.holds(named, "two") == [False, False, True, False, False]


@on_a_loop
async def test_a_lease_that_is_over_is_renewed_by_nobody():
    async with nodes() as (log, other):
        await log.tasks.add([offer("a")])
        await claim(log, "one")
        await age(LEASE_SECONDS + 1)

        assert await log.tasks.renew([task("a")], ["one"]) == [False]
        assert len(await other.tasks.overdue("two", 10)) == 1
        assert await log.tasks.renew([task("a")], ["one"]) == [False]
        assert await other.tasks.renew([task("a")], ["two"]) == [True]


@on_a_loop
async def test_a_lease_of_another_length_lasts_so_long_and_is_renewed_by_so_much():
    async with nodes() as (log, other):
        await log.tasks.add([offer("a"), offer("b"), offer("c")])
        await claim(log, "one", count=3)
        await log.tasks.set_leases([task("a"), task("c")], "one", [90_000_000, 90_000_000])
        await log.tasks.set_leases([task("b")], "two", [90_000_000])  # not theirs to set
        await age(89)
        assert [found.task for found in await other.tasks.overdue("two", 10)] == [task("b")]
        assert await log.tasks.renew([task("a")], ["one"]) == [True]
        await age(89)
        assert {found.task for found in await other.tasks.overdue("two", 10)} == {task("b"), task("c")}


@on_a_loop
@pytest.mark.parametrize("end", ["released", "overdue"])
async def test_whoever_is_given_a_row_next_has_it_under_a_lease_of_its_own(end: str):
    async with nodes() as (log, other):
        await log.tasks.add([offer("a")])
        await claim(log, "one")
        await log.tasks.set_leases([task("a")], "one", [90_000_000])
        if end == "released":
            await log.tasks.release([task("a")], "one")
            await claim(other, "two")
        else:
            await age(91)
            await other.tasks.overdue("two", 10)

        assert await other.tasks.renew([task("a")], ["two"]) == [True]

        await age(LEASE_SECONDS + 1)
        assert [found.task for found in await log.tasks.overdue("one", 10)] == [task("a")]


@on_a_loop
async def test_what_is_overdue_is_given_to_one_of_those_that_ask():
    async with nodes(4) as logs:
        await logs[0].tasks.add([offer(f"p{number}") for number in range(60)])
        await claim(logs[0], "dead", count=100)
        await age(LEASE_SECONDS + 1)

        found = await asyncio.gather(
            *(log.tasks.overdue(f"node-{number}", 25) for number, log in enumerate(logs) for _ in range(2))
        )

        counted = Counter(one.task for share in found for one in share)
        assert set(counted.values()) == {1}
        assert len(counted) == 60


@on_a_loop
async def test_a_claim_beyond_its_deadline_is_overdue_though_its_lease_is_kept():
    async with nodes() as (log, other):
        await log.tasks.add([offer("a"), offer("b")])
        await claim(log, "one")
        await log.tasks.set_deadlines([task("a"), task("b")], "one", [5.0, None])
        await age(6)

        (found,) = await other.tasks.overdue("two", 10)

        assert (found.task, found.worker_id, found.deadline_passed) == (task("a"), "w", True)


@on_a_loop
async def test_a_renewal_waits_for_no_append_that_is_at_work_on_the_row():
    async with nodes() as (log, _):
        await log.tasks.add([offer("a"), offer("b")])
        await claim(log, "one")
        connection = await asyncpg.connect(server_url(), server_settings={"search_path": SCHEMA})
        try:
            async with asyncio.timeout(20), connection.transaction():
                await connection.execute("delete from queue where place = 'a'")
                assert await log.tasks.renew([task("a"), task("b")], ["one", "one"]) == [True, True]
                assert await claim(log, "one") == []
        finally:
            await connection.close()


def test_a_lease_that_is_shorter_than_heartbeats_are_apart_is_refused():
    with pytest.raises(Invalid, match="at least 12 s"):
        PostgresLog("postgresql://host/name", lease_seconds=10.0)


# --- What got lost ----------------------------------------------------------------------------------------------------


@on_a_loop
async def test_a_run_with_more_tasks_than_rows_is_found():
    async with nodes(1) as (log,):
        run = HandmadeRun(log, "run-1")
        await run.commit()
        item = run.append(["next"])
        item.head = item.head._replace(tasks=2)
        item.offers = [offer("a"), offer("b")]
        await log.commit([item])
        assert await log.tasks.missing(1 << 62, 10) == []

        await sql("delete from queue where place = 'b'")

        assert await log.tasks.missing(1 << 62, 10) == ["run-1"]
        assert await log.tasks.missing(0, 10) == []  # it may be that somebody is just at it
        await log.tasks.add([offer("a"), offer("b")])
        assert await log.tasks.missing(1 << 62, 10) == []
