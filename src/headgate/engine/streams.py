"""What the log decides of streams: where a text ends, and what is read of it afterwards.

`ports.Streams` has the texts that are under way. When an outcome is in the log, the place's text ends, and whoever
comes later is served from the result; when another attempt is scheduled, what the last one said is void. A reader that
comes back to a place that has ended goes on where it was if the result is the very text that was streamed, byte for
byte, and otherwise begins again, and is told so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from headgate.core import events as e
from headgate.core.decision import Decision
from headgate.core.errors import HeadgateError
from headgate.core.fold_items import ITEM_STATUS
from headgate.core.place import Place
from headgate.core.plan import Planned
from headgate.core.run import Run
from headgate.engine.engine import Engine
from headgate.engine.lane import Lane
from headgate.ports import (
    RESULT,
    Chunk,
    Ended,
    Final,
    Gap,
    Position,
    Restarted,
    Streams,
    Subscription,
    Tokens,
    digest_of,
    pieces,
    wants,
)

__all__ = ["NOTHING", "EndedPlace", "Following", "RunStreams", "chunks_of", "ended_places", "has_ended", "version_of"]

OUTCOMES: dict[type[e.Event], str] = {
    e.ActivityCompleted: "completed",
    e.ActivityFailed: "failed",
    e.ActivityCancelled: "cancelled",
}
ITEM_STATUSES = ("", *ITEM_STATUS)

Load = Callable[[int], Awaitable[Any]]
"""Gives the content of an event by its version; None where there is none any more."""


class EndedPlace(msgspec.Struct, frozen=True):
    """A place that has its outcome. `version` is that of the event which holds its output; 0: none does."""

    place: str
    attempt: int
    status: str
    version: int


class RunStreams:
    """The streams of an engine's runs, each to its end, whether that is yet to come or long over."""

    def __init__(self, engine: Engine, streams: Streams) -> None:
        self._engine = engine
        self._streams = streams
        self._next_commit: dict[str, list[Callable[[Lane], None]]] = {}
        """What readers do at the next commit of a run."""
        engine.listen(self._committed)
        engine.news.follow(self._committed, lambda: self._next_commit)

    def _committed(self, lane: Lane, decisions: Sequence[Decision]) -> None:
        run = lane.run
        for decision in decisions:
            for event in decision.events:
                status = OUTCOMES.get(type(event))
                if status is not None and _may_stream(run, event.place):
                    self._streams.finish(run.id, event.place, event.attempt, status)
                elif type(event) is e.RetryScheduled:
                    self._streams.restart(run.id, event.place, event.attempt + 1)
        if run.finished:
            self._streams.end(run.id, run.status)
        for begin in self._next_commit.pop(run.id, ()):
            begin(lane)

    async def follow(
        self, run_id: str, *, place: str = "", resume: Sequence[Position] = (), wake: asyncio.Event
    ) -> Following:
        """Return what streams of the run, as `ports.Client.watch` has it.

        It begins at a moment at which all of the run is durable: at once, or at the next commit. So a place is among
        those that had ended by then, or its end is told to the reader, never both.
        """

        def begin(lane: Lane) -> Following:
            ended = list(ended_places(lane.run, place))
            reader = self._streams.subscribe(run_id, place=place, resume=resume, wake=wake)
            if lane.run.finished:
                reader.close()
            return Following(self._engine, self._streams, lane, reader, ended, resume, done=has_ended(lane.run, place))

        lane = await self._engine.lane(run_id)
        if lane.durable:
            return begin(lane)
        begun: asyncio.Future[Following] = self._engine.loop.create_future()

        def begin_now(lane: Lane) -> None:
            if not begun.done():
                try:
                    begun.set_result(begin(lane))
                except HeadgateError as error:
                    begun.set_exception(error)

        self._next_commit.setdefault(run_id, []).append(begin_now)
        return await begun


class Following:
    """One reading of a run's texts: first `earlier`, then whatever `take` gives, until it is `over`."""

    def __init__(
        self,
        engine: Engine,
        streams: Streams,
        lane: Lane,
        reader: Subscription,
        ended: Sequence[EndedPlace],
        resume: Sequence[Position],
        *,
        done: bool,
    ) -> None:
        self.done = done
        """What is followed had its outcome when this began."""
        self._engine = engine
        self._streams = streams
        self._lane = lane
        self._reader = reader
        self._ended = ended
        self._positions = {position.place: position for position in resume}
        self.take = reader.take
        """Return the next chunk, None where there is none now. An `Ended` of no bytes is for `instead`."""
        self.close = reader.close

    @property
    def over(self) -> bool:
        """The run has ended: what `take` still gives is all."""
        return self._reader.over

    async def earlier(self) -> AsyncIterator[Chunk]:
        """Yield what is to be told of the places that had ended when it was begun."""
        for one in self._ended:
            final = self._streams.final(self._lane.run.id, one.place)
            async for chunk in chunks_of(one, self._load, self._positions.get(one.place), final):
                yield chunk

    async def instead(self, end: Ended) -> AsyncIterator[Chunk]:
        """Yield the result of a place that has ended without having streamed any of it, then its end; nothing of one
        that does not stream."""
        run = (self._engine.loaded(self._lane.run.id) or self._lane).run
        owner = run.owner_of(end.place)
        if owner is None or not _streams(owner.planned):
            return
        version = version_of(owner, end.place) if end.status == "completed" else 0
        data = _text_of(await self._load(version)).encode("utf-8", "replace") if version else b""
        for offset, part in pieces(data, 0, end.place):
            yield Tokens(end.place, end.epoch, offset, part, end.attempt, end.origin)
        yield msgspec.structs.replace(end, offset=len(data))

    async def _load(self, version: int) -> Any:
        return (await self._engine.load_values(self._lane.row.key, {version})).get(version)


