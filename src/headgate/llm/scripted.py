"""`scripted/NAME`: models whose answers come from a list, in order. Public, for tests of workflows.

A script is a map from the key of an activity, or the name of a model, to its answers. A call takes the next
answer of its activity's list, or, where there is none for the activity, of its model's. An answer is one of

    {text: "…"}   {json: …}   {tool_calls: [{name, arguments, id?}]}   {embeddings: [[…], …]}
    {error: {status, message, retry_after?}}      (status 0: the connection broke, nobody knows what was done)

with `usage` ({input_tokens, output_tokens, …}; counted from the text where it is left out) and `delay`
(seconds before the answer). A call with no answer left is the error `unscripted_call`: a test that asks more
often than it meant to should fail. How far a list is used is kept in this process's memory only: after a
restart, or in a second worker process, every list begins again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from decimal import InvalidOperation
from typing import Annotated, Any, cast

import msgspec

from headgate.core.errors import Invalid
from headgate.core.money import nano
from headgate.core.values import Price, Usage
from headgate.llm.provider_errors import RETRYABLE, refused_here
from headgate.llm.refusals import code_of_status
from headgate.llm.token_estimate import (
    FACTOR_MEASURED,
    estimate_inputs,
    estimate_output,
    estimate_request,
)
from headgate.ports import EmbeddingAnswer, ModelAnswer, ModelRequest, ProviderError, ToolCall

__all__ = ["ScriptedProvider"]

UNPAID = Price(id="scripted")
_Amount = Annotated[int, msgspec.Meta(ge=0)]


class _ScriptedUsage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    input_tokens: _Amount | None = None
    output_tokens: _Amount | None = None
    cache_read_tokens: _Amount = 0
    cache_write_tokens: _Amount = 0
    reasoning_tokens: _Amount = 0


class _ScriptedCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    arguments: dict[str, Any] = {}
    id: str = ""


class _ScriptedError(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    status: Annotated[int, msgspec.Meta(ge=0, le=599)]
    message: str = ""
    retry_after: Annotated[float, msgspec.Meta(ge=0)] | None = None


class _Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    text: str | msgspec.UnsetType = msgspec.UNSET
    json: Any = msgspec.UNSET
    tool_calls: tuple[_ScriptedCall, ...] | msgspec.UnsetType = msgspec.UNSET
    embeddings: tuple[tuple[float, ...], ...] | msgspec.UnsetType = msgspec.UNSET
    error: _ScriptedError | msgspec.UnsetType = msgspec.UNSET
    usage: _ScriptedUsage = _ScriptedUsage()
    delay: Annotated[float, msgspec.Meta(ge=0)] = 0.0

    @property
    def content(self) -> str:
        if self.json is not msgspec.UNSET:
            return msgspec.json.encode(self.json).decode()
        return "" if self.text is msgspec.UNSET else self.text


class ScriptedProvider:
    """The models of a script.

    `models` as in this file's docstring; `prices` by model name (nano-dollars per million tokens), others
    cost nothing; `on_call` hears of every call (the key of the list it takes from, and the request) before
    anything is answered, so that a test can note it down even if the process dies. `calls` are the requests
    so far, in order, unscripted ones included. Raises `Invalid` for a script that cannot be read.
    """

    def __init__(
        self,
        models: Mapping[str, Sequence[Mapping[str, Any]]],
        prices: Mapping[str, Price] | None = None,
        *,
        on_call: Callable[[str, ModelRequest], None] | None = None,
        name: str = "scripted",
    ) -> None:
        self._name = name
        self._answers = {key: _read_answers(key, entries) for key, entries in models.items()}
        self._prices = dict(prices or {})
        self._on_call = on_call
        self._used: dict[str, int] = {}
        self.calls: list[ModelRequest] = []

    @classmethod
    def from_file(cls, text: bytes, *, on_call: Callable[[str, ModelRequest], None] | None = None) -> ScriptedProvider:
        """Return the provider of a script in YAML or JSON: `models`, and `prices` (dollars a million tokens).

        Raises `Invalid` with the line, or the place in the script, of what is wrong.
        """
        script = _read_script(text)
        return cls(script.models, {name: price.price(name) for name, price in script.prices.items()}, on_call=on_call)

    @property
    def name(self) -> str:
        return self._name

    def price(self, model: str) -> Price | None:
        """Return the price that was set for `model`, or one of nothing."""
        return self._prices.get(model, UNPAID)

    def count(self, request: ModelRequest) -> int:
        """Return an upper estimate of the request's input tokens, as for OpenAI's models."""
        return estimate_request(request, factor=FACTOR_MEASURED)

    async def request(self, request: ModelRequest) -> ModelAnswer:
        """Return the next answer. Raises the scripted error, or `unscripted_call`."""
        answer = await self._next(request)
        calls = () if answer.tool_calls is msgspec.UNSET else answer.tool_calls
        tool_calls = tuple(
            ToolCall(call.id or f"call_{number}", call.name, call.arguments) for number, call in enumerate(calls)
        )
        made = estimate_output(answer.content, tool_calls, request.max_tokens, factor=FACTOR_MEASURED)
        return ModelAnswer(
            content=answer.content,
            model=request.model,
            usage=self._usage(request.model, answer.usage, self.count(request), made),
            finish_reason="ToolUse" if tool_calls else "Stop",
            tool_calls=tool_calls,
        )

    async def stream(self, request: ModelRequest) -> AsyncIterator[str | ModelAnswer]:
        """Yield the next answer's text word by word, then the answer."""
        answer = await self.request(request)
        for number, word in enumerate(answer.content.split(" ")):
            if text := f" {word}" if number else word:
                yield text
        yield answer

    async def embed(self, model: str, inputs: Sequence[str]) -> EmbeddingAnswer:
        """Return the vectors of the next answer, which must be `{embeddings: …}`, one for each input."""
        answer = await self._next(ModelRequest(model=model, messages=(), extra={"input": list(inputs)}))
        vectors = () if answer.embeddings is msgspec.UNSET else answer.embeddings
        if len(vectors) != len(inputs):
            raise refused_here(
                "unscripted_call",
                f"{self._name}/{model} was asked for {len(inputs)} embeddings, and answer "
                f"{self._used[model]} of its script holds {len(vectors)}. Give it a vector for each input.",
            )
        counted = estimate_inputs(inputs, factor=FACTOR_MEASURED)
        return EmbeddingAnswer(embeddings=vectors, model=model, usage=self._usage(model, answer.usage, counted, 0))

    async def _next(self, request: ModelRequest) -> _Answer:
        key = request.activity_key if request.activity_key in self._answers else request.model
        self.calls.append(request)
        if self._on_call is not None:
            self._on_call(key, request)
        answers, used = self._answers.get(key, ()), self._used.get(key, 0)
        if used >= len(answers):
            raise self._unscripted(key, request, len(answers))
        self._used[key] = used + 1
        answer = answers[used]
        if answer.delay:
            await asyncio.sleep(answer.delay)
        if answer.error is not msgspec.UNSET:
            raise self._error(request.model, answer)
        return answer

    def _unscripted(self, key: str, request: ModelRequest, given: int) -> ProviderError:
        who = f"activity {request.activity_key!r}" if request.activity_key else "somebody"
        has = f"its {given} answers are used up" if given else "the script has no answers for it"
        return refused_here(
            "unscripted_call",
            f"{self._name}/{request.model} was called by {who}, and under {key!r} {has}. Add one under "
            f"models: {key}, or find out why the call is made.",
        )

    def _error(self, model: str, answer: _Answer) -> ProviderError:
        error = answer.error
        assert error is not msgspec.UNSET
        code = code_of_status(error.status, error.message) if error.status else "connection_failed"
        reported = answer.usage != _ScriptedUsage()
        return ProviderError(
            f"{self._name}/{model} answered {error.status}: {error.message or 'as its script says'}",
            status=error.status,
            code=code,
            retryable=code in RETRYABLE,
            retry_after_seconds=error.retry_after,
            usage=self._usage(model, answer.usage, 0, 0) if reported else None,
        )

    def _usage(self, model: str, scripted: _ScriptedUsage, given: int, made: int) -> Usage:
        return Usage(
            provider=self._name,
            model=model,
            input_tokens=given if scripted.input_tokens is None else scripted.input_tokens,
            output_tokens=made if scripted.output_tokens is None else scripted.output_tokens,
            cache_read_tokens=scripted.cache_read_tokens,
            cache_write_tokens=scripted.cache_write_tokens,
            reasoning_tokens=scripted.reasoning_tokens,
        )


