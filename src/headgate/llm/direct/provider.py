"""A provider whose protocol `pydantic_ai` speaks: our port on one side, a `Vendor` on the other.

Never repeats a request, and lets no SDK repeat one (`wire`). Clients are made with the first call, one set for each
running event loop; `close` closes the running loop's. A call without its extra or its key is refused before anything is
sent, with the words that say what to install or to set.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import msgspec

from headgate.core.values import Price, Usage
from headgate.llm.prices import price_of
from headgate.llm.provider_errors import malformed, rate_report, refused_here
from headgate.llm.provider_settings import TIMEOUT_SECONDS
from headgate.llm.quiet import quiet_libraries
from headgate.llm.token_estimate import FACTOR_UNKNOWN, estimate_inputs, estimate_output, estimate_request
from headgate.ports import EmbeddingAnswer, FinishReason, ModelAnswer, ModelRequest, ProviderError

if TYPE_CHECKING:
    from pydantic_ai.embeddings import EmbeddingModel
    from pydantic_ai.messages import ModelResponse
    from pydantic_ai.models import Model, StreamedResponse

    from headgate.llm.direct.messages import Asked, Offer
    from headgate.llm.direct.wire import Call, WatchedClient

__all__ = ["Connection", "DirectProvider", "Opened", "Vendor"]

MODELS_MAX = 64
"""Of how many models the objects are kept per loop; then all are made anew."""
SDK_SECONDS = 60.0
"""How much longer an SDK would wait than we do."""
SECRET_CHARACTERS_MIN = 6
AMAZON_SECRETS = frozenset(
    {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK"}
)

Result = TypeVar("Result")


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """Where a vendor is, with whose key. A repr would show the key: do not print one."""

    base_url: str = ""
    """Empty: the vendor's own."""
    api_key: str = ""
    headers: Mapping[str, str] = {}
    timeout_seconds: float = TIMEOUT_SECONDS
    amazon: Mapping[str, str] = {}
    """AWS's variables, where it is AWS."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What may not be seen in errors: keys, and headers' values that are long enough to be one."""
        amazon = [value for name, value in self.amazon.items() if name in AMAZON_SECRETS]
        values = (self.api_key, *self.headers.values(), *amazon)
        return tuple(value for value in values if len(value) >= SECRET_CHARACTERS_MIN)


class Opened(Protocol):
    """A vendor's clients on one event loop."""

    def model(self, name: str) -> Model[Any]: ...

    def embedding_model(self, name: str) -> EmbeddingModel | None:
        """Return the model that makes vectors, or None: the vendor has none."""
        ...


class Vendor(Protocol):
    """What differs from vendor to vendor. Asked for with the first call, for it imports the SDK."""

    name: str
    host: str
    """Where it is when nobody says otherwise."""
    offer: Offer
    reasons: Mapping[str, FinishReason]

    def missing(self, connection: Connection) -> str:
        """Return the variables of the environment without which no call can be made, or nothing."""
        ...

    async def open(self, connection: Connection, http: WatchedClient) -> Opened: ...

    def usage(self, reported: Mapping[str, object]) -> Usage | None:
        """Return what was used as the vendor reported it, or None where it makes no sense."""
        ...

    def mend(self, said: dict[str, Any]) -> bool:
        """Put right what the SDK would stumble over in an answer or an event; say whether anything was changed."""
        ...

    def embedding_requests(self, model: str, inputs: Sequence[str]) -> int:
        """Return how many requests it takes to embed `inputs`."""
        ...


class _Loop(msgspec.Struct):
    """What there is on one loop: clients, and the models that were asked for."""

    http: Any
    opened: Any
    models: dict[str, Any] = {}


