"""A table of tasks as a queue uses it: hints, and what stands in front of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.postgres_logs import sql
from tests.task_tables import LEASE_SECONDS, age, claim, nodes, offer, task

from headgate.ports import Hint, Offer, Task
from headgate.queues import store
from headgate.queues.store import StoreQueue
from headgate.stores.postgres import PostgresLog
from headgate.testing.log_conformance import HandmadeRun, on_a_loop

# --- Hints ------------------------------------------------------------------------------------------------------------


@on_a_loop
async def test_a_hint_reaches_who_listens_and_one_that_is_too_long_says_everything():
    async with nodes() as (log, other):
        heard: asyncio.Queue[Hint] = asyncio.Queue()
        listening = asyncio.create_task(other.tasks.hear(heard.put_nowait))
        async with asyncio.timeout(20):
            assert (await heard.get()).everything  # what was said before is not known
            await log.tasks.tell(Hint("one", runs=("run-1",), budgets=("tree:run-1",)))
            assert await heard.get() == Hint("one", runs=("run-1",), budgets=("tree:run-1",))
            await log.tasks.tell(Hint("one", runs=tuple(f"run-{number:020}" for number in range(1_000))))
            assert await heard.get() == Hint("one", everything=True)
        listening.cancel()


@on_a_loop
async def test_who_listens_hears_again_after_its_connection_has_broken():
    async with nodes() as (log, other):
        heard: asyncio.Queue[Hint] = asyncio.Queue()
        listening = asyncio.create_task(other.tasks.hear(heard.put_nowait))
        async with asyncio.timeout(30):
            await heard.get()
            await sql("select pg_terminate_backend(pid) from pg_stat_activity where query like 'LISTEN%'")
            assert (await heard.get()).everything
            await log.tasks.tell(Hint("one", queues=("std",)))
            assert await heard.get() == Hint("one", queues=("std",))
        listening.cancel()


# --- The queue in front of it -----------------------------------------------------------------------------------------


class StillClock:
    """A clock that is set by hand; the table has its own."""

    def now(self) -> int:
        return 1_000_000

    async def wait(self, until: int | None, wake: asyncio.Event) -> None:
        raise AssertionError("a queue has nothing to wait for but tasks")


async def take(queue: StoreQueue, count: int = 10, wait: float = 0.0) -> list[Task]:
    claims = await queue.take(["std"], worker_id="w", count=count, wait_seconds=wait)
    return [one.task for one in claims]


async def append(log: PostgresLog, queue: StoreQueue, run: HandmadeRun, *places: str) -> list[Offer]:
    item = run.append(["next"])
    item.offers = [queue.offer(task(place, run=run.id), 2, number) for number, place in enumerate(places)]
    (outcome,) = await log.commit([item])
    run.settle(item, outcome)
    queue.born(item.offers)
    return list(item.offers)


@on_a_loop
async def test_a_node_holds_as_much_as_its_workers_ask_for_and_shares_out_the_rest():
    async with nodes() as (log, other):
        mine, theirs = StoreQueue(log.tasks, StillClock()), StoreQueue(other.tasks, StillClock())
        await take(mine, count=3)
        await take(theirs, count=1_000)
        run, wide = HandmadeRun(log, "run-1"), HandmadeRun(other, "run-2")

        offers = await append(log, mine, run, "a", "b", "c", "d")
        fan = await append(other, theirs, wide, *(f"p{number}" for number in range(20)))

        assert [one.held for one in offers] == [True, True, True, False]
        assert [one.held for one in fan] == [True] * 16 + [False] * 4
        assert [one.node for one in fan[16:]] == [""] * 4  # for anybody, at once
        assert len(await take(mine)) == 3
        assert {one.place for one in await take(mine)} == {"d", "p16", "p17", "p18", "p19"}
        await mine.close()
        await theirs.close()


@on_a_loop
async def test_a_node_without_a_worker_for_a_queue_holds_none_of_its_tasks():
    async with nodes(1) as (log,):
        queue = StoreQueue(log.tasks, StillClock())

        (one,) = await append(log, queue, HandmadeRun(log, "run-1"), "a")

        assert (one.held, one.node) == (False, "")
        await queue.close()


@on_a_loop
async def test_while_there_are_free_tasks_newer_ones_are_not_held():
    async with nodes(1) as (log,):
        queue = StoreQueue(log.tasks, StillClock())
        await take(queue, count=1)
        run = HandmadeRun(log, "run-1")
        await append(log, queue, run, "a", "b")
        assert [one.place for one in await take(queue, 1)] == ["a"]

        (newer,) = await append(log, queue, run, "c")

        assert not newer.held
        assert [one.place for one in [*await take(queue, 1), *await take(queue, 1)]] == ["b", "c"]
        await queue.close()


@on_a_loop
async def test_a_take_that_waits_is_woken_by_a_task_of_another_node():
    async with nodes() as (log, other):
        queue = StoreQueue(other.tasks, StillClock())
        waiting = asyncio.create_task(take(queue, wait=60.0))
        await asyncio.sleep(0.05)
        await log.tasks.add([offer("a")])

        queue.wake(["std"])

        async with asyncio.timeout(20):
            assert await waiting == [task("a")]
        await queue.close()


@pytest.mark.parametrize("comes", ["held", "free", "from another node"])
@on_a_loop
async def test_what_comes_while_a_take_looks_at_the_rows_is_taken_at_once(comes: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store, "LOOK_SECONDS", 60.0)
    async with nodes(1) as (log,):
        queue, claimed = StoreQueue(log.tasks, StillClock()), log.tasks.claim
        looking, looked = asyncio.Event(), asyncio.Event()

        async def slow(*asked: Any, **more: Any) -> Any:
            found = await claimed(*asked, **more)
            looking.set()
            await looked.wait()
            return found

        monkeypatch.setattr(log.tasks, "claim", slow)
        waiting = asyncio.create_task(take(queue, wait=60.0))
        await looking.wait()
        born = offer("a", node="" if comes == "from another node" else queue.node, held=comes == "held")
        await log.tasks.add([born])

        if comes == "from another node":
            queue.wake(["std"])
        else:
            queue.born([born])
        looked.set()

        async with asyncio.timeout(20):
            assert await waiting == [task("a")]
        await queue.close()


@on_a_loop
async def test_a_take_that_waits_finds_a_task_that_nobody_has_told_of():
    async with nodes() as (log, other):
        queue = StoreQueue(other.tasks, StillClock())
        waiting = asyncio.create_task(take(queue, wait=60.0))
        await asyncio.sleep(0.05)
        await log.tasks.add([offer("a")])

        async with asyncio.timeout(20):
            assert await waiting == [task("a")]
        await queue.close()


@on_a_loop
async def test_a_take_that_is_cancelled_loses_no_task():
    async with nodes() as (log, other):
        queue = StoreQueue(log.tasks, StillClock())
        await log.tasks.add([offer(f"p{number}") for number in range(30)])
        for steps in range(12):
            taking = asyncio.create_task(queue.take(["std"], worker_id="w", count=2, wait_seconds=0))
            for _ in range(steps):
                await asyncio.sleep(0)
            await asyncio.sleep(steps * 0.0003)
            taking.cancel()
            for claimed in (await asyncio.gather(taking, return_exceptions=True))[0:1]:
                if isinstance(claimed, list):
                    for one in claimed:
                        queue.finish(one.activity_id)
                    await log.tasks.release([one.task for one in claimed], queue.node)
        await queue.close()

        assert len(await claim(other, "two", count=100)) == 30


@on_a_loop
async def test_a_task_that_nobody_here_takes_is_given_away():
    async with nodes() as (log, other):
        queue = StoreQueue(log.tasks, StillClock())
        await take(queue, count=5)
        run = HandmadeRun(log, "run-1")
        await append(log, queue, run, "a")
        await queue.give_away()
        assert await claim(other, "two") == []  # it has not waited long

        patient, store.GIVE_AWAY_AFTER_SECONDS = store.GIVE_AWAY_AFTER_SECONDS, -1_000.0
        try:
            await queue.give_away()
        finally:
            store.GIVE_AWAY_AFTER_SECONDS = patient

        assert await claim(other, "two", count=1) == [task("a")]
        assert queue.depth("std") == 0
        await queue.close()


@on_a_loop
async def test_a_node_whose_worker_has_gone_holds_no_more_tasks():
    async with nodes(1) as (log,):
        queue = StoreQueue(log.tasks, StillClock())
        patient, store.GIVE_AWAY_AFTER_SECONDS = store.GIVE_AWAY_AFTER_SECONDS, -1_000.0
        try:
            await take(queue, count=5)
        finally:
            store.GIVE_AWAY_AFTER_SECONDS = patient

        (one,) = await append(log, queue, HandmadeRun(log, "run-1"), "a")

        assert (one.held, one.node) == (False, "")
        await queue.close()


@on_a_loop
async def test_a_node_that_ends_frees_what_waits_in_its_line():
    async with nodes() as (log, other):
        queue = StoreQueue(log.tasks, StillClock())
        await take(queue, count=5)
        await append(log, queue, HandmadeRun(log, "run-1"), "a", "b")

        await queue.close()

        assert await claim(other, "two") == [task("a"), task("b")]


@on_a_loop
async def test_a_task_that_is_put_back_is_free_again():
    async with nodes() as (log, other):
        queue = StoreQueue(log.tasks, StillClock())
        await log.tasks.add([offer("a")])
        (held,) = await queue.take(["std"], worker_id="w", count=1, wait_seconds=0)
        queue.finish(held.activity_id)
        queue.put(held.task)
        await queue.close()

        assert await claim(other, "two") == [task("a")]


@on_a_loop
async def test_a_heartbeat_to_another_node_keeps_the_claim_and_one_that_comes_too_late_is_told_so():
    async with nodes() as (log, other):
        mine, theirs = StoreQueue(log.tasks, StillClock()), StoreQueue(other.tasks, StillClock())
        await log.tasks.add([offer("a")])
        (held,) = await mine.take(["std"], worker_id="w", count=1, wait_seconds=0)
        await age(LEASE_SECONDS - 1)

        assert await theirs.renew(held.activity_id)
        await age(2)
        assert await log.tasks.overdue("x", 10) == []
        await age(LEASE_SECONDS)
        assert not await theirs.renew(held.activity_id)
        assert not await mine.renew(held.activity_id)
        assert mine.claimed(held.activity_id) is None
        await mine.close()
        await theirs.close()
