"""Every provider that is asked over HTTP: our port on one side, a `Vendor`, who has the words, on the other.

It never repeats a request; one that a model refuses for a field may be followed by another without it, where
`drop_unsupported` says so. Its HTTP client is made with the first call, one for each running event loop (connections
live on the loop that opened them), and shared by all calls; `close` closes the running loop's. How a call travels is
`exchange`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

import msgspec

from headgate.core.values import Price, Usage
from headgate.llm.answer_parts import AnswerParts
from headgate.llm.asking import DROPS_MAX, Asked, refused_field
from headgate.llm.event_streams import Framing
from headgate.llm.exchange import Exchange
from headgate.llm.model_names import with_suggestion
from headgate.llm.prices import price_of
from headgate.llm.provider_errors import malformed, refused_here
from headgate.llm.provider_settings import ProviderSettings
from headgate.llm.quiet import quiet_libraries
from headgate.llm.token_estimate import FACTOR_UNKNOWN, estimate_inputs, estimate_output, estimate_request
from headgate.llm.vectors import EmbeddingAsked, Vectors, joined
from headgate.ports import EmbeddingAnswer, ModelAnswer, ModelRequest, ProviderError, ToolCall

if TYPE_CHECKING:
    import httpx2

__all__ = ["HttpProvider", "Vendor"]

CONNECT_SECONDS_MAX = 15.0
CONNECTIONS_MAX = 1000
IDLE_CONNECTIONS_MAX = 100
EMBEDDINGS_AT_A_TIME_MAX = 5
"""Where a model embeds one text per request: how many of one call's are on their way."""


class Vendor(Protocol):
    """What differs from vendor to vendor: where it is, how it wants to be asked, and how its answers are read."""

    @property
    def settings(self) -> ProviderSettings: ...

    @property
    def secrets(self) -> tuple[str, ...]:
        """What may not be seen in errors."""
        ...

    @property
    def host(self) -> str: ...

    def url(self, model: str, *, streamed: bool) -> str: ...

    async def headers(self, url: str, content: bytes) -> Mapping[str, str]:
        """Return what proves who asks. Raises `ProviderError` where a key is missing."""
        ...

    def ask(self, request: ModelRequest, *, streamed: bool, without: frozenset[str] = frozenset()) -> Asked:
        """Return the body, without the fields `without`. Raises `ProviderError` for what the model does not take."""
        ...

    def parts(self, who: str) -> AnswerParts: ...

    def framing(self) -> Framing[Any]: ...

    def read(self, data: bytes, parts: AnswerParts) -> None:
        """Take in a whole answer. Raises `ProviderError` (`malformed_response`)."""
        ...

    def read_event(self, event: Any, parts: AnswerParts) -> str:
        """Take in an event of a stream; return the text that it brought. Raises `ProviderError`."""
        ...

    def billed(self, said: object) -> Usage | None:
        """Return the usage that stands in a refusal all the same."""
        ...

    def ask_embeddings(self, model: str, inputs: Sequence[str]) -> Sequence[EmbeddingAsked]:
        """Return the requests that it takes. Raises `ProviderError` where the model makes no vectors."""
        ...

    def read_embeddings(self, data: bytes, headers: Mapping[str, str], asked: EmbeddingAsked, who: str) -> Vectors:
        """Return the vectors, one for each text. Raises `ProviderError` (`malformed_response`)."""
        ...