def version_of(owner: Place, path: str) -> int:
    """Return the version of the output of an activity in this round, or of one of its items; 0: of another round."""
    if owner.path == path:
        return owner.ref
    item = path.removeprefix(f"{owner.path}[").removesuffix("]")
    return owner.fan.refs[int(item)] if owner.fan is not None and item.isdigit() else 0


class _Nothing:
    """A reading of no texts."""

    over = True

    async def earlier(self) -> AsyncIterator[Chunk]:
        return
        yield  # which makes it a generator

    def take(self) -> Chunk | None:
        return None

    async def instead(self, end: Ended) -> AsyncIterator[Chunk]:
        yield end

    def close(self) -> None:
        """There is nothing to close."""


NOTHING = _Nothing()


# --- From results --------------------------------------------------------------------------------------------------


def ended_places(run: Run, wanted: str = "") -> Iterator[EndedPlace]:
    """Yield the places of activities that stream which have an outcome in the run's present rounds."""
    for place in run.places:
        if not _streams(place.planned):
            continue
        if place.fan is not None:
            for item, status in enumerate(place.fan.statuses):
                path = f"{place.path}[{item}]"
                if status and wants(wanted, path):
                    attempt = place.fan.attempts.get(item, 0)
                    yield EndedPlace(path, attempt, ITEM_STATUSES[status], place.fan.refs[item])
        elif place.ended and place.attempt and place.status != "skipped" and wants(wanted, place.path):
            version = place.ref if place.status == "completed" else 0
            yield EndedPlace(place.path, place.attempt, place.status, version)


def has_ended(run: Run, wanted: str = "") -> bool:
    """Return whether nothing more is to come of the activity, of one of its items or rounds; "": of the run."""
    owner = run.owner_of(wanted)
    if run.finished or owner is None:
        return run.finished
    if wanted == owner.planned.key:
        return owner.ended and not owner.planned.loops
    round_, _, item = wanted.removesuffix("]").partition("[")
    if round_ != owner.path or not item.isdecimal():
        return round_ != owner.path or owner.ended
    return owner.ended or (owner.fan is not None and any(owner.fan.statuses[int(item) : int(item) + 1]))


async def chunks_of(
    ended: EndedPlace, load: Load, position: Position | None = None, final: Final | None = None
) -> AsyncIterator[Chunk]:
    """Yield what a reader at `position` has to be told of a place that has ended: its text, and that it has ended.

    `final` says how its text was streamed, where that is known.
    """
    data = _text_of(await load(ended.version)).encode("utf-8", "replace") if ended.version else b""
    place, attempt = ended.place, ended.attempt
    epoch, counted_by, length = max(attempt, 1), RESULT, len(data)
    if final is not None and not _is_at(position, epoch, RESULT):
        if ended.status != "completed":
            epoch, counted_by, length = final.epoch, final.origin, final.length
        elif (final.length, final.digest) == (len(data), digest_of(data)):
            epoch, counted_by = final.epoch, final.origin
    offset = 0
    if position is not None and _is_at(position, epoch, counted_by) and position.offset <= length:
        offset = position.offset
    elif position is not None:
        yield Restarted(place, epoch, attempt, counted_by)
    if ended.status != "completed" and position is not None and offset < length:
        yield Gap(place, epoch, offset, length, attempt, counted_by)
    elif ended.status == "completed":
        for begin, text in pieces(data, offset, place):
            yield Tokens(place, epoch, begin, text, attempt, counted_by)
    yield Ended(place, epoch, length, ended.status, attempt, counted_by)


def _is_at(position: Position | None, epoch: int, origin: str) -> bool:
    return position is not None and (position.epoch, position.origin) == (epoch, origin)


def _may_stream(run: Run, path: str) -> bool:
    """Return whether the place may have streamed: of activities that we do not know nobody has to say so before."""
    owner = run.owner_of(path)
    return owner is not None and (owner.planned.builtin is None or _streams(owner.planned))


def _streams(planned: Planned) -> bool:
    """Return whether the output of the activity is a text that may stream."""
    return planned.activity.streaming or planned.activity.name == "llm_prompt"


def _text_of(output: Any) -> str:
    """Return the text of an output that streams: it is one, or its `content` is."""
    if isinstance(output, Mapping):
        output = output.get("content")
    return output if isinstance(output, str) else ""
