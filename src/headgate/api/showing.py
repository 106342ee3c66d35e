"""Runs as they end, shown from memory before that forgets them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from headgate.core.decision import Decision
from headgate.core.view import RunView, view_run
from headgate.engine.engine import Engine
from headgate.engine.lane import Lane
from headgate.engine.reader import contents_shown

__all__ = ["Showing"]


class Showing:
    """One per engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._endings: dict[str, _Ending] = {}
        engine.listen(self._committed)
        engine.follow(self._committed, lambda: ())

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

    def _committed(self, lane: Lane, decisions: Sequence[Decision]) -> None:
        if lane.run.finished and (ending := self._endings.get(lane.run.id)) is not None and lane.durable:
            ending.view = self._whole(lane)

    def _whole(self, lane: Lane) -> RunView | None:
        """Return the run with its contents, where all of them are in memory."""
        wanted = contents_shown(lane.run)
        values = self._engine.contents.values(lane.row.key, wanted)
        return view_run(lane.run, values, self._engine.clock.now()) if len(values) == len(wanted) else None


class _Ending:
    """Those who wait for a run to end, and what it is then: shown from memory, before that forgets it."""

    __slots__ = ("readers", "view")

    def __init__(self) -> None:
        self.readers = 0
        self.view: RunView | None = None
