"""One model call as it passes over the wire, below whatever SDK makes it.

An SDK decides what is said; this decides that it is said once. A `Call` stands for one call of ours: it lets one
request through (a second would be a retry, and retries are the engine's), follows no redirect, bounds what comes back,
knows whether the request left, and keeps what the provider says of itself: status, headers, the text of a refusal and
every report of usage, read from the bytes that passed and not from what an SDK makes of them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextvars import ContextVar
from typing import Any, TypeVar, cast

import httpx2
import msgspec

from headgate.llm import exchange
from headgate.llm.direct.reports import Mend, Reports, Watch, watch_of
from headgate.llm.openai_compatible import CONNECT_SECONDS_MAX, CONNECTIONS_MAX, IDLE_CONNECTIONS_MAX
from headgate.llm.provider_errors import malformed

__all__ = ["CALL", "Call", "WatchedClient"]

Result = TypeVar("Result")


class Call:
    """One call of a model. `requests_max` is 1 but for embeddings that a vendor makes one by one."""

    def __init__(
        self, who: str, secrets: tuple[str, ...], seconds: float, mend: Mend, *, requests_max: int = 1
    ) -> None:
        self.who = who
        self.secrets = secrets
        self.seconds = seconds
        self.mend = mend
        self.loop = asyncio.get_running_loop()
        self.deadline = self.loop.time() + seconds
        self.requests_max = requests_max
        self.requests = 0
        self.left = False
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.said = bytearray()
        """The text of a refusal."""
        self.received = 0
        self.trouble: Exception | None = None
        """What broke on the wire, before an SDK put its own words around it."""
        self.reports = Reports()
        self.extra: Mapping[str, Any] = {}
        """Fields that go into the body beside what the SDK writes."""
        self._thread = threading.get_ident()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._responses: list[httpx2.Response] = []

    async def within(self, wait: Awaitable[Result]) -> Result:
        """Wait by the call's deadline. Raises `TimeoutError`."""
        async with asyncio.timeout_at(self.deadline):
            return await wait

    def from_a_thread(self, wait: Awaitable[Result]) -> Result:
        """Wait on the call's loop from a thread; `close` ends the wait with `CancelledError`."""

        assert threading.get_ident() != self._thread, "the loop cannot wait for itself"

        async def waiting() -> Result:
            task = asyncio.ensure_future(wait)
            self._tasks.add(task)
            try:
                return await task
            finally:
                self._tasks.discard(task)

        return asyncio.run_coroutine_threadsafe(waiting(), self.loop).result()

    async def close(self) -> None:
        """Give back what the call holds: whatever an SDK has forgotten to close, and what threads still wait for."""
        for task in tuple(self._tasks):
            task.cancel()
        for response in self._responses:
            await response.aclose()
        self._responses.clear()

    def take_request(self, request: httpx2.Request) -> httpx2.Request:
        """Return a request that may go, made so that we see what happens to it. Raises for one too many."""
        self.requests += 1
        if self.requests > self.requests_max:
            raise RuntimeError("a second request for one call: retries are not the SDK's")
        request.headers["accept-encoding"] = "identity"
        request.extensions["trace"] = self._notice
        request.extensions["timeout"] = {"connect": CONNECT_SECONDS_MAX}  # the deadline bounds the rest
        return _with_fields(request, self.extra) if self.extra else request

    async def _notice(self, event: str, _info: object) -> None:
        if event.endswith("send_request_headers.started"):
            self.left = True

    def take_response(self, response: httpx2.Response) -> Watch:
        """Look at the head of an answer; return what its bytes are to pass through."""
        self._responses.append(response)
        self.status, self.headers = response.status_code, response.headers
        return watch_of(self.status, self.headers, self.reports, self.mend, self.said)

    def count(self, chunk: bytes) -> None:
        self.received += len(chunk)
        if self.received > exchange.ANSWER_BYTES_MAX:
            raise malformed(
                f"{self.who} answered with more than {exchange.ANSWER_BYTES_MAX} bytes; reading was stopped."
            )


CALL: ContextVar[Call] = ContextVar("CALL")
"""The call that a request belongs to: set around what sends it, and not across a `yield`."""


class WatchedClient(httpx2.AsyncClient):
    """An HTTP client of the running loop, all of whose requests belong to a `Call`. Proxies are the environment's."""

    def __init__(self) -> None:
        super().__init__(
            timeout=httpx2.Timeout(600.0, connect=CONNECT_SECONDS_MAX),
            limits=httpx2.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=IDLE_CONNECTIONS_MAX),
        )

    async def send(self, request: httpx2.Request, *, stream: bool = False, **_: Any) -> httpx2.Response:
        """Send it once, and nowhere else."""
        call = CALL.get()
        try:
            response = await super().send(call.take_request(request), stream=True, follow_redirects=False)
        except Exception as error:
            call.trouble = call.trouble or error
            raise
        response.headers.pop("content-length", None)  # what is mended has another
        whole = cast("httpx2.AsyncByteStream", response.stream)
        response.stream = _WatchedStream(whole, call, call.take_response(response))
        if not stream:
            try:
                await response.aread()
            finally:
                await response.aclose()
        return response


def _with_fields(request: httpx2.Request, extra: Mapping[str, Any]) -> httpx2.Request:
    body = msgspec.json.decode(request.content, type=dict[str, Any])
    headers = {name: value for name, value in request.headers.items() if name != "content-length"}
    content = msgspec.json.encode(_merged(body, extra))
    return httpx2.Request(request.method, request.url, headers=headers, content=content, extensions=request.extensions)


def _merged(body: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return `body` with the fields of `extra`, maps into maps."""
    merged = dict(body)
    for name, value in extra.items():
        old = merged.get(name)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[name] = _merged(cast("dict[str, Any]", old), cast("dict[str, Any]", value)) if both else value
    return merged


class _WatchedStream(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, call: Call, watch: Watch) -> None:
        self._inner = inner
        self._call = call
        self._watch = watch

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._inner:
                self._call.count(chunk)
                if passed := self._watch.take(chunk):
                    yield passed
            if rest := self._watch.end():
                yield rest
        except Exception as error:
            self._call.trouble = error
            raise

    async def aclose(self) -> None:
        await self._inner.aclose()
