"""HTTP/1.1 as uvicorn speaks it, with bounds on what a connection may send before anybody has looked at it.

uvicorn's quick parser keeps whatever comes as a header, for as long as it comes. Here the head of a request has a size
and a time, and a whole message a size: a flood is cut off (431), a trickle too, and neither costs more than its bytes.
An answer's head and body, which uvicorn writes one after the other, leave together: whoever waits wakes once. And an
application that has the whole of a small answer may hand it over in one call (`Whole`, an extension of ASGI), for a
third of what two messages cost.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, cast

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from headgate.api.http.application import BODY_BYTES_MAX
from headgate.api.http.errors import ErrorBody, ErrorEnvelope
from headgate.api.http.exchange import WHOLE, Scope
from headgate.api.http.request_ids import request_ids

__all__ = ["BoundedProtocol"]

HEAD_BYTES_MAX = (64 + 256) * 1024
"""A head of 64 KiB is always taken: with it may be counted what came before it in the same read, of 256 KiB at most."""
HEAD_SECONDS_MAX = 30
MESSAGE_BYTES_MAX = 2 * BODY_BYTES_MAX
"""On the wire, with chunk sizes and trailers."""

TOGETHER_BYTES_MAX = 64 * 1024
"""Of one answer; what is longer goes out as it is written."""

UNREADABLE = ErrorBody("BAD_REQUEST", "This is no request in HTTP/1.1 as RFC 9112 has it.")
TOO_LONG = ErrorBody("PAYLOAD_TOO_LARGE", "The head of the request is longer than is taken.")


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    _in_head = True
    _bytes = 0
    _head_due: asyncio.TimerHandle | None = None
    _default_head: ClassVar[tuple[Any, bytes]] = (None, b"")
    """The headers that the server adds to each answer, a new list each second, and how they are sent."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(cast("Any", _Together(transport, self.loop)))
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._bytes += len(data)
        if self._in_head:
            if self._bytes > HEAD_BYTES_MAX:
                self._refuse("431 Request Header Fields Too Large", TOO_LONG)
            elif self._head_due is None:
                self._await_head()
        elif self._bytes > MESSAGE_BYTES_MAX:
            self.transport.close()

    def on_response_complete(self) -> None:
        cast("_Together", self.transport).send()
        super().on_response_complete()

    def handle_websocket_upgrade(self) -> None:
        self.transport = cast("_Together", self.transport).bare()
        super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        self._in_head, self._bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_came()
        super().on_headers_complete()
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is not None and cycle.scope is self.scope:
            cast("Scope", self.scope)["extensions"] = {WHOLE: _Whole(self, cycle)}

    def servers_head(self) -> bytes:
        """Return the lines that the server adds to each answer."""
        headers, head = BoundedProtocol._default_head
        if headers is not self.server_state.default_headers:
            headers = self.server_state.default_headers
            head = b"".join(b"%s: %s\r\n" % header for header in headers)
            BoundedProtocol._default_head = headers, head
        return head

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request; called by uvicorn, whose own words are plain text."""
        self._refuse("400 Bad Request", UNREADABLE)

    def _refuse(self, status: str, error: ErrorBody) -> None:
        if not self.transport.is_closing():
            self.transport.write(_last_answer(status, error))
            self.transport.close()

    def _await_head(self) -> None:
        self._head_due = self.loop.call_later(HEAD_SECONDS_MAX, self._head_is_late)

    def _head_came(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

    def _head_is_late(self) -> None:
        self._head_due = None
        self.transport.close()


def _last_answer(status: str, error: ErrorBody) -> bytes:
    """Return an answer, with the ids that each has, before the connection is closed."""
    data = msgspec.json.encode(ErrorEnvelope(error))
    ids = "".join(f"{name}: {value}\r\n" for name, value in request_ids({}).headers)
    head = (
        f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n"
        f"{ids}connection: close\r\n\r\n"
    )
    return head.encode() + data


class _Whole:
    """A request and its answer, each as a whole (`exchange.Whole`)."""

    __slots__ = ("_cycle", "_protocol")

    def __init__(self, protocol: BoundedProtocol, cycle: RequestResponseCycle) -> None:
        self._protocol = protocol
        self._cycle = cycle

    def take_body(self) -> bytes | None:
        cycle = self._cycle
        if cycle.more_body:
            return None
        body, cycle.body = bytes(cycle.body), bytearray()
        return body

    def answer(self, status: int, head: bytes, body: bytes) -> bool:
        """Do the same as two messages to uvicorn's `RequestResponseCycle.send`."""
        cycle, protocol = self._cycle, self._protocol
        if cycle.response_started or protocol.flow.write_paused or len(body) > TOGETHER_BYTES_MAX:
            return False
        del cast("Scope", cycle.scope)["extensions"]  # this, which holds the cycle: it goes when its last user does
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        if not cycle.disconnected:
            end = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
            data = b"".join((STATUS_LINE[status], protocol.servers_head(), head, end, body))
            cast("_Together", protocol.transport).send_whole(data)
            cycle.message_event.set()
            if not cycle.keep_alive:
                protocol.transport.close()
            cycle.on_response()
        return True


class _Together:
    """A transport that sends what is written when the answer is complete, or in the loop's next turn: in one piece."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self.is_closing = transport.is_closing  # asked at each answer
        self._loop = loop
        self._pieces: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        if not self._pieces:
            self._loop.call_soon(self.send)
        self._pieces.append(data)
        self._size += len(data)
        if self._size > TOGETHER_BYTES_MAX:
            self.send()  # so that the transport says when its reader is slow

    def send_whole(self, data: bytes) -> None:
        """Send this now, after what waits."""
        if self._pieces:
            self.send()
        self._transport.write(data)

    def send(self) -> None:
        """Send what waits."""
        if not self._pieces:
            return
        pieces, size = self._pieces, self._size
        self._pieces, self._size = [], 0
        if len(pieces) > 1 and size <= TOGETHER_BYTES_MAX:
            pieces = [b"".join(pieces)]
        for piece in pieces:  # large ones are not copied
            self._transport.write(piece)

    def close(self) -> None:
        self.send()
        self._transport.close()

    def bare(self) -> asyncio.Transport:
        """Return the transport itself, for who goes on with it."""
        self.send()
        return self._transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
