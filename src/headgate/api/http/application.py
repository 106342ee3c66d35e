"""The HTTP door as an ASGI application: each request is checked against its route's types, answered, or refused in one
envelope. It knows no engine and no store: what stands behind it are `Doors`.

The life of a request: it gets an id (its own `X-Request-Id`, or a new one) and a trace id; its route is found; its
query and body are read, within bounds, and made into the route's types; the function answers; what it raises becomes
the envelope. A fault of ours is logged with the request's id and answered as 500, without its text.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from headgate.api.auth.identification import token_in
from headgate.api.caller import ANYBODY, Caller, Identify, TooMany, everybody_at_this_machine
from headgate.api.doors import Doors
from headgate.api.http.addresses import Addresses
from headgate.api.http.errors import ENVELOPED, BadRequest, Fault, NotAllowed, refusal_of
from headgate.api.http.exchange import BODY_SECONDS_MAX, Exchange, Gone, Receive, Scope, Send
from headgate.api.http.query import QueryShape, form_fields
from headgate.api.http.route import BASE, Answer, Call, Chunks, Raw, Route, Streamed
from headgate.api.http.socket import FaultFrame
from headgate.api.http.socket_door import SocketDoor
from headgate.api.http.socket_route import SocketRoute
from headgate.api.http.strangers import refuse_strangers
from headgate.api.kept_answers import Given
from headgate.core.errors import HeadgateError, Invalid, NotFound
from headgate.engine.logs import current_trace

__all__ = ["BASE", "BODY_BYTES_MAX", "HttpApplication"]

BODY_BYTES_MAX = 50 * 1024 * 1024
STREAM_SECONDS = 30.0
"""For so long a stream goes on without a look at whether its reader still may."""
FORM = "application/x-www-form-urlencoded"

logger = logging.getLogger("headgate.http")
_encoder = msgspec.json.Encoder()

NO_MORE = b"event: error\ndata: %s\n\n" % _encoder.encode(
    FaultFrame("unauthorized", "Who opened it may not look any more.")
)
"""The last words of a stream whose reader's token was revoked."""


