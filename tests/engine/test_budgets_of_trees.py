"""The budget that a run shares with its children."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.engine.engine_lab import ONE, TWO_CALLS, signal

from headgate.core import commands as c
from headgate.core.values import Usage
from headgate.ports import Admitted, Completed, Settlement


def test_what_a_worker_reports_with_its_outcome_counts_in_the_budget_of_the_tree(play):
    text = "name: p\nbudget: 1\nactivities: {a: {use: x, queue: mine}, sub: {workflow: child, after: [a]}}"

    async def scene(bench: Any) -> None:
        run_id = await bench.start(text)
        (task,) = await bench.app.protocol.poll(["mine"], worker_id="w", count=1, wait_seconds=1)

        await bench.app.protocol.report(
            [Completed(task.activity_id, 1, (Usage(cost_nano=7), Usage(cost_nano=5)))], worker_id="w"
        )

        budget = await bench.log.budget(f"tree:{run_id}")
        assert (budget.spent, budget.reserved) == (12, 0)

    play(scene, work=False)


class Shared:
    """Two runs under one budget of 100: the first holds 60 of it, two calls of the second wait for 60 each."""

    def __init__(self, bench: Any) -> None:
        self.bench = bench
        self.waiting: list[asyncio.Future[Any]] = []
        self.holder, self.waiter, self.held = "", "", ""

    async def set(self) -> Shared:
        bench, protocol = self.bench, self.bench.app.protocol
        self.holder = await bench.start(TWO_CALLS, limit=100, outer=("shared",))
        held, _ = await protocol.poll(["mine"], worker_id="w", count=2, wait_seconds=1)
        self.held = held.activity_id
        self.waiter = await bench.start(TWO_CALLS, outer=("shared",))
        tasks = await protocol.poll(["mine"], worker_id="w", count=2, wait_seconds=1)
        await protocol.admit(self.held, call_id="held", request=ONE)
        for task in tasks:
            ask = protocol.admit(task.activity_id, call_id=task.place, request=ONE)
            self.waiting.append(asyncio.ensure_future(ask))
        await bench.until(lambda: self.count() == 2)
        return self

    def count(self) -> int:
        """How many calls of the second run wait; -1 while the run is being read again."""
        lane = self.bench.app.engine.loaded(self.waiter)
        return -1 if lane is None else len(lane.run.waiting_calls)

    async def let_go(self) -> None:
        await self.bench.app.protocol.settle(self.held, call_id="held", settlement=Settlement("never_sent"))

    async def forget(self) -> None:
        for ask in self.waiting:
            ask.cancel()
        await asyncio.gather(*self.waiting, return_exceptions=True)


def test_a_call_that_waits_for_a_shared_budget_is_woken_by_another_run(play):
    async def scene(bench: Any) -> None:
        shared = await Shared(bench).set()

        await shared.let_go()

        assert isinstance(await asyncio.wait_for(shared.waiting[0], 5), Admitted)
        assert not shared.waiting[1].done()
        await shared.forget()

    play(scene, work=False)


def test_a_call_of_a_run_that_is_no_longer_in_memory_is_woken_too(play):
    async def scene(bench: Any) -> None:
        shared = await Shared(bench).set()
        bench.app.engine.drop(bench.app.engine.loaded(shared.waiter))

        await shared.let_go()

        assert isinstance(await asyncio.wait_for(shared.waiting[0], 5), Admitted)
        await shared.forget()

    play(scene, work=False)


def test_room_that_is_announced_several_times_at_once_is_given_away_once(play):
    async def scene(bench: Any) -> None:
        shared = await Shared(bench).set()
        lane = bench.app.engine.loaded(shared.waiter)
        free = c.FreeBudget(at=0, budget="shared")

        first = lane.submit(signal("keeps the lane busy"))
        announced = [lane.submit(free) for _ in range(3)]
        await asyncio.gather(shared.let_go(), first, *announced)

        assert isinstance(await asyncio.wait_for(shared.waiting[0], 5), Admitted)
        await bench.until(lambda: shared.count() == 1)
        budget = await bench.log.budget("shared")
        assert (budget.spent, budget.reserved) == (0, 60)
        await shared.forget()

    play(scene, work=False)
