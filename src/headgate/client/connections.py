"""Connections to one server over HTTP/1.1: requests with their whole answers, over sockets that stay open.

A client for everything (httpx2) takes half a millisecond of processor for a request, more than a worker has for a quick
activity. Here a request is one write, and its answer is parsed as it comes, by the server's own parser. There are no
redirects, cookies, compression and proxies, and no answers that are read in part.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import quote, urlsplit

from httptools import HttpParserError, HttpResponseParser

from headgate.core.errors import Invalid

if TYPE_CHECKING:
    import ssl

__all__ = ["CONNECTIONS_MAX", "CONNECT_SECONDS_MAX", "SILENCE_SECONDS_MAX", "Connections", "Reply"]

CONNECTIONS_MAX = 1_000
KEPT_OPEN_MAX = 100
KEPT_SECONDS_MAX = 30.0
"""Less than a server keeps one: a request on one that it is just closing would be lost."""
CONNECT_SECONDS_MAX = 10.0
SILENCE_SECONDS_MAX = 60.0
"""Between two pieces of an answer."""
UPLOAD_BYTES_PER_SECOND_MIN = 100_000
"""A large body may take its time on the way, before the answer is waited for."""
HEAD_BYTES_MAX = 256 * 1024
ANSWER_BYTES_MAX = 1 << 30


class Reply(NamedTuple):
    """A whole answer. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Connections:
    """To the server at `url`, `http://` or `https://`. To be used on one loop. Raises `Invalid` for what is none."""

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            self._host, self._secure, self._prefix = parts.hostname or "", parts.scheme == "https", quote(parts.path)
            self._port = parts.port or (443 if self._secure else 80)
            self._address = parts.netloc.rpartition("@")[2].encode("idna").decode()
        except ValueError as error:
            raise Invalid(f"{url!r} is no address of a server: {error}.") from None
        self._context: ssl.SSLContext | None = None
        self._room = asyncio.Semaphore(CONNECTIONS_MAX)
        self._open: set[_Connection] = set()
        self._kept: list[_Connection] = []
        """Those that are free, the one used last at the end."""

    async def ask(
        self, method: str, target: str, *, headers: Mapping[str, str], content: bytes = b"", seconds: float
    ) -> Reply:
        """Return the answer, which begins within `seconds`. Raises `OSError` where none comes: whether the request was
        done is not known then. Raises `Invalid` for what cannot stand in a header. `target` comes quoted.

        Whoever is cancelled meanwhile has closed the connection, so that the server knows."""
        request = self._head(method, target, headers, len(content)) + content
        async with self._room:
            connection = self._free() or await self._connect()
            try:
                reply = await connection.ask(request, seconds + len(content) / UPLOAD_BYTES_PER_SECOND_MIN)
            except BaseException:
                connection.close()
                raise
            self._keep(connection)
            return reply

    async def close(self) -> None:
        """Close all; whoever waits for an answer is told that there is none."""
        for connection in list(self._open):
            connection.close()
        await asyncio.sleep(0)  # the loop closes their sockets in its next turn

    def _head(self, method: str, target: str, headers: Mapping[str, str], length: int) -> bytes:
        lines = [f"{method} {self._prefix}{target} HTTP/1.1", f"host: {self._address}", "user-agent: headgate"]
        for name, value in headers.items():
            if not (value.isascii() and value.isprintable()):
                raise Invalid(f"Expected the header {name!r} to be of printable ASCII characters.")  # it may be secret
            lines.append(f"{name}: {value}")
        if length or method != "GET":
            lines.append(f"content-length: {length}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")

    def _free(self) -> _Connection | None:
        long_ago = asyncio.get_running_loop().time() - KEPT_SECONDS_MAX
        while self._kept:
            connection = self._kept.pop()
            if connection.usable and connection.free_since > long_ago:
                return connection
            connection.close()
        return None

    def _keep(self, connection: _Connection) -> None:
        if connection.usable and len(self._kept) < KEPT_OPEN_MAX:
            connection.free_since = asyncio.get_running_loop().time()
            self._kept.append(connection)
        else:
            connection.close()

    async def _connect(self) -> _Connection:
        if self._secure and self._context is None:
            import httpx2

            self._context = httpx2.create_ssl_context()  # of the authorities that every other request of ours trusts
        async with asyncio.timeout(CONNECT_SECONDS_MAX):
            loop = asyncio.get_running_loop()
            # RFC 8305, where the loop has it: uvloop tries one address after the other.
            racing: dict[str, Any] = {"happy_eyeballs_delay": 0.25} if isinstance(loop, asyncio.BaseEventLoop) else {}
            _, connection = await loop.create_connection(
                lambda: _Connection(self._open), self._host, self._port, ssl=self._context, **racing
            )
        return connection


class _Connection(asyncio.Protocol):
    """One socket, one request at a time."""

    def __init__(self, among: set[_Connection]) -> None:
        self._among = among
        self._parser = HttpResponseParser(self)
        self._transport: asyncio.Transport
        self._answer: asyncio.Future[Reply] | None = None
        self._limit: asyncio.Timeout
        self._begin()
        self.usable = True
        """The last answer was whole, and another request may follow it."""
        self.free_since = 0.0

    async def ask(self, request: bytes, seconds: float) -> Reply:
        self.usable = False
        self._answer = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(seconds) as self._limit:
            self._transport.write(request)
            return await self._answer

    def close(self) -> None:
        self.usable = False
        self._transport.abort()

    # --- What asyncio tells ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._among.add(self)

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            self.close()  # nobody has asked
            return
        self._size += len(data)
        if self._size > (HEAD_BYTES_MAX if self._in_head else ANSWER_BYTES_MAX):
            self._fail(ConnectionError(f"its answer has more than {self._size} bytes"))
            return
        self._limit.reschedule(asyncio.get_running_loop().time() + SILENCE_SECONDS_MAX)
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self._fail(ConnectionError(f"what it answers is not HTTP: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._among.discard(self)
        self._fail(exc or ConnectionError("the connection ended before the answer did"))

    def _fail(self, error: Exception) -> None:
        self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    # --- What the parser tells ---------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._size, self._in_head = 0, True
        self._headers: dict[str, str] = {}
        self._pieces: list[bytes] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._in_head = False

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        reply = Reply(status, self._headers, b"".join(self._pieces))
        self._begin()
        if status < 200:
            return  # the answer is yet to come
        if self._answer is None or self._answer.done():
            self.usable = False  # nobody has asked for another
            return
        self.usable = self._parser.should_keep_alive()
        self._answer.set_result(reply)
