"""The provider `demo`: small real algorithms behind the port of the models, for trying Headgate offline.

The same request gives the same bytes on every machine: no clock, no randomness, no order of sets, no
logarithms.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec

from headgate.core.values import Price, Usage
from headgate.llm.demo.embed import vector
from headgate.llm.demo.models import MODELS, model_named
from headgate.llm.demo.refusal import cannot
from headgate.llm.demo.respond import respond
from headgate.llm.demo.tokens import count_request, count_text, first_tokens, pieces
from headgate.ports import EmbeddingAnswer, FinishReason, ModelAnswer, ModelRequest, ToolCall

__all__ = ["DemoProvider"]


class DemoProvider:
    """The models `demo/small`, `demo/large` and `demo/embed`.

    `pace_seconds` is waited before each streamed piece, for showing streams to people; answers do not
    depend on it.
    """

    def __init__(self, *, pace_seconds: float = 0.0) -> None:
        self._pace_seconds = pace_seconds

    @property
    def name(self) -> str:
        return "demo"

    async def request(self, request: ModelRequest) -> ModelAnswer:
        """Answer at once. Raises `ProviderError`: `unknown_model`, or `demo_cannot` with what to set
        instead."""
        return _answer(request)

    async def stream(self, request: ModelRequest) -> AsyncIterator[str | ModelAnswer]:
        """Yield the text of `request`'s answer word by word, then the answer. Raises as `request` does,
        before any text."""
        whole = _answer(request)
        for piece in pieces(whole.content):
            if self._pace_seconds:
                await asyncio.sleep(self._pace_seconds)
            yield piece
        yield whole

    async def embed(self, model: str, inputs: Sequence[str]) -> EmbeddingAnswer:
        """Return a vector of 256 numbers and length 1 for each input, in order. Raises `ProviderError` for
        other models."""
        known = model_named(model, embedding=True)
        usage = Usage(provider=self.name, model=known.name, input_tokens=sum(count_text(text) for text in inputs))
        return EmbeddingAnswer(embeddings=tuple(vector(text) for text in inputs), model=known.name, usage=usage)

    def price(self, model: str) -> Price | None:
        """Return the notional price of `model`, marked as simulated; None for a model that is not ours."""
        known = MODELS.get(model)
        return known.price if known else None

    def count(self, request: ModelRequest) -> int:
        """Return the input tokens of `request`, exactly as its usage will say."""
        return count_request(request)


def _answer(request: ModelRequest) -> ModelAnswer:
    model = model_named(request.model)
    if any(message.images for message in request.messages):
        raise cannot("look at images")
    given = respond(request, model)
    if isinstance(given, ToolCall):
        return _calling(request, given)
    text, finish = _cut(given, request)
    return ModelAnswer(content=text, model=model.name, usage=_usage(request, count_text(text)), finish_reason=finish)


def _calling(request: ModelRequest, call: ToolCall) -> ModelAnswer:
    said = count_text(call.name) + count_text(msgspec.json.encode(call.arguments).decode())
    if request.max_tokens is not None and said > request.max_tokens:
        usage = _usage(request, request.max_tokens)
        return ModelAnswer(content="", model=request.model, usage=usage, finish_reason="MaxTokens")
    return ModelAnswer(
        content="",
        model=request.model,
        usage=_usage(request, said),
        finish_reason="ToolUse",
        tool_calls=(call,),
    )


def _cut(text: str, request: ModelRequest) -> tuple[str, FinishReason]:
    """Cut a text at the first stop sequence and at `max_tokens`."""
    stops = [text.index(stop) for stop in request.stop_sequences if stop and stop in text]
    text = text[: min(stops)] if stops else text
    shown = text if request.max_tokens is None else first_tokens(text, request.max_tokens)
    return shown, "Stop" if shown == text else "MaxTokens"


def _usage(request: ModelRequest, output_tokens: int) -> Usage:
    return Usage(provider="demo", model=request.model, input_tokens=count_request(request), output_tokens=output_tokens)
