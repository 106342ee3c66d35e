"""Runs that are in memory, shown from there: to those who look every moment, and to those who wait for their ends.

Between a decision and its commit a run holds what is not durable yet, and nobody may be told of it. Whoever looks then
is answered at the commit, when it is. That is sooner than a log can be read, and all who look meanwhile share one view.
What a start has made of a run is kept until its next commit, for whoever starts one looks at once. And a run that
somebody has looked at is kept after its end, for it will be looked at once more.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence

from headgate.core.decision import Decision
from headgate.core.view import RunView, view_run
from headgate.engine.engine import Engine
from headgate.engine.lane import Lane
from headgate.engine.limit_view import with_waits
from headgate.engine.reader import contents_shown
from headgate.ports import Cell

__all__ = ["Showing"]

COMMIT_SECONDS_MAX = 0.5
"""Whoever has looked for longer, for the disk is slow or the append has failed, is shown what the log has."""
LOOKED_AT_MAX = 10_000
"""Runs of which is remembered that somebody looks; one beyond that is read from the log after its end."""
KEPT_MAX = 500
"""Runs that have just begun, and as many that ended lately; what goes beyond is not shown from here."""
KEPT_BYTES_MAX = 64 * 1024
"""Of all contents of a run; one with more is not kept."""

_Form = tuple[str, bool]
"""A run, and whether its contents are wanted."""
_Kept = OrderedDict[str, tuple[str, RunView]]
"""Of each run: the tenant, and the whole run."""


class Showing:
    """One per engine. `waits`: what is known of calls that wait for a provider, of which the log says nothing."""

    def __init__(self, engine: Engine, waits: Callable[[], Awaitable[Sequence[Cell]]]) -> None:
        self._engine = engine
        self._waits = waits
        self._endings: dict[str, _Ending] = {}
        self._at_commit: dict[_Form, _AtCommit] = {}
        """Those asked for longest ago stand first."""
        self._alarm: asyncio.TimerHandle | None = None
        self._looked_at: OrderedDict[str, None] = OrderedDict()
        self._begun: _Kept = OrderedDict()
        """Runs of which nothing but the start is durable."""
        self._ended: _Kept = OrderedDict()
        engine.listen(self._committed)
        engine.news.follow(self._committed, lambda: ())

    async def current(self, run_id: str, tenant: str | None, *, contents: bool) -> RunView | None:
        """Return the tenant's run as far as it is durable; None where memory has not all of it, or cannot know it."""
        if self._engine.others is not None:
            return None
        if contents and (ended := self._ended.get(run_id)) is not None and tenant in (None, ended[0]):
            del self._ended[run_id]  # who looks more often finds answers that are kept as bytes
            return ended[1]
        lane = self._engine.loaded(run_id)
        if lane is None or lane.row.erased or tenant not in (None, lane.row.tenant):
            return None
        self._note_look(run_id)
        if lane.durable:
            view = self._view(lane, contents=contents) or await self._read(lane)
        elif contents and run_id in self._begun:
            _, view = self._begun.pop(run_id)
        else:
            view = await self._next(run_id, contents=contents)
        if view is None or view.finished_at or not (waits := await self._waits()):
            return view
        return with_waits(view, waits, self._engine.clock.now())

    def begun(self, run_id: str) -> None:
        """Keep a run that was started just now as it is: whoever started it looks at it next, most likely."""
        lane = self._engine.loaded(run_id)
        if lane is not None and lane.durable and not lane.run.finished and self._engine.others is None:
            self._keep(self._begun, lane, self._view(lane, contents=True))

    async def ended(self, run_id: str, read: Callable[[str], Awaitable[RunView]]) -> RunView:
        """Return the run with its contents as soon as it has ended; it is read where memory does not hold all of it."""
        ending = self._endings.setdefault(run_id, _Ending())
        ending.readers += 1
        try:
            await self._engine.finished(run_id)
            return ending.view or await read(run_id)
        finally:
            ending.readers -= 1
            if not ending.readers:
                self._endings.pop(run_id, None)

    def forget(self, run_id: str) -> None:
        """What was kept of the run is so no more: it has gone on, or was erased or deleted."""
        self._begun.pop(run_id, None)
        self._ended.pop(run_id, None)

    def _note_look(self, run_id: str) -> None:
        self._looked_at[run_id] = None
        if len(self._looked_at) > LOOKED_AT_MAX:
            self._looked_at.popitem(last=False)

    async def _read(self, lane: Lane) -> RunView | None:
        """Read contents that are in memory no more; the run may have gone on meanwhile."""
        await self._engine.load_values(lane.row.key, contents_shown(lane.run))
        return self._view(lane, contents=True) if lane.durable else None

    async def _next(self, run_id: str, *, contents: bool) -> RunView | None:
        """Return the run as its next commit leaves it."""
        loop = self._engine.loop
        asked = self._at_commit.get((run_id, contents))
        if asked is None:
            asked = self._at_commit[run_id, contents] = _AtCommit(loop.time() + COMMIT_SECONDS_MAX)
            if self._alarm is None:
                self._alarm = loop.call_at(asked.until, self._answer_late)
        view: asyncio.Future[RunView | None] = loop.create_future()
        asked.readers.append(view)
        return await view

    def _answer_late(self) -> None:
        """Tell all whose commit has not come in time that memory cannot know. One alarm is set, for who asked first."""
        now = self._engine.loop.time()
        while self._at_commit:
            form, asked = next(iter(self._at_commit.items()))
            if asked.until > now:
                self._alarm = self._engine.loop.call_at(asked.until, self._answer_late)
                return
            del self._at_commit[form]
            asked.answer(None)
        self._alarm = None

    # --- At a commit -------------------------------------------------------------------------------------------------

    def _committed(self, lane: Lane, decisions: Sequence[Decision]) -> None:
        run_id = lane.run.id
        self.forget(run_id)
        whole = self._tell(lane) if self._at_commit else None
        if not lane.run.finished or not lane.durable:
            return
        looked_at = run_id in self._looked_at
        if looked_at or run_id in self._endings:
            view = whole or self._view(lane, contents=True)
            if (ending := self._endings.get(run_id)) is not None:
                ending.view = view
            if looked_at:
                del self._looked_at[run_id]
                self._keep(self._ended, lane, view)

    def _tell(self, lane: Lane) -> RunView | None:
        """Answer those who wait for this commit; return the run with its contents, if one of them wanted it so."""
        view = None
        for contents in (False, True):
            asked = self._at_commit.pop((lane.run.id, contents), None)
            view = None if asked is None or not lane.durable else self._view(lane, contents=contents)
            if asked is not None:
                asked.answer(view)
        return view

    def _keep(self, kept: _Kept, lane: Lane, view: RunView | None) -> None:
        if view is not None and self._engine.contents.size(lane.row.key) <= KEPT_BYTES_MAX:
            kept[view.id] = lane.row.tenant, view
            if len(kept) > KEPT_MAX:
                kept.popitem(last=False)

    def _view(self, lane: Lane, *, contents: bool) -> RunView | None:
        """Return what memory has, which is durable; None where some of the contents are not there."""
        wanted = contents_shown(lane.run) if contents else set[int]()
        values = self._engine.contents.values(lane.row.key, wanted) if wanted else {}
        return view_run(lane.run, values, self._engine.clock.now()) if len(values) == len(wanted) else None


class _AtCommit:
    """Those who look at a run between a decision and its commit, and until when they wait for it."""

    __slots__ = ("readers", "until")

    def __init__(self, until: float) -> None:
        self.readers: list[asyncio.Future[RunView | None]] = []
        self.until = until

    def answer(self, view: RunView | None) -> None:
        for reader in self.readers:
            if not reader.done():  # it is when its reader has gone
                reader.set_result(view)


class _Ending:
    """Those who wait for a run to end, and what it is then: shown from memory, before that forgets it."""

    __slots__ = ("readers", "view")

    def __init__(self) -> None:
        self.readers = 0
        self.view: RunView | None = None
