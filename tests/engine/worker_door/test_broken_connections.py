"""What a worker's broken connection comes to; and whole workers that come and go."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.engine.worker_door.site import MANY, REQUEST, TEN, Site, cut, kinds

from headgate.api import worker_door
from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.core.errors import StaleAttempt, Unavailable
from headgate.core.values import Failure, Usage
from headgate.engine.worker import Worker
from headgate.ports import (
    Completed,
    Failed,
    Settlement,
)

# --- Connections that break -------------------------------------------------------------------------------------------


def test_what_a_broken_connection_had_in_hand_is_offered_again_at_once_and_its_calls_are_forfeited(at: Any):
    async def scene(site: Site) -> None:
        run_id, protocol, task = await site.begin()
        await protocol.admit(task.activity_id, call_id="c1", request=REQUEST)

        await cut(protocol)
        other = site.connect("other")
        (again,) = await other.poll(["gpu"], worker_id="other", count=1, wait_seconds=5)

        assert (again.place, again.attempt) == ("a", 2)
        (lost,) = await kinds(site, run_id, e.AttemptLost)
        (forfeit,) = await kinds(site, run_id, g.CallForfeited)
        assert (forfeit.call_id, forfeit.amount) == ("c1", 100)
        assert "worker w" in lost.reason
        assert "worker w" in forfeit.reason

    at(scene)


def test_a_report_after_a_reconnect_is_fenced_by_its_attempt_and_a_late_settlement_replaces_the_forfeit(at: Any):
    async def scene(site: Site) -> None:
        run_id, protocol, task = await site.begin()
        await protocol.admit(task.activity_id, call_id="c1", request=REQUEST)
        await cut(protocol)
        (again,) = await site.connect("other").poll(["gpu"], worker_id="other", count=1, wait_seconds=5)

        await protocol.settle(task.activity_id, call_id="c1", settlement=Settlement.used(Usage(cost_nano=60)))
        (told,) = await protocol.report([Completed(task.activity_id, "late")], worker_id="w")

        assert again.attempt == 2
        assert "no longer waits for attempt 1" in told.stale
        assert await kinds(site, run_id, e.ActivityCompleted) == []
        (settled,) = await kinds(site, run_id, g.CallSettled)
        assert (settled.cost, settled.replaces) == (60, 100)

    at(scene)


def test_a_worker_whose_claim_is_gone_reports_nothing_of_it_also_where_its_attempt_is_still_the_current_one(at: Any):
    async def scene(site: Site) -> None:
        run_id, protocol, task = await site.begin()
        site.bench.app.queue.finish(task.activity_id)  # as after a start of the owner, which remembers no claim
        with pytest.raises(StaleAttempt):
            await protocol.heartbeat(task.activity_id, worker_id="w")

        stopped = Failed(task.activity_id, Failure("cancelled", "the attempt was stopped", retryable=False))
        (told,) = await protocol.report([stopped], worker_id="w")

        assert told.stale
        assert await kinds(site, run_id, e.AttemptFailed) == []

    at(scene)


def test_tasks_that_were_on_their_way_to_a_worker_that_left_are_offered_again(at: Any):
    async def scene(site: Site) -> None:
        for _ in range(20):
            protocol = site.connect()
            polling = asyncio.ensure_future(protocol.poll(["gpu"], worker_id="w", count=5, wait_seconds=30))
            await site.bench.until(lambda: site.door.workers == {"w"})
            run_id = await site.bench.start(TEN, MANY)
            await cut(protocol)
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)
            await site.bench.until(lambda: not site.door.workers)

            other = site.connect("other")
            done = 0
            while done < 10:
                tasks = await other.poll(["gpu"], worker_id="other", count=10, wait_seconds=5)
                await other.report([Completed(task.activity_id, 1) for task in tasks], worker_id="other")
                done += len(tasks)
            assert (await site.bench.finished(run_id)).head.status == "completed"
            await other.close()
            await site.bench.until(lambda: not site.door.workers)

    at(scene)


def test_when_the_owner_ends_its_workers_keep_what_they_have_in_hand(at: Any):
    async def scene(site: Site) -> None:
        run_id, protocol, _ = await site.begin()
        await site.server.__aexit__()
        assert await kinds(site, run_id, e.AttemptLost) == []
        with pytest.raises(Unavailable):
            await protocol.poll(["gpu"], worker_id="w", count=1, wait_seconds=0)

    at(scene)


def test_a_worker_that_says_nothing_for_too_long_is_gone(at: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worker_door, "SILENCE_SECONDS_MAX", 0.05)

    async def scene(site: Site) -> None:
        run_id, _, _ = await site.begin()
        await site.bench.until(lambda: not site.door.workers)
        await site.bench.until(lambda: site.bench.app.queue.depth("gpu") == 1)
        assert [event.place for event in await kinds(site, run_id, e.AttemptLost)] == ["a"]

    at(scene)


# --- Whole workers ----------------------------------------------------------------------------------------------------


def test_an_activity_that_the_worker_has_not_got_is_done_by_the_owner(at: Any):
    definition = """
name: both
activities:
  theirs: {use: work, queue: gpu, with: {n: 1}}
  ours: {use: echo, with: {n: 2}, after: theirs}
"""

    async def scene(site: Site) -> None:
        worker = Worker(
            site.connect(),
            builtins={},
            activities={"work": lambda parameters, _: parameters["n"]},
            queues=("gpu", "std"),
        )
        working = asyncio.create_task(worker.run())
        run_id = await site.bench.start(definition)
        assert (await site.bench.finished(run_id)).head.status == "completed"
        done = await kinds(site, run_id, e.ActivityCompleted)
        assert [event.worker for event in done] == ["w", "built-in"]
        assert [await site.bench.output(run_id, key) for key in ("theirs", "ours")] == [1, {"n": 2}]
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await worker.close()

    at(scene)


def test_a_worker_that_drains_finishes_and_reports_what_it_has_begun_and_takes_nothing_new(at: Any):
    async def scene(site: Site) -> None:
        begun, may_end = asyncio.Event(), asyncio.Event()

        async def slow(parameters: dict[str, Any], _: Any) -> Any:
            begun.set()
            await may_end.wait()
            return parameters["n"]

        protocol = site.connect()
        worker = Worker(protocol, builtins={"work": slow}, queues=("gpu",), worker_id="w", slots=2)
        working = asyncio.create_task(worker.run())
        run_id = await site.bench.start(TEN.replace("gpu, for", "gpu, max_parallel: 10, for"), MANY)
        await asyncio.wait_for(begun.wait(), 10)
        await site.bench.until(lambda: len(worker._running) == 2)

        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        assert await worker.drain(0) is False
        may_end.set()
        assert await worker.drain(10) is True
        await protocol.close()

        assert len(await kinds(site, run_id, e.ActivityCompleted)) == 2
        assert await kinds(site, run_id, e.AttemptLost) == []
        await worker.close()

    at(scene)
