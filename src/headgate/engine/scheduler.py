"""The scheduler: starts runs by the clock, each time once, however often its process is killed.

The run that a schedule starts for a time has an id made of both, so starting it again after a crash is harmless. Times
that passed while nobody was there are one time, the latest of them, unless the schedule says otherwise (`misfire`). A
schedule whose last run is still under way is passed over, unless it says `allow`.

Where several nodes share the schedules each of them does this. Two that find the same time due start the same run, so
one run comes of it; what has become of it is written down by the one that is faster, and the other looks again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta, tzinfo

import msgspec

from headgate.core.errors import HeadgateError, Invalid, NotFound, Refused, Unavailable
from headgate.engine.engine import Engine
from headgate.engine.start import Start
from headgate.engine.start_bounds import check_labels, check_limit
from headgate.ports import Clock, Schedule, Schedules

__all__ = ["Scheduler", "changed_schedule", "checked_schedule", "named", "next_time", "next_times", "times_between"]

PAGE = 100
AGAIN_MICROSECONDS = 5_000_000
"""When to come back after the log could not be written."""
SECOND = 1_000_000
EVERY_SECONDS_MIN = 1.0
EVERY_SECONDS_MAX = 10 * 365 * 86_400.0
MISSED_MICROSECONDS = 60 * SECOND
"""A time that is longer ago than this was missed."""
MISFIRES_MAX = 100
BACKFILL_MAX = 1_000
CHANGES_MAX = 16
"""So often a change is tried anew because somebody was faster."""

logger = logging.getLogger("headgate.scheduler")


class Scheduler:
    """One per engine. `run` watches until cancelled; `changed` has it look again."""

    def __init__(self, engine: Engine, schedules: Schedules, clock: Clock) -> None:
        self._engine = engine
        self._schedules = schedules
        self._clock = clock
        self._wake = asyncio.Event()

    def changed(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Start what is due, for ever."""
        again: int | None = None
        while True:
            try:
                await self._clock.wait(again or await self._schedules.next_at(), self._wake)
                again = None
                await self.fire(self._clock.now())
            except Unavailable as error:
                logger.warning("schedules wait, for the log cannot be used: %s", error)
                again = self._clock.now() + AGAIN_MICROSECONDS

    async def fire(self, now: int) -> list[str]:
        """Start what is due at `now`; return the ids of the runs."""
        started: list[str] = []
        while due := await self._schedules.due(now, PAGE):
            for schedule in due:
                started += await self._fire(schedule, now)
        return started

    async def _fire(self, schedule: Schedule, now: int) -> list[str]:
        times, note = _times_to_start(schedule, now)
        last_at, last_run, started = schedule.last_at, schedule.last_run, list[str]()
        for at in times:
            if schedule.overlap == "skip" and (under_way := await self._under_way(schedule, at)):
                note = f"passed over at {_shown(at)}: run {under_way} was still under way"
                continue
            run_id, why_not = await self._start(schedule, at)
            note = why_not or note
            if run_id:
                last_at, last_run = at, run_id
                started.append(run_id)
        # Where this is refused another node has done the same, or a person has changed the schedule: what is still due
        # then comes again.
        await self._schedules.save(
            msgspec.structs.replace(
                schedule,
                last_at=last_at,
                last_run=last_run,
                note=note,
                next_at=next_time(schedule, now),
            )
        )
        return started

    async def backfill(self, schedule: Schedule, since: int, until: int) -> list[str]:
        """Start a run for each of the schedule's times from `since` until before `until` that has had none; return the
        ids of the runs of all of them. Repeated, it starts nothing. Raises `Invalid`."""
        if not 0 <= since < until <= self._clock.now():
            raise Invalid(
                "expected a backfill to begin before it ends, after 1970, and to end in the past, "
                f"got {_shown(since)} until {_shown(until)}"
            )
        times = times_between(schedule, since, until, BACKFILL_MAX + 1)
        if len(times) > BACKFILL_MAX:
            raise Invalid(
                f"Between {_shown(since)} and {_shown(until)} are more than {BACKFILL_MAX} times; ask for less."
            )
        runs: list[str] = []
        for at in times:
            run_id, why_not = await self._start(schedule, at)
            if not run_id:
                raise Invalid(f"The schedule {schedule.name!r} {why_not}")
            runs.append(run_id)
        return runs

    async def _start(self, schedule: Schedule, at: int) -> tuple[str, str]:
        start = Start(
            workflow=schedule.workflow,
            version=schedule.version or None,
            input=schedule.input,
            run_id=_run_id(schedule, at),
            tenant=schedule.tenant,
            mode=schedule.mode,
            limit=schedule.limit,
            labels=_labels_of(schedule),
            actor=f"schedule:{schedule.name}",
        )
        try:
            row = await self._engine.start(start)
        except Unavailable:
            raise
        except HeadgateError as error:
            logger.warning("schedule %s could not start its run: %s", schedule.name, error)
            return "", f"could not start at {_shown(at)}: {error}"
        return row.id, ""

    async def _under_way(self, schedule: Schedule, at: int) -> str:
        """Return the run of an earlier time that has not ended, be it written down yet or not; "" for none."""
        assert schedule.next_at is not None
        for run_id in sorted({schedule.last_run, _run_id(schedule, schedule.next_at)} - {"", _run_id(schedule, at)}):
            row = await self._engine.log.run(run_id)
            if row is not None and row.head.finished_at is None:
                return run_id
        return ""

    async def trigger(self, schedule: Schedule) -> str:
        """Start a run of the schedule now, beside its times; return the run's id."""
        now = self._clock.now()
        run_id, note = await self._start(schedule, now)
        if not run_id:
            raise Invalid(f"The schedule {schedule.name!r} {note}")
        await changed_schedule(
            self._schedules,
            schedule.tenant,
            schedule.name,
            lambda known: msgspec.structs.replace(known, last_at=now, last_run=run_id, note=""),
        )
        return run_id


