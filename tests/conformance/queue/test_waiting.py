"""Who waits at a queue, and what is taken back from it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import pytest
from tests.conformance.queue.lines import KINDS, LONG, opened, places, take, task

from headgate.ports import Claim, Queue
from headgate.testing.log_conformance import on_a_loop


async def started(waiting: Coroutine[Any, Any, list[Claim]]) -> asyncio.Task[list[Claim]]:
    """Start a take, and return when it waits."""
    begun = asyncio.create_task(waiting)
    await asyncio.sleep(0)
    assert not begun.done()
    return begun


# --- Waiting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@on_a_loop
async def test_a_take_that_waits_is_woken_by_a_task(kind: str):
    async with opened(kind) as line:
        waiting = await started(take(line.queue, wait=LONG))

        await line.offer(task("a"))

        assert places(await asyncio.wait_for(waiting, 5)) == ["a"]


@pytest.mark.parametrize("kind", KINDS)
@on_a_loop
async def test_each_of_many_waiting_takes_gets_a_task_of_its_own(kind: str):
    async with opened(kind) as line:
        waiting = [await started(take(line.queue, wait=LONG)) for _ in range(10)]

        for number in range(10):
            await line.offer(task(f"place-{number}"))
        claims = await asyncio.wait_for(asyncio.gather(*waiting), 5)

        assert sorted(Counter(place for taken in claims for place in places(taken)).values()) == [1] * 10


@pytest.mark.parametrize("kind", KINDS)
@on_a_loop
async def test_a_task_of_another_queue_wakes_nobody(kind: str):
    async with opened(kind) as line:
        waiting = await started(take(line.queue, 1, "gpu", wait=LONG))

        await line.offer(task("a"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

        assert not waiting.done()
        await line.offer(task("b", line="gpu"))
        assert places(await asyncio.wait_for(waiting, 5)) == ["b"]


@pytest.mark.parametrize("kind", KINDS)
@on_a_loop
async def test_a_take_returns_empty_handed_when_its_time_is_over(kind: str):
    async with opened(kind) as line:
        assert await asyncio.wait_for(take(line.queue, wait=0.001), 5) == []
        await line.offer(task("a"))

        assert places(await take(line.queue)) == ["a"]


@on_a_loop
async def test_a_take_whose_task_was_snatched_waits_on(queue: Queue):
    waiting = await started(take(queue, wait=LONG))

    queue.put(task("a"))
    snatched = await take(queue)
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert places(snatched) == ["a"]
    assert not waiting.done()
    queue.put(task("b"))
    assert places(await asyncio.wait_for(waiting, 5)) == ["b"]


@pytest.mark.parametrize("kind", KINDS)
@on_a_loop
async def test_a_take_that_is_cancelled_loses_no_task(kind: str):
    async with opened(kind) as line:
        waiting = await started(take(line.queue, wait=LONG))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

        await line.offer(task("a"))

        # What the cancelled one has asked of the rows meanwhile may have got it, and is given back.
        assert places(await take(line.queue, wait=LONG)) == ["a"]


@on_a_loop
async def test_a_take_that_is_cancelled_as_it_is_woken_wakes_the_next_one(queue: Queue):
    first = await started(take(queue, wait=LONG))
    second = await started(take(queue, wait=LONG))

    queue.put(task("a"))
    first.cancel()

    assert places(await asyncio.wait_for(second, 5)) == ["a"]
    with pytest.raises(asyncio.CancelledError):
        await first


# --- Taking back ------------------------------------------------------------------------------------------------------


@on_a_loop
async def test_a_drop_takes_back_what_nobody_has_claimed_and_names_the_rest(queue: Queue):
    for name in "abc":
        queue.put(task(name))
    queue.put(task("d", run="run-2"))
    (claim,) = await take(queue)

    held = queue.drop("run-1")

    assert held == [claim]
    assert queue.depth("default") == 1
    assert places(await take(queue, 10)) == ["d"]
    assert queue.drop("never") == []


@on_a_loop
async def test_a_task_that_was_dropped_and_put_again_is_claimed_once(queue: Queue):
    for _ in range(3):
        queue.put(task("a"))
        queue.drop("run-1")
    queue.put(task("a"))
    offered = queue.depth("default")

    claims = await take(queue, 10)

    assert offered == 1
    assert places(claims) == ["a"]


@on_a_loop
async def test_a_task_that_was_put_again_stands_behind_the_others(queue: Queue):
    queue.put(task("a"))
    queue.put(task("b", run="run-2"))
    queue.drop("run-1")
    queue.put(task("a"))

    assert places(await take(queue, 10)) == ["b", "a"]
