"""Texts of activities while they are made: over a WebSocket, or as an event stream.

Both tell the same frames and resume alike: the `id` of the last frame, of each place where there are several, goes into
`offset` (or `Last-Event-ID`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Hashable
from contextlib import suppress
from functools import partial

import msgspec

from headgate.api.http.event_stream import PING_SECONDS
from headgate.api.http.route import Call, Route, Streamed
from headgate.api.http.socket import FaultFrame, text_frame
from headgate.api.http.socket_route import OpenSocket, SocketRoute, Tell
from headgate.api.http.token_frames import OutcomeFrame, TextFrame, chunk_frame, outcome_frame, positions_of
from headgate.api.http.workers import activity_id
from headgate.api.hub import CLOSED_WHOLE, Hub, Pump, Topic
from headgate.api.texts import Text, Texts
from headgate.core.errors import HeadgateError
from headgate.engine.worker_calls import split_activity_id
from headgate.ports import Position

__all__ = ["ROUTES", "SOCKETS"]

_encoder = msgspec.json.Encoder()


class TextQuery(msgspec.Struct, frozen=True):
    """Where to go on: the `id` of the last frame; of several places, with commas between."""

    offset: str = ""


async def _asked(call: Call[TextQuery, None]) -> tuple[str, str, list[Position]]:
    """Return which run and which activity of it is meant, and where the reader is."""
    resume = positions_of(call.headers.get("last-event-id", "") or call.query.offset)
    if "activity" in call.path:
        run, wanted, _ = split_activity_id(await activity_id(call))
    else:
        run, wanted = call.path["id"], call.path["key"]
    run = await call.records.run_id(run)
    await call.doors.texts.require(run, wanted)
    return run, wanted, resume


async def stream_text(call: Call[TextQuery, None]) -> Streamed:
    """Follow the text of an activity to its end, as an event stream"""
    run, wanted, resume = await _asked(call)
    return Streamed(_followed(call.doors.texts, run, wanted, resume))


async def stream_claimed_text(call: Call[TextQuery, None]) -> Streamed:
    """Follow the text of a task that a worker was given, as an event stream"""
    return await stream_text(call)


async def _followed(texts: Texts, run: str, wanted: str, resume: list[Position]) -> AsyncGenerator[bytes]:
    try:
        text = await texts.open(run, wanted, resume)
    except HeadgateError as error:  # the answer has begun: it says so by itself
        yield _sse(FaultFrame(error.code, error.message))
        return
    texts.enter(run, wanted)
    try:
        async for chunk in text.earlier():
            yield _sse(chunk_frame(chunk))
        while not text.over:
            if not await _news(text):
                yield b": ping\n\n"
                continue
            async for chunk in text.ready():
                yield _sse(chunk_frame(chunk))
        yield _sse(outcome_frame(run, wanted, await text.outcome()))
    finally:
        text.close()
        texts.leave(run, wanted)


async def _news(text: Text) -> bool:
    """Return when there may be more, or, with False, when it is time for a ping."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PING_SECONDS):
            await text.wake.wait()
            text.wake.clear()
            return True
    return False


def _sse(frame: TextFrame | OutcomeFrame | FaultFrame) -> bytes:
    id_ = b"id: %s\n" % frame.id.encode() if isinstance(frame, TextFrame) else b""
    return b"%sevent: %s\ndata: %s\n\n" % (id_, str(frame.__struct_config__.tag).encode(), _encoder.encode(frame))


async def watch_text(call: Call[TextQuery, None]) -> Tell:
    """Tell the text of an activity as it is made, then what the activity came to"""
    run, wanted, resume = await _asked(call)
    return partial(_tell, call.doors.hub, call.doors.texts, run, wanted, resume)


async def _tell(hub: Hub, texts: Texts, run: str, wanted: str, resume: list[Position], socket: OpenSocket) -> None:
    text = await texts.open(run, wanted, resume)
    texts.enter(run, wanted)
    socket.at_end(partial(texts.leave, run, wanted))
    key, kept = ("text", run, wanted), False
    try:
        async for chunk in text.earlier():
            socket.send(_frame(chunk_frame(chunk)))
            await socket.drained()
        kept = await _join(hub, key, text, socket, partial(_pump, run, wanted))
        if text.over and not kept:
            socket.send(_frame(outcome_frame(run, wanted, await text.outcome())))
            socket.close(CLOSED_WHOLE, "this is all")
    finally:
        if not kept:
            text.close()


async def _join(hub: Hub, key: Hashable, text: Text, socket: OpenSocket, pump: Pump) -> bool:
    """Have the socket told what is still to come, if anything is; return whether `text` is read for the topic now."""
    while not text.over and isinstance(topic := hub.find(key), _TextTopic):
        async with topic.lock:
            # When neither reading has anything left, both are at the same place, and nothing has run in between.
            if not await _pass_on(text, socket) and not await topic.say() and hub.find(key) is topic:
                hub.join(key, socket)
                socket.at_end(partial(hub.leave, key, socket))
                return False
    if text.over:
        return False
    hub.begin(key, _TextTopic(text), pump)
    hub.join(key, socket)
    socket.at_end(partial(hub.leave, key, socket))
    return True


async def _pass_on(text: Text, socket: OpenSocket) -> bool:
    passed_on = False
    async for chunk in text.ready():
        socket.send(_frame(chunk_frame(chunk)))
        passed_on = True
    return passed_on


class _TextTopic(Topic):
    """A text that is read once, for all who are at the same place of it."""

    def __init__(self, text: Text) -> None:
        super().__init__(close=text.close)
        self.text = text

    async def say(self) -> bool:
        """Tell all what can be told now; return whether there was anything."""
        said = False
        async for chunk in self.text.ready():
            await self.tell([(1, _frame(chunk_frame(chunk)))], 0)
            said = True
        return said


async def _pump(run: str, wanted: str, topic: Topic) -> None:
    assert isinstance(topic, _TextTopic)
    text = topic.text
    while True:
        text.wake.clear()
        async with topic.lock:
            await topic.say()
        if text.over:
            await topic.tell([(1, _frame(outcome_frame(run, wanted, await text.outcome())))], 0)
            return
        await text.wake.wait()


def _frame(frame: TextFrame | OutcomeFrame) -> bytes:
    return text_frame(_encoder.encode(frame))


ROUTES = tuple(
    Route(method="GET", path=path, function=function, query=TextQuery, streams=True, refusals=(404,))
    for path, function in (
        ("/workflows/{id}/activities/{key}/stream", stream_text),
        ("/activities/{activity}/stream", stream_claimed_text),
    )
)

SOCKETS = (
    SocketRoute(path="/workflows/{id}/activities/{key}/ws", function=watch_text, query=TextQuery),
    SocketRoute(path="/activities/{activity}/ws", function=watch_text, query=TextQuery),
)
