"""Routes under `/runs`: what `/workflows` shows in dollars and RFC 3339, in Headgate's own types, to the last digit.

Amounts are nano-dollars, times microseconds since 1970. The Python client reads these, so that a run looks the same to
a program wherever its engine is. `/updates` tells what `ports.RunClient.watch` yields, as an event stream.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, cast, get_type_hints

import msgspec

from headgate.api.http.errors import envelope
from headgate.api.http.event_stream import event_stream
from headgate.api.http.query import Count, Limit, Seconds
from headgate.api.http.route import Answer, Call, NoQuery, Route, Streamed
from headgate.api.http.shown_run import ended_within
from headgate.core.errors import HeadgateError, Invalid
from headgate.core.run import RunStatus
from headgate.core.view import RunSummary, RunView
from headgate.ports import EventView, Position, SpendRow, Update

__all__ = ["ROUTES"]

EVENTS_MAX = 10_000

_encoder = msgspec.json.Encoder()


class Listed(msgspec.Struct, frozen=True):
    status: RunStatus | None = None
    workflow: str | None = None
    limit: Limit = 50


class Looked(msgspec.Struct, frozen=True):
    at: int | None = None
    contents: bool = True
    wait: Seconds = 0.0
    """Seconds to wait for the end of the run; the answer comes at once when it has ended."""


class Read(msgspec.Struct, frozen=True):
    after: Count = 0
    limit: int = 1_000
    contents: bool = True


class Watched(msgspec.Struct, frozen=True):
    tokens: bool = False
    place: str = ""
    resume: str = "[]"
    """Positions, as JSON: the `after` of the last that was read of each text."""


class Decided(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    approved: bool
    key: str = ""
    by: str = ""
    comment: str = ""
    data: Any = None


SpendLine = msgspec.defstruct(
    "SpendLine",
    list(get_type_hints(SpendRow).items()),
    frozen=True,
    module=__name__,
    namespace={"__doc__": "A `SpendRow` with its fields by name."},
)


async def list_exact(call: Call[Listed, None]) -> list[RunSummary]:
    """List runs in exact types, newest first"""
    query = call.query
    return await call.desk.runs(status=query.status, workflow=query.workflow, limit=query.limit)


async def get_exact(call: Call[Looked, None]) -> RunView:
    """Show a run in exact types, as it is or as it was after event `at`; with `wait`, when it has ended"""
    query, run = call.query, call.path["id"]
    ended = await ended_within(call, run, query.wait)
    if ended is not None and query.contents:
        return ended
    return await call.desk.show(run, at=query.at, contents=query.contents)


async def get_exact_events(call: Call[Read, None]) -> list[EventView]:
    """Show the log of a run in exact types"""
    query = call.query
    if not 1 <= query.limit <= EVENTS_MAX:
        raise Invalid(f"expected limit to be 1 to {EVENTS_MAX}, got {query.limit}")
    return await call.desk.events(call.path["id"], after=query.after, limit=query.limit, contents=query.contents)


async def get_spend(call: Call[NoQuery, None]) -> list[msgspec.Struct]:
    """Show what a run cost in exact types, row by row"""
    return [SpendLine(*row) for row in await call.desk.spend(call.path["id"])]


async def decide_run(call: Call[NoQuery, Decided]) -> RunView:
    """Decide what a run waits for; `key` names the activity where several wait for a person"""
    body = call.body
    return await call.desk.decide(
        call.path["id"],
        key=body.key,
        approved=body.approved,
        by=body.by,
        comment=body.comment,
        data=body.data,
        command_id=call.command_id,
    )


async def get_updates(call: Call[Watched, None]) -> Streamed | Answer:
    """Follow a run to its end as an event stream: each change of it, and with `tokens` what is written meanwhile"""
    query = call.query
    try:
        resume = msgspec.json.decode(query.resume, type=tuple[Position, ...])
    except msgspec.MsgspecError as error:
        raise Invalid(f"expected resume to be positions in JSON: {error}.") from None
    run = await call.records.run_id(call.path["id"])
    updates = call.desk.watch(run, tokens=query.tokens, place=query.place, resume=resume)
    return Streamed(_told(cast("AsyncGenerator[Update]", updates)))


async def _told(updates: AsyncGenerator[Update]) -> AsyncGenerator[bytes]:
    """Yield the updates; a run that cannot be watched any more is an `error` in the stream, which has begun."""
    async with aclosing(event_stream(updates, _frame)) as parts:
        try:
            async for part in parts:
                yield part
        except HeadgateError as error:
            yield b"event: error\ndata: %s\n\n" % _encoder.encode(envelope(error))


def _frame(update: Update) -> bytes:
    return b"data: %s\n\n" % _encoder.encode(update)


ROUTES = (
    Route(method="GET", path="/runs", function=list_exact, query=Listed, answer=list[RunSummary]),
    Route(method="GET", path="/runs/{id}", function=get_exact, query=Looked, answer=RunView, refusals=(404,)),
    Route(
        method="GET",
        path="/runs/{id}/events",
        function=get_exact_events,
        query=Read,
        answer=list[EventView],
        refusals=(404,),
    ),
    Route(method="GET", path="/runs/{id}/spend", function=get_spend, answer=list[SpendLine], refusals=(404,)),
    Route(
        method="GET",
        path="/runs/{id}/updates",
        function=get_updates,
        query=Watched,
        answer=str,
        streams=True,
        refusals=(404,),
    ),
    Route(
        method="POST",
        path="/runs/{id}/decide",
        function=decide_run,
        body=Decided,
        answer=RunView,
        scope="runs:write",
        refusals=(404, 409),
    ),
)
