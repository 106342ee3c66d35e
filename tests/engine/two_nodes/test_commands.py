"""Any node takes any command."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from tests.engine.two_nodes.nodes import TWO_DOORS, Node, play, until, within

from headgate.core import commands as c
from headgate.core import events as e
from headgate.core.codec import decode
from headgate.core.errors import Refused


def test_what_would_be_refused_is_decided_again_on_what_the_other_has_made_of_the_run():
    async def scene(first: Node, second: Node) -> None:
        run_id = await first.start(TWO_DOORS)
        await second.engine.lane(run_id)  # as it is before the approval is asked for
        await first.act(run_id, c.Signal(at=0, name="go"))
        await until(lambda: (lane := first.engine.loaded(run_id)).durable and lane.run.place("a").wait)

        await second.act(run_id, c.DecideApproval(at=0, key="a", approved=True, by="kim"))

        assert (await within(first.engine.finished(run_id))).head.status == "completed"

    play(scene)


@pytest.mark.parametrize("command_id", ["", "again"])
def test_a_run_that_the_other_has_erased_is_not_gone_on_with(command_id: str):
    async def fail() -> None:
        raise RuntimeError("not today")

    async def scene(first: Node, second: Node) -> None:
        run_id = await first.start("name: failing\nactivities: {a: {use: slow}}")
        await within(first.engine.finished(run_id))
        lane = await first.engine.lane(run_id)  # as it is before the other erases it
        await second.app.desk.erase([run_id])

        with pytest.raises(Refused, match="was erased"):
            await lane.submit(c.Retry(at=first.app.clock.now(), command_id=command_id))

        row = await first.log.run(run_id)
        assert (row.head.status, row.erased) == ("failed", True)

    play(scene, one={"slow": fail}, two={"slow": fail})


def test_what_would_append_nothing_is_decided_again_on_what_the_other_has_made_of_the_run():
    async def scene(first: Node, second: Node) -> None:
        run_id = await first.start(TWO_DOORS)
        await first.act(run_id, c.Pause(at=0))
        await second.engine.news.lane_now(run_id)
        await first.act(run_id, c.Resume(at=0))

        decision = await second.act(run_id, c.Pause(at=0))  # there it is paused already

        assert [type(event) for event in decision.events] == [e.RunPaused]
        assert (await first.app.desk.show(run_id)).status == "paused"

    play(scene)


def test_a_refusal_that_is_true_stays_one():
    async def scene(first: Node, second: Node) -> None:
        run_id = await first.start(TWO_DOORS)
        await first.act(run_id, c.Cancel(at=0))

        with pytest.raises(Refused):
            await second.act(run_id, c.Resume(at=0))

    play(scene)


def test_commands_to_both_nodes_at_once_are_all_taken():
    async def scene(first: Node, second: Node) -> None:
        run_id = await first.start(TWO_DOORS)
        signals = [
            node.act(run_id, c.Signal(at=0, name=f"other-{number}")) for number in range(10) for node in (first, second)
        ]

        await within(asyncio.gather(*signals))

        row = await first.log.run(run_id)
        events = [decode(stored.data)[0] for stored in await first.log.events(row.key)]
        names = Counter(event.name for event in events if isinstance(event, e.SignalReceived))
        assert names == {f"other-{number}": 2 for number in range(10)}

    play(scene)


def test_a_budget_is_raised_by_so_much_more_than_the_other_node_has_made_it():
    async def scene(first: Node, second: Node) -> None:
        run_id = await first.start(TWO_DOORS, limit=100)
        await second.engine.news.lane_now(run_id)
        await first.app.desk.raise_budget(run_id, to=500)

        await second.app.desk.raise_budget(run_id, more=50)

        assert (await first.log.run(run_id)).limit == 550

    play(scene)
