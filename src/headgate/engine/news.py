"""What other processes have written of runs that are in memory here: read, folded, and told to whoever follows them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from headgate.core import commands as c
from headgate.core.codec import decode
from headgate.core.decision import Decision
from headgate.core.errors import HeadgateError
from headgate.core.fold import apply
from headgate.engine.lane import Lane

if TYPE_CHECKING:
    from headgate.engine.engine import Engine

__all__ = ["Listener", "News"]

Listener = Callable[[Lane, Sequence[Decision]], None]
"""Is called with a run and what was decided of it."""


class News:
    """One per engine. Where no other process writes the log, there is none: a run in memory is as new as the log."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._followers: list[tuple[Listener, Callable[[], Iterable[str]]]] = []

    def follow(self, listener: Listener, watched: Callable[[], Iterable[str]]) -> None:
        """Have `listener` called also for what other processes have made of runs that are `watched` here: the
        decisions are theirs, and may be none where the run was just read."""
        self._followers.append((listener, watched))

    @property
    def watched(self) -> set[str]:
        """The runs of which somebody here wants news."""
        return {*self._engine.awaited, *(run_id for _, watched in self._followers for run_id in watched())}

    async def lane_at(self, run_id: str, version: int) -> Lane:
        """Return the run's lane, at least as new as `version`, which is in the log. Raises `NotFound`."""
        lane = self._engine.loaded(run_id) or await self._engine.lane(run_id)
        while lane.head.version < version:
            await self.catch_up(lane)
            lane = await self._engine.lane(run_id)
        return lane

    async def lane_now(self, run_id: str) -> Lane:
        """Return the run's lane, as new as the log. Raises `NotFound`."""
        return await self.lane_at(run_id, (await self._engine.row(run_id)).head.version)

    async def catch_up(self, lane: Lane) -> None:
        """Fold into the run what other processes have written, and tell those who follow it."""
        run_id = lane.run.id
        if not lane.idle:  # its append meets theirs, and is decided upon it; so is what appends nothing
            with contextlib.suppress(HeadgateError):
                await self._engine.submit(run_id, c.Tick(at=self._engine.clock.now(), actor="timer"))
            return
        before = lane.run.version
        row = await self._engine.row(run_id)
        stored = await self._engine.log.events(lane.row.key, after=before, limit=max(0, row.head.version - before))
        if not lane.idle or lane.run.version != before or self._engine.loaded(run_id) is not lane:
            return
        theirs = Decision(lane.run, {}, at=row.head.updated_at, actor="engine", cause="")
        for one in stored:
            event = decode(one.data)[0]
            apply(lane.run, event)
            theirs.events.append(event)
        lane.row, lane.head, lane.hash = row, row.head, row.head.hash
        self.tell(lane, [theirs])
        self._engine.idle(lane)

    def tell(self, lane: Lane, decisions: Sequence[Decision]) -> None:
        """Tell those who follow the run what others have made of it."""
        for listener, _ in self._followers:
            listener(lane, decisions)
        self._engine.tell_end(lane)
