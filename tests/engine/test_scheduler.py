"""Schedules: their times by any clock on the wall, and one run for each time however often the process dies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.app import App
from headgate.core.errors import Invalid, NotFound
from headgate.engine.scheduler import MISFIRES_MAX, _run_id, checked_schedule, next_time
from headgate.ports import Log, Schedule, StartRequest
from headgate.stores.memory import MemoryLog
from headgate.stores.sqlite import SqliteLog
from headgate.testing.clock import VirtualClock

SECOND = 1_000_000
HOUR = 3_600 * SECOND
NOON = round(datetime(2026, 3, 28, 12, tzinfo=ZoneInfo("UTC")).timestamp()) * SECOND
FLOW = "name: tick\ninputs: {n: {type: integer, default: 1}}\nactivities: {a: {use: echo, with: {n: '{{ INPUT.n }}'}}}"
WAITING = "name: slow\nactivities: {a: {use: approval, with: {title: go}}}"


def schedule(**given: Any) -> Schedule:
    return msgspec.structs.replace(Schedule(id="s1", name="beat", workflow="tick", created_at=NOON), **given)


def local(at: int | None, zone: str) -> str:
    assert at is not None
    return datetime.fromtimestamp(at / SECOND, ZoneInfo(zone)).isoformat(timespec="minutes")


def in_app(work: Callable[[App, VirtualClock], Awaitable[Any]], log: Log | None = None, at: int = NOON) -> Any:
    async def run() -> Any:
        clock = VirtualClock(at)
        async with App(log or MemoryLog(), clock=clock, environment={}) as app:
            return await work(app, clock)

    return asyncio.run(run())


def wanted(**given: Any) -> Schedule:
    return Schedule(id="", name="beat", workflow="", **given)


# --- Times -------------------------------------------------------------------------------------------------------


def test_cron_is_read_by_the_clock_of_its_zone():
    nightly = schedule(cron="30 7 * * mon-fri", timezone="Asia/Tokyo")

    times = [next_time(nightly, NOON)]
    times.append(next_time(nightly, times[0] or 0))

    assert [local(at, "Asia/Tokyo") for at in times] == ["2026-03-30T07:30+09:00", "2026-03-31T07:30+09:00"]


def test_a_sixth_field_is_the_second_and_comes_first():
    precise = schedule(cron="30 0 12 * * *")

    assert next_time(precise, NOON) == NOON + 30 * SECOND


def test_the_29th_of_february_comes_in_leap_years():
    leap = schedule(cron="0 0 29 2 *", timezone="America/New_York")

    times = [next_time(leap, NOON)]
    times.append(next_time(leap, times[0] or 0))

    assert [local(at, "America/New_York")[:10] for at in times] == ["2028-02-29", "2032-02-29"]


def test_a_time_that_summer_time_leaves_out_comes_right_after_it_and_one_that_comes_twice_is_taken_once():
    nightly = schedule(cron="30 2 * * *", timezone="Europe/Berlin")
    autumn = round(datetime(2026, 10, 24, 12, tzinfo=ZoneInfo("UTC")).timestamp()) * SECOND

    spring = [next_time(nightly, NOON)]
    spring.append(next_time(nightly, spring[0] or 0))
    later = [next_time(nightly, autumn)]
    later.append(next_time(nightly, later[0] or 0))

    assert [local(at, "Europe/Berlin") for at in spring] == ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"]
    assert [local(at, "Europe/Berlin")[:10] for at in later] == ["2026-10-25", "2026-10-26"]


@given(st.integers(1, 10**6), st.integers(0, 10**12))
def test_an_interval_counts_from_when_the_schedule_was_made_and_its_next_time_is_always_ahead(every: int, after: int):
    beat = schedule(every_seconds=float(every))

    due = next_time(beat, NOON + after)

    assert due is not None
    assert NOON + after < due <= NOON + after + every * SECOND
    assert (due - NOON) % (every * SECOND) == 0


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ({"cron": "61 * * * *"}, "no cron expression"),
        ({"cron": "* * * * *", "timezone": "Mars/Base"}, "no time zone 'Mars/Base'"),
        ({"cron": "* * * * *", "every_seconds": 5.0}, "either"),
        ({}, "either"),
        ({"every_seconds": 0.5}, "shortest interval"),
        ({"every_seconds": 5.0, "timezone": "Mars/Base"}, "no time zone 'Mars/Base'"),
        ({"cron": "0 0 30 2 *"}, "no cron expression"),
    ],
)
def test_what_can_never_be_due_is_refused(given_: dict[str, Any], says: str):
    with pytest.raises(Invalid, match=says):
        checked_schedule(schedule(**given_), NOON)


# --- Runs --------------------------------------------------------------------------------------------------------


def test_each_time_starts_one_run_with_the_schedules_input_and_label():
    async def work(app: App, clock: VirtualClock) -> Any:
        await app.desk.schedule(wanted(every_seconds=3600.0, input={"n": 7}), definition=FLOW, files={})
        started: list[list[str]] = []
        for hours in (0, 1, 2):
            started.append(await app.scheduler.fire(NOON + hours * HOUR))
            await app.desk.settled()
        return started, [await app.desk.show(run.id) for run in await app.desk.runs()]

    started, views = in_app(work)

    assert [len(ids) for ids in started] == [0, 1, 1]
    assert [(view.status, view.outputs, view.labels) for view in views] == [
        ("completed", {"a": {"n": 7}}, {"schedule": "beat"})
    ] * 2


def test_a_process_that_dies_between_the_start_and_its_note_starts_no_second_run(tmp_path: Path):
    async def first(app: App, clock: VirtualClock) -> Any:
        made = await app.desk.schedule(wanted(every_seconds=3600.0), definition=FLOW, files={})
        await app.scheduler.fire(NOON + HOUR)
        (noted,) = await app.schedules.all()  # as if what came of it had not been written
        assert await app.schedules.save(msgspec.structs.replace(made, revision=noted.revision))
        await app.desk.settled()

    async def second(app: App, clock: VirtualClock) -> Any:
        again = await app.scheduler.fire(NOON + HOUR)
        await app.desk.settled()
        return again, [run.id for run in await app.desk.runs()]

    in_app(first, SqliteLog(tmp_path / "a.db"))
    again, runs = in_app(second, SqliteLog(tmp_path / "a.db"), NOON + HOUR)

    assert again == runs
    assert len(runs) == 1


def test_times_that_passed_while_nobody_worked_are_made_up_for_once():
    async def work(app: App, clock: VirtualClock) -> Any:
        await app.desk.schedule(wanted(cron="*/10 * * * *"), definition=FLOW, files={})
        started = await app.scheduler.fire(NOON + 24 * HOUR + 5 * SECOND)
        return started, (await app.schedules.all())[0]

    started, kept = in_app(work)

    assert len(started) == 1
    assert (kept.last_at, kept.next_at) == (NOON + 24 * HOUR, NOON + 24 * HOUR + 600 * SECOND)


@pytest.mark.parametrize(("overlap", "count"), [("skip", 1), ("allow", 3)])
def test_while_the_last_run_is_under_way_the_next_time_is_passed_over_and_said(overlap: Any, count: int):
    async def work(app: App, clock: VirtualClock) -> Any:
        await app.desk.schedule(wanted(every_seconds=3600.0, overlap=overlap), definition=WAITING, files={})
        for hours in (1, 2, 3):
            await app.scheduler.fire(NOON + hours * HOUR)
        return len(await app.desk.runs()), (await app.schedules.all())[0].note

    runs, note = in_app(work)

    assert runs == count
    assert ("still under way" in note) == (overlap == "skip")


def test_a_paused_schedule_is_not_due_and_goes_on_from_its_next_time():
    async def work(app: App, clock: VirtualClock) -> Any:
        await app.desk.schedule(wanted(every_seconds=3600.0), definition=FLOW, files={})
        await app.desk.change_schedule("beat", "pause")
        while_paused = await app.scheduler.fire(NOON + 5 * HOUR)
        clock.advance(to=NOON + 5 * HOUR + SECOND)
        resumed = await app.desk.change_schedule("beat", "resume")
        return while_paused, resumed.next_at

    assert in_app(work) == ([], NOON + 6 * HOUR)


def test_a_schedule_of_the_same_name_is_replaced_and_a_removed_one_is_gone():
    async def work(app: App, clock: VirtualClock) -> Any:
        await app.desk.schedule(wanted(every_seconds=3600.0), definition=FLOW, files={})
        await app.desk.schedule(wanted(every_seconds=60.0), definition=FLOW, files={})
        kept = await app.desk.schedules()
        await app.desk.change_schedule("beat", "remove")
        with pytest.raises(NotFound, match="there is none"):
            await app.desk.change_schedule("beat", "pause")
        return [each.every_seconds for each in kept]

    assert in_app(work) == [60.0]


def test_an_input_that_the_workflow_does_not_take_is_refused_when_the_schedule_is_made():
    async def work(app: App, clock: VirtualClock) -> Any:
        with pytest.raises(Invalid, match="whole number"):
            await app.desk.schedule(wanted(every_seconds=60.0, input={"n": "x"}), definition=FLOW, files={})
        return await app.schedules.all()

    assert in_app(work) == []


def test_a_run_that_cannot_start_is_noted_and_the_schedule_goes_on():
    async def work(app: App, clock: VirtualClock) -> Any:
        await app.desk.schedule(wanted(every_seconds=3600.0), definition=FLOW, files={})
        (kept,) = await app.schedules.all()
        assert await app.schedules.save(msgspec.structs.replace(kept, version="0" * 16))
        started = await app.scheduler.fire(NOON + HOUR)
        kept = (await app.schedules.all())[0]
        return started, kept.note, kept.next_at

    started, note, following = in_app(work)

    assert (started, following) == ([], NOON + 2 * HOUR)
    assert "could not start" in note


def test_a_schedule_of_the_newest_version_takes_that_ones_defaults():
    async def work(app: App, clock: VirtualClock) -> Any:
        await app.desk.schedule(wanted(every_seconds=3600.0), definition=FLOW, files={})
        (kept,) = await app.schedules.all()
        assert await app.schedules.save(msgspec.structs.replace(kept, version=""))
        newer = FLOW.replace("n: {type: integer, default: 1}", "m: {type: integer, default: 9}").replace(
            "INPUT.n", "INPUT.m"
        )
        paused = msgspec.structs.replace(wanted(every_seconds=3600.0, enabled=False), name="deploys it")
        await app.desk.schedule(paused, definition=newer, files={})
        await app.scheduler.fire(NOON + HOUR)
        await app.desk.settled()
        (run,) = await app.desk.runs()
        return (await app.desk.show(run.id)).input

    assert in_app(work) == {"m": 9}


def test_a_trigger_that_cannot_start_says_why():
    async def work(app: App, clock: VirtualClock) -> Any:
        await app.desk.schedule(wanted(every_seconds=3600.0), definition=FLOW, files={})
        (kept,) = await app.schedules.all()
        assert await app.schedules.save(msgspec.structs.replace(kept, input={"other": 1}))
        with pytest.raises(Invalid) as refused:
            await app.desk.change_schedule("beat", "trigger")
        return str(refused.value)

    said = in_app(work)

    assert said.startswith("The schedule 'beat' could not start at 2026-03-28T12:00:00+00:00")
    assert said.endswith("Known are n.")


def test_a_trigger_starts_a_run_beside_the_times():
    async def work(app: App, clock: VirtualClock) -> Any:
        made = await app.desk.schedule(wanted(every_seconds=3600.0), definition=FLOW, files={})
        triggered = await app.desk.change_schedule("beat", "trigger")
        await app.desk.settled()
        return triggered.last_run in [run.id for run in await app.desk.runs()], triggered.next_at == made.next_at

    assert in_app(work) == (True, True)


def test_the_scheduler_watches_by_itself_while_others_start_runs():
    async def work() -> int:
        clock = VirtualClock(NOON)
        async with App(MemoryLog(), clock=clock, environment={}, run_schedules=True) as app:
            await app.desk.schedule(wanted(every_seconds=60.0), definition=FLOW, files={})
            await app.desk.start(StartRequest(definition=FLOW))
            while len(await app.desk.runs()) < 4:
                await asyncio.sleep(0)
                clock.advance(seconds=1)
            return len(await app.desk.runs())

    assert asyncio.run(asyncio.wait_for(work(), 60)) == 4


# --- Times that were missed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "hours"),
    [
        ({"misfire": "skip"}, []),
        ({"misfire": "run_once"}, [5]),
        ({"misfire": "run_all", "overlap": "allow"}, [1, 2, 3, 4, 5]),
    ],
)
def test_what_was_missed_is_made_up_for_as_the_schedule_says(policy: dict[str, Any], hours: list[int]):
    async def work(app: App, clock: VirtualClock) -> Any:
        made = await app.desk.schedule(wanted(every_seconds=3600.0, **policy), definition=FLOW, files={})
        now = NOON + 5 * HOUR + HOUR // 2
        clock.advance(to=now)
        started = await app.scheduler.fire(now)
        assert await app.scheduler.fire(now) == []
        expected = [_run_id(made, NOON + hour * HOUR) for hour in hours]
        (kept,) = await app.desk.schedules()
        return started, expected, kept

    started, expected, kept = in_app(work)

    assert started == expected
    assert kept.next_at == NOON + 6 * HOUR
    assert kept.last_at == (NOON + 5 * HOUR if hours else None)
    assert ("nobody was there" in kept.note) == (not hours)


def test_a_time_that_has_just_come_is_not_missed():
    async def work(app: App, clock: VirtualClock) -> Any:
        await app.desk.schedule(wanted(every_seconds=3600.0, misfire="skip"), definition=FLOW, files={})
        return await app.scheduler.fire(NOON + HOUR + 2 * SECOND)

    assert len(in_app(work)) == 1


def test_of_very_many_missed_times_so_many_are_made_up_for_and_that_is_said():
    async def work(app: App, clock: VirtualClock) -> Any:
        given = wanted(every_seconds=60.0, misfire="run_all", overlap="allow")
        await app.desk.schedule(given, definition=FLOW, files={})
        started = await app.scheduler.fire(NOON + 10 * HOUR)
        (kept,) = await app.desk.schedules()
        return started, kept.note

    started, note = in_app(work)

    assert len(set(started)) == MISFIRES_MAX
    assert str(MISFIRES_MAX) in note


def test_making_up_for_all_needs_runs_side_by_side():
    with pytest.raises(Invalid, match="needs overlap allow"):
        checked_schedule(schedule(every_seconds=60.0, misfire="run_all"), NOON)


def test_a_backfill_starts_each_time_once_however_often_it_is_asked_for():
    async def work(app: App, clock: VirtualClock) -> Any:
        made = await app.desk.schedule(wanted(cron="0 * * * *"), definition=FLOW, files={})
        await app.scheduler.fire(NOON + HOUR)  # one of the times had its run
        clock.advance(to=NOON + 4 * HOUR)
        first = await app.desk.backfill_schedule("beat", NOON, NOON + 4 * HOUR)
        again = await app.desk.backfill_schedule("beat", NOON + HOUR, NOON + 2 * HOUR + 1)
        await app.desk.settled()
        expected = [_run_id(made, NOON + hour * HOUR) for hour in range(4)]
        return first, again, expected, await app.desk.runs()

    first, again, expected, runs = in_app(work)

    assert first == expected
    assert again == expected[1:3]
    assert len(runs) == 4


@pytest.mark.parametrize(
    ("since", "until", "says"),
    [
        (NOON, NOON, "begin before"),
        (NOON, NOON + 400 * HOUR, "end in the past"),
        (NOON - 24 * HOUR, NOON, "more than 1000 times"),
        (-1, NOON, "got 1969-12-31T23:59:59"),
        (-62_135_596_800 * SECOND, NOON, "got 0001-01-01T00:00:00"),
    ],
)
def test_a_backfill_that_cannot_be_is_refused(since: int, until: int, says: str):
    async def work(app: App, clock: VirtualClock) -> Any:
        await app.desk.schedule(wanted(every_seconds=1.0), definition=FLOW, files={})
        with pytest.raises(Invalid, match=says):
            await app.desk.backfill_schedule("beat", since, until)

    in_app(work)
