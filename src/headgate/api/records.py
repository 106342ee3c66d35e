"""What the HTTP door reads beside the verbs of every client: pages of runs, spend, events as they come, approvals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from copy import copy

import msgspec

from headgate.api.pages import Page, bad_cursor, page_of
from headgate.core.decision import Decision
from headgate.core.definition import Activity
from headgate.core.errors import Invalid, NotFound
from headgate.core.view import RunSummary
from headgate.engine.approvals import OpenApproval, open_approvals
from headgate.engine.engine import Engine
from headgate.engine.lane import Lane
from headgate.engine.reader import Reader, summary_of
from headgate.ports import EventView, RunRow, RunsWanted, SpendRow, SpendTotal, SpendWanted, Task

__all__ = ["Records", "RunPage"]

EVENTS_PAGE = 1_000
ASKING_PAGE = 500
RUNS_LOOKED_AT_MAX = 1_000
"""Runs that are looked at for one page of approvals."""


class RunPage(msgspec.Struct, frozen=True):
    """A page of the list of runs; `total` counts all that match, `last` is the run that the next page begins behind."""

    runs: list[RunSummary]
    total: int
    last: str | None


class Records:
    """One per engine, of all tenants; `of` gives a tenant's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reader = Reader(engine.log, engine.clock.now)
        self._tenant: str | None = None
        self._followers: dict[str, set[asyncio.Event]] = {}
        engine.listen(self._committed)
        engine.news.follow(self._committed, lambda: self._followers)

    def of(self, tenant: str) -> Records:
        """Return the same records as far as a tenant's runs go: for it there are no others."""
        view = copy(self)
        view._tenant, view._reader = tenant, self._reader.of(tenant)  # noqa: SLF001 - its own copy
        return view

    async def row(self, run: str) -> RunRow:
        """Return a run as the log lists it. Raises `NotFound`."""
        return await self._reader.find(run)

    async def run_id(self, run: str) -> str:
        """Return the whole id of a run. Raises `NotFound`."""
        return (await self._reader.find(run)).id

    async def runs(self, wanted: RunsWanted, *, limit: int, offset: int, before: str | None) -> RunPage:
        """Return a page of the runs that match, newest first, `before` a run. Raises `Invalid` where it is gone.

        Pages are told apart by ids: the numbers that the log gives to runs would tell how many others have started.
        """
        log = self._engine.log
        wanted = msgspec.structs.replace(wanted, tenant=self._tenant)
        behind = None if before is None else (await self._row_at(before)).key
        rows = await log.runs(wanted, limit=limit + 1, offset=offset, before=behind)
        page = page_of(rows, limit, lambda row: row.id)
        return RunPage([summary_of(row) for row in page.lines], await log.count_runs(wanted), page.next)

    async def _row_at(self, run: str) -> RunRow:
        """Return the run that a cursor names. Raises `Invalid`."""
        row = await self._engine.log.run(run)
        if row is None or self._tenant not in (None, row.tenant):
            raise bad_cursor(run)
        return row

    async def finished(self, run: str) -> None:
        """Return when the run has ended. Raises `NotFound`."""
        await self._engine.finished(await self.run_id(run))

    async def depended_on(self, run: str) -> frozenset[str]:
        """Return the activities that others depend on; the rest are the ends of the workflow."""
        plan = (await self._engine.lane(await self.run_id(run))).run.plan
        ends = {plan.activities[index].key for index in plan.terminals}
        return frozenset(planned.key for planned in plan.activities) - ends

    def activity(self, run: str, place: str) -> Activity | None:
        """Return the activity of a place, of a run that is under way here."""
        lane = self._engine.loaded(run)
        owner = None if lane is None else lane.run.owner_of(place)
        return None if owner is None else owner.planned.activity

    async def scheduled(self, run: str, version: int) -> Task:
        """Return the attempt that an event of the run has scheduled. Raises `NotFound`."""
        for event in await self._reader.events(run, after=version - 1, limit=1, contents=False):
            if event.type == "activity_scheduled":
                return Task("", run, event.place, event.attempt)
        raise NotFound(f"No task of run {run} was ever scheduled by its event {version}.")

    async def signal_name(self, run: str, key: str) -> str:
        """Return the signal that an activity waits for. Raises `NotFound`, `Invalid` where it waits for none."""
        plan = (await self._engine.lane(await self.run_id(run))).run.plan
        if key not in plan.index:
            raise NotFound(f"Run {run} has no activity {key!r}.")
        wanted = plan.activities[plan.index[key]].activity.wait_for_signal
        if wanted is None:
            raise Invalid(f"Activity {key!r} waits for no signal; name the signal with event_name.")
        return wanted.event_name

    # --- Money -------------------------------------------------------------------------------------------------------

    async def spend(self, run: str) -> tuple[str, list[SpendRow]]:
        """Return the run's id and its spend rows, in the order of its events."""
        run_id = await self.run_id(run)
        return run_id, await self._engine.log.spend(run_id)

    async def spend_totals(self, by: str, wanted: SpendWanted) -> list[SpendTotal]:
        """Return what the wanted rows come to, dearest first."""
        wanted = msgspec.structs.replace(wanted, tenant=self._tenant or "")
        return await self._engine.log.spend_totals(by, wanted)

    # --- People ------------------------------------------------------------------------------------------------------

    async def approvals(self, *, limit: int, behind: str | None = None) -> Page[OpenApproval]:
        """Return a page of what waits for a person's decision in the runs of a tenant (`of`), whatever else these are
        at: what has waited longest comes first in it, and the pages go from the newest runs to the oldest. One may hold
        less than `limit`, where it is not known of runs that somebody else wrote whether they wait for people: a page
        looks at a thousand of them. Raises `Invalid` where the run of the cursor is gone."""
        run, _, place = (behind or "").partition("~")
        found: list[OpenApproval] = []
        seen, looked_at = behind, 0
        async with aclosing(self._asking(None if behind is None else run, again=bool(place))) as rows:
            async for row in rows:
                if looked_at == RUNS_LOOKED_AT_MAX:
                    return Page(_oldest_first(found), seen)
                for one in sorted(await open_approvals(self._engine, row), key=lambda one: one.key):
                    if row.id == run and one.key <= place:
                        continue
                    if len(found) == limit:
                        return Page(_oldest_first(found), seen)
                    found.append(one)
                    seen = one.id
                seen, looked_at = row.id, looked_at + 1
        return Page(_oldest_first(found), None)

    async def _asking(self, run: str | None, *, again: bool) -> AsyncGenerator[RunRow]:
        """Yield the runs that wait for people, newest first: those behind `run`, and it too, where `again`."""
        assert self._tenant is not None, "approvals are listed for a tenant"
        before: int | None = None
        if run is not None:
            row = await self._row_at(run)
            before = row.key
            if again:
                yield row
        while rows := await self._engine.log.with_approvals(self._tenant, ASKING_PAGE, before=before):
            for row in rows:
                yield row
            before = rows[-1].key

    # --- Events ------------------------------------------------------------------------------------------------------

    async def follow(self, run: str, *, after: int = 0) -> AsyncGenerator[list[EventView]]:
        """Yield the run's events behind `after` in their order, each once, as they get durable; ends with the run."""
        changed = asyncio.Event()
        following = self._followers.setdefault(run, set())
        following.add(changed)
        try:
            while True:
                changed.clear()
                ended = (await self._reader.find(run)).head.finished_at is not None
                page = await self._reader.events(run, after=after, limit=EVENTS_PAGE)
                if page:
                    after = page[-1].version
                    yield page
                elif ended:
                    return
                else:
                    await changed.wait()
        finally:
            following.discard(changed)
            if not following:
                self._followers.pop(run, None)

    def _committed(self, lane: Lane, decisions: Sequence[Decision]) -> None:
        for changed in self._followers.get(lane.run.id, ()):
            changed.set()


def _oldest_first(found: list[OpenApproval]) -> list[OpenApproval]:
    return sorted(found, key=lambda one: (one.since, one.run, one.key))