class HttpProvider:
    """The models of a vendor. `prices` are keyed "provider/model" and win over the table; the settings' timeout bounds
    a call whose request has no limit of its own."""

    def __init__(
        self, vendor: Vendor, *, prices: Mapping[str, Price] | None = None, token_factor: float = FACTOR_UNKNOWN
    ) -> None:
        self._vendor = vendor
        self._name = vendor.settings.name
        self.account = vendor.settings.account
        self._prices = prices
        self._token_factor = token_factor
        self._refused: dict[str, frozenset[str]] = {}
        """Per model, the fields that it was found to refuse."""
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx2.AsyncClient] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name} at {self._vendor.host}>"

    @property
    def name(self) -> str:
        return self._name

    def price(self, model: str) -> Price | None:
        """Return the price of `model`, or None where it is not known."""
        return price_of(self._name, model, self._prices)

    def count(self, request: ModelRequest) -> int:
        """Return an upper estimate of the request's input tokens."""
        return estimate_request(request, factor=self._token_factor)

    def cannot(self, request: ModelRequest) -> str:
        """Return why the model could not take the request, as far as that is known without asking it."""
        try:
            self._vendor.ask(request, streamed=False)
        except ProviderError as error:
            return error.message if error.kind == "missing_capability" else ""
        return ""

    async def request(self, request: ModelRequest) -> ModelAnswer:
        """Make the call and return its whole answer. Raises `ProviderError`."""
        async with self._opened(request, streamed=False) as (exchange, notes):
            return _noted(await self._read_whole(exchange, request), notes, exchange)

    async def stream(self, request: ModelRequest) -> AsyncIterator[str | ModelAnswer]:
        """Yield text as it comes, then the whole answer. Raises `ProviderError`, also for a cut stream: what was
        delivered before is its usage then, as reported, or estimated where nothing was."""
        async with self._opened(request, streamed=True) as (exchange, notes):
            framing = self._vendor.framing()
            if not exchange.streams(framing):
                answer = _noted(await self._read_whole(exchange, request), notes, exchange)
                if answer.content:
                    yield answer.content
                yield answer
                return
            parts = self._vendor.parts(self._who(request.model))
            async with aclosing(self._texts(exchange, framing, parts, request)) as texts:
                async for text in texts:
                    yield text
            yield _noted(parts.answer(request.model, self._counter(request)), notes, exchange)

    async def embed(self, model: str, inputs: Sequence[str]) -> EmbeddingAnswer:
        """Return one vector per input. Raises `ProviderError`, with the usage of what was embedded all the same."""
        turns = asyncio.Semaphore(EMBEDDINGS_AT_A_TIME_MAX)
        asked = [
            asyncio.ensure_future(self._embed_in_turn(model, one, turns))
            for one in self._vendor.ask_embeddings(model, inputs)
        ]
        try:
            if asked:
                await asyncio.wait(asked, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        return joined(model, [one.exception() or one.result() for one in asked if not one.cancelled()])

    async def close(self) -> None:
        """Close the running loop's connections. Harmless when repeated; a later call opens new ones."""
        client = self._loops.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    # --- Reading --------------------------------------------------------------------------------------

    async def _read_whole(self, exchange: Exchange, request: ModelRequest) -> ModelAnswer:
        parts = self._vendor.parts(self._who(request.model))
        self._vendor.read(await exchange.read(), parts)
        if parts.error is not None:
            raise _told_inside(exchange, parts)
        if not parts.answered:
            broken = malformed(f"{parts.who} answered without anything to read.")
            broken.usage = parts.reported
            raise broken
        return parts.answer(request.model, self._counter(request))

    async def _texts(
        self, exchange: Exchange, framing: Framing[Any], parts: AnswerParts, request: ModelRequest
    ) -> AsyncGenerator[str]:
        """Gather the events into `parts` and yield their text, until the stream has come to its own end."""
        try:
            async with aclosing(exchange.events(framing)) as events:
                async for event in events:
                    text = self._vendor.read_event(event, parts)
                    if parts.error is not None:
                        raise _told_inside(exchange, parts)
                    if text:
                        yield text
                    if parts.ended:
                        await exchange.drain()
                        return
            if not parts.finished:
                raise exchange.broken("connection_failed", "ended its stream in the middle of the answer")
        except ProviderError as error:
            error.usage = error.usage or self._used_so_far(parts, request)
            raise

    def _used_so_far(self, parts: AnswerParts, request: ModelRequest) -> Usage | None:
        """Return what a stream that was cut has used as far as we have seen it; None: nobody knows."""
        reported = parts.reported
        if reported is not None and parts.output_reported:
            return reported
        if reported is None and not parts.begun:
            return None
        counted = self._counter(request)(parts.delivered, ())
        if reported is None:
            return counted
        made = max(counted.output_tokens, reported.output_tokens)
        return msgspec.structs.replace(reported, output_tokens=made, estimated=True)

    def _counter(self, request: ModelRequest) -> Callable[[str, Sequence[ToolCall]], Usage]:
        """Return what makes the usage of an answer to which the provider reported none."""

        def count(content: str, calls: Sequence[ToolCall]) -> Usage:
            made = estimate_output(content, calls, request.max_tokens, factor=self._token_factor)
            return Usage(input_tokens=self.count(request), output_tokens=made, estimated=True)

        return count

    async def _embed_in_turn(self, model: str, asked: EmbeddingAsked, turns: asyncio.Semaphore) -> EmbeddingAnswer:
        async with turns:
            return await self._embed(model, asked)

    async def _embed(self, model: str, asked: EmbeddingAsked) -> EmbeddingAnswer:
        async with await self._exchange(
            asked.url, asked.body, model, self._vendor.settings.timeout_seconds
        ) as exchange:
            try:
                await exchange.open()
            except ProviderError as error:
                raise self._explained(error, exchange, model) from None
            read = self._vendor.read_embeddings(await exchange.read(), exchange.headers, asked, self._who(model))
            rates = exchange.rates
        counted = estimate_inputs(asked.texts, factor=self._token_factor)
        usage = read.usage or Usage(input_tokens=counted, estimated=True)
        return EmbeddingAnswer(embeddings=read.vectors, model=read.model or model, usage=usage, rates=rates)

    # --- Sending --------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _opened(
        self, request: ModelRequest, *, streamed: bool
    ) -> AsyncGenerator[tuple[Exchange, tuple[str, ...]]]:
        """Yield the exchange that a model has taken the request in, and the notes on it."""
        limit = self._vendor.settings.timeout_seconds
        seconds = limit if request.timeout_seconds is None else request.timeout_seconds
        until = asyncio.get_running_loop().time() + seconds
        known = self._refused.get(request.model, frozenset[str]()) if request.drop_unsupported else frozenset[str]()
        url = self._vendor.url(request.model, streamed=streamed)
        while True:
            asked = self._vendor.ask(request, streamed=streamed, without=known)
            exchange = await self._exchange(url, asked.body, request.model, seconds)
            try:
                await exchange.open()
                break
            except ProviderError as refused:
                error = self._explained(refused, exchange, request.model)
                field = refused_field(exchange.said, asked.body) if error.status in (400, 422) else ""
                if not field or error.usage is not None or not request.drop_unsupported or len(known) >= DROPS_MAX:
                    raise error from None
                known = self._refused[request.model] = known | {field}
                seconds = max(until - asyncio.get_running_loop().time(), 0.0)
        async with exchange:
            yield exchange, asked.notes

    def _explained(self, error: ProviderError, exchange: Exchange, model: str) -> ProviderError:
        """Return the error of an exchange that did not open, with the models that are like one that is not there."""
        error = with_suggestion(error, self._name, model, self._prices)
        error.usage = error.usage or self._vendor.billed(exchange.said)
        return error

    async def _exchange(self, url: str, body: dict[str, Any], model: str, seconds: float) -> Exchange:
        content = self._encoded(body, model)
        return Exchange(
            self._client(),
            url,
            content,
            headers=await self._vendor.headers(url, content),
            who=self._who(model),
            secrets=self._vendor.secrets,
            seconds=seconds,
        )

    def _encoded(self, body: dict[str, Any], model: str) -> bytes:
        try:
            return msgspec.json.encode(body)
        except (TypeError, ValueError, OverflowError) as error:
            message = f"{self._who(model)} was not asked: the request cannot be written as JSON ({error})."
            raise refused_here("invalid_request", message) from None

    def _client(self) -> httpx2.AsyncClient:
        loop = asyncio.get_running_loop()
        client = self._loops.get(loop)
        if client is None:
            import httpx2  # takes a tenth of a second, and most commands never call a model

            quiet_libraries()
            client = self._loops[loop] = httpx2.AsyncClient(
                timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS_MAX),  # the exchange bounds the whole
                limits=httpx2.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=IDLE_CONNECTIONS_MAX),
                headers={"User-Agent": "headgate"},
            )
        return client

    def _who(self, model: str) -> str:
        return f"{self._name}/{model} at {self._vendor.host}"


def _noted(answer: ModelAnswer, notes: tuple[str, ...], exchange: Exchange) -> ModelAnswer:
    rates = exchange.rates
    return msgspec.structs.replace(answer, notes=notes, rates=rates) if notes or rates else answer


def _told_inside(exchange: Exchange, parts: AnswerParts) -> ProviderError:
    """Return the error that came inside an answer. After text, nobody knows what was billed."""
    assert parts.error is not None
    error = exchange.refusal(parts.error.status, parts.error.said)
    if parts.begun:
        error.status = 0
    error.usage = parts.reported if parts.output_reported else None
    return error
