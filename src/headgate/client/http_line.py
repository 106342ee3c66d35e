"""The way to a server over HTTP: requests that are made again as long as that is safe, and errors as they were raised.

Every request may be repeated: one that changes something bears an `Idempotency-Key`, so that the server answers its
repeat as it answered it first. So what fails on the way, or is refused for now (429, 503), is asked again after a pause
that the server may name, until the line's patience is over.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from base64 import b64encode
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import getproxies

import msgspec

from headgate.client.connections import (
    CONNECT_SECONDS_MAX,
    CONNECTIONS_MAX,
    SILENCE_SECONDS_MAX,
    Connections,
    Reply,
)
from headgate.client.frames import Branch, WireError, as_error
from headgate.core.errors import HeadgateError, Invalid, Problem, Unavailable

if TYPE_CHECKING:
    import httpx2

__all__ = ["BASE", "PATIENCE_SECONDS", "ClientLogin", "HttpLine", "Patience", "ServerAway"]

BASE = "/api/v1"
PATIENCE_SECONDS = 30.0
ANSWER_SECONDS_MAX = 60.0
"""Beyond what the request itself asks the server to wait."""
PAUSE_SECONDS_MAX = 5.0
TELL_AFTER_SECONDS = 5.0
"""When a request has been made again for so long, the log says why, once."""
EVENT_BYTES_MAX = 64 * 1024 * 1024
FOR_NOW = (429, 502, 503, 504)
"""Statuses after which the same may be asked again."""
LOGIN_PATH = "/oauth/token"
RENEWED_BEFORE_SECONDS = 60.0
"""A token is renewed so long before its end."""
SAID_CHARACTERS_MAX = 300
IN_A_PATH = "/%:@~!$&'()*+,;="
"""What may stand in a path as it is; segments come quoted."""

_encoder = msgspec.json.Encoder()

logger = logging.getLogger("headgate.client")


class ServerAway(Unavailable):
    """Nobody answers, or what answers is no server of ours. What was asked may be done, and may be asked again."""

    code = "server_away"


class ClientLogin(msgspec.Struct, frozen=True):
    """A client's id and its secret, as `headgate client create` gave them; a token is got for them."""

    id: str
    secret: str

    def __repr__(self) -> str:
        return f"ClientLogin({self.id!r})"


class _Body(msgspec.Struct):
    code: str = ""
    message: str = ""
    details: dict[str, Any] = {}


class _Envelope(msgspec.Struct):
    error: _Body


class _Token(msgspec.Struct):
    access_token: str
    expires_in: float = 3_600


