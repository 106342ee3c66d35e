"""One HTTP request and its answer, as ASGI carries them: what it is called, its body within bounds, whoever asked that
goes before the answer, and an answer in one piece or in many."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping, Sequence
from contextlib import aclosing, nullcontext
from typing import Any, Protocol, cast
from urllib.parse import urlencode

import msgspec

from headgate.api.http.errors import BadRequest, Refusal, TooLarge
from headgate.api.http.query import given_fields
from headgate.api.http.request_ids import request_ids
from headgate.api.http.route import Streamed
from headgate.api.patience import Patience

__all__ = [
    "BODY_SECONDS_MAX",
    "SILENCE_SECONDS_MAX",
    "WHOLE",
    "Exchange",
    "Gone",
    "Receive",
    "Scope",
    "Send",
    "Whole",
]

BODY_SECONDS_MAX = 300
SILENCE_SECONDS_MAX = 60
"""Between two pieces of a body that may take as long as it likes."""
KEY_CHARACTERS_MAX = 255
"""Of an `Idempotency-Key`."""

WHOLE = "headgate.whole"
"""The extension of ASGI by which a server says more of a request and takes an answer in one piece: a `Whole`."""

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Whole(Protocol):
    """What a server offers beside the messages of ASGI, which cost more than most requests do."""

    def take_body(self) -> bytes | None:
        """Take the body, once, where the whole of it is here; None: it is not, and the messages of ASGI bring it."""
        ...

    def answer(self, status: int, head: bytes, body: bytes) -> bool:
        """Send a whole answer, whose head's lines stand as they are sent, with the length among them. Return whether it
        was taken: if not, nothing has happened, and the messages of ASGI are for it."""
        ...


class Gone(Exception):
    """Whoever asked has closed the connection."""


class Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, patience: Patience) -> None:
        self.scope = scope
        self._patience = patience
        self._receive = receive
        self._send = send
        self._whole: Whole | None = (scope.get("extensions") or {}).get(WHOLE)
        self._begun = False
        self._content = b""
        self.route = "none"
        self.status = 0
        """Of the answer; 0: whoever asked has gone before there was one."""
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.ids = request_ids(self.headers)

    def take_token(self) -> None:
        """Take the token of whoever cannot set a header (an `EventSource` of a browser) for the one of a header."""
        given = given_fields(self.scope["query_string"])
        if token := given.pop("token", ""):
            self.scope["query_string"] = urlencode(given).encode()
            self.headers["authorization"] = f"Bearer {token}"

    async def body(self, most: int) -> bytes:
        """Return the whole body. Raises `TooLarge`, and `TimeoutError` for one that comes too slowly."""
        content = None if self._whole is None else self._whole.take_body()
        if content is None:
            async with asyncio.timeout(BODY_SECONDS_MAX):
                content = b"".join([piece async for piece in self.pieces(most)])
        elif len(content) > most:
            raise TooLarge(f"The body has {len(content)} bytes; at most {most} are taken.")
        self._content = content
        return content

    def fingerprint(self) -> str:
        """Return what tells this request from others under the same `Idempotency-Key`; "" where it has none."""
        key = self.headers.get("idempotency-key")
        if key is None:
            return ""
        if not 0 < len(key) <= KEY_CHARACTERS_MAX:
            raise BadRequest(f"expected Idempotency-Key to be 1 to {KEY_CHARACTERS_MAX} characters, got {len(key)}")
        asked = f"{self.scope['method']} {self.scope['path']}\n".encode("utf-8", "surrogatepass")
        return hashlib.sha256(asked + self._content).hexdigest()[:32]

    async def pieces(self, most: int) -> AsyncGenerator[bytes]:
        """Yield the body as it comes. Raises `TooLarge`."""
        declared = self.headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > most:
            raise TooLarge(f"The body has {declared} bytes; at most {most} are taken.")
        size, more = 0, True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Gone
            piece, more = message.get("body", b""), message.get("more_body", False)
            size += len(piece)
            if size > most:
                raise TooLarge(f"The body has more than {most} bytes, which is all that is taken.")
            yield piece

    async def chunks(self, most: int) -> AsyncGenerator[bytes]:
        """Yield the body as it comes, for as long as something does: a machine that is switched off says no word.
        Raises `TooLarge`, `BadRequest`."""
        pieces = self.pieces(most)
        while True:
            try:
                async with asyncio.timeout(SILENCE_SECONDS_MAX):
                    piece = await anext(pieces)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise BadRequest(f"Nothing of the body has come for {SILENCE_SECONDS_MAX} seconds.") from None
            yield piece

    async def held(self, work: Awaitable[Any]) -> Any:
        """Return what `work` comes to, unless whoever asked goes before: then it is cancelled."""
        task = asyncio.current_task()
        assert task is not None
        gone = asyncio.ensure_future(self._reader_gone())
        gone.add_done_callback(lambda ended: None if ended.cancelled() else task.cancel())
        try:
            return await work
        except asyncio.CancelledError:
            if gone.done() and not gone.cancelled():
                task.uncancel()
                raise Gone from None
            raise
        finally:
            gone.cancel()

    async def answer(
        self, status: int, data: bytes, content_type: str, headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        body = b"" if self.scope["method"] == "HEAD" else data
        if self._whole is not None and not headers:
            self._begun, self.status = True, status
            head = (
                f"content-type: {content_type}\r\nx-request-id: {self.ids.request}\r\nx-trace-id: {self.ids.trace}\r\n"
                f"content-length: {len(data)}\r\n"
            )
            if self._whole.answer(status, head.encode("latin-1"), body):
                return
        await self._begin(status, content_type, [*headers, ("content-length", str(len(data)))])
        await self._send({"type": "http.response.body", "body": body})

    async def stream(self, streamed: Streamed) -> None:
        """Send the pieces as they come, until there are no more or the reader goes. What has no end of its own ends
        when the server does: its reader comes back, and goes on where it was."""
        await self._begin(streamed.status, streamed.content_type, streamed.headers)
        pieces = cast("AsyncGenerator[bytes]", streamed.pieces)
        if self.scope["method"] == "HEAD":
            await pieces.aclose()
            await self._end()
            return
        sending = asyncio.ensure_future(self._send_all(pieces))
        gone = asyncio.ensure_future(self._reader_gone())
        try:
            async with nullcontext() if streamed.whole else self._patience.wait():
                await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            for task in (sending, gone):
                task.cancel()
            await asyncio.gather(sending, gone, return_exceptions=True)
        await self._end()

    async def _send_all(self, pieces: AsyncGenerator[bytes]) -> None:
        async with aclosing(pieces):
            async for piece in pieces:
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})

    async def _end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def _reader_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def refuse(self, refusal: Refusal) -> None:
        if self._begun:
            return  # the answer has begun: it ends here, and its reader sees that it is not whole
        await self.answer(refusal.status, msgspec.json.encode(refusal.body), "application/json", refusal.headers)

    async def _begin(self, status: int, content_type: str, headers: Sequence[tuple[str, str]]) -> None:
        self._begun, self.status = True, status
        given = [("content-type", content_type), *self.ids.headers, *headers]
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in given],
            }
        )