def _run_id(schedule: Schedule, at: int) -> str:
    return hashlib.sha256(f"{schedule.id}/{at}".encode()).hexdigest()[:20]


def _labels_of(schedule: Schedule) -> dict[str, str]:
    return {**schedule.labels, "schedule": schedule.name}


def checked_schedule(schedule: Schedule, now: int) -> Schedule:
    """Return the schedule with its next time. Raises `Invalid` for what can never be due."""
    if bool(schedule.cron) == bool(schedule.every_seconds):
        raise Invalid(f"The schedule {schedule.name!r} takes either a cron expression or an interval.")
    if schedule.every_seconds and schedule.every_seconds < EVERY_SECONDS_MIN:
        raise Invalid(f"The schedule {schedule.name!r}: the shortest interval is {EVERY_SECONDS_MIN:g} s.")
    if schedule.every_seconds > EVERY_SECONDS_MAX:
        raise Invalid(f"The schedule {schedule.name!r}: the longest interval is {EVERY_SECONDS_MAX:.0f} s, ten years.")
    if schedule.misfire == "run_all" and schedule.overlap == "skip":
        what = "what was missed is started side by side, so misfire run_all needs overlap allow"
        raise Invalid(f"The schedule {schedule.name!r}: {what}.")
    check_labels(_labels_of(schedule))
    check_limit(schedule.limit)
    _zone(schedule)  # which an interval does not need now, but may be given a cron expression later
    due = next_time(schedule, now)
    if due is None:
        raise Invalid(f"The schedule {schedule.name!r}: {schedule.cron!r} has no time to come.")
    return msgspec.structs.replace(schedule, next_at=due)