# --- Reading scripts -----------------------------------------------------------------------------------


class _ScriptedPrice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    input: float | str = 0
    output: float | str = 0
    cache_read: float | str | None = None
    cache_write: float | str | None = None

    def price(self, name: str) -> Price:
        return Price(
            input=_nano(name, self.input),
            output=_nano(name, self.output),
            cache_read=None if self.cache_read is None else _nano(name, self.cache_read),
            cache_write=None if self.cache_write is None else _nano(name, self.cache_write),
            id=f"scripted/{name}",
        )


def _nano(name: str, dollars: float | str) -> int:
    try:
        amount = nano(str(dollars))
    except (InvalidOperation, ValueError, OverflowError):
        amount = -1
    if amount < 0:
        raise Invalid(f"expected prices.{name} to be dollars per million tokens, like 0.25, got {dollars!r}")
    return amount


class _Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    models: dict[str, list[dict[str, Any]]]
    prices: dict[str, _ScriptedPrice] = {}


def _read_script(text: bytes) -> _Script:
    import yaml

    loader = cast("type[yaml.SafeLoader]", getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    try:
        # JSON is YAML too, so that one reader does for both; only plain values come out of the safe loader.
        data = cast("object", yaml.load(text, Loader=loader))  # noqa: S506  # it is a safe loader, in C
        return msgspec.convert(data, _Script)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"expected the script of models to be YAML or JSON: {error}") from None
    except msgspec.ValidationError as error:
        raise Invalid(f"expected the script of models to be a map of `models` (and `prices`): {error}") from None


def _read_answers(key: str, entries: object) -> tuple[_Answer, ...]:
    if not isinstance(entries, (list, tuple)):
        raise Invalid(f"expected models.{key} to be a list of answers, got {type(entries).__name__}")
    return tuple(
        _read_answer(f"models.{key}[{number}]", entry) for number, entry in enumerate(cast("Sequence[object]", entries))
    )


def _read_answer(place: str, entry: object) -> _Answer:
    try:
        answer = msgspec.convert(entry, _Answer)
    except msgspec.ValidationError as error:
        raise Invalid(f"{place} is no answer: {error}") from None
    kinds = [
        kind
        for kind in ("text", "json", "tool_calls", "embeddings", "error")
        if getattr(answer, kind) is not msgspec.UNSET
    ]
    if len(kinds) == 2 and set(kinds) == {"text", "tool_calls"}:  # a model may say why it calls
        return answer
    if len(kinds) != 1:
        got = " and ".join(kinds) or "none of them"
        raise Invalid(f"expected {place} to hold one of text, json, tool_calls, embeddings and error, got {got}")
    return answer
