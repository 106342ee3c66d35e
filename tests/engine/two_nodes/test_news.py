"""A node hears of what the other has written."""

from __future__ import annotations

import asyncio

import pytest
from tests.engine.engine_lab import ONE, TWO_CALLS
from tests.engine.two_nodes.nodes import PATIENCE_SECONDS, TWO_DOORS, Node, play, until, within

from headgate.core import commands as c
from headgate.engine.start import Start
from headgate.ports import Admitted, Changed, Settlement


@pytest.mark.parametrize("hints", ["heard", "lost"])
def test_who_waits_for_the_end_of_a_run_hears_of_it_from_the_other_node(hints: str, request: pytest.FixtureRequest):
    if hints == "lost":
        request.getfixturevalue("deaf")

    async def scene(first: Node, second: Node) -> None:
        run_id = await first.start(TWO_DOORS)
        waiting = asyncio.ensure_future(second.engine.finished(run_id))
        await asyncio.sleep(0.05)

        await first.act(run_id, c.Cancel(at=0))

        assert (await within(waiting)).head.status == "cancelled"

    play(scene)


@pytest.mark.parametrize("hints", ["heard", "lost"])
def test_who_watches_a_run_sees_what_the_other_node_makes_of_it(hints: str, request: pytest.FixtureRequest):
    if hints == "lost":
        request.getfixturevalue("deaf")

    async def scene(first: Node, second: Node) -> None:
        run_id = await first.start(TWO_DOORS)
        seen: list[str] = []
        following: list[str] = []

        async def watch() -> None:
            async for update in second.app.desk.watch(run_id):
                if isinstance(update, Changed):
                    seen.append(update.run.status)

        async def follow() -> None:
            async for page in second.app.doors.records.follow(run_id, after=0):
                following.extend(event.type for event in page)

        watching = [asyncio.ensure_future(watch()), asyncio.ensure_future(follow())]
        await until(lambda: seen and following)
        await first.act(run_id, c.Pause(at=0))
        await until(lambda: seen[-1] == "paused")
        await first.act(run_id, c.Cancel(at=0))
        await within(asyncio.gather(*watching))

        assert (seen[0], seen[-1]) == ("waiting", "cancelled")
        assert following[-1] == "run_cancelled"
        assert len(following) == (await first.log.run(run_id)).head.version

    play(scene)


@pytest.mark.parametrize("hints", ["heard", "lost"])
def test_a_call_that_waits_for_money_is_woken_when_the_other_node_settles(hints: str, request: pytest.FixtureRequest):
    if hints == "lost":
        request.getfixturevalue("deaf")

    async def scene(first: Node, second: Node) -> None:
        held = await claimed(first, limit=100)
        waits = await claimed(second)
        assert isinstance(await first.app.protocol.admit(held, call_id="held", request=ONE), Admitted)
        asking = asyncio.ensure_future(second.app.protocol.admit(waits, call_id="waits", request=ONE))
        run_id = waits.partition("/")[0]
        await until(lambda: (lane := second.engine.loaded(run_id)) and lane.run.waiting_calls)

        await first.app.protocol.settle(held, call_id="held", settlement=Settlement("never_sent"))

        assert isinstance(await within(asking), Admitted)

    play(scene, one={"work": False}, two={"work": False})


async def claimed(node: Node, limit: int | None = None) -> str:
    """Start a run below the budget `shared` on a node, and claim its first task there."""
    await node.engine.definitions.deploy(TWO_CALLS)
    start = Start(workflow=TWO_CALLS.name, limit=limit, outer=("shared",))
    row = await node.engine.start(start)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            for task in await node.app.protocol.poll(["mine"], worker_id="w", count=1, wait_seconds=1):
                if task.workflow_id == row.id:
                    return task.activity_id
