"""Every provider that speaks OpenAI's chat and embedding API: OpenAI, Azure, Mistral, Ollama, any base URL.

A provider object knows a base URL, a key and a dialect; what is said is in `openai_requests` and `openai_messages`, how
it travels in `exchange`. It never repeats a request; one that a model refuses for a field may be followed by another
without it, where `drop_unsupported` says so. Its HTTP client is made with the first call, one for each running event
loop (connections live on the loop that opened them), and shared by all calls; `close` closes the running loop's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlsplit
from weakref import WeakKeyDictionary

import msgspec

from headgate.core.values import Price, Usage
from headgate.llm.exchange import DONE, Exchange
from headgate.llm.model_names import with_suggestion
from headgate.llm.openai_messages import AnswerParts, Body, read_body, read_embeddings, read_usage
from headgate.llm.openai_requests import DROPS_MAX, Dialect, chat_request, refused_field, without_effort
from headgate.llm.prices import price_of
from headgate.llm.provider_errors import malformed, refused_here
from headgate.llm.provider_settings import TIMEOUT_SECONDS
from headgate.llm.quiet import quiet_libraries
from headgate.llm.token_estimate import FACTOR_UNKNOWN, estimate_inputs, estimate_output, estimate_request
from headgate.ports import EmbeddingAnswer, ModelAnswer, ModelRequest, ProviderError, ToolCall

if TYPE_CHECKING:
    import httpx2

__all__ = ["CONNECTIONS_MAX", "CONNECT_SECONDS_MAX", "IDLE_CONNECTIONS_MAX", "OpenAICompatibleProvider"]

CONNECT_SECONDS_MAX = 15.0
SECRET_CHARACTERS_MIN = 6
CONNECTIONS_MAX = 1000
IDLE_CONNECTIONS_MAX = 100


class OpenAICompatibleProvider:
    """The models behind `base_url` (which ends before `/chat/completions`), under the name `name`.

    `key_variable` is the environment variable that holds the key: a call without a key is refused with its
    name before anything is sent. Where it is empty, no key is needed. `prices` are keyed "provider/model" and
    win over the table; `timeout_seconds` bounds a call whose request has no limit of its own. With `api_version` the
    model is the name of a deployment and stands in the address, as Azure's dated API versions have it.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        api_key: str | None = None,
        *,
        key_variable: str = "",
        key_header: str = "Authorization",
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        prices: Mapping[str, Price] | None = None,
        token_factor: float = FACTOR_UNKNOWN,
        dialect: Dialect | None = None,
        api_version: str = "",
        account: str = "",
    ) -> None:
        self.account = account
        self._name = name
        self._base_url = base_url.rstrip("/")
        self._api_key = (api_key or "").strip()
        self._key_variable = key_variable
        self._key_header = key_header
        self._headers = dict(headers or {})
        self._timeout_seconds = timeout_seconds
        self._prices = prices
        self._token_factor = token_factor
        self._dialect = dialect or Dialect()
        self._api_version = api_version
        self._refused: dict[str, frozenset[str]] = {}
        """Per model, the fields that it was found to refuse."""
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx2.AsyncClient] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"<OpenAICompatibleProvider {self._name} at {self._host}>"

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
        return without_effort(request, self._dialect)

    async def request(self, request: ModelRequest) -> ModelAnswer:
        """Make the call and return its whole answer. Raises `ProviderError`."""
        async with self._opened(request, streamed=False) as (exchange, notes):
            return _noted(await self._read_whole(exchange, request), notes, exchange)

    async def stream(self, request: ModelRequest) -> AsyncIterator[str | ModelAnswer]:
        """Yield text as it comes, then the whole answer. Raises `ProviderError`, also for a cut stream: what was
        delivered before is its usage then, as reported, or estimated where nothing was."""
        async with self._opened(request, streamed=True) as (exchange, notes):
            if not exchange.streamed:
                answer = _noted(await self._read_whole(exchange, request), notes, exchange)
                if answer.content:
                    yield answer.content
                yield answer
                return
            parts = AnswerParts(self._who(request.model))
            async with aclosing(self._texts(exchange, parts, request)) as texts:
                async for text in texts:
                    yield text
            yield _noted(parts.answer(request.model, self._counter(request)), notes, exchange)

    async def embed(self, model: str, inputs: Sequence[str]) -> EmbeddingAnswer:
        """Return one vector per input. Raises `ProviderError`."""
        who = self._who(model)
        counted = estimate_inputs(inputs, factor=self._token_factor)
        estimated = Usage(input_tokens=counted, estimated=True)
        body = {"model": model, "input": list(inputs)}
        async with self._exchange("embeddings", body, model, None) as exchange:
            try:
                await exchange.open()
            except ProviderError as error:
                error.usage = error.usage or _billed(exchange.said, of_embedding=True)
                raise
            answer = read_embeddings(await exchange.read(), model, len(inputs), estimated, who)
            rates = exchange.rates
            return answer if rates is None else msgspec.structs.replace(answer, rates=rates)

    async def close(self) -> None:
        """Close the running loop's connections. Harmless when repeated; a later call opens new ones."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    # --- Reading -------------------------------------------------------------------------------------

    async def _read_whole(self, exchange: Exchange, request: ModelRequest) -> ModelAnswer:
        who = self._who(request.model)
        body = read_body(await exchange.read(), who)
        parts = AnswerParts(who)
        parts.add(body)
        if body.error is not None:
            raise _reported_error(exchange, body, parts)
        if not body.choices:
            broken = malformed(f"{who} answered without a choice to read.")
            broken.usage = parts.reported
            raise broken
        return parts.answer(request.model, self._counter(request))

    async def _texts(self, exchange: Exchange, parts: AnswerParts, request: ModelRequest) -> AsyncGenerator[str, None]:
        """Gather the events into `parts` and yield their text, until the stream has come to its own end."""
        try:
            async for data in exchange.events():
                if data == DONE:
                    return
                body = read_body(data, self._who(request.model))
                text = parts.add(body)
                if body.error is not None:
                    raise _reported_error(exchange, body, parts)
                if text:
                    yield text
            if not parts.finished:
                raise exchange.broken("connection_failed", "ended its stream in the middle of the answer")
        except ProviderError as error:
            error.usage = error.usage or parts.reported or self._delivered(parts, request)
            raise

    def _delivered(self, parts: AnswerParts, request: ModelRequest) -> Usage | None:
        """Return what a stream that was cut has used as far as we have seen it; None: nobody knows."""
        return self._counter(request)(parts.delivered, ()) if parts.begun else None

    def _counter(self, request: ModelRequest) -> Callable[[str, Sequence[ToolCall]], Usage]:
        """Return what makes the usage of an answer to which the provider reported none."""

        def count(content: str, calls: Sequence[ToolCall]) -> Usage:
            made = estimate_output(content, calls, request.max_tokens, factor=self._token_factor)
            return Usage(input_tokens=self.count(request), output_tokens=made, estimated=True)

        return count

    # --- Sending -------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _opened(
        self, request: ModelRequest, *, streamed: bool
    ) -> AsyncGenerator[tuple[Exchange, tuple[str, ...]]]:
        """Yield the exchange that a model has taken the request in, and the notes on it."""
        seconds = self._timeout_seconds if request.timeout_seconds is None else request.timeout_seconds
        until = asyncio.get_running_loop().time() + seconds
        known = self._refused.get(request.model, frozenset[str]()) if request.drop_unsupported else frozenset[str]()
        while True:
            asked = chat_request(request, self._dialect, streamed=streamed, without=known)
            exchange = self._exchange("chat/completions", asked.body, request.model, seconds)
            try:
                await exchange.open()
                break
            except ProviderError as refused:
                error = with_suggestion(refused, self._name, request.model, self._prices)
                error.usage = error.usage or _billed(exchange.said)
                field = refused_field(exchange.said, asked.body) if error.status in (400, 422) else ""
                if not field or error.usage is not None or not request.drop_unsupported or len(known) >= DROPS_MAX:
                    raise error from None
                known = self._refused[request.model] = known | {field}
                seconds = max(until - asyncio.get_running_loop().time(), 0.0)
        async with exchange:
            yield exchange, asked.notes

    def _exchange(self, path: str, body: dict[str, Any], model: str, seconds: float | None) -> Exchange:
        headers = self._authorised()
        return Exchange(
            self._client(),
            self._url(path, model),
            self._encoded(body, model),
            headers=headers,
            who=self._who(model),
            secrets=self._secrets,
            seconds=self._timeout_seconds if seconds is None else seconds,
        )

    def _url(self, path: str, model: str) -> str:
        if not self._api_version:
            return f"{self._base_url}/{path}"
        deployment, version = quote(model, safe=""), quote(self._api_version, safe="")
        return f"{self._base_url}/deployments/{deployment}/{path}?api-version={version}"

    def _encoded(self, body: dict[str, Any], model: str) -> bytes:
        try:
            return msgspec.json.encode(body)
        except (TypeError, ValueError, OverflowError) as error:
            message = f"{self._who(model)} was not asked: the request cannot be written as JSON ({error})."
            raise refused_here("invalid_request", message) from None

    def _authorised(self) -> dict[str, str]:
        key, variable = self._api_key, self._key_variable
        if not key and variable:
            message = (
                f"{self._name} was not asked: there is no key for it. Set {variable} in the environment "
                "of the process that makes model calls."
            )
            raise refused_here("missing_key", message)
        if not key:
            return self._headers
        if not (key.isascii() and key.isprintable()):
            where = variable or "its key"
            message = f"{self._name} was not asked: {where} holds characters that no HTTP header can carry."
            raise refused_here("missing_key", message)
        value = f"Bearer {key}" if self._key_header == "Authorization" else key
        return {**self._headers, self._key_header: value}

    def _client(self) -> httpx2.AsyncClient:
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            import httpx2  # takes a tenth of a second, and most commands never call a model

            quiet_libraries()
            client = self._clients[loop] = httpx2.AsyncClient(
                timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS_MAX),  # the exchange bounds the whole
                limits=httpx2.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=IDLE_CONNECTIONS_MAX),
                headers={"User-Agent": "headgate"},
            )
        return client

    @property
    def _secrets(self) -> tuple[str, ...]:
        """What may not be seen in errors: the key, and headers' values that are long enough to be one."""
        values = (self._api_key, *self._headers.values())
        return tuple(value for value in values if len(value) >= SECRET_CHARACTERS_MIN)

    @property
    def _host(self) -> str:
        return urlsplit(self._base_url).netloc.rpartition("@")[2] or "no address"

    def _who(self, model: str) -> str:
        return f"{self._name}/{model} at {self._host}"


def _noted(answer: ModelAnswer, notes: tuple[str, ...], exchange: Exchange) -> ModelAnswer:
    rates = exchange.rates
    return msgspec.structs.replace(answer, notes=notes, rates=rates) if notes or rates else answer


def _billed(said: object, *, of_embedding: bool = False) -> Usage | None:
    """Return the usage that stands in a refusal all the same."""
    if not isinstance(said, dict):
        return None
    return read_usage(cast("dict[str, object]", said).get("usage"), of_embedding=of_embedding)


def _reported_error(exchange: Exchange, body: Body, parts: AnswerParts) -> ProviderError:
    """Return the error that came inside an answer. After text, nobody knows what was billed."""
    inner = body.error if isinstance(body.error, dict) else {}
    code = inner.get("code", inner.get("status"))
    status = code if isinstance(code, int) and 400 <= code < 600 else 500
    error = exchange.refusal(status, {"error": body.error})
    if parts.begun:
        error.status = 0
    error.usage = parts.reported
    return error
