"""Time limits and timers beside calls that wait for money."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.engine.engine_lab import ONE, TWO_CALLS

from headgate.core.definition import Activity, Definition
from headgate.core.values import Candidate, Price, Usage
from headgate.ports import Admitted, CallRequest, Completed, Settlement


def test_the_time_that_a_call_waits_for_money_does_not_count_against_the_time_limit(play):
    async def scene(bench: Any) -> None:
        run_id = await bench.start(TWO_CALLS, limit=100)
        protocol = bench.app.protocol
        first, second = await protocol.poll(["mine"], worker_id="w", count=2, wait_seconds=1)
        await protocol.admit(first.activity_id, call_id="c1", request=ONE)
        bench.clock.advance(seconds=200)

        waiting = asyncio.ensure_future(protocol.admit(second.activity_id, call_id="c2", request=ONE))
        await bench.until(lambda: bench.app.engine.loaded(run_id).run.waiting_calls)
        bench.clock.advance(seconds=5_000)
        await asyncio.sleep(0.01)
        await protocol.settle(first.activity_id, call_id="c1", settlement=Settlement.used(Usage(cost_nano=1)))
        assert isinstance(await waiting, Admitted)
        assert "b" in bench.app.engine.loaded(run_id).run.tasks
        bench.clock.advance(seconds=99)
        await asyncio.sleep(0.01)
        assert "b" in bench.app.engine.loaded(run_id).run.tasks, "it has 100 of its 300 s left"

        bench.clock.advance(seconds=2)
        await bench.until(lambda: "b" not in bench.app.engine.loaded(run_id).run.tasks)

    play(scene, work=False)


def test_several_calls_of_one_attempt_that_wait_at_once_do_not_lose_its_time_limit(play):
    async def scene(bench: Any) -> None:
        run_id = await bench.start(TWO_CALLS, limit=100)
        protocol = bench.app.protocol
        first, second = await protocol.poll(["mine"], worker_id="w", count=2, wait_seconds=1)
        await protocol.admit(first.activity_id, call_id="c1", request=ONE)
        waiting = [
            asyncio.ensure_future(protocol.admit(second.activity_id, call_id=f"c{number}", request=ONE))
            for number in (2, 3)
        ]
        await bench.until(lambda: len(bench.app.engine.loaded(run_id).run.waiting_calls) == 2)
        await protocol.settle(first.activity_id, call_id="c1", settlement=Settlement("never_sent"))
        await waiting[0]
        await protocol.settle(second.activity_id, call_id="c2", settlement=Settlement("never_sent"))
        await waiting[1]

        bench.clock.advance(seconds=301)
        await bench.until(lambda: "b" not in bench.app.engine.loaded(run_id).run.tasks)

    play(scene, work=False)


def test_a_timer_is_not_put_off_by_a_message_of_another_run(play):
    child = Definition(name="child", activities=(Activity(key="x", name="echo", queue="nobody"),))

    async def scene(bench: Any) -> None:
        await bench.app.engine.definitions.deploy(child)
        timed = await bench.start("name: t\nactivities: {w: {use: wait, with: {duration: 1s}}}")
        await bench.until(lambda: bench.clock.next_alarm is not None)
        await bench.start("name: p\nactivities: {sub: {workflow: child}}")
        await bench.until(lambda: len(bench.app.engine._lanes) == 3)
        await asyncio.sleep(0.01)

        bench.clock.advance(seconds=1)

        assert (await bench.finished(timed)).head.status == "completed"

    play(scene)


@pytest.mark.parametrize(("cost", "least", "most"), [(100, 10, 10), (10, 90, 99)])
def test_of_a_hundred_calls_under_a_limit_for_ten_as_many_happen_as_their_real_cost_allows(
    play, cost: int, least: int, most: int
):
    crowd = Definition(
        name="crowd",
        activities=(Activity(key="a", name="x", queue="mine", for_each=list(range(100)), max_parallel=100),),
    )

    async def scene(bench: Any) -> None:
        run_id = await bench.start(crowd, limit=1_000)
        protocol = bench.app.protocol
        tasks = await protocol.poll(["mine"], worker_id="w", count=100, wait_seconds=1)
        happened: list[int] = []

        async def call(number: int, activity_id: str) -> None:
            request = CallRequest("h", (Candidate("m/one", 100, Price(1, 1)),))
            answer = await protocol.admit(activity_id, call_id=str(number), request=request)
            if isinstance(answer, Admitted):
                happened.append(number)
                await protocol.settle(
                    activity_id, call_id=str(number), settlement=Settlement.used(Usage(cost_nano=cost))
                )
            await protocol.report([Completed(activity_id, number)], worker_id="w")

        async with asyncio.timeout(20):
            await asyncio.gather(*(call(number, task.activity_id) for number, task in enumerate(tasks)))
        row = await bench.finished(run_id)

        assert least <= len(happened) <= most
        assert (row.head.cost, row.head.reserved) == (len(happened) * cost, 0)

    play(scene, work=False)
