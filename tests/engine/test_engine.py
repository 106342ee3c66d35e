"""The engine beside others: two writers, repeats, bad neighbours, a log that fails."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.engine.engine_lab import WAITS, FaultyLog, signal

from headgate.app import App
from headgate.core import commands as c
from headgate.core import events as e
from headgate.core.errors import Invalid, Unavailable
from headgate.engine import lane as lane_module
from headgate.stores.memory import MemoryLog

# --- Two writers ------------------------------------------------------------------------------------------------------


def test_of_two_writers_the_slower_decides_again_upon_what_the_faster_wrote(play):
    log = FaultyLog()

    async def scene(bench: Any) -> None:
        run_id = await bench.start(WAITS)
        other = App(log, clock=bench.clock, environment={}, offline=True, work=False)
        other.engine.open()

        async def overtake() -> None:
            await other.engine.submit(run_id, signal("theirs"))

        await bench.app.engine.lane(run_id)
        log.before_commit = overtake
        decision = await bench.app.engine.submit(run_id, signal("ours"))

        events = await bench.events(run_id)
        assert [event.version for event in events] == list(range(1, len(events) + 1))
        assert [event.name for event in events if isinstance(event, e.SignalReceived)] == ["theirs", "ours"]
        assert decision.events[0].version == events[-1].version
        await other.engine.close()

    play(scene, log, work=False)


def test_a_report_that_another_engine_recorded_first_is_not_recorded_twice(play):
    log = FaultyLog()

    async def scene(bench: Any) -> None:
        run_id = await bench.start(WAITS)
        other = App(log, clock=bench.clock, environment={}, offline=True, work=False)
        other.engine.open()
        report = c.CompleteActivity(at=0, place="b", attempt=1, output="theirs")

        async def overtake() -> None:
            await other.engine.submit(run_id, report)

        log.before_commit = overtake
        decision = await bench.app.engine.submit(run_id, c.CompleteActivity(at=0, place="b", attempt=1, output="ours"))

        assert decision.events == []
        assert await bench.output(run_id, "b") == "theirs"
        await other.engine.close()

    play(scene, log, work=False)


def test_a_run_that_is_always_contended_is_unavailable_after_a_bounded_number_of_tries(play):
    log = FaultyLog()

    async def scene(bench: Any) -> None:
        run_id = await bench.start(WAITS)
        log.outcome = "version_conflict"
        before = len(log.batches)

        with pytest.raises(Unavailable, match="is contended"):
            await bench.app.engine.submit(run_id, signal("go"))

        assert len(log.batches) - before == lane_module.CONFLICTS_MAX + 1
        log.outcome = None
        assert (await bench.app.engine.submit(run_id, signal("go"))).events

    play(scene, log, work=False)


# --- Repeats ----------------------------------------------------------------------------------------------------------


def test_a_command_id_is_decided_once_whether_repeated_later_or_at_the_same_time(play):
    async def scene(bench: Any) -> None:
        run_id = await bench.start(WAITS)
        submit = bench.app.engine.submit

        answers = await asyncio.gather(*(submit(run_id, signal("go", "key")) for _ in range(3)))
        later = await submit(run_id, signal("go", "key"))

        assert sorted(len(answer.events) for answer in [*answers, later]) == [0, 0, 0, 1]
        assert len([event for event in await bench.events(run_id) if isinstance(event, e.SignalReceived)]) == 1

    play(scene, work=False)


def test_a_repeat_that_meets_others_in_the_lane_does_them_no_harm(play):
    async def scene(bench: Any) -> None:
        run_id = await bench.start(WAITS)
        lane = await bench.app.engine.lane(run_id)

        first = lane.submit(signal("go", "key"))
        crowd = [lane.submit(signal(f"other{number}")) for number in range(5)]
        repeated = lane.submit(signal("go", "key"))
        after = lane.submit(signal("last"))
        decisions = await asyncio.gather(first, *crowd, repeated, after)

        assert [len(decision.events) for decision in decisions] == [1, 1, 1, 1, 1, 1, 0, 1]

    play(scene, work=False)


def test_a_start_that_is_repeated_gives_the_run_of_the_first(play):
    async def scene(bench: Any) -> None:
        runs = [await bench.start(WAITS, command_id="key") for _ in range(2)]

        assert runs[0] == runs[1]
        assert len(await bench.log.runs()) == 1

    play(scene, work=False)


# --- Bad neighbours ---------------------------------------------------------------------------------------------------


def test_a_command_that_cannot_be_stored_fails_alone(play):
    async def scene(bench: Any) -> None:
        run_id = await bench.start(WAITS)
        lane = await bench.app.engine.lane(run_id)

        answers = [
            lane.submit(signal("zero")),  # goes at once; the rest waits for it and goes together
            lane.submit(signal("one")),
            lane.submit(signal("bad", data=float("nan"))),
            lane.submit(signal("two")),
        ]
        outcomes = await asyncio.gather(*answers, return_exceptions=True)

        assert [type(outcome).__name__ for outcome in outcomes] == ["Decision", "Decision", "Invalid", "Decision"]
        assert isinstance(outcomes[2], Invalid)
        names = [event.name for event in await bench.events(run_id) if isinstance(event, e.SignalReceived)]
        assert names == ["zero", "one", "two"]

    play(scene, work=False)


# --- A log that fails -------------------------------------------------------------------------------------------------


def test_what_the_log_could_not_take_is_refused_and_can_be_asked_again(play):
    log = FaultyLog()

    async def scene(bench: Any) -> None:
        run_id = await bench.start(WAITS)
        log.outcome = Unavailable("the disk is full")

        with pytest.raises(Unavailable, match="the disk is full"):
            await bench.app.engine.submit(run_id, signal("go"))
        log.outcome = None
        version = (await bench.log.run(run_id)).head.version
        decision = await bench.app.engine.submit(run_id, signal("go"))

        assert decision.events[0].version == version + 1

    play(scene, log, work=False)


def test_timers_go_on_after_the_log_was_away_for_a_while(play):
    log = FaultyLog()

    async def scene(bench: Any) -> None:
        run_id = await bench.start("name: t\nactivities: {w: {use: wait, with: {duration: 1m}}}")
        await bench.until(lambda: bench.clock.next_alarm is not None)
        log.outcome = Unavailable("away")
        before = len(log.batches)

        bench.clock.advance(seconds=60)
        await bench.until(lambda: len(log.batches) > before)
        log.outcome = None
        await bench.until(lambda: bench.clock.next_alarm is not None)
        bench.clock.advance(to=bench.clock.next_alarm)

        assert (await bench.finished(run_id)).head.status == "completed"

    play(scene, log)


def test_the_warden_lives_on_when_the_log_cannot_even_be_asked(play):
    class Deaf(MemoryLog):
        deaf = False

        async def due(self, now: int, limit: int) -> list[str]:
            if self.deaf:
                raise Unavailable("cannot read")
            return await super().due(now, limit)

    log = Deaf()

    async def scene(bench: Any) -> None:
        run_id = await bench.start("name: t\nactivities: {w: {use: wait, with: {duration: 1m}}}")
        await bench.until(lambda: bench.clock.next_alarm is not None)
        log.deaf = True
        bench.clock.advance(seconds=60)
        await asyncio.sleep(0.01)
        log.deaf = False
        await bench.until(lambda: bench.clock.next_alarm is not None)
        bench.clock.advance(to=bench.clock.next_alarm)

        assert (await bench.finished(run_id)).head.status == "completed"

    play(scene, log)