class HttpLine:
    """Requests to the server at `url` (`http://127.0.0.1:8720`), with or without its `/api/v1`.

    `login` is a bearer token, or a `ClientLogin`, for which tokens are got and renewed. Where the environment names a
    proxy (`HTTPS_PROXY` and its kind), requests go through it. To be used on one loop.
    """

    def __init__(self, url: str, *, login: str | ClientLogin = "", patience_seconds: float = PATIENCE_SECONDS) -> None:
        if not url.startswith(("http://", "https://")):
            raise Invalid(f"Expected the address of a server, such as http://127.0.0.1:8720, got {url!r}.")
        self.url = url.rstrip("/").removesuffix(BASE)
        self.patience_seconds = patience_seconds
        self._login = login
        self._token = login if isinstance(login, str) else ""
        self._renew_at = 0.0
        self._renewing = asyncio.Lock()
        self._connections = None if _goes_through_a_proxy(self.url) else Connections(self.url)

    @cached_property
    def _client(self) -> httpx2.AsyncClient:
        """What knows proxies, and reads answers that go on."""
        import httpx2

        return httpx2.AsyncClient(
            base_url=self.url,
            timeout=httpx2.Timeout(SILENCE_SECONDS_MAX, connect=CONNECT_SECONDS_MAX),
            limits=httpx2.Limits(max_connections=CONNECTIONS_MAX),
        )

    async def close(self) -> None:
        if self._connections is not None:
            await self._connections.close()
        if "_client" in self.__dict__:
            await self._client.aclose()

    # --- Requests ------------------------------------------------------------------------------------------------

    async def get(self, path: str, answer: Any, *, wait_seconds: float = 0.0, **query: Any) -> Any:
        """Return what the server answers, as `answer`'s type. `wait_seconds`: it may hold the answer back so long."""
        return await self.ask("GET", path, answer, query=query, wait_seconds=wait_seconds)

    async def post(
        self, path: str, body: Any, answer: Any, *, key: str = "", wait_seconds: float = 0.0, **query: Any
    ) -> Any:
        """The same for what changes something; `key` makes a repeat of it known, a random one where none is given."""
        content = body if isinstance(body, bytes) else _encoder.encode(body)
        headers = {"content-type": "application/json", "idempotency-key": key or secrets.token_hex(16)}
        return await self.ask(
            "POST", path, answer, query=query, content=content, headers=headers, wait_seconds=wait_seconds
        )

    async def ask(
        self,
        method: str,
        path: str,
        answer: Any,
        *,
        query: Mapping[str, Any] | None = None,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
        wait_seconds: float = 0.0,
    ) -> Any:
        """Raises what the server raised, and `ServerAway` when nobody has answered for as long as patience lasts."""
        patience = Patience(self.patience_seconds)
        target = _target(path, query)
        while True:
            try:
                named_headers = {**(headers or {}), **await self._authorization()}
                reply = await self._send(method, target, content, named_headers, ANSWER_SECONDS_MAX + wait_seconds)
                if reply.status < 300:
                    return _decoded(reply, answer, path)
                error, named = self._refusal(reply, patience), _named_pause(reply)
            except ServerAway as away:
                error, named = away, None
            await patience.pause(error, named)

    async def _send(
        self, method: str, target: str, content: bytes, headers: Mapping[str, str], seconds: float
    ) -> Reply:
        if self._connections is None:
            return await self._send_through_proxy(method, target, content, headers, seconds)
        try:
            return await self._connections.ask(method, target, headers=headers, content=content, seconds=seconds)
        except OSError as error:
            raise _away(self.url, error) from error

    async def _send_through_proxy(
        self, method: str, target: str, content: bytes, headers: Mapping[str, str], seconds: float
    ) -> Reply:
        import httpx2

        timeout = httpx2.Timeout(seconds, connect=CONNECT_SECONDS_MAX)
        try:
            response = await self._client.request(method, target, content=content, headers=headers, timeout=timeout)
        except httpx2.TransportError as error:
            raise _away(self.url, error) from error
        return Reply(response.status_code, response.headers, response.content)

    def _refusal(self, reply: Reply, patience: Patience) -> HeadgateError:
        """Return an error after which the same may be asked again; raise any other."""
        if reply.status == 401 and self._forget_token(patience):
            return Unavailable("The token is over.")
        error = _error_of(reply.status, reply.content)
        if reply.status not in FOR_NOW:
            raise error
        return error

    @asynccontextmanager
    async def events(self, path: str, **query: Any) -> AsyncGenerator[AsyncGenerator[str]]:
        """Yield the data of the events that the server sends. Raises as `ask` does, without asking again."""
        import httpx2

        headers = {"accept": "text/event-stream", **await self._authorization()}
        try:
            async with self._client.stream("GET", _target(path, query), headers=headers) as response:
                if not response.is_success:
                    await response.aread()
                    raise _error_of(response.status_code, response.content)
                yield self._data(response)
        except httpx2.TransportError as error:
            raise _away(self.url, error) from error

    async def _data(self, response: httpx2.Response) -> AsyncGenerator[str]:
        """Yield until the server says that this is the end. Raises `ServerAway` where it ends without saying so."""
        import httpx2

        try:
            async for event in httpx2.EventSource(response, max_event_size=EVENT_BYTES_MAX):
                if event.event == "end":
                    return
                if event.event == "error":
                    raise _error_of(503, event.data.encode())
                yield event.data
        except (httpx2.TransportError, httpx2.SSEError) as error:
            raise _away(self.url, error) from error
        raise ServerAway(f"{self.url} ended its answer before it was whole.")

    # --- Tokens --------------------------------------------------------------------------------------------------

    async def _authorization(self) -> dict[str, str]:
        if isinstance(self._login, ClientLogin):
            async with self._renewing:
                if not self._token or time.monotonic() >= self._renew_at:
                    await self._get_token(self._login)
        return {"authorization": f"Bearer {self._token}"} if self._token else {}

    async def _get_token(self, login: ClientLogin) -> None:
        patience = Patience(self.patience_seconds)
        while (reply := await self._ask_for_token(login)).status >= 300:
            error = _error_of(reply.status, reply.content)
            if reply.status not in FOR_NOW:
                raise error
            await patience.pause(error, _named_pause(reply))
        token = _decoded(reply, _Token, LOGIN_PATH)
        self._token = token.access_token
        self._renew_at = time.monotonic() + max(1.0, token.expires_in - RENEWED_BEFORE_SECONDS)

    async def _ask_for_token(self, login: ClientLogin) -> Reply:
        named = b64encode(f"{login.id}:{login.secret}".encode()).decode()
        headers = {"authorization": f"Basic {named}", "content-type": "application/x-www-form-urlencoded"}
        form = b"grant_type=client_credentials"
        return await self._send("POST", _target(LOGIN_PATH, None), form, headers, ANSWER_SECONDS_MAX)

    def _forget_token(self, patience: Patience) -> bool:
        """Have another token got, once for each request; return False where there is no way to."""
        if isinstance(self._login, str) or patience.renewed:
            return False
        patience.renewed, self._token = True, ""
        return True


