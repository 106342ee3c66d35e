"""Live answers: a run's events as a list, or as an event stream that follows the run to its end.

An event stream resumes: the id of each event is its version, and `Last-Event-ID` (or `after`) says where to go on, with
no gap and no repeat.
"""

from __future__ import annotations

from typing import Any

import msgspec

from headgate.api.http.event_stream import event_stream
from headgate.api.http.query import Count, whole_number
from headgate.api.http.route import Call, Route, Streamed
from headgate.api.http.wire import rfc3339
from headgate.core.errors import Invalid
from headgate.core.place import key_of_place
from headgate.ports import EventView

__all__ = ["ROUTES"]

LIMIT_MAX = 10_000

_encoder = msgspec.json.Encoder()


class After(msgspec.Struct, frozen=True):
    after: Count = 0
    limit: int = 1_000


class EventAnswer(msgspec.Struct, frozen=True):
    id: int
    workflow_id: str
    event_type: str
    activity_key: str | None
    place: str
    attempt: int
    payload: dict[str, Any]
    content: Any
    timestamp: str | None
    actor: str
    trace_id: str
    hash: str


class EventPage(msgspec.Struct, frozen=True):
    workflow_id: str
    events: list[EventAnswer]
    count: int
    next: int | None


async def get_events(call: Call[After, None]) -> EventPage | Streamed:
    """Show the log of a run; with `Accept: text/event-stream`, follow it to the run's end"""
    run, after = await call.records.run_id(call.path["id"]), _after(call)
    if "text/event-stream" in call.headers.get("accept", ""):
        followed = call.records.follow(run, after=after)
        return Streamed(event_stream(followed, lambda events: b"".join(_frame(run, event) for event in events)))
    limit = call.query.limit
    if not 1 <= limit <= LIMIT_MAX:
        raise Invalid(f"expected limit to be 1 to {LIMIT_MAX}, got {limit}")
    found = await call.desk.events(run, after=after, limit=limit)
    events = [_event(run, event) for event in found]
    return EventPage(run, events, len(events), events[-1].id if len(events) == limit else None)


def _after(call: Call[After, None]) -> int:
    last = call.headers.get("last-event-id") or "0"
    if (version := whole_number(last)) is None:
        raise Invalid(f"expected Last-Event-ID to be the id of an event, got {last!r}")
    return max(version, call.query.after)


def _frame(run: str, event: EventView) -> bytes:
    data = _encoder.encode(_event(run, event))
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.version, event.type.encode(), data)


def _event(run: str, event: EventView) -> EventAnswer:
    return EventAnswer(
        id=event.version,
        workflow_id=run,
        event_type=event.type,
        activity_key=key_of_place(event.place) or None,
        place=event.place,
        attempt=event.attempt,
        payload=event.fields,
        content=event.content,
        timestamp=rfc3339(event.at),
        actor=event.actor,
        trace_id=event.trace_id,
        hash=event.hash,
    )


ROUTES = (
    Route(
        method="GET",
        path="/workflows/{id}/events",
        function=get_events,
        query=After,
        answer=EventPage,
        refusals=(404,),
        streams=True,
    ),
)
