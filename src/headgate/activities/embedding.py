"""The activity `embedding`: texts to vectors, in batches, each batch a call through the gate.

A batch that fails ends the attempt; what the batches before it cost stays spent, for it was used. Where calls may be
reused, each text is kept by itself, and only those that are not there are sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import msgspec

from headgate.activities.call_cost import max_cost_of
from headgate.activities.gated_call import Answered, ask_first_available, asked_hash
from headgate.activities.llm_prompt import usage_fields
from headgate.activities.parameters import wrong_parameters
from headgate.activities.policed import Policed
from headgate.activities.targets import Target, targets
from headgate.activities.tenant_providers import providers_of
from headgate.core.model_list import ModelEntry, read_entry
from headgate.core.money import dollars
from headgate.core.usage_sums import add_up_usages
from headgate.core.values import Usage
from headgate.ports import (
    NO_GUARDS,
    ActivityContext,
    ActivityFunction,
    EmbeddingAnswer,
    Guards,
    Hit,
    Kept,
    Message,
    ModelRequest,
    Providers,
)

__all__ = ["embedding"]

_invalid = partial(wrong_parameters, "embedding")

BATCH_SIZE = 100
BATCH_SIZE_MAX = 2048
"""What OpenAI takes in one request."""


def embedding(providers: Providers, guards: Guards = NO_GUARDS) -> ActivityFunction:
    """Return the activity over these providers, by the names that models begin with.

    It raises `Attempt` as `llm_prompt` does. An empty `input` is an empty list of vectors, and no call.
    """

    async def embed(parameters: dict[str, Any], ctx: ActivityContext) -> dict[str, Any]:
        model, inputs, batch_size = _parsed(parameters)
        own = providers_of(ctx.task, providers)
        (target,) = targets([model], own, "embedding")
        policed = Policed(guards, ctx)
        with policed.clean_failures():
            batches = _Batches(policed, target, max_cost_of(parameters, "embedding"))
            for start in range(0, len(inputs), batch_size):
                texts = tuple(Message("user", text) for text in inputs[start : start + batch_size])
                asked = ModelRequest(model=target.model, messages=texts)
                asked, _ = await policed.allowed(asked, [target.name], own, purpose="embedding")
                await batches.embed([message.content for message in asked.messages])
            return batches.result()

    return embed


def _parsed(parameters: dict[str, Any]) -> tuple[ModelEntry, list[str], int]:
    unknown = sorted(parameters.keys() - {"model", "input", "batch_size", "max_cost"})
    if unknown:
        raise _invalid(f"expected parameters of model, input, batch_size and max_cost, got {unknown[0]}")
    model, given = parameters.get("model"), parameters.get("input")
    try:
        entry = read_entry(model)
    except ValueError as error:
        raise _invalid(f"expected {error}") from None
    inputs = [given] if isinstance(given, str) else given
    if not isinstance(inputs, list) or not all(isinstance(text, str) for text in inputs):
        raise _invalid(f"expected input to be a text or a list of texts, got {type(given).__name__}")
    size = parameters.get("batch_size")
    size = BATCH_SIZE if size is None else size
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= BATCH_SIZE_MAX:
        raise _invalid(f"expected batch_size to be a whole number from 1 to {BATCH_SIZE_MAX}, got {size!r}")
    return entry, cast("list[str]", inputs), size


class _Vector(msgspec.Struct, frozen=True):
    """The embedding of one text, as it is kept: with its part of the tokens that the call used."""

    embedding: list[float]
    model: str
    input_tokens: int


class _Batches:
    def __init__(self, policed: Policed, target: Target, max_cost: int | None) -> None:
        self.ctx = policed.ctx
        self.max_cost = max_cost
        self.target = target
        self.vectors: list[Any] = []
        self.usages: list[Usage] = []
        self.calls = 0
        self.reused = 0
        self.cost = 0
        self.simulated = False
        self.model = target.model

    async def embed(self, inputs: list[str]) -> None:
        """Embed a batch: ask for what is not reused until there is nothing left to ask for."""
        vectors: list[list[float] | None] = [None] * len(inputs)
        left = list(range(len(inputs)))
        while left:  # each turn finds at least one
            found = await self._ask([inputs[number] for number in left])
            for number, vector in zip(left, found, strict=True):
                vectors[number] = vector
            left = [number for number in left if vectors[number] is None]
        self.vectors += vectors

    async def _ask(self, inputs: list[str]) -> Sequence[list[float] | None]:
        """Return the vectors of these texts: all of them by a call, or some of them from equal calls before."""

        async def call(target: Target, _seconds: float) -> EmbeddingAnswer:
            return await target.provider.embed(target.model, inputs)

        cached = bool(self.ctx.task.settings.get("cache_calls"))
        answered = await ask_first_available(
            *(self.ctx, [self.target]),
            request={"embed": inputs},
            size=self._size(inputs),
            call=call,
            reuse=tuple(asked_hash({"embed": text}) for text in inputs) if cached else (),
            keep=lambda answer: _kept(inputs, answer),
            max_cost=self.max_cost,
        )
        if isinstance(answered, Hit):
            return [None if kept is None else self._reused(kept) for kept in answered.answers]
        return self._take(answered)

    def _reused(self, kept: Any) -> list[float]:
        vector = msgspec.convert(kept, _Vector)
        self.usages.append(Usage(input_tokens=vector.input_tokens))
        self.model = vector.model
        self.simulated = self.simulated or bool(self.target.price and self.target.price.simulated)
        self.reused += 1
        return vector.embedding

    def _size(self, inputs: list[str]) -> Callable[[Target], tuple[int, int]]:
        as_messages = tuple(Message("user", text) for text in inputs)
        request = ModelRequest(model=self.target.model, messages=as_messages)

        return lambda target: (target.provider.count(request), 0)

    def _take(self, answered: Answered[EmbeddingAnswer]) -> list[list[float]]:
        self.calls += 1
        self.usages.append(answered.usage)
        self.cost += answered.cost
        self.simulated = self.simulated or answered.simulated
        self.model = answered.answer.model
        return [list(vector) for vector in answered.answer.embeddings]

    def result(self) -> dict[str, Any]:
        total = add_up_usages(self.usages)
        result: dict[str, Any] = {
            "embeddings": self.vectors,
            "embedding_count": len(self.vectors),
            "model": self.model,
            "provider": self.target.provider_name,
            "usage": usage_fields(total),
            "cost_usd": dollars(self.cost),
        }
        if self.ctx.task.settings.get("cache_calls"):
            result |= {"cache_hit": not self.calls and bool(self.reused), "reused_count": self.reused}
        return {**result, "simulated": True} if self.simulated else result


def _kept(inputs: list[str], answer: EmbeddingAnswer) -> tuple[Kept, ...]:
    """Return each text's vector, with its part of what the call used: by its length, for no provider says more."""
    if len(answer.embeddings) != len(inputs):
        return ()
    lengths = [max(1, len(text)) for text in inputs]
    total, so_far = sum(lengths), 0
    kept: list[Kept] = []
    for vector, length in zip(answer.embeddings, lengths, strict=True):
        used = answer.usage.input_tokens
        tokens = used * (so_far + length) // total - used * so_far // total
        so_far += length
        kept.append(Kept({"embedding": list(vector), "model": answer.model, "input_tokens": tokens}, length))
    return tuple(kept)