class DirectProvider:
    """The models of a vendor under the name `name`. `load` imports the vendor's file; it is called with the first call.

    `prices` are keyed "provider/model" and win over the table. The connection's timeout bounds a call whose request has
    no limit of its own.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[], Vendor],
        connection: Connection,
        *,
        prices: Mapping[str, Price] | None = None,
        token_factor: float = FACTOR_UNKNOWN,
        account: str = "",
    ) -> None:
        self.account = account
        self._name = name
        self._load = load
        self._connection = connection
        self._prices = prices
        self._token_factor = token_factor
        self._vendor: Vendor | None = None
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[_Loop] | _Loop] = WeakKeyDictionary()
        """What there is on each loop, or is being made: a task keeps its loop alive, so none stays here."""

    def __repr__(self) -> str:
        return f"<DirectProvider {self._name}>"

    @property
    def name(self) -> str:
        return self._name

    def price(self, model: str) -> Price | None:
        """Return the price of `model`, or None where it is not known."""
        return price_of(self._name, model, self._prices)

    def count(self, request: ModelRequest) -> int:
        """Return an upper estimate of the request's input tokens."""
        return estimate_request(request, factor=self._token_factor)

    async def request(self, request: ModelRequest) -> ModelAnswer:
        """Make the call and return its whole answer. Raises `ProviderError`."""
        loop, asked = await self._prepared(request)
        from pydantic_ai.direct import model_request

        call = self._call(request.model, request.timeout_seconds)
        call.extra = asked.extra
        async with self._watching(call, request.model):
            response = await _sending(
                call,
                model_request(
                    loop.models[request.model],
                    asked.messages,
                    model_settings=self._settings(asked, call),
                    model_request_parameters=asked.parameters,
                    instrument=False,
                ),
            )
            return self._answer(call, response, request, asked.notes)

    async def stream(self, request: ModelRequest) -> AsyncIterator[str | ModelAnswer]:
        """Yield text as it comes, then the whole answer. Raises `ProviderError`, also for a cut stream: its usage is
        what was reported, or estimated by what was delivered before."""
        loop, asked = await self._prepared(request)
        call = self._call(request.model, request.timeout_seconds)
        call.extra = asked.extra
        async with aclosing(self._streamed(call, loop.models[request.model], request, asked)) as items:
            async for item in items:
                yield item

    async def embed(self, model: str, inputs: Sequence[str]) -> EmbeddingAnswer:
        """Return one vector per input. Raises `ProviderError`."""
        loop = await self._opened()
        vendor = self._loaded()
        try:
            embedder: EmbeddingModel | None = loop.opened.embedding_model(model)
        except Exception as error:  # noqa: BLE001 - `pydantic_ai` has no common root for what it does not take
            raise refused_here("missing_capability", f"{self._who(model)} was not asked: {error}") from None
        if embedder is None:
            raise refused_here(
                "missing_capability",
                f"{self._name} has no models that embed. Use another provider for that, such as openai, google, "
                "bedrock, mistral or ollama.",
            )
        call = self._call(model, None, requests_max=vendor.embedding_requests(model, inputs))
        async with self._watching(call, model):
            found = await _sending(call, embedder.embed(list(inputs), input_type="document"))
            vectors = tuple(tuple(float(number) for number in vector) for vector in found.embeddings)
            if len(vectors) != len(inputs) or not all(vectors):
                raise malformed(f"{call.who} was asked for {len(inputs)} embeddings and answered with {len(vectors)}.")
            reported = found.usage.input_tokens
            counted = estimate_inputs(inputs, factor=self._token_factor)
            usage = Usage(model=model, input_tokens=reported or counted, estimated=not reported)
            return EmbeddingAnswer(embeddings=vectors, model=model, usage=usage)

    async def close(self) -> None:
        """Close the running loop's connections. Harmless when repeated; a later call opens new ones."""
        known = self._loops.pop(asyncio.get_running_loop(), None)
        if isinstance(known, asyncio.Task):
            (known,) = await asyncio.gather(known, return_exceptions=True)
        if isinstance(known, _Loop):  # and neither nothing nor the error with which it could not be opened
            await known.http.aclose()

    # --- Streams ---------------------------------------------------------------------------------------

    async def _streamed(
        self, call: Call, model: Model[Any], request: ModelRequest, asked: Asked
    ) -> AsyncGenerator[str | ModelAnswer, None]:
        from pydantic_ai.direct import model_request_stream

        from headgate.llm.direct.answers import reason_told, text_in

        opening = model_request_stream(
            model,
            asked.messages,
            model_settings=self._settings(asked, call),
            model_request_parameters=asked.parameters,
            instrument=False,
        )
        streamed: StreamedResponse | None = None
        async with self._watching(call, request.model, lambda: self._cut(call, streamed, request)):
            streamed = await _sending(call, opening.__aenter__())
            try:
                events = aiter(streamed)
                while (event := await call.within(anext(events, None))) is not None:
                    if text := text_in(event):
                        yield text
                response = streamed.get()
                if not reason_told(response) and response.finish_reason is None:
                    raise ProviderError(
                        f"{call.who} ended its stream in the middle of the answer.",
                        code="connection_failed",
                        retryable=True,
                    )
                yield self._answer(call, response, request, asked.notes)
            finally:
                await call.close()  # before the SDK, which may wait for what nobody wants any more
                with suppress(Exception):  # the call is over, and how it ended is known
                    await opening.__aexit__(None, None, None)

    def _cut(self, call: Call, streamed: StreamedResponse | None, request: ModelRequest) -> Usage | None:
        """Return what a stream that was cut has used as far as we have seen it; None: nobody knows."""
        from headgate.llm.direct.answers import delivered

        reported = self._loaded().usage(call.reports.usage)
        text = delivered(streamed.get()) if streamed is not None else ""
        if reported is not None and call.reports.final:
            return reported
        if reported is None and not text:
            return None
        made = estimate_output(text, (), request.max_tokens, factor=self._token_factor)
        if reported is None:
            return Usage(input_tokens=self.count(request), output_tokens=made, estimated=True)
        return msgspec.structs.replace(reported, output_tokens=max(made, reported.output_tokens), estimated=True)

    # --- Reading ---------------------------------------------------------------------------------------

    def _answer(
        self, call: Call, response: ModelResponse, request: ModelRequest, notes: tuple[str, ...]
    ) -> ModelAnswer:
        from headgate.llm.direct.answers import answer_of, delivered, reason_told

        if not response.parts and not reason_told(response) and response.finish_reason is None:
            raise malformed(f"{call.who} answered without anything to read.")
        vendor = self._loaded()
        usage = vendor.usage(call.reports.usage)
        if usage is None or not (usage.input_tokens or usage.output_tokens):
            made = estimate_output(delivered(response), (), request.max_tokens, factor=self._token_factor)
            usage = Usage(input_tokens=self.count(request), output_tokens=made, estimated=True)
        try:
            answer = answer_of(response, vendor.reasons, request.model, usage, notes)
            return msgspec.structs.replace(answer, rates=rate_report(call.headers))
        except (msgspec.DecodeError, TypeError, ValueError) as error:
            message = f"{call.who} asked for a tool with arguments that are no JSON object: {error}"
            raise malformed(message) from None

    @asynccontextmanager
    async def _watching(
        self, call: Call, model: str, cut: Callable[[], Usage | None] | None = None
    ) -> AsyncGenerator[None]:
        """Turn whatever goes wrong inside into a `ProviderError` that carries the usage that is known."""
        from headgate.llm.direct.failures import failure_of
        from headgate.llm.model_names import with_suggestion

        try:
            yield
        except Exception as error:  # noqa: BLE001 - what SDKs raise has no common root
            usage = cut() if cut is not None else self._loaded().usage(call.reports.usage)
            failed = failure_of(call, error, begun=usage is not None)
            failed.usage = failed.usage or usage
            failed.rates = failed.rates or rate_report(call.headers)
            raise with_suggestion(failed, self._name, model, self._prices) from None
        finally:
            await call.close()

    # --- Sending ---------------------------------------------------------------------------------------

    async def _prepared(self, request: ModelRequest) -> tuple[_Loop, Asked]:
        loop = await self._opened()
        from headgate.llm.direct.messages import asked_of

        if request.model not in loop.models:
            if len(loop.models) >= MODELS_MAX:
                loop.models.clear()
            loop.models[request.model] = loop.opened.model(request.model)
        return loop, asked_of(loop.models[request.model], self._loaded().offer, request)

    def _settings(self, asked: Asked, call: Call) -> Any:
        """Return the settings with a timeout that our deadline comes before, and with no retries."""
        if not self._loaded().offer.timeouts:
            return asked.settings
        return {**asked.settings, "timeout": call.seconds + SDK_SECONDS, "max_retries": 0}

    def _call(self, model: str, seconds: float | None, *, requests_max: int = 1) -> Call:
        from headgate.llm.direct.wire import Call

        limit = self._connection.timeout_seconds if seconds is None else seconds
        mend = self._loaded().mend
        return Call(self._who(model), self._connection.secrets, limit, mend, requests_max=requests_max)

    async def _opened(self) -> _Loop:
        """Return the running loop's clients; callers that come while they are made wait for the same ones."""
        if self._vendor is None:
            await asyncio.to_thread(self._loaded)  # SDKs take a second or two to import
        vendor = self._loaded()
        if variables := vendor.missing(self._connection):
            raise refused_here(
                "missing_key",
                f"{self._name} was not asked: there is no key for it. Set {variables} in the environment of the "
                "process that makes model calls.",
            )
        if not (self._connection.api_key.isascii() and self._connection.api_key.isprintable()):
            message = f"{self._name} was not asked: its key holds characters that no HTTP header can carry."
            raise refused_here("missing_key", message)
        running = asyncio.get_running_loop()
        known = self._loops.get(running)
        if known is None:
            known = self._loops[running] = running.create_task(self._open(vendor))
        return known if isinstance(known, _Loop) else await asyncio.shield(known)

    async def _open(self, vendor: Vendor) -> _Loop:
        from headgate.llm.direct.wire import WatchedClient

        quiet_libraries()
        running, http = asyncio.get_running_loop(), WatchedClient()
        opened: _Loop | None = None
        try:
            opened = _Loop(http, await vendor.open(self._connection, http))
            return opened
        finally:
            if self._loops.get(running) is asyncio.current_task():
                if opened is None:  # the next call tries again
                    del self._loops[running]
                else:
                    self._loops[running] = opened

    def _loaded(self) -> Vendor:
        if self._vendor is None:
            try:
                self._vendor = self._load()
                import_module("pydantic_ai.direct")  # so that no call waits for it on the loop
            except ImportError as error:
                raise refused_here(
                    "missing_extra",
                    f"{self._name} was not asked: what speaks its protocol is not installed ({error.name or error}). "
                    f"Say: pip install headgate[{self._name}]",
                ) from None
        return self._vendor

    def _who(self, model: str) -> str:
        host = urlsplit(self._connection.base_url).netloc.rpartition("@")[2]
        return f"{self._name}/{model} at {host or self._loaded().host}"


async def _sending(call: Call, wait: Awaitable[Result]) -> Result:
    """Wait for what sends the call's request, by its deadline."""
    from headgate.llm.direct.wire import CALL

    token = CALL.set(call)
    try:
        return await call.within(wait)
    finally:
        CALL.reset(token)
