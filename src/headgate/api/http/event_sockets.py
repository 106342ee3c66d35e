"""Events over a WebSocket: of a run from its beginning or from where a client was, of all runs from now on.

Each event has an `id`; `from_event_id` goes on behind it, with no gap and no repeat. A client that reads what lies
behind reads at its own pace; once it has come up with the others it is told what they are told.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Protocol

import msgspec

from headgate.api.feed import Feed, FeedPage, event_id
from headgate.api.http.query import whole_number
from headgate.api.http.route import Call
from headgate.api.http.socket import text_frame
from headgate.api.http.socket_route import OpenSocket, SocketRoute, Tell
from headgate.api.http.wire import rfc3339
from headgate.api.hub import Hub, Topic
from headgate.core.codec import TYPE_NAMES
from headgate.core.errors import Invalid
from headgate.ports import EventView

__all__ = ["SOCKETS"]

RUNS_MAX = 100
"""Runs that one connection names; without any it follows all."""
CONTENT_BYTES_MAX = 256 * 1024
"""A larger content is named by where it is."""
PAGE_EVENTS = 200
TYPES = frozenset(TYPE_NAMES.values())
ALSO_CALLED = {
    "workflow_created": "run_started",
    "workflow_completed": "run_completed",
    "workflow_failed": "run_failed",
    "activity_signaled": "signal_delivered",
}
"""What clients written for Kruxia Flow call them."""

CAPITAL = re.compile(r"(?<=.)([A-Z])")

_encoder = msgspec.json.Encoder()

Page = tuple[int, list[tuple[int, bytes]]]
"""How far was read, and the frames, each with its number."""


class EventQuery(msgspec.Struct, frozen=True):
    """`workflow_id` and `event_type` are one or several, with commas between; without: of all runs, of all types."""

    workflow_id: str = ""
    event_type: str = ""
    from_event_id: str = ""


class EventFrame(msgspec.Struct, frozen=True, tag="event"):
    """`content` is what the event carries: an input, an output; `iteration` null: of the first one."""

    id: str
    workflow_id: str
    event_type: str
    activity_key: str | None
    payload: dict[str, Any]
    timestamp: str | None
    iteration: int | None
    place: str
    attempt: int
    content: Any


async def watch_events(call: Call[EventQuery, None]) -> Tell:
    """Tell the events of a run, of several, or of all, as they get durable"""
    query = call.query
    types = _types(query.event_type)
    names = [name for name in query.workflow_id.split(",") if name]
    if len(names) > RUNS_MAX:
        raise Invalid(f"expected at most {RUNS_MAX} runs, got {len(names)}")
    runs = [await call.records.run_id(name) for name in names]
    source: _Source = _OfRun(call, runs[0], types) if len(runs) == 1 else _OfFeed(call, frozenset(runs), types)
    return partial(_tell, call.doors.hub, source, await source.position_of(query.from_event_id))


def _types(text: str) -> frozenset[str]:
    """Return the types that are meant; both `activity_completed` and `ActivityCompleted` are names of one."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    types = {name: CAPITAL.sub(r"_\1", name).lower() for name in names}
    types = {name: ALSO_CALLED.get(type_, type_) for name, type_ in types.items()}
    unknown = [name for name, type_ in types.items() if type_ not in TYPES]
    if unknown:
        raise Invalid(f"There are no events of type {unknown[0]!r}; there are: {', '.join(sorted(TYPES))}.")
    return frozenset(types.values())


async def _tell(hub: Hub, source: _Source, position: int, socket: OpenSocket) -> None:
    """Tell a socket what lies behind `position`, then have the hub tell it the rest."""
    while True:
        reached, frames = await source.page(position)
        await socket.drained()
        for _, frame in frames:
            socket.send(frame)
            await socket.drained()
        idle = reached == position
        position = reached
        topic = hub.find(source.key)
        if topic is None and idle:
            topic = Topic(position)
            hub.begin(source.key, topic, source.pump)
        if topic is not None and topic.position <= position:
            hub.join(source.key, socket, position)
            socket.at_end(partial(hub.leave, source.key, socket))
            return


