"""One WebSocket connection: bytes in, frames out. It knows no route, and nothing of what is told through it.

uvicorn hands the connection over when it has read a request for a WebSocket. The handshake is made, and frames are
read, by the `websockets` package without its own I/O. What is sent is a frame already (`text_frame`): a server's frames
are not masked, so one that was made once goes into every connection as it is.

Nothing runs for a connection that is merely open: no task, no queue, no timer. What waits for a reader lies in the
transport's buffer, and that is bounded: who is too far behind is told so (4002), may come back, and goes on from there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, cast

import msgspec
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State

from headgate.api.http.errors import Fault, refusal_of
from headgate.api.http.handshake import Handshake
from headgate.core.errors import HeadgateError

if TYPE_CHECKING:
    from headgate.api.http.socket_route import Tell

__all__ = ["GOING_AWAY", "NO_MORE", "TOO_MUCH", "TOO_SLOW", "FaultFrame", "Socket", "SocketGone", "text_frame"]

GOING_AWAY = 1001
TOO_MUCH = 1008
FAULT = 1011
NO_MORE = 4001
TOO_SLOW = 4002

BUFFER_BYTES_MAX = 1024 * 1024
"""What may wait for one reader."""
INBOUND_BYTES_MAX = 4 * 1024
"""Of one message of a client; there is nothing to be said to the server."""
INBOUND_FRAMES_MAX = 100
INBOUND_SECONDS = 10.0
CLOSE_SECONDS = 3.0
"""So long a client has to read the rest and to answer the end of the connection."""

logger = logging.getLogger("headgate.http")


def text_frame(text: bytes) -> bytes:
    """Return a whole text message as a server sends it."""
    return Frame(Opcode.TEXT, text).serialize(mask=False)


class FaultFrame(msgspec.Struct, frozen=True, tag="error"):
    """What is told cannot be told, or not any further; the last frame."""

    code: str
    error: str


class SocketGone(Exception):
    """The connection has ended."""


class Door(Protocol):
    """Who decides about a connection."""

    async def open(self, socket: Socket, target: str, headers: dict[str, str]) -> Tell:
        """Return what is told. Raises what refuses the handshake."""
        ...

    def enter(self, socket: Socket) -> None: ...

    def leave(self, socket: Socket) -> None: ...


class Socket(asyncio.Protocol):
    """`OpenSocket` over a transport; made by uvicorn, with its own words for things."""

    __slots__ = (
        *("_at_end", "_closer", "_door", "_frames", "_loop", "_opening", "_paused", "_protocol"),
        *("_server", "_since", "_stalled", "_state", "_transport", "_waiting", "heard"),
    )

    def __init__(self, door: Door, *, config: Any, server_state: Any, app_state: Any) -> None:
        self._door = door
        self._server = server_state
        self._loop = asyncio.get_running_loop()
        self._protocol = Handshake(max_size=INBOUND_BYTES_MAX, logger=logger)
        self._transport: asyncio.Transport
        self._state: str = "opening"
        self._opening: asyncio.Task[None] | None = None
        self._closer: asyncio.TimerHandle | None = None
        self._at_end: list[Callable[[], None]] = []
        self._waiting: asyncio.Future[None] | None = None
        self._paused = False
        self._stalled = False
        self._frames = 0
        self._since = self._loop.time()
        self.heard = True
        """Something has come from the client since the last beat."""

    # --- Of the transport ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self._state = "closed"
        if self._closer is not None:
            self._closer.cancel()
        self._end()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = self._stalled = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def data_received(self, data: bytes) -> None:
        if self._state == "flooded":
            return
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._begin(event)
            elif isinstance(event, Frame):
                self._count_frame()
        self._flush()

    def _flush(self) -> None:
        """Send what the protocol has to say by itself: the handshake, pongs, ends. Nothing at all: it is done."""
        for part in self._protocol.data_to_send():
            if part:
                self._transport.write(part)
            else:
                self._finish()

    def _finish(self) -> None:
        """Both sides have said that this is the end: close, when what was sent is read, or after some seconds."""
        self._state = "closing"
        self._transport.close()
        if self._closer is None:
            self._closer = self._loop.call_later(CLOSE_SECONDS, self._transport.abort)
        self._end()

    def _count_frame(self) -> None:
        self.heard = True
        now = self._loop.time()
        if now - self._since > INBOUND_SECONDS:
            self._since, self._frames = now, 0
        self._frames += 1
        if self._frames > INBOUND_FRAMES_MAX and self._state == "open":
            self.close(TOO_MUCH, f"more than {INBOUND_FRAMES_MAX} frames in {INBOUND_SECONDS:g} s")
            self._state = "flooded"

    # --- The handshake ------------------------------------------------------------------------------------------------

    def _begin(self, request: Request) -> None:
        response = self._protocol.accept(request)
        if response.status_code != 101:
            self._refuse(response)
            return
        self._opening = self._loop.create_task(self._open(request, response), name="headgate-socket")
        self._server.tasks.add(self._opening)
        self._opening.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._server.tasks.discard(task)
        self._opening = None

    async def _open(self, request: Request, response: Response) -> None:
        try:
            tell = await self._door.open(self, request.path, self._protocol.asked)
        except HeadgateError as error:
            self._refuse_for(error)
            return
        except Exception:
            known_by = self._protocol.ids.request
            logger.exception("a WebSocket could not be opened", extra={"fields": {"request_id": known_by}})
            self._refuse_for(Fault(f"A fault in Headgate. Its log has more: {known_by}."))
            return
        if self._state != "opening":
            return
        self._protocol.send_response(response)
        self._flush()
        self._state = "open"
        self._door.enter(self)
        await self._tell(tell)

    async def _tell(self, tell: Tell) -> None:
        try:
            await tell(self)
        except SocketGone:
            return
        except HeadgateError as error:
            self.send(text_frame(msgspec.json.encode(FaultFrame(error.code, error.message))))
            self.close(TOO_SLOW if error.code == "reader_too_slow" else FAULT, error.code)
        except Exception:
            logger.exception("what is told over a WebSocket ended with a fault")
            self.close(FAULT, "a fault in Headgate")

    def _refuse_for(self, error: HeadgateError) -> None:
        if self._state == "opening":
            self._refuse(self._protocol.refusal(refusal_of(error)))

    def _refuse(self, response: Response) -> None:
        self._state = "closing"
        self._protocol.send_response(response)
        self._flush()
        self._transport.close()
        self._end()

    # --- What is told -------------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send frames. A reader for whom too much waits is told that it is too slow, and gets nothing more."""
        if self._state != "open":
            return
        self._transport.write(data)
        if self._paused and self._transport.get_write_buffer_size() > BUFFER_BYTES_MAX:
            self.close(TOO_SLOW, "too slow; connect again and go on where you were")

    async def drained(self) -> None:
        if self._paused and self._state == "open":
            self._waiting = self._loop.create_future()
            await self._waiting
        else:
            await asyncio.sleep(0)  # whoever has much to send must not keep the loop from the others
        if self._state != "open":
            raise SocketGone

    def beat(self, ping: bytes) -> None:
        """Send a ping; end a connection that did not move, or was not heard, since the last one."""
        if self._stalled:
            self.close(TOO_SLOW, "nothing was read; connect again and go on where you were")
        elif not self.heard:
            self.close(FAULT, "no pong")
        elif self._state == "open":
            self._stalled, self.heard = self._paused, False
            self.send(ping)

    def close(self, code: int, reason: str = "") -> None:
        """End the connection, when what was sent is read, but at the latest after some seconds."""
        if self._state != "open":
            return
        self._state = "closing"
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
        self._flush()
        self._closer = self._loop.call_later(CLOSE_SECONDS, self._transport.abort)
        self._end()

    def shutdown(self) -> None:
        """The server ends; called by uvicorn."""
        if self._state == "open":
            self.close(GOING_AWAY, "the server ends; connect again")
        elif self._state == "opening":
            self._transport.close()

    def at_end(self, call: Callable[[], None]) -> None:
        if self._state in {"opening", "open"}:
            self._at_end.append(call)
        else:
            call()

    def _end(self) -> None:
        """Nothing more can be sent: let everybody know who has to."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
        self._door.leave(self)
        calls, self._at_end = self._at_end, []
        for call in calls:
            call()