class HttpApplication:
    """`await application(scope, receive, send)`, as ASGI 3 has it. Lifespan is its server's affair.

    `loopback_only`: there is no login, so a browser must not be talked into asking for a page of another site. A
    request is refused (403) whose `Host` is no name of this machine, or whose `Origin` is not this server itself.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        doors: Doors,
        *,
        loopback_only: bool = False,
        identify: Identify = everybody_at_this_machine,
        sockets: Sequence[SocketRoute] = (),
    ) -> None:
        self.routes = tuple(routes)
        self.sockets = SocketDoor(BASE, sockets, doors, loopback_only=loopback_only, identify=identify)
        self._loopback_only = loopback_only
        self.doors = doors
        self._addresses = Addresses(
            (route.method, route.address, _Endpoint(route, doors, identify)) for route in routes
        )

    def close(self) -> None:
        """Answer everybody whose answer is held back: the server ends."""
        self.doors.patience.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await _refuse_other(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send, self.doors.patience)
        token = current_trace.set(exchange.ids.trace)
        words = ENVELOPED
        try:
            endpoint = self._endpoint(scope)
            words = endpoint.words
            if self._loopback_only:
                refuse_strangers(exchange.headers)
            await endpoint(exchange)
        except Gone:
            return  # whoever asked has gone
        except HeadgateError as error:
            await exchange.refuse(words.of(error))
        except Exception:
            logger.exception("a request failed", extra={"fields": {"request_id": exchange.ids.request}})
            await exchange.refuse(words.of(Fault(f"A fault in Headgate. Its log has more: {exchange.ids.request}.")))
        finally:
            current_trace.reset(token)
            self.doors.metrics.answered(exchange.route, exchange.status)

    def _endpoint(self, scope: Scope) -> _Endpoint:
        method, path = scope["method"], scope["path"].removeprefix(scope.get("root_path", ""))
        found = self._addresses.find(method, path)
        if found is None:
            if allowed := self._addresses.methods(path):
                raise NotAllowed(scope["path"], method, allowed)
            raise NotFound(f"There is no {scope['path']} here; {BASE}/docs lists what there is.")
        endpoint, scope["path_params"] = found
        return endpoint


class _Endpoint:
    """One route: what is read for it, and how it is answered."""

    def __init__(self, route: Route, doors: Doors, identify: Identify) -> None:
        self._route = route
        self._counted_as = f"{route.method} {route.address}"
        self._identify = identify
        self._doors = doors
        self.words = route.words
        self._body = None if route.reads in (None, Raw, Chunks) else msgspec.json.Decoder(route.reads)
        self._query = QueryShape(route.query, open_ended=route.takes_any_query)

    async def __call__(self, exchange: Exchange) -> None:
        route = self._route
        exchange.route = self._counted_as
        caller = ANYBODY
        if route.streams:
            exchange.take_token()
        if route.scope:
            caller = await self._identify(exchange.headers)
            route.admit(caller, exchange.scope["path_params"])
            if wait := await self._doors.quotas.request(caller.tenant, caller.actor):
                message = f"{caller.actor} asks more often than its tenant's clients may; ask again in {wait:.1f} s."
                raise TooMany(message, retry_after_seconds=wait)
        call = Call(
            doors=self._doors,
            path=exchange.scope["path_params"],
            query=self._query.read(exchange.scope["query_string"]),
            body=await self._read(exchange),
            headers=exchange.headers,
            caller=caller,
            held=exchange.held,
            address=(exchange.scope.get("client") or ("",))[0],
            secure=exchange.scope["scheme"] == "https",
            fingerprint=exchange.fingerprint(),
        )
        answer = await (self._ask(call) if route.repeats == "known" or not call.fingerprint else self._once(call))
        if isinstance(answer, Streamed):
            await self._stream(exchange, answer, caller)
        else:
            await exchange.answer(answer.status, _data_of(answer), answer.content_type, answer.headers)

    async def _ask(self, call: Call[Any, Any]) -> Answer | Streamed:
        answer = await self._route.function(call)
        return answer if isinstance(answer, Answer | Streamed) else Answer(answer, self._route.status)

    async def _once(self, call: Call[Any, Any]) -> Answer:
        """Return the answer of what is done now, or was done under the same key."""

        async def ask() -> Given:
            answer = await self._ask(call)
            assert isinstance(answer, Answer), "a stream is no answer to keep"
            return Given(answer.status, _data_of(answer))

        given = await self._doors.kept_answers.once(
            call.caller.tenant, call.command_id, call.fingerprint, ask, secret=self._route.repeats == "sealed"
        )
        return Answer(status=given.status, data=given.data)

    async def _stream(self, exchange: Exchange, answer: Streamed, caller: Caller) -> None:
        """Send an answer that may last: where it has no end of its own it counts as a connection, and its reader may be
        somebody who may not look any more."""
        if answer.whole:
            await exchange.stream(answer)
            return
        ended = self._doors.admit_connection(caller)
        try:
            pieces = self._while_they_may(answer.pieces, token_in(exchange.headers)[0])
            await exchange.stream(msgspec.structs.replace(answer, pieces=pieces))
        finally:
            ended()

    async def _while_they_may(self, pieces: AsyncGenerator[bytes], token: str) -> AsyncGenerator[bytes]:
        """Yield the pieces, of which there is one every 30 seconds at least, until the token is revoked."""
        clock = asyncio.get_running_loop().time
        look_at = clock() + STREAM_SECONDS
        async with aclosing(pieces):
            async for piece in pieces:
                if clock() >= look_at:
                    look_at = clock() + STREAM_SECONDS
                    if not await self._still_may(token):
                        yield NO_MORE
                        return
                yield piece

    async def _still_may(self, token: str) -> bool:
        try:
            return await self._doors.still_may(token)
        except HeadgateError:
            return True  # nobody can say now: asked again later

    async def _read(self, exchange: Exchange) -> Any:
        if self._route.reads is None:
            return None
        if (coding := exchange.headers.get("content-encoding", "identity")) != "identity":
            raise BadRequest(f"A compressed body (Content-Encoding: {coding}) is not taken; send it as it is.")
        content_type = exchange.headers.get("content-type", "")
        if self._route.body is Chunks:
            return Chunks(exchange.chunks(self._route.body_bytes_max or BODY_BYTES_MAX), content_type)
        try:
            data = await exchange.body(self._route.body_bytes_max or BODY_BYTES_MAX)
        except TimeoutError:
            raise BadRequest(f"The body has not come within {BODY_SECONDS_MAX} seconds.") from None
        if self._body is None:
            return Raw(data, content_type)
        try:
            if self._route.takes_form and exchange.headers.get("content-type", "").startswith(FORM):
                return msgspec.convert(form_fields(data), self._route.body, strict=False)
            return self._body.decode(data or b"{}")
        except msgspec.ValidationError as error:
            raise _invalid_body(error) from None
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise BadRequest(f"The body is not JSON: {error}.") from None


def _data_of(answer: Answer) -> bytes:
    return _encoder.encode(answer.value) if answer.data is None else answer.data


def _invalid_body(error: msgspec.ValidationError) -> Invalid:
    from headgate.core.errors import Problem

    text = str(error)
    message, _, path = text.partition(" - at `")
    return Invalid(f"The body is not right: {text}.", (Problem(message, path=path.rstrip("`") or "$"),))


async def _refuse_other(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a WebSocket that another server than ours brings: it does not let us at its connections."""
    if scope["type"] != "websocket":
        return
    await receive()
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    status, body, _ = refusal_of(NotFound(f"There is no WebSocket at {scope['path']} of this server."))
    headers = [(b"content-type", b"application/json")]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": _encoder.encode(body)})
