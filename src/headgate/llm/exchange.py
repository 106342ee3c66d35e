"""One HTTP exchange with a provider: the request out, the answer in whole or as events, by one deadline.

Whether the request left decides what the gate makes of a failure, and only this file knows: the client's
trace says when the first byte goes out. Nothing here retries, follows redirects, or puts a header, a query
or a key into an error; what a provider says of itself is shown shortened, with the keys that we sent cut out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from headgate.core.values import RateReport
from headgate.llm.event_streams import BrokenStream, Framing
from headgate.llm.provider_errors import (
    RETRYABLE,
    malformed,
    rate_report,
    refused_here,
    wait_seconds,
)
from headgate.llm.refusals import code_of, refusal_text, retry_delay, told
from headgate.ports import ProviderError

if TYPE_CHECKING:
    import httpx2

__all__ = ["ANSWER_BYTES_MAX", "SAID_CHARACTERS_MAX", "Exchange"]

ANSWER_BYTES_MAX = 64 * 1024 * 1024
DRAIN_SECONDS_MAX = 0.2
SAID_CHARACTERS_MAX = 300
"""How much of a provider's own error text goes into ours."""
NO_HEADERS: Mapping[str, str] = {}

Result = TypeVar("Result")
Event = TypeVar("Event")


class Exchange:
    """A POST of `content`; `who` names the model and the host in errors, `secrets` are cut out of them.

    `open` it, then use it as a context: the connection is given back on leaving, or when opening fails.
    """

    def __init__(
        self,
        client: httpx2.AsyncClient,
        url: str,
        content: bytes,
        *,
        headers: Mapping[str, str],
        who: str,
        secrets: tuple[str, ...],
        seconds: float,
    ) -> None:
        self._client = client
        self._url = url
        self._content = content
        self._headers = headers
        self._who = who
        self._secrets = secrets
        self._seconds = seconds
        self._deadline = asyncio.get_running_loop().time() + seconds
        self._left = False
        self.said: Any = None
        """What the provider said with a refusal: its JSON, or its text."""
        self._response: httpx2.Response | None = None
        self._incoming: AsyncGenerator[bytes] | None = None
        """What is left to be read of a stream."""

    async def __aenter__(self) -> Exchange:
        return self

    async def open(self) -> None:
        """Send the request. Raises `ProviderError` for an answer that is a refusal, or for none."""
        try:
            self._response = await self._within(self._send())
            if not self._response.is_success:
                raise self._refusal(self._response, await self._read_refusal())
        except BaseException:
            await self._close()
            raise

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def _send(self) -> httpx2.Response:
        request = self._client.build_request(
            "POST",
            self._url,
            content=self._content,
            headers={"Content-Type": "application/json", **self._headers},
            extensions={"trace": self._notice},
        )
        return await self._client.send(request, stream=True)

    async def _read_refusal(self) -> bytes:
        """Return what is said with a refusal; its status counts even where its text breaks off."""
        try:
            return await self.read()
        except ProviderError:
            return b""

    async def _notice(self, event: str, _info: object) -> None:
        if event.endswith("send_request_headers.started"):
            self._left = True

    async def _close(self) -> None:
        if self._incoming is not None:
            await self._incoming.aclose()
        if self._response is not None:
            await self._response.aclose()

    @property
    def headers(self) -> Mapping[str, str]:
        """The answer's headers, their names in lower case."""
        assert self._response is not None
        return self._response.headers

    def streams(self, framing: Framing[object]) -> bool:
        """Say whether the answer comes as events; some servers answer whole, whatever was asked."""
        return self.headers.get("content-type", "").lower().startswith(framing.content_type)

    @property
    def rates(self) -> RateReport | None:
        """What the provider says of its rates."""
        return rate_report(self.headers)

    async def read(self) -> bytes:
        """Return the whole answer."""
        return await self._within(self._all())

    async def _all(self) -> bytes:
        content = bytearray()
        async for chunk in self._chunks():
            content += chunk
        return bytes(content)

    async def _chunks(self) -> AsyncGenerator[bytes]:
        assert self._response is not None
        received = 0
        async for chunk in self._response.aiter_bytes():
            received += len(chunk)
            if received > ANSWER_BYTES_MAX:
                raise malformed(f"{self._who} answered with more than {ANSWER_BYTES_MAX} bytes; reading was stopped.")
            yield chunk

    async def events(self, framing: Framing[Event]) -> AsyncGenerator[Event]:
        """Yield each event until the body ends, or the reader has enough: `drain` it then."""
        chunks = self._incoming = self._chunks()
        # The deadline stands around each wait and not around the loop: a timeout that is open across a yield
        # would strike whoever reads these events.
        while (chunk := await self._within(anext(chunks, None))) is not None:
            try:
                events = framing.take(chunk)
            except BrokenStream as error:
                raise malformed(f"{self._who} streamed something that is no event stream: {error}.") from None
            for event in events:
                yield event

    async def drain(self) -> None:
        """Read to the end of the body, which follows at once: only then can the connection be used again."""
        import httpx2  # imported with the first call only: it takes a tenth of a second

        assert self._incoming is not None
        with suppress(TimeoutError, httpx2.HTTPError, ProviderError):
            async with asyncio.timeout(DRAIN_SECONDS_MAX):
                async for _ in self._incoming:
                    pass

    # --- What went wrong -----------------------------------------------------------------------------

    async def _within(self, wait: Awaitable[Result]) -> Result:
        import httpx2

        try:
            async with asyncio.timeout_at(self._deadline):
                return await wait
        except TimeoutError:
            raise self.broken("timed_out", f"did not answer in full within {self._seconds:g} s") from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            code, what = _trouble(error)
            if code == "misconfigured":
                raise refused_here(code, f"{self._who} {what}.") from None
            raise (
                malformed(f"{self._who} {what}.") if code == "malformed_response" else self.broken(code, what)
            ) from None

    def broken(self, code: str, what: str) -> ProviderError:
        """Return the error for an exchange that did not come to its end."""
        asked = "" if self._left else " The request was not sent."
        return ProviderError(f"{self._who} {what}.{asked}", code=code, retryable=code in RETRYABLE, sent=self._left)

    def _refusal(self, response: httpx2.Response, body: bytes) -> ProviderError:
        said: Any = body.decode("utf-8", "replace")
        with suppress(msgspec.DecodeError, RecursionError):
            said = msgspec.json.decode(body)
        self.said = said
        error = self.refusal(response.status_code, said, response.headers)
        error.rates = rate_report(response.headers)
        return error

    def refusal(self, status: int, said: object, headers: Mapping[str, str] = NO_HEADERS) -> ProviderError:
        """Return the error for a refusal with `status`, and with `said` by the provider (a body, or text)."""
        code, text = code_of(status, said, headers), told(said)
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        shown = text if len(text) <= SAID_CHARACTERS_MAX else f"{text[:SAID_CHARACTERS_MAX]}…"
        asked_to_wait = wait_seconds(headers)
        return ProviderError(
            refusal_text(self._who, status, shown),
            status=status,
            code=code,
            retryable=code in RETRYABLE,
            retry_after_seconds=retry_delay(said) if asked_to_wait is None else asked_to_wait,
        )


def _trouble(error: httpx2.HTTPError | httpx2.InvalidURL) -> tuple[str, str]:
    """Return our code for an error of the HTTP client, and what happened, to follow whose call it was."""
    import httpx2

    match error:
        case httpx2.InvalidURL() | httpx2.UnsupportedProtocol() | httpx2.LocalProtocolError():
            # Their texts quote what they dislike, which may be the key.
            return "misconfigured", "cannot be asked: its base URL or one of its headers is not valid HTTP"
        case httpx2.DecodingError():
            return "malformed_response", "answered with a body that cannot be decompressed"
        case httpx2.TimeoutException():
            return "timed_out", "could not be reached in time"
        case httpx2.ConnectError():
            return "connection_failed", f"could not be reached ({error})"
        case _:
            return "connection_failed", f"broke off before its answer was complete ({type(error).__name__})"
