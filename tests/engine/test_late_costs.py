"""What a child's call costs is known late: the child has ended, and so have its parent and theirs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.engine.conftest import Bench

from headgate.authoring import load_definition
from headgate.core import commands as c
from headgate.core import events as e
from headgate.core.values import Candidate, Failure, Price, Usage
from headgate.ports import RunRow
from headgate.stores.memory import MemoryLog
from headgate.testing.crash_evidence import gather_from, problems_of_log

CHILD = "name: child\nactivities: {a: {use: work, queue: far, retry: 1}}"
PARENT = "name: parent\nactivities: {sub: {workflow: child}, slow: {use: work, queue: slow}}"
GRAND = "name: grand\nactivities: {part: {workflow: parent}}"
FAMILY = ["grand", "parent", "child"]
WORST = 100


class Family:
    """A run, its child, and its child's child, whose one call was lost sight of and forfeited."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.engine = bench.app.engine

    async def begin(self) -> None:
        for text in (CHILD, PARENT):
            await self.engine.definitions.deploy(load_definition(text, activities=frozenset({"work"})))
        await self.bench.start(load_definition(GRAND))
        await self.bench.rest()
        await self._forfeit()

    async def _forfeit(self) -> None:
        price = Candidate("lab/m", WORST, Price(1, 1))
        fields = {"place": "a", "attempt": 1}
        await self.do("child", c.AdmitCall(at=self.now, call_id="x/1", request_hash="h", candidates=(price,), **fields))
        await self.do("child", c.LoseAttempt(at=self.now, reason="its node sleeps", **fields))

    @property
    def now(self) -> int:
        return self.bench.clock.now()

    async def row(self, workflow: str) -> RunRow:
        return next(row for row in await self.bench.log.runs() if row.workflow == workflow)

    async def do(self, workflow: str, command: c.Command) -> None:
        await self.engine.submit((await self.row(workflow)).id, command)

    async def complete(self, workflow: str, key: str, attempt: int = 1) -> None:
        await self.do(workflow, c.CompleteActivity(at=self.now, place=key, attempt=attempt, output=1))
        await self.bench.rest()

    async def settle(self, cost: int) -> None:
        """The sleeper wakes, and says what its call has cost."""
        usage = Usage(cost_nano=cost)
        await self.do("child", c.SettleCall(at=self.now, call_id="x/1", outcome="used", usage=usage))
        await self.bench.rest()

    async def costs(self) -> list[int]:
        """What grandparent, parent and child say that they cost."""
        return [(await self.row(name)).head.cost for name in FAMILY]

    async def statuses(self) -> list[str]:
        return [(await self.row(name)).head.status for name in FAMILY]

    async def corrections(self, workflow: str) -> list[int]:
        events = await self.bench.events((await self.row(workflow)).id)
        return [event.amount for event in events if isinstance(event, e.ChildCorrected)]


@pytest.mark.parametrize("cost", [30, 0, 130])
def test_a_call_that_is_settled_when_all_have_ended_is_counted_by_all_above(play: Any, cost: int):
    async def scene(bench: Bench) -> None:
        family = Family(bench)
        await family.begin()
        await family.complete("child", "a", attempt=2)
        await family.complete("parent", "slow")
        assert (await family.statuses(), await family.costs()) == (["completed"] * 3, [WORST] * 3)

        await family.settle(cost)

        assert await family.costs() == [cost] * 3
        assert await bench.log.due(0, 1) == [], "everything was delivered"
        assert await family.corrections("parent") == await family.corrections("grand") == [cost - WORST]

    play(scene, work=False)


def test_a_settlement_between_a_childs_end_and_its_parents_hearing_of_it_counts_once(play: Any):
    async def scene(bench: Bench) -> None:
        family = Family(bench)
        await family.begin()
        ends = c.CompleteActivity(at=family.now, place="a", attempt=2, output=1)
        wakes = c.SettleCall(at=family.now, call_id="x/1", outcome="used", usage=Usage(cost_nano=30))
        await asyncio.gather(family.do("child", ends), family.do("child", wakes))
        await family.complete("parent", "slow")

        assert await family.costs() == [30] * 3
        assert await family.corrections("parent") == [30 - WORST]

    play(scene, work=False)


