"""What goes into one commit, how much of it, and what is left for later."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.engine.engine_lab import WAITS, FaultyLog, signal

from headgate.core.errors import Unavailable
from headgate.engine import appender as appender_module
from headgate.engine import lane as lane_module
from headgate.engine import worker as worker_module


def test_what_comes_while_a_commit_is_under_way_goes_into_the_next_one_together(play):
    log = FaultyLog()

    async def scene(bench: Any) -> None:
        runs = [await bench.start(WAITS) for _ in range(20)]
        gate = asyncio.Event()
        log.batches.clear()
        log.before_commit = gate.wait

        answers = [bench.app.engine.submit_soon(run_id, signal("go")) for run_id in runs]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        answers += [bench.app.engine.submit_soon(run_id, signal("go")) for run_id in runs for _ in range(10)]
        gate.set()
        await asyncio.gather(*answers)

        assert log.batches == [20, 20]

    play(scene, log, work=False)


def test_a_commit_takes_no_more_than_its_bound_and_a_crowd_is_visible(play, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(appender_module, "COMMIT_ITEMS_MAX", 4)
    monkeypatch.setattr(appender_module, "PENDING_MAX", 5)
    log = FaultyLog()

    async def scene(bench: Any) -> None:
        runs = [await bench.start(WAITS) for _ in range(10)]
        gate = asyncio.Event()
        log.batches.clear()
        log.before_commit = gate.wait

        answers = [bench.app.engine.submit_soon(run_id, signal("go")) for run_id in runs]
        await bench.until(lambda: log.batches)
        assert bench.app.engine.appender.crowded
        gate.set()
        await asyncio.gather(*answers)

        assert log.batches == [4, 4, 2]
        assert not bench.app.engine.appender.crowded

    play(scene, log, work=False)


def test_a_lane_holds_a_bounded_number_of_commands_and_refuses_the_next(play, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lane_module, "WAITING_MAX", 3)
    log = FaultyLog()

    async def scene(bench: Any) -> None:
        run_id = await bench.start(WAITS)
        lane = await bench.app.engine.lane(run_id)
        gate = asyncio.Event()
        log.before_commit = gate.wait

        answers = [lane.submit(signal("go")) for _ in range(5)]
        await asyncio.sleep(0)
        gate.set()
        outcomes = await asyncio.gather(*answers, return_exceptions=True)

        assert [isinstance(outcome, Unavailable) for outcome in outcomes] == [False, False, False, False, True]
        assert "3 commands waiting" in str(outcomes[4])

    play(scene, log, work=False)


def test_a_native_activity_is_carried_out_although_the_log_was_away(play):
    log = FaultyLog()

    async def scene(bench: Any) -> None:
        async def go_away() -> None:
            log.outcome = Unavailable("away")

        run_id = await bench.start(
            "name: t\nactivities: {s: {wait_for: go}, t: {use: transform, after: [s], with: {n: 1}}}"
        )
        await bench.app.engine.submit(run_id, signal("go"))
        log.outcome = Unavailable("away")
        await asyncio.sleep(0.01)
        log.outcome = None

        assert (await bench.finished(run_id)).head.status == "completed"

    play(scene, log)


class Unreadable(FaultyLog):
    """A log whose contents cannot be read for as long as `failures` lasts."""

    failures = 0

    async def contents(self, run: int, versions: Any) -> dict[int, bytes]:
        if self.failures:
            self.failures -= 1
            raise Unavailable("cannot read")
        return await super().contents(run, versions)


@pytest.mark.parametrize("kind", ["echo", "transform"])
def test_parameters_that_cannot_be_read_now_are_read_later_and_fail_nothing(
    play, monkeypatch: pytest.MonkeyPatch, kind: str
):
    monkeypatch.setattr(worker_module, "POLL_AGAIN_SECONDS", 0.001)
    log = Unreadable()

    async def scene(bench: Any) -> None:
        run_id = await bench.start(
            f"name: t\nactivities: {{a: {{use: {kind}, wait_for: go, with: {{x: '{{{{ INPUT.n }}}}'}}}}}}", {"n": 7}
        )
        bench.app.engine.contents.forget(1, 1)
        log.failures = 2

        await bench.app.engine.submit(run_id, signal("go"))

        assert (await bench.finished(run_id)).head.status == "completed"
        assert await bench.output(run_id, "a") == {"x": 7}
        assert log.failures == 0

    play(scene, log)


def test_a_wait_for_weeks_survives_a_restart(play):
    log = FaultyLog()
    runs: list[str] = []

    async def begin(bench: Any) -> None:
        runs.append(await bench.start("name: t\nactivities: {w: {use: wait, with: {duration: 3w}}}"))
        await bench.until(lambda: bench.clock.next_alarm is not None)

    async def go_on(bench: Any) -> None:
        bench.clock.advance(seconds=3 * 7 * 86_400 + 1)
        assert (await bench.finished(runs[0])).head.status == "completed"
        assert len(await bench.events(runs[0])) == 6

    play(begin, log)
    play(go_on, log)