class Patience:
    """How long one request is made again: so many seconds from now."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since = time.monotonic()
        self._pause = 0.05
        self._told = False
        self.renewed = False

    async def pause(self, error: HeadgateError, seconds: float | None) -> None:
        """Wait before the next try: twice as long as before, or as long as the server said. Raises `error` where that
        is longer than patience lasts."""
        jitter = random.uniform(0.5, 1.0)  # noqa: S311 - so that many who wait do not come back together
        wanted = self._pause * jitter if seconds is None else seconds
        self._pause = min(2 * self._pause, PAUSE_SECONDS_MAX)
        spent = time.monotonic() - self._since
        if spent + wanted > self._seconds:
            raise error
        if not self._told and spent >= TELL_AFTER_SECONDS:
            self._told = True
            logger.warning("tried for %.0f s, and goes on for %.0f: %s", spent, self._seconds - spent, error)
        await asyncio.sleep(wanted)


# --- Targets ---------------------------------------------------------------------------------------------------------


def _goes_through_a_proxy(url: str) -> bool:
    named = getproxies()
    return bool(named.get(urlsplit(url).scheme) or named.get("all"))


def _target(path: str, query: Mapping[str, Any] | None) -> str:
    target = BASE + quote(path, safe=IN_A_PATH)
    return f"{target}?{urlencode({name: _in_a_query(value) for name, value in query.items()})}" if query else target


def _in_a_query(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


# --- Answers ---------------------------------------------------------------------------------------------------------


def _decoded(reply: Reply, answer: Any, path: str) -> Any:
    if answer is None:
        return None
    try:
        return msgspec.json.decode(reply.content, type=answer)
    except msgspec.MsgspecError as error:
        raise Unavailable(f"The answer to {path} is not what this release understands: {error}.") from error


def _error_of(status: int, content: bytes) -> HeadgateError:
    """Return the error that the server raised, in its branch and with its code."""
    try:
        body = msgspec.json.decode(content, type=_Envelope).error
    except msgspec.MsgspecError:
        said = content[:SAID_CHARACTERS_MAX].decode("utf-8", "replace").strip() or "nothing"
        return ServerAway(f"The answer {status} is not Headgate's; it said: {said}")
    reason = str(body.details.get("reason") or body.code.lower())
    problems = msgspec.convert(body.details.get("problems") or (), tuple[Problem, ...])
    return as_error(WireError(reason, _branch(status), body.message, problems))


def _branch(status: int) -> Branch:
    if status >= 500:
        return "unavailable"
    return "invalid" if status in (400, 413, 422) else "refused"


def _named_pause(reply: Reply) -> float | None:
    """Return how long the server wants not to be asked."""
    text = reply.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else None


def _away(url: str, error: Exception) -> ServerAway:
    return ServerAway(f"{url} does not answer: {error or type(error).__name__}.")