def test_it_is_counted_while_the_parent_is_at_work(play: Any):
    async def scene(bench: Bench) -> None:
        family = Family(bench)
        await family.begin()
        await family.complete("child", "a", attempt=2)

        await family.settle(30)

        assert await family.costs() == [0, 30, 30]
        await family.complete("parent", "slow")
        assert await family.costs() == [30] * 3
        assert await family.corrections("grand") == []

    play(scene, work=False)


def test_it_is_counted_when_the_parent_was_cancelled(play: Any):
    async def scene(bench: Bench) -> None:
        family = Family(bench)
        await family.begin()
        await family.do("parent", c.Cancel(at=family.now))
        await bench.rest()
        await family.do("child", c.Tick(at=family.now + 31_000_000))
        await bench.rest()
        assert (await family.statuses())[1:] == ["cancelled", "cancelled"]

        await family.settle(30)

        assert await family.costs() == [30] * 3

    play(scene, work=False)


def test_what_was_not_delivered_when_the_process_ended_is_delivered_by_the_next(play: Any):
    log = Kept()

    async def until_it_dies(bench: Bench) -> None:
        family = Family(bench)
        await family.begin()
        await family.complete("child", "a", attempt=2)
        await family.complete("parent", "slow")
        bench.app.engine.spawn = lambda work, *_: work.close()  # nothing that it sets out to do is done any more
        await family.settle(30)
        assert await family.costs() == [WORST, WORST, 30]

    async def what_the_next_does(bench: Bench) -> None:
        await bench.rest()
        assert await Family(bench).costs() == [30] * 3

    play(until_it_dies, log, work=False)
    play(what_the_next_does, log, work=False)


def test_what_a_retry_of_a_child_costs_is_counted_by_all_above(play: Any):
    async def scene(bench: Bench) -> None:
        family = Family(bench)
        await family.begin()
        error = Failure("broken", "it broke", retryable=False)
        await family.do("child", c.FailActivity(at=family.now, place="a", attempt=2, error=error, cost=1))
        await bench.rest()
        await family.complete("parent", "slow")
        assert (await family.statuses(), await family.costs()) == (["failed"] * 3, [WORST + 1] * 3)

        await family.do("child", c.Retry(at=family.now))
        await family.settle(30)
        await family.do("child", c.CompleteActivity(at=family.now, place="a", attempt=3, output=1, cost=5))
        await bench.rest()

        assert await family.costs() == [36, 36, 36]

    play(scene, work=False)


def test_the_books_are_compared_with_the_calls_of_all_runs_below(play: Any, tmp_path: Path):
    async def scene(bench: Bench) -> None:
        family = Family(bench)
        await family.begin()
        await family.complete("child", "a", attempt=2)
        await family.complete("parent", "slow")
        await family.settle(30)

        evidence = await gather_from(bench.log, tmp_path / "journal")
        assert problems_of_log(evidence) == []

        row = await family.row("grand")
        evidence.runs[row.id] = replace(row, head=row.head._replace(cost=WORST))
        assert problems_of_log(evidence) == [f"Run {row.id} says that it cost 100; its calls come to 30."]

    play(scene, work=False)


class Kept(MemoryLog):
    """A log that outlives the app that closes it."""

    async def close(self) -> None:
        pass


def test_a_child_that_is_retried_before_its_parent_hears_of_its_end_has_not_ended(play: Any):
    async def scene(bench: Bench) -> None:
        family = Family(bench)
        await family.begin()
        child, retried = (await family.row("child")).id, list[Any]()

        def retry(lane: Any, decisions: Any) -> None:
            if lane.run.id == child and lane.run.status == "failed":
                retried.append(bench.app.engine.submit_soon(child, c.Retry(at=family.now)))

        bench.app.engine.listen(retry)  # after the courier, which sets out in the loop's next turn
        error = Failure("broken", "no", retryable=False)
        await family.do("child", c.FailActivity(at=family.now, place="a", attempt=2, error=error))
        await bench.rest()

        assert len(retried) == 1
        events = await bench.events((await family.row("parent")).id)
        assert not [event for event in events if isinstance(event, e.ChildFinished)]
        assert await family.statuses() == ["waiting", "running", "running"]

    play(scene, work=False)
