"""What workers say of the texts that they make: a piece of one, that it is whole, that it is void."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec

from headgate.api.http.route import Call, NoQuery, Route
from headgate.api.http.workers import Recorded, activity_id, of_activity
from headgate.engine.worker_calls import split_activity_id

__all__ = ["ROUTES"]


Offset = Annotated[int, msgspec.Meta(ge=0)]


class TokenBody(msgspec.Struct, frozen=True):
    """A piece of the text, as `text` or `token`. `offset`: how many bytes were streamed of this attempt before it, a
    restart counting as one; so a piece that comes again is known, and a text that lacks one is not told as whole."""

    text: str = ""
    token: str = ""
    offset: Offset | None = None


class RestartBody(msgspec.Struct, frozen=True):
    """`offset`: how many bytes were streamed of this attempt before, earlier restarts counting as one each."""

    offset: Offset | None = None


class Published(msgspec.Struct, frozen=True):
    acknowledged: bool
    warnings: list[str]
    subscribers: int


class Subscribers(msgspec.Struct, frozen=True):
    count: int


class TextComplete(msgspec.Struct, frozen=True):
    result: Any = None


class TextError(msgspec.Struct, frozen=True):
    error: str = ""


async def stream_token(call: Call[NoQuery, TokenBody]) -> Published:
    """Pass on a piece of the output as it is made"""
    task = await activity_id(call)
    call.workers.stream(task, call.body.text or call.body.token, call.body.offset)
    await asyncio.sleep(0)  # a worker that never pauses must not keep the loop from those who read
    return Published(acknowledged=True, warnings=[], subscribers=_watching(call, task))


async def end_text(call: Call[NoQuery, TextComplete]) -> Recorded:
    """Say that the text is whole; its readers are told the result when it is reported, and in the log"""
    await call.workers.heartbeat(await activity_id(call), worker_id="")
    return Recorded(acknowledged=True, warnings=[])


async def void_text(call: Call[NoQuery, TextError]) -> Recorded:
    """Say that what was streamed of this attempt is void: its readers are told to begin again"""
    task = await activity_id(call)
    await call.workers.heartbeat(task, worker_id="")
    call.workers.restart_stream(task)
    return Recorded(acknowledged=True, warnings=[])


async def restart_stream(call: Call[NoQuery, RestartBody]) -> Recorded:
    """Take back what was passed on of this attempt: its text begins again"""
    call.workers.restart_stream(await activity_id(call), call.body.offset)
    return Recorded(acknowledged=True, warnings=[])


async def count_subscribers(call: Call[NoQuery, None]) -> Subscribers:
    """Say how many watch the text, so that nobody streams to nobody"""
    task = await activity_id(call)
    await call.records.run_id(split_activity_id(task)[0])
    return Subscribers(_watching(call, task))


def _watching(call: Call[Any, Any], task: str) -> int:
    run, place, _ = split_activity_id(task)
    return call.doors.texts.watching(run, place)


ROUTES = (
    of_activity("ws/token", stream_token, TokenBody, Published),
    of_activity("ws/complete", end_text, TextComplete, Recorded),
    of_activity("ws/error", void_text, TextError, Recorded),
    of_activity("ws/restart", restart_stream, RestartBody, Recorded),
    Route(
        method="GET",
        path="/activities/{activity}/ws/subscribers",
        function=count_subscribers,
        answer=Subscribers,
        scope="workers",
        refusals=(404,),
    ),
)
