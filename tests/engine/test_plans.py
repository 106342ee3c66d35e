"""A crowd that starts the newest of a workflow asks the log once, and nobody is told of less than was there before."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from headgate.core.definition import Activity, Definition
from headgate.core.errors import Unavailable
from headgate.engine.plans import Plans


def definition(parameter: int) -> Definition:
    return Definition("flow", (Activity(key="a", name="echo", parameters={"n": parameter}),))


class DistantLog:
    """Answers what is the newest when it is asked, and gives the answer when it is told to."""

    def __init__(self) -> None:
        self.newest = definition(1)
        self.asked: list[asyncio.Future[None]] = []

    async def definition(self, name: str, version: str | None = None, *, tenant: str) -> tuple[str, bytes]:
        found = self.newest
        self.asked.append(asyncio.get_running_loop().create_future())
        await self.asked[-1]
        return found.version, msgspec.json.encode(found)


async def until_all_wait() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_crowd_asks_once():
    async def story() -> None:
        log: Any = DistantLog()
        plans = Plans(log, many_writers=True)

        crowd = [asyncio.create_task(plans.plan("flow", None, "default")) for _ in range(100)]
        await until_all_wait()
        log.asked[0].set_result(None)

        assert {plan.version for plan in await asyncio.gather(*crowd)} == {log.newest.version}
        assert len(log.asked) == 1

    asyncio.run(story())


def test_whoever_asks_after_a_deployment_is_told_of_it_though_an_older_question_is_under_way():
    async def story() -> None:
        log: Any = DistantLog()
        plans = Plans(log, many_writers=True)
        early = asyncio.create_task(plans.plan("flow", None, "default"))
        await until_all_wait()

        log.newest = definition(2)
        late = [asyncio.create_task(plans.plan("flow", None, "default")) for _ in range(2)]
        await until_all_wait()
        log.asked[0].set_result(None)
        await until_all_wait()
        log.asked[1].set_result(None)

        assert (await early).version == definition(1).version
        assert {plan.version for plan in await asyncio.gather(*late)} == {definition(2).version}
        assert len(log.asked) == 2

    asyncio.run(story())


def test_a_failure_is_told_to_all_who_asked_and_the_next_ask_anew():
    async def story() -> None:
        log: Any = DistantLog()
        plans = Plans(log, many_writers=True)
        crowd = [asyncio.create_task(plans.plan("flow", None, "default")) for _ in range(2)]
        await until_all_wait()
        log.asked[0].set_exception(Unavailable("away"))

        for one in crowd:
            with pytest.raises(Unavailable):
                await one
        again = asyncio.create_task(plans.plan("flow", None, "default"))
        await until_all_wait()
        log.asked[1].set_result(None)

        assert (await again).version == log.newest.version

    asyncio.run(story())


def test_one_who_goes_away_takes_the_answer_from_nobody():
    async def story() -> None:
        log: Any = DistantLog()
        plans = Plans(log, many_writers=True)
        gone, stays = [asyncio.create_task(plans.plan("flow", None, "default")) for _ in range(2)]
        await until_all_wait()

        gone.cancel()
        await until_all_wait()
        log.asked[0].set_result(None)

        assert (await stays).version == log.newest.version

    asyncio.run(story())
