"""Tasks of one run at two nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from tests.engine.two_nodes.nodes import PATIENCE_SECONDS, Node, play, until, within
from tests.postgres_logs import empty_postgres_log, sql

from headgate.core import commands as c
from headgate.core import events as e
from headgate.core.codec import decode
from headgate.core.errors import StaleAttempt
from headgate.ports import Completed
from headgate.queues.store import HELD_TOGETHER_MAX

SLOW = "name: slow\nactivities: {a: {use: slow}}"
FAN = 'name: fan\nactivities: {all: {use: slow, for_each: "{{ INPUT.items }}"}}'


class Slow:
    """An activity that ends when it is told to, or is cancelled. It runs on a loop of its own."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.cancelled: list[str] = []
        self.go = False

    async def run(self, parameters: dict[str, Any], ctx: Any) -> Any:
        self.begun.append(ctx.task.place)
        try:
            while not self.go:  # noqa: ASYNC110 - told from another thread
                await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            self.cancelled.append(ctx.task.place)
            raise
        return {}


def test_a_fan_out_spreads_over_the_nodes_and_no_item_is_done_twice():
    theirs = Slow()

    async def scene(first: Node, second: Node) -> None:
        asked = await first.app.queue.take(["std", "py-std"], worker_id="w", count=1_000, wait_seconds=0)
        assert asked == []  # a worker that would do them all, and then does none
        run_id = await first.start(FAN, {"items": list(range(60))})
        held = await sql("select count(*) from queue where holder = $1", first.app.queue.node)
        theirs.go = True

        await until(lambda: len(theirs.begun) == 60 - held[0]["count"])

        assert held[0]["count"] == HELD_TOGETHER_MAX
        await first.app.neighbours.close()  # as a node that ends does
        assert (await within(second.engine.finished(run_id))).head.status == "completed"
        assert len(set(theirs.begun)) == len(theirs.begun) == 60

    play(scene, one={"slow": Slow().run, "work": False}, two={"slow": theirs.run})


def test_a_cancel_on_the_other_node_stops_the_worker_at_once(monkeypatch: pytest.MonkeyPatch):
    slow = Slow()

    async def kept(_: Any, tasks: Sequence[Any], nodes: Sequence[str]) -> list[bool]:
        return [True] * len(tasks)

    monkeypatch.setattr("headgate.stores.postgres_queue.PostgresTasks.renew", kept)  # no heartbeat tells of it

    async def scene(first: Node, second: Node) -> None:
        run_id = await first.start(SLOW)
        await until(lambda: slow.begun)

        await second.app.desk.cancel(run_id)

        await until(lambda: slow.cancelled)
        assert (await within(second.engine.finished(run_id))).head.status == "cancelled"

    play(scene, one={"slow": slow.run}, two={"slow": Slow().run})


def test_a_cancel_on_the_other_node_is_learnt_at_the_next_heartbeat(deaf: None):
    async def scene(first: Node, second: Node) -> None:
        run_id = await first.start(SLOW)
        (task,) = await within(first.app.protocol.poll(["std", "py-std"], worker_id="w", count=1, wait_seconds=5))
        assert await first.app.protocol.heartbeat(task.activity_id, worker_id="w") > 0

        await second.app.desk.cancel(run_id)

        with pytest.raises(StaleAttempt, match="was cancelled"):
            await first.app.protocol.heartbeat(task.activity_id, worker_id="w")
        with pytest.raises(StaleAttempt, match="was cancelled"):
            await second.app.protocol.heartbeat(task.activity_id, worker_id="w")
        await first.app.protocol.report([Completed(task.activity_id, {})], worker_id="w")
        assert (await within(second.engine.finished(run_id))).head.status == "cancelled"

    play(scene, one={"slow": Slow().run, "work": False}, two={"slow": Slow().run, "work": False})


def test_a_worker_may_poll_one_node_and_report_to_the_other():
    async def scene(first: Node, second: Node) -> None:
        run_id = await first.start(SLOW)
        (task,) = await within(second.app.protocol.poll(["std", "py-std"], worker_id="w", count=1, wait_seconds=5))

        (known,) = await first.app.protocol.report([Completed(task.activity_id, {"by": "w"})], worker_id="w")

        assert not known.stale
        assert (await within(second.engine.finished(run_id))).head.status == "completed"
        assert await sql("select * from queue") == []

    play(scene, one={"slow": Slow().run, "work": False}, two={"slow": Slow().run, "work": False})


