"""The streamed text of one activity, from wherever a reader stands, and then how the activity ended.

`engine.streams` tells what is streamed, place by place. What a door needs besides is the end of the whole: when nothing
more will come, and the outcome, as it is in the log.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from headgate.core.errors import NotFound
from headgate.core.place import Place, key_of_place
from headgate.core.view import output_of, output_versions
from headgate.engine.engine import Engine
from headgate.engine.lane import Lane
from headgate.engine.streams import Following, RunStreams, version_of
from headgate.ports import Chunk, Ended, Position, Restarted, Tokens

__all__ = ["Outcome", "Text", "Texts"]


class Outcome(msgspec.Struct, frozen=True):
    """How an activity, or an item of one, has ended; `status` is its place's. Of one that was never begun, neither
    result nor error is given."""

    status: str
    result: Any = None
    error: str = ""
    code: str = ""
    at: int = 0


class Texts:
    """One per engine."""

    def __init__(self, engine: Engine, streams: RunStreams) -> None:
        self._engine = engine
        self._streams = streams
        self._watchers: Counter[tuple[str, str]] = Counter()

    async def open(self, run: str, wanted: str, resume: Sequence[Position] = ()) -> Text:
        """Begin to read the text of an activity (`key`, `key[3]`, `key@2`), behind the given positions.

        Raises `NotFound` for an activity that the run does not have, `Invalid` for a position beyond its text.
        """
        lane = await self.require(run, wanted)
        wake = asyncio.Event()
        following = await self._streams.follow(run, place=wanted, resume=resume, wake=wake)
        return Text(self._engine, following, lane, wanted, wake, {position.place for position in resume})

    async def require(self, run: str, wanted: str) -> Lane:
        """Return the run, if it has such an activity. Raises `NotFound`."""
        lane = await self._engine.lane(run)
        place = lane.run.owner_of(wanted)
        if place is None:
            raise NotFound(f"Run {run} has no activity {wanted!r}.")
        if "[" in wanted and not _may_be(wanted, place):
            raise NotFound(f"The activity {place.planned.key!r} of run {run} has no item {wanted!r}.")
        return lane

    # --- Who watches -------------------------------------------------------------------------------------------------

    def enter(self, run: str, wanted: str) -> None:
        """Count one more who watches."""
        self._watchers[run, key_of_place(wanted)] += 1

    def leave(self, run: str, wanted: str) -> None:
        key = run, key_of_place(wanted)
        self._watchers[key] -= 1
        if self._watchers[key] <= 0:
            del self._watchers[key]

    def watching(self, run: str, wanted: str) -> int:
        """Return how many watch the activity, over whatever door of this process."""
        return self._watchers[run, key_of_place(wanted)]


def _may_be(wanted: str, place: Place) -> bool:
    """Whether an activity has this item, or may come to have it: how many there are is known when it begins."""
    number = wanted.partition("[")[2].partition("]")[0]
    if place.planned.for_each is None or not number.isdecimal():
        return False
    return place.fan is None or int(number) < place.fan.count


class Text:
    """One reading: `earlier`, then `ready` as often as there is news, until it is `over`; then the `outcome`."""

    def __init__(
        self, engine: Engine, following: Following, lane: Lane, wanted: str, wake: asyncio.Event, resumed: set[str]
    ) -> None:
        self._engine = engine
        self._lane = lane
        self._following = following
        self._run = lane.run.id
        self._wanted = wanted
        self._resumed = resumed
        self.wake = wake
        """Set when there may be news; whoever waits for it clears it before reading what is ready."""
        self.over = False
        self._last_status = ""
        self.close = following.close

    async def earlier(self) -> AsyncIterator[Chunk]:
        """Yield what is to be told of the places that had ended when this began."""
        async for chunk in self._following.earlier():
            for told in self._restarted(chunk):
                yield told
        async for chunk in self.ready():
            yield chunk
        self.over = self.over or self._following.done

    async def ready(self) -> AsyncIterator[Chunk]:
        """Yield all that can be told now. Where there is nothing, the loop does not turn."""
        while not self.over and (chunk := self._following.take()) is not None:
            if isinstance(chunk, Ended) and not chunk.offset:
                async for part in self._following.instead(chunk):
                    for told in self._restarted(part):
                        yield told
            else:
                for told in self._restarted(chunk):
                    yield told
            if isinstance(chunk, Ended) and chunk.place == self._wanted:
                self._last_status = chunk.status
                self.over = not self._goes_on()
        self.over = self.over or self._following.over

    def _restarted(self, chunk: Chunk) -> Sequence[Chunk]:
        """A reader that resumes and does not say where it is in a place has that one from its beginning."""
        if not self._resumed or chunk.place in self._resumed:
            return (chunk,)
        self._resumed.add(chunk.place)
        if not isinstance(chunk, Tokens):
            return (chunk,)
        return (Restarted(chunk.place, chunk.epoch, chunk.attempt, chunk.origin), chunk)

    def _goes_on(self) -> bool:
        """Whether the activity is in a loop: then an end of it is not the last."""
        owner = self._owner
        return bool(owner.planned.loops) and self._wanted == owner.planned.key

    @property
    def _owner(self) -> Place:
        lane = self._engine.loaded(self._run) or self._lane
        owner = lane.run.owner_of(self._wanted)
        assert owner is not None
        return owner

    async def outcome(self) -> Outcome:
        """Return how it has ended; called when it is over."""
        lane = await self._engine.lane(self._run)
        owner = lane.run.owner_of(self._wanted)
        assert owner is not None
        if self._wanted == owner.planned.key:
            values = await self._engine.load_values(lane.row.key, output_versions(owner))
            return Outcome(owner.status, output_of(owner, values), owner.error, owner.code, owner.ended_at)
        version = version_of(owner, self._wanted)
        values = await self._engine.load_values(lane.row.key, {version} if version else set())
        status = "completed" if version else self._last_status or owner.status
        return Outcome(status, values.get(version), "" if version else owner.error, owner.code, owner.ended_at)