class _Source(Protocol):
    """Where events come from: some are read, the rest is pumped into a topic."""

    key: Hashable

    async def position_of(self, event: str) -> int: ...

    async def page(self, after: int) -> Page: ...

    async def pump(self, topic: Topic) -> None: ...


class _OfRun:
    """The events of one run; their numbers are their versions."""

    def __init__(self, call: Call[Any, Any], run: str, types: frozenset[str]) -> None:
        self.key: Hashable = ("events", run, types)
        self._events = partial(call.desk.events, run, limit=PAGE_EVENTS)
        self._follow = partial(call.records.follow, run)
        self._run = run
        self._types = types

    async def position_of(self, event: str) -> int:
        run, _, digits = event.rpartition(":")
        if not event:
            return 0
        version = whole_number(digits)
        if run not in ("", self._run) or version is None:
            raise Invalid(f"expected from_event_id to be the id of an event of run {self._run}, got {event!r}")
        return version

    async def page(self, after: int) -> Page:
        return self._page(await self._events(after=after), after)

    async def pump(self, topic: Topic) -> None:
        async with aclosing(self._follow(after=topic.position)) as pages:
            async for events in pages:
                reached, frames = self._page(events, topic.position)
                await topic.tell(frames, reached)

    def _page(self, events: Sequence[EventView], after: int) -> Page:
        frames = [(one.version, _frame(self._run, one)) for one in events if _wanted(one, self._types)]
        return events[-1].version if events else after, frames


class _OfFeed:
    """The events of a tenant's runs, of those that are named or of all; their numbers are their positions."""

    def __init__(self, call: Call[Any, Any], runs: frozenset[str], types: frozenset[str]) -> None:
        tenant = call.caller.tenant
        self.key: Hashable = ("feed", tenant, runs, types)
        self._feed: Feed = call.doors.feed
        self._position_of: Callable[[str], Awaitable[int]] = partial(self._feed.position_of, tenant)
        self._read: Callable[[int], Awaitable[FeedPage]] = partial(self._feed.page, tenant)
        self._follow: Callable[[int], AsyncGenerator[FeedPage]] = partial(self._feed.follow, tenant)
        self._runs = runs
        self._types = types

    async def position_of(self, event: str) -> int:
        return await self._position_of(event) if event else await self._feed.end()

    async def page(self, after: int) -> Page:
        return self._page(await self._read(after))

    async def pump(self, topic: Topic) -> None:
        async with aclosing(self._follow(topic.position)) as pages:
            async for page in pages:
                reached, frames = self._page(page)
                await topic.tell(frames, reached)

    def _page(self, page: FeedPage) -> Page:
        wanted = (one for one in page.events if not self._runs or one.run in self._runs)
        frames = [(one.position, _frame(one.run, one.event)) for one in wanted if _wanted(one.event, self._types)]
        return page.position, frames


def _wanted(event: EventView, types: frozenset[str]) -> bool:
    return not types or event.type in types


def _frame(run: str, event: EventView) -> bytes:
    round_ = event.place.partition("[")[0]
    key, _, iteration = round_.partition("@")
    frame = EventFrame(
        id=event_id(run, event.version),
        workflow_id=run,
        event_type=event.type,
        activity_key=key or None,
        payload=event.fields,
        timestamp=rfc3339(event.at),
        iteration=int(iteration) if iteration.isdecimal() else None,
        place=event.place,
        attempt=event.attempt,
        content=event.content,
    )
    text = _encoder.encode(frame)
    if len(text) > CONTENT_BYTES_MAX:
        ref = {"$ref": f"/api/v1/workflows/{run}/events?after={event.version - 1}&limit=1", "size": len(text)}
        text = _encoder.encode(msgspec.structs.replace(frame, content=ref))
    return text_frame(text)


SOCKETS = (SocketRoute(path="/workflow_events/ws", function=watch_events, query=EventQuery),)
