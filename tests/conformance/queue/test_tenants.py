"""A queue that tenants share."""

from __future__ import annotations

import asyncio
from itertools import combinations

import pytest
from tests.conformance.queue.lines import KINDS, LONG, opened, places, take, task

from headgate.ports import Length, Queue
from headgate.testing.log_conformance import on_a_loop


@pytest.mark.parametrize("kind", KINDS)
@on_a_loop
async def test_a_tenants_worker_gets_that_tenants_tasks_alone(kind: str):
    async with opened(kind) as line:
        await line.offer(task("a", tenant="acme"))
        await line.offer(task("b", run="run-2", tenant="bolt"))

        nobodys = await line.queue.take(["default"], worker_id="w", count=9, wait_seconds=0, tenant="other")
        bolts = await line.queue.take(["default"], worker_id="w", count=9, wait_seconds=0, tenant="bolt")

        assert nobodys == []
        assert [claim.task for claim in bolts] == [task("b", run="run-2", tenant="bolt")]
        assert places(await take(line.queue, 9)) == ["a"]


@pytest.mark.parametrize("kind", KINDS)
@on_a_loop
async def test_whoever_waits_for_one_tenant_is_not_woken_by_the_task_of_another(kind: str):
    async with opened(kind) as line:
        take = line.queue.take
        acme = asyncio.create_task(take(["default"], worker_id="w", count=1, wait_seconds=LONG, tenant="acme"))
        bolt = asyncio.create_task(take(["default"], worker_id="w", count=1, wait_seconds=LONG, tenant="bolt"))
        await asyncio.sleep(0)

        await line.offer(task("b", tenant="bolt"))

        assert places(await bolt) == ["b"]
        assert not acme.done()
        await line.offer(task("a", run="run-2", tenant="acme"))
        assert places(await acme) == ["a"]


@pytest.mark.parametrize("kind", KINDS)
@on_a_loop
async def test_its_lengths_tell_what_waits_and_what_is_held_in_each_queue(kind: str):
    async with opened(kind) as line:
        assert await line.queue.lengths() == []
        for place in ("a", "b", "c"):
            await line.offer(task(place))
        await line.offer(task("d", run="run-2", line="gpu"))
        (claim,) = await take(line.queue)

        lengths = await line.queue.lengths()
        await line.over(claim)

        assert lengths == [Length("default", 2, 1), Length("gpu", 1, 0)]
        assert await line.queue.lengths() == [Length("default", 2, 0), Length("gpu", 1, 0)]


@on_a_loop
async def test_tenants_take_turns_with_a_worker_of_all(queue: Queue):
    for number in range(4):
        queue.put(task(f"a{number}", tenant="acme"))
    for number in range(2):
        queue.put(task(f"b{number}", run="run-2", tenant="bolt"))

    claims = await take(queue, 3) + await take(queue, 9)

    assert places(claims) == ["a0", "b0", "a1", "b1", "a2", "a3"]
    assert queue.depth("default") == 0


@on_a_loop
async def test_tasks_that_are_taken_back_leave_those_of_other_tenants(queue: Queue):
    queue.put(task("a", tenant="acme"))
    queue.put(task("b", run="run-2", tenant="bolt"))

    queue.drop("run-1")

    assert queue.depth("default") == 1
    assert places(await take(queue, 9)) == ["b"]


@on_a_loop
async def test_ids_of_claims_do_not_tell_how_many_there_were(queue: Queue):
    for number in range(300):
        queue.put(task(f"a{number}"))

    endings = [int(claim.activity_id.rpartition("/")[2], 16) for claim in await take(queue, 300)]

    assert len(endings) == 300
    assert min(abs(one - other) for one, other in combinations(endings, 2)) > 1_000
