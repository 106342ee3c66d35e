"""Group commit: how many at a time, and what goes alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from headgate.engine.appender import Appender
from headgate.ports import Append, FeedLag, Head, Move, Opening, Outcome
from headgate.testing.log_conformance import NOON, on_a_loop

HEAD = Head("running", 0, b"", None, 0, 0, 0, NOON, None, "")


class SlowLog:
    """A log of many writers whose commits end when they are told to."""

    lanes = 2
    tasks = None

    def __init__(self) -> None:
        self.under_way: list[tuple[list[int], asyncio.Future[None]]] = []

    async def versions(self, run_ids: Sequence[str]) -> dict[str, int]:
        return {}

    async def left_alone(self, now: int, changed_before: int, limit: int) -> list[str]:
        return []

    async def server_time(self) -> int:
        return NOON

    trouble = ""

    async def require_room(self) -> None:
        pass

    async def feed_lag(self) -> FeedLag:
        return FeedLag(0, 0.0)

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        mine = ([item.run for item in batch], end)
        self.under_way.append(mine)
        await end
        self.under_way.remove(mine)
        return ["accepted"] * len(batch)

    @property
    def batches(self) -> list[list[int]]:
        return [batch for batch, _ in self.under_way]

    async def end(self, number: int = 0) -> None:
        self.under_way[number][1].set_result(None)
        await turns()


async def turns() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


def item(run: int, *, opening: bool = False) -> Append:
    wanted = Opening("default", 0, NOON) if opening else None
    return Append(run, 0, [], HEAD, moves=[Move("team", limit=1, opening=wanted)])


async def started(log: SlowLog) -> tuple[Appender, list[int]]:
    appender, done = Appender(log), list[int]()
    appender.start()
    return appender, done


def append(appender: Appender, done: list[int], *items: Append) -> None:
    for one in items:
        appender.append(one, lambda item, _: done.append(item.run))


async def close(appender: Appender, log: SlowLog) -> None:
    closing = asyncio.create_task(appender.close())
    await turns()
    while log.under_way:
        await log.end()
    await closing


@on_a_loop
async def test_two_commits_are_under_way_at_a_time_and_no_third():
    log = SlowLog()
    appender, done = await started(log)
    for number in (1, 2, 3, 4):
        append(appender, done, item(number))
        await turns()

    assert log.batches == [[1], [2]]
    await log.end(1)
    assert log.batches == [[1], [3, 4]]
    assert done == [2]
    await close(appender, log)
    assert sorted(done) == [1, 2, 3, 4]


@on_a_loop
async def test_a_budget_that_begins_is_made_after_all_before_it_and_before_all_after_it():
    log = SlowLog()
    appender, done = await started(log)
    append(appender, done, item(1))
    await turns()
    append(appender, done, item(2), item(3, opening=True), item(4))
    await turns()

    assert log.batches == [[1], [2]]  # the third waits for both
    await log.end(1)
    assert log.batches == [[1]]
    await log.end()
    append(appender, done, item(5))
    await turns()
    assert log.batches == [[3]]  # and nothing goes beside it
    await log.end()
    assert log.batches == [[4, 5]]
    await close(appender, log)
    assert done == [2, 1, 3, 4, 5]


@on_a_loop
async def test_what_is_pending_is_committed_before_the_end():
    log = SlowLog()
    appender, done = await started(log)
    append(appender, done, item(1))
    await turns()
    append(appender, done, item(2, opening=True), item(3))

    await close(appender, log)

    assert done == [1, 2, 3]
    assert appender.idle
