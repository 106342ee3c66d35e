"""Workers that die by themselves: what their silence means, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest
from tests.engine.conftest import PATIENCE_SECONDS, Bench
from tests.postgres_logs import empty_postgres_log

from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.core.errors import StaleAttempt, Unavailable
from headgate.core.values import Assignment, Candidate, Price
from headgate.engine.clock import WallClock
from headgate.engine.leases import lease_seconds
from headgate.ports import CallRequest, Completed

ONE = "name: one\nactivities: {a: {use: work, queue: gpu, timeout: 1h, with: {n: 1}}}"
SECOND = 1_000_000
REQUEST = CallRequest("h", (Candidate("lab/m", 100, Price(input=1_000_000_000)),))


async def taken(bench: Bench, *, heartbeats: bool | None) -> Assignment:
    (task,) = await bench.app.protocol.poll(["gpu"], worker_id="far", count=1, wait_seconds=5, heartbeats=heartbeats)
    return task


async def lost(bench: Bench, run_id: str) -> list[e.AttemptLost]:
    await bench.rest()
    return [event for event in await bench.events(run_id) if isinstance(event, e.AttemptLost)]


def pass_seconds(bench: Bench, seconds: float) -> None:
    bench.clock.advance(to=bench.clock.now() + int(seconds * SECOND))


@pytest.mark.parametrize(
    ("heartbeats", "timeout", "lease"),
    [(True, 3600, 30), (True, 5, 30), (False, 5, 20), (False, 3600, 3615)],
)
def test_who_says_nothing_of_heartbeats_is_given_the_time_of_the_task(heartbeats: bool, timeout: float, lease: float):
    assert lease_seconds(timeout, heartbeats=heartbeats) == lease


def test_an_attempt_is_lost_when_its_worker_says_nothing_for_its_lease(play: Any):
    async def scene(bench: Bench) -> None:
        run_id = await bench.start(ONE)
        task = await taken(bench, heartbeats=True)
        pass_seconds(bench, 29.9)
        assert await lost(bench, run_id) == []

        pass_seconds(bench, 0.1)

        (event,) = await lost(bench, run_id)
        assert event.reason == "whoever worked on it (far) has not been heard of for its lease of 30 s"
        again = await taken(bench, heartbeats=True)
        assert (again.attempt, again.activity_id != task.activity_id) == (2, True)

    play(scene, work=False)


@pytest.mark.parametrize("beats", [0, 3])
def test_a_worker_of_another_make_that_blocks_its_loop_keeps_its_task_for_all_its_time(play: Any, beats: int):
    async def scene(bench: Bench) -> None:
        run_id = await bench.start(ONE)
        task = await taken(bench, heartbeats=False)
        for _ in range(beats):
            pass_seconds(bench, 30)
            await bench.app.protocol.heartbeat(task.activity_id, worker_id="far")
        pass_seconds(bench, 3_599 - 30 * beats)
        assert await lost(bench, run_id) == []

        await bench.app.protocol.report([Completed(task.activity_id, 7)], worker_id="far")

        assert await bench.output(run_id, "a") == 7

    play(scene, work=False)


@pytest.mark.parametrize(("beats", "silence"), [(0, 3600), (3, 3510)])
def test_one_that_was_not_heard_of_when_its_time_is_over_is_lost_and_its_task_offered_again(
    play: Any, beats: int, silence: int
):
    async def scene(bench: Bench) -> None:
        run_id = await bench.start(ONE)
        task = await taken(bench, heartbeats=False)
        for _ in range(beats):
            pass_seconds(bench, 30)
            await bench.app.protocol.heartbeat(task.activity_id, worker_id="far")

        pass_seconds(bench, 3_600 - 30 * beats)

        (event,) = await lost(bench, run_id)
        assert event.reason == (
            f"whoever worked on it (far) has not been heard of for {silence} s, and its time is over"
        )
        assert (await taken(bench, heartbeats=False)).attempt == 2

    play(scene, work=False)


@pytest.mark.parametrize("timeout", [59, 3_600])
def test_one_whose_work_takes_too_long_is_timed_out(play: Any, timeout: int):
    async def scene(bench: Bench) -> None:
        run_id = await bench.start(ONE.replace("1h", f"{timeout}s"))
        task = await taken(bench, heartbeats=False)
        pass_seconds(bench, timeout - 30)
        if timeout > 60:  # for a shorter one it does not beat
            await bench.app.protocol.heartbeat(task.activity_id, worker_id="far")

        pass_seconds(bench, 30)

        assert await lost(bench, run_id) == []
        assert e.AttemptTimedOut in [type(event) for event in await bench.events(run_id)]

    play(scene, work=False)


def test_heartbeats_keep_a_claim_for_as_long_as_it_may_take(play: Any):
    async def scene(bench: Bench) -> None:
        run_id = await bench.start(ONE)
        task = await taken(bench, heartbeats=True)
        for _ in range(20):
            pass_seconds(bench, 29)
            assert await lost(bench, run_id) == []
            assert await bench.app.protocol.heartbeat(task.activity_id, worker_id="far") == 10

        await bench.app.protocol.report([Completed(task.activity_id, 7)], worker_id="far")

        assert await bench.output(run_id, "a") == 7

    play(scene, work=False)


def test_a_worker_that_wakes_after_its_lease_is_fenced(play: Any):
    async def scene(bench: Bench) -> None:
        run_id, protocol = await bench.start(ONE), bench.app.protocol
        task = await taken(bench, heartbeats=True)
        pass_seconds(bench, 31)
        assert len(await lost(bench, run_id)) == 1

        with pytest.raises(StaleAttempt):
            await protocol.heartbeat(task.activity_id, worker_id="far")
        (told,) = await protocol.report([Completed(task.activity_id, "of the dead")], worker_id="far")
        again = await taken(bench, heartbeats=True)
        await protocol.report([Completed(again.activity_id, "of the living")], worker_id="near")

        assert told.stale
        assert await bench.output(run_id, "a") == "of the living"
        assert protocol._held == {}

    play(scene, work=False)


def test_a_call_that_the_dead_had_open_is_forfeited(play: Any):
    async def scene(bench: Bench) -> None:
        run_id = await bench.start(ONE, limit=150)
        task = await taken(bench, heartbeats=True)
        await bench.app.protocol.admit(task.activity_id, call_id="c1", request=REQUEST)

        pass_seconds(bench, 30)

        await lost(bench, run_id)
        (forfeit,) = [event for event in await bench.events(run_id) if isinstance(event, g.CallForfeited)]
        view = await bench.app.desk.show(run_id)
        assert (forfeit.call_id, view.reserved) == ("c1", 0)

    play(scene, work=False)


def test_what_the_worker_of_the_same_process_holds_is_under_no_lease(play: Any):
    async def scene(bench: Bench) -> None:
        run_id = await bench.start(ONE)
        await taken(bench, heartbeats=None)

        pass_seconds(bench, 3_599)

        assert await lost(bench, run_id) == []

    play(scene, work=False)


def test_a_long_task_is_still_stopped_at_its_timeout_though_heartbeats_keep_its_lease(play: Any):
    async def scene(bench: Bench) -> None:
        run_id = await bench.start(ONE.replace("1h", "40s"))
        task = await taken(bench, heartbeats=True)
        pass_seconds(bench, 20)
        await bench.app.protocol.heartbeat(task.activity_id, worker_id="far")

        pass_seconds(bench, 20)

        assert await lost(bench, run_id) == []
        kinds = [type(event) for event in await bench.events(run_id)]
        assert e.AttemptTimedOut in kinds

    play(scene, work=False)


@pytest.mark.parametrize(("heartbeats", "lease"), [(None, 30), (True, 30), (False, 3_615)])
def test_where_many_write_one_log_the_row_bears_the_lease(play: Any, heartbeats: bool | None, lease: int):
    async def scene(bench: Bench) -> None:
        run_id = await bench.start(ONE)
        task = await taken(bench, heartbeats=heartbeats)
        (claim,) = await bench.app.queue.claims_of(run_id)
        await bench.app.protocol.heartbeat(task.activity_id, worker_id="far")
        (renewed,) = await bench.app.queue.claims_of(run_id)

        for held in (claim, renewed):
            assert 0 <= held.lease_until - held.claimed_at - lease * SECOND < PATIENCE_SECONDS * SECOND
        assert renewed.lease_until > claim.lease_until
        here = bench.app.queue.claimed(task.activity_id)
        assert here.lease == lease * SECOND
        assert here.lease_until >= here.claimed_at + here.lease

    play(scene, empty_postgres_log(), work=False, clock=WallClock())


FIVE = "name: five\nactivities:\n" + "".join(
    f"  a{n}: {{use: work, queue: gpu, timeout: 1h, depends_on: []}}\n" for n in range(5)
)


@pytest.mark.parametrize(("heartbeats", "told"), [(True, []), (False, [5])])
def test_tasks_that_go_out_together_are_told_to_their_rows_together_and_only_where_leases_differ(
    play: Any, heartbeats: bool, told: list[int]
):
    log = empty_postgres_log()
    asked: list[int] = []
    set_leases = log.tasks.set_leases

    async def counted(tasks: Any, node: str, leases: Any) -> None:
        asked.append(len(tasks))
        await set_leases(tasks, node, leases)

    log.tasks.set_leases = counted

    async def scene(bench: Bench) -> None:
        await bench.start(FIVE)

        tasks = await bench.app.protocol.poll(["gpu"], worker_id="far", count=9, wait_seconds=5, heartbeats=heartbeats)

        assert (len(tasks), asked) == (5, told)

    play(scene, log, work=False, clock=WallClock())


def test_tasks_whose_leases_cannot_be_set_are_offered_again(play: Any):
    async def scene(bench: Bench) -> None:
        await bench.start(FIVE)
        queue, protocol = bench.app.queue, bench.app.protocol
        set_leases = queue.set_leases

        async def away(leases: Any) -> None:
            queue.set_leases = set_leases
            raise Unavailable("the rows are away")

        queue.set_leases = away
        with pytest.raises(Unavailable):
            await protocol.poll(["gpu"], worker_id="far", count=9, wait_seconds=5, heartbeats=True)

        tasks = await protocol.poll(["gpu"], worker_id="far", count=9, wait_seconds=5, heartbeats=True)

        assert {task.place for task in tasks} == {"a0", "a1", "a2", "a3", "a4"}
        assert len(protocol._held) == 5

    play(scene, work=False)