def test_what_is_reported_to_the_other_node_or_given_up_by_it_is_kept_nowhere(brisk: None):
    async def scene(first: Node, second: Node) -> None:
        reported, abandoned = await first.start(SLOW), await first.start(SLOW)
        tasks = await within(second.app.protocol.poll(["std", "py-std"], worker_id="w", count=2, wait_seconds=5))
        tasks += await within(second.app.protocol.poll(["std", "py-std"], worker_id="w", count=1, wait_seconds=5))
        task = next(task for task in tasks if task.workflow_id == reported)
        over = [await second.app.queue.ended_elsewhere() for _ in range(3)]
        assert (over, len(second.app.queue.held())) == ([[], [], []], 2)

        await first.app.protocol.report([Completed(task.activity_id, {"by": "w"})], worker_id="w")
        await first.act(abandoned, c.LoseAttempt(at=0, place="a", attempt=1, reason="its worker died"))

        await until(lambda: second.app.queue.held() == [])
        assert not second.app.protocol._held

    play(scene, one={"slow": Slow().run, "work": False}, two={"slow": Slow().run, "work": False})


def test_a_node_that_claims_a_task_knows_of_what_made_it_due():
    async def scene(first: Node, second: Node) -> None:
        run_id = await first.start("name: two\nactivities: {a: {use: slow}, b: {use: slow, after: [a]}}")
        await second.engine.lane(run_id)  # there `b` is not due
        (before,) = await within(first.app.protocol.poll(["std"], worker_id="w", count=1, wait_seconds=5))
        await first.app.queue.take(["std"], worker_id="w", count=0, wait_seconds=0)
        await first.app.protocol.report([Completed(before.activity_id, {})], worker_id="w")

        (task,) = await within(second.app.protocol.poll(["std"], worker_id="w", count=1, wait_seconds=20))

        assert (task.workflow_id, task.place) == (run_id, "b")

    play(scene, one={"slow": Slow().run, "work": False}, two={"slow": Slow().run, "work": False})


def test_a_task_of_a_paused_run_is_offered_again_on_whichever_node_resumes_it():
    async def scene(first: Node, second: Node) -> None:
        run_id = await first.start(SLOW)
        await first.act(run_id, c.Pause(at=0))
        assert await first.app.protocol.poll(["std", "py-std"], worker_id="w", count=1, wait_seconds=0) == []

        await second.act(run_id, c.Resume(at=0))

        (task,) = await within(second.app.protocol.poll(["std", "py-std"], worker_id="w", count=1, wait_seconds=20))
        assert task.workflow_id == run_id

    play(scene, one={"slow": Slow().run, "work": False}, two={"slow": Slow().run, "work": False})


def test_a_node_that_ends_leaves_what_its_workers_were_at_to_the_others_at_once():
    mine, theirs = Slow(), Slow()
    theirs.go = True

    async def whole() -> None:
        first, second = Node(slow=mine.run), Node(slow=theirs.run)
        async with second.app:
            async with first.app:
                asked = await second.app.queue.take(["std"], worker_id="w", count=1, wait_seconds=0)
                assert asked == []
                run_id = await first.start(SLOW)
                await until(lambda: mine.begun)

            row = await within(second.engine.finished(run_id))

            assert row.head.status == "completed"
            events = [decode(stored.data)[0] for stored in await second.log.events(row.key)]
            (lost,) = [event for event in events if isinstance(event, e.AttemptLost)]
            assert lost.reason == "its process has ended"

    asyncio.run(empty_postgres_log().close())
    asyncio.run(whole())


def test_tasks_whose_rows_got_lost_are_put_back(brisk: None):
    async def scene(first: Node, second: Node) -> None:
        runs = [await first.start(SLOW) for _ in range(5)]
        await sql("truncate queue")

        tasks = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(tasks) < 5:
                tasks += await second.app.protocol.poll(["std", "py-std"], worker_id="w", count=5, wait_seconds=5)

        assert {task.workflow_id for task in tasks} == set(runs)

    play(scene, one={"slow": Slow().run, "work": False}, two={"slow": Slow().run, "work": False})


@pytest.mark.parametrize("ahead_seconds", [0, 3_600])
def test_a_timer_of_a_run_that_nobody_has_loaded_fires(ahead_seconds: int, brisk: None):
    async def begin(first: Node, second: Node) -> None:
        runs.append(await first.start("name: t\nactivities: {w: {use: wait, with: {seconds: 1}}}"))
        await until(lambda: first.engine.loaded(runs[0]).run.place("w").wait)

    async def go_on() -> None:
        alone = Node()
        async with alone.app:
            async with asyncio.timeout(PATIENCE_SECONDS):  # asked of the log, for a run that is watched is loaded
                while not (row := await alone.log.run(runs[0])).head.finished_at:  # noqa: ASYNC110 - by a patrol
                    await asyncio.sleep(0.02)
            assert row.head.status == "completed"

    runs: list[str] = []
    play(begin, one={"ahead_seconds": ahead_seconds})
    asyncio.run(go_on())
