"""What a run comes to, told as it goes on: to those who watch it, and to whoever waits until nothing is to be done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

from headgate.core.decision import Decision
from headgate.core.run import Run
from headgate.core.view import RunView, view_run
from headgate.engine.engine import Engine
from headgate.engine.lane import Lane
from headgate.engine.reader import contents_shown
from headgate.engine.streams import NOTHING, Following, RunStreams
from headgate.ports import Changed, Ended, Position, RunRow, Update

__all__ = ["Watching"]


class Watching:
    """One per engine."""

    def __init__(self, engine: Engine, streams: RunStreams) -> None:
        self._engine = engine
        self._streams = streams
        self._watchers: dict[str, set[_Watcher]] = {}
        self._any_change: set[asyncio.Event] = set()
        self.listens: Callable[[Run], bool] = lambda run: False
        """Whether somebody waits for all the calls of the run that ask a person."""
        engine.listen(self._committed)
        engine.news.follow(self._committed, lambda: self._watchers)

    async def watch(
        self, run_id: str, *, tokens: bool, place: str, resume: Sequence[Position]
    ) -> AsyncGenerator[Update]:
        """Yield what `ports.Client.watch` does, of a run that there is."""
        watcher = _Watcher()
        self._watchers.setdefault(run_id, set()).add(watcher)
        following = None
        try:
            async for view in self._first(run_id, watcher):
                yield Changed(view)
            following = await self._follow(run_id, watcher, place, resume) if tokens else NOTHING
            async for chunk in following.earlier():
                yield chunk
            while True:
                chunk, over = following.take(), following.over
                if isinstance(chunk, Ended) and not chunk.offset:
                    async for part in following.instead(chunk):
                        yield part
                elif chunk is not None:
                    yield chunk
                if watcher.has_news and (view := await self._newest(run_id, watcher)) is not None:
                    yield Changed(view)
                elif chunk is None and watcher.last is not None and over:
                    break
                elif chunk is None:
                    await watcher.sleep()
            yield Changed(watcher.last)  # the finished run comes when all that was streamed is told
        finally:
            if following is not None:
                following.close()
            watching = self._watchers[run_id]
            watching.discard(watcher)
            if not watching:
                del self._watchers[run_id]

    async def _follow(self, run_id: str, watcher: _Watcher, place: str, resume: Sequence[Position]) -> Following:
        return await self._streams.follow(run_id, place=place, resume=resume, wake=watcher.wake)

    async def _first(self, run_id: str, watcher: _Watcher) -> AsyncIterator[RunView]:
        """Yield the run as it is, as soon as all of it is durable; nothing where it has ended."""
        while True:
            view = await self._newest(run_id, watcher)
            if view is not None:
                yield view
            if view is not None or watcher.last is not None:
                return
            await watcher.sleep()

    async def _newest(self, run_id: str, watcher: _Watcher) -> RunView | None:
        """Return the run's newest durable state, once per change that the reader has not seen: a slow one skips some.
        That of a run that has ended is not returned: it stays in `watcher.last`."""
        lane = await self._engine.lane(run_id)
        view, watcher.view = watcher.view, None
        if watcher.changed:
            watcher.changed = False
            view = view_run(lane.run, {}, self._engine.clock.now()) if lane.durable else view
            watcher.wanted = not lane.durable
        if view is None or not view.finished_at:
            watcher.last = watcher.last if view is None else None
            return view
        values = await self._engine.load_values(lane.row.key, contents_shown(lane.run))
        lane = await self._engine.lane(run_id)
        watcher.last = view_run(lane.run, values, self._engine.clock.now()) if lane.durable else view
        return None

    def _committed(self, lane: Lane, decisions: Sequence[Decision]) -> None:
        for watcher in self._watchers.get(lane.run.id, ()):
            watcher.changed = True
            if watcher.wanted:
                watcher.wanted = False
                watcher.view = view_run(lane.run, {}, self._engine.clock.now())
            watcher.wake.set()
        for changed in self._any_change:
            changed.set()

    async def settled(self) -> None:
        """Return when no run can go on by itself."""
        changed = asyncio.Event()
        self._any_change.add(changed)
        try:
            while not await self._at_rest():
                changed.clear()
                await changed.wait()
        finally:
            self._any_change.discard(changed)

    async def _at_rest(self) -> bool:
        """Whether no run holds a task, and no time has come that the warden has yet to look at."""
        busy = await self._engine.log.busy(0, 1_000)
        at_rest = all(row.head.status == "paused" or self._asks(row) for row in busy)
        return at_rest and not await self._engine.log.due(self._engine.clock.now(), 1)

    def _asks(self, row: RunRow) -> bool:
        """Whether the run stands still until a person has raised a limit or refused, and somebody waits for that."""
        lane = self._engine.loaded(row.id)
        return row.head.status == "waiting" and lane is not None and self.listens(lane.run)


class _Watcher:
    """A reader of one run. Between two commits the run holds what is decided and not durable: nobody is shown that, so
    a view is made when there is nothing of the kind, or at the moment of the next commit."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.changed = True
        self.wanted = False
        """A view is to be made at the next commit."""
        self.view: RunView | None = None
        """It was, and waits to be shown."""
        self.last: RunView | None = None

    @property
    def has_news(self) -> bool:
        return self.changed or self.view is not None

    async def sleep(self) -> None:
        """Return when there may be something new, of the run or of what streams."""
        if not self.has_news:
            await self.wake.wait()
        self.wake.clear()
