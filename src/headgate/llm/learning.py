"""A provider whose estimates get better with its answers: it stands before any other, and changes nothing else.

What is learnt is `token_factors`; here is only where it is learnt and used. Usages leave with `estimated_input`, what
their input was estimated at without the factor, so that the ledger's rows tell it, too.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from headgate.core.values import Price, Usage
from headgate.llm.token_factors import TokenFactors, kind_of_request
from headgate.ports import (
    EmbeddingAnswer,
    Message,
    ModelAnswer,
    ModelProvider,
    ModelRequest,
    ProviderError,
)

__all__ = ["LearningProvider"]

COUNTED_MAX = 256
"""Requests whose estimates are remembered until their answers are there."""

Answer = TypeVar("Answer", ModelAnswer, EmbeddingAnswer)


class _Counted(NamedTuple):
    """What a request was estimated at, and what kind of text it is; `messages` are the request's own."""

    messages: tuple[Message, ...]
    tokens: int
    kind: str


class LearningProvider:
    """`inner`, with estimates by `factors`, and teaching them."""

    def __init__(self, inner: ModelProvider, factors: TokenFactors) -> None:
        self.inner = inner
        self._factors = factors
        self._counted: dict[tuple[int, str], _Counted] = {}
        """By the identity of the messages and the model: both halves of a call ask, and the texts may be long."""

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def account(self) -> str:
        """Which key it uses, where that is known: `ports.HasAccounts`."""
        return getattr(self.inner, "account", "")

    def price(self, model: str) -> Price | None:
        """Return the price of `model`, or None where it is not known."""
        return self.inner.price(model)

    def count(self, request: ModelRequest) -> int:
        """Return an upper estimate of the request's input tokens, by what earlier ones of its kind took."""
        counted = self._count(request)
        if len(self._counted) >= COUNTED_MAX:
            self._counted.pop(next(iter(self._counted)))
        self._counted[id(request.messages), request.model] = counted
        return math.ceil(counted.tokens * self._factors.factor(self._model(request), counted.kind))

    def _count(self, request: ModelRequest) -> _Counted:
        known = self._counted.get((id(request.messages), request.model))
        if known is not None and known.messages is request.messages:
            return known
        return _Counted(request.messages, self.inner.count(request), kind_of_request(request))

    def cannot(self, request: ModelRequest) -> str:
        """Return why the model could not take the request, as far as the provider foresees it: `ports.Foresees`."""
        cannot: Callable[[ModelRequest], str] | None = getattr(self.inner, "cannot", None)
        return "" if cannot is None else cannot(request)

    async def request(self, request: ModelRequest) -> ModelAnswer:
        """Make the call. Raises `ProviderError`."""
        try:
            return self._learnt(request, await self.inner.request(request))
        except ProviderError as error:
            raise self._told(request, error) from None

    async def stream(self, request: ModelRequest) -> AsyncIterator[str | ModelAnswer]:
        """Yield text as it comes, then the whole answer. Raises `ProviderError`."""
        items = self.inner.stream(request)
        try:
            async for item in items:
                yield item if isinstance(item, str) else self._learnt(request, item)
        except ProviderError as error:
            raise self._told(request, error) from None
        finally:
            close = getattr(items, "aclose", None)  # generators have it; the port does not ask for it
            if close is not None:
                await close()

    async def embed(self, model: str, inputs: Sequence[str]) -> EmbeddingAnswer:
        """Return one vector per text. Raises `ProviderError`."""
        request = ModelRequest(model=model, messages=tuple(Message("user", text) for text in inputs))
        try:
            return self._learnt(request, await self.inner.embed(model, inputs))
        except ProviderError as error:
            raise self._told(request, error) from None

    async def close(self) -> None:
        """Close what the provider holds open, if anything."""
        close = getattr(self.inner, "close", None)
        if close is not None:
            await close()

    def _learnt(self, request: ModelRequest, answer: Answer) -> Answer:
        counted = self._count(request)
        usage = self._estimated(request, answer.usage)
        # What an image takes has nothing to do with how the text is written.
        if not usage.estimated and not any(message.images for message in request.messages):
            self._factors.learn(
                self._model(request),
                counted.kind,
                estimated=usage.estimated_input,
                actual=usage.input_tokens,
            )
        return msgspec.structs.replace(answer, usage=usage)

    def _told(self, request: ModelRequest, error: ProviderError) -> ProviderError:
        if error.usage is not None:
            error.usage = self._estimated(request, error.usage)
        return error

    def _estimated(self, request: ModelRequest, usage: Usage) -> Usage:
        counted = self._count(request)
        self._counted.pop((id(request.messages), request.model), None)
        return msgspec.structs.replace(usage, estimated_input=counted.tokens)

    def _model(self, request: ModelRequest) -> str:
        return f"{self.inner.name}/{request.model}"