def next_time(schedule: Schedule, after: int) -> int | None:
    """Return the schedule's first time after `after` (microseconds), or None: there is none.

    Cron expressions (five fields, as of Debian's cron, or six with the second before them) are read by the wall clock
    of the time zone: a time that a change to summer time leaves out comes at once after it, and one that comes twice is
    taken once. Intervals count from when the schedule was made. Raises `Invalid` for an expression or a zone that
    cannot be read.
    """
    if schedule.every_seconds:
        step = round(schedule.every_seconds * SECOND)
        return schedule.created_at + ((after - schedule.created_at) // step + 1) * step
    return _cron_time(schedule, after, backwards=False)


def times_between(schedule: Schedule, since: int, until: int, most: int) -> list[int]:
    """Return the schedule's times from `since` until before `until`, at most so many."""
    times: list[int] = []
    at = next_time(schedule, since - (1 if schedule.every_seconds else SECOND))
    while at is not None and at < until and len(times) < most:
        times.append(at)
        at = next_time(schedule, at)
    return times


def next_times(schedule: Schedule, count: int) -> list[int]:
    """Return the next times at which it starts a run, as things are; none while it is paused."""
    if not schedule.enabled or schedule.next_at is None:
        return []
    times = [schedule.next_at]
    while len(times) < count and (at := next_time(schedule, times[-1])) is not None:
        times.append(at)
    return times


def _times_to_start(schedule: Schedule, now: int) -> tuple[list[int], str]:
    """Return for which of the times that are due runs are started, and what is to be said of the others."""
    assert schedule.next_at is not None
    latest = _latest_time(schedule, now)
    match schedule.misfire:
        case "run_once":
            return [latest], ""
        case "skip":
            missed = now - latest > MISSED_MICROSECONDS
            return ([], f"left out at {_shown(latest)}: nobody was there") if missed else ([latest], "")
        case "run_all":
            times = times_between(schedule, schedule.next_at, latest + 1, MISFIRES_MAX + 1)
            more = (
                ""
                if len(times) <= MISFIRES_MAX
                else f"only {MISFIRES_MAX} of the times that had passed were made up for"
            )
            return times[:MISFIRES_MAX], more


def _latest_time(schedule: Schedule, now: int) -> int:
    """Return the latest time that is due: what was missed before it is not made up for."""
    assert schedule.next_at is not None
    if schedule.every_seconds:
        following = next_time(schedule, now)
        assert following is not None
        return max(schedule.next_at, following - round(schedule.every_seconds * SECOND))
    return max(schedule.next_at, _cron_time(schedule, now + SECOND, backwards=True) or 0)


def _cron_time(schedule: Schedule, moment: int, *, backwards: bool) -> int | None:
    from cronsim import CronSim, CronSimError

    zone = _zone(schedule)
    try:
        times = CronSim(schedule.cron, datetime.fromtimestamp(moment / SECOND, zone), reverse=backwards)
        return round(next(times).timestamp()) * SECOND
    except CronSimError as error:
        raise Invalid(
            f"The schedule {schedule.name!r}: {schedule.cron!r} is no cron expression ({str(error).lower()}); five "
            "fields are wanted: minute, hour, day of month, month, day of week; or six, with the second before them."
        ) from None
    except StopIteration:
        return None


def _zone(schedule: Schedule) -> tzinfo:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(schedule.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        what = f"there is no time zone {schedule.timezone!r}; write one such as Europe/Berlin"
        raise Invalid(f"The schedule {schedule.name!r}: {what}.") from None


def _shown(at: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)).isoformat(timespec="seconds")


def named(schedules: Iterable[Schedule], name: str) -> Schedule:
    """Return the schedule of this name. Raises `NotFound`, naming those there are."""
    found = {schedule.name: schedule for schedule in schedules}
    if name not in found:
        there = ", ".join(found) or "there is none"
        raise NotFound(f"There is no schedule {name!r}; {there}.")
    return found[name]


async def changed_schedule(
    schedules: Schedules, tenant: str, name: str, change: Callable[[Schedule], Schedule]
) -> Schedule:
    """Change a tenant's schedule of this name as it is now; return it. Raises `NotFound`, what `change` raises, and
    `Refused` where others change it all the time."""
    for _ in range(CHANGES_MAX):
        own = [schedule for schedule in await schedules.all() if schedule.tenant == tenant]
        changed = change(named(own, name))
        if await schedules.save(changed):
            return changed
    raise Refused(f"The schedule {name!r} was changed by others {CHANGES_MAX} times meanwhile. Ask again.")
