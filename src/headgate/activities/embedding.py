"""The activity `embedding`: texts to vectors, in batches, each batch a call through the gate.

A batch that fails ends the attempt; what the batches before it cost stays spent, for it was used.
"""

from __future__ import annotations

from typing import Any, cast

from headgate.activities.gated_call import Answered, Target, ask_first_available, targets
from headgate.activities.llm_prompt import usage_fields
from headgate.core.money import dollars
from headgate.core.usage_sums import add_up_usages
from headgate.core.values import Price, Usage
from headgate.ports import (
    ActivityContext,
    ActivityFunction,
    Attempt,
    EmbeddingAnswer,
    Hit,
    Message,
    ModelRequest,
    Providers,
)

__all__ = ["embedding"]

BATCH_SIZE = 100
BATCH_SIZE_MAX = 2048
"""What OpenAI takes in one request."""


def embedding(providers: Providers) -> ActivityFunction:
    """Return the activity over these providers, by the names that models begin with.

    It raises `Attempt` as `llm_prompt` does. An empty `input` is an empty list of vectors, and no call.
    """

    async def embed(parameters: dict[str, Any], ctx: ActivityContext) -> dict[str, Any]:
        model, inputs, batch_size = _parsed(parameters)
        (target,) = targets([model], providers, "embedding")
        batches = _Batches(ctx, target)
        for start in range(0, len(inputs), batch_size):
            await batches.ask(inputs[start : start + batch_size])
        return batches.result()

    return embed


def _parsed(parameters: dict[str, Any]) -> tuple[str, list[str], int]:
    unknown = sorted(parameters.keys() - {"model", "input", "batch_size"})
    if unknown:
        raise _invalid(f"expected parameters of model, input and batch_size, got {unknown[0]}")
    model, given = parameters.get("model"), parameters.get("input")
    if not isinstance(model, str):
        raise _invalid(f'expected model to be "provider/model", got {model!r}')
    inputs = [given] if isinstance(given, str) else given
    if not isinstance(inputs, list) or not all(isinstance(text, str) for text in inputs):
        raise _invalid(f"expected input to be a text or a list of texts, got {type(given).__name__}")
    size = parameters.get("batch_size")
    size = BATCH_SIZE if size is None else size
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= BATCH_SIZE_MAX:
        raise _invalid(f"expected batch_size to be a whole number from 1 to {BATCH_SIZE_MAX}, got {size!r}")
    return model, cast("list[str]", inputs), size


def _invalid(message: str) -> Attempt:
    return Attempt.failed("invalid_parameters", f"embedding: {message}.", retryable=False)


class _Batches:
    def __init__(self, ctx: ActivityContext, target: Target) -> None:
        self.ctx = ctx
        self.target = target
        self.vectors: list[Any] = []
        self.usages: list[Usage] = []
        self.cost = 0
        self.simulated = False
        self.model = target.model

    async def ask(self, inputs: list[str]) -> None:
        async def call(target: Target, _models_left: int) -> EmbeddingAnswer:
            return await target.provider.embed(target.model, inputs)

        answered = await ask_first_available(
            self.ctx, [self.target], request={"embed": inputs}, worst_case=self._worst_case(inputs), call=call
        )
        if isinstance(answered, Hit):
            self.vectors += answered.response["embeddings"]
            return
        self._take(answered)

    def _worst_case(self, inputs: list[str]) -> Any:
        as_messages = tuple(Message("user", text) for text in inputs)
        request = ModelRequest(model=self.target.model, messages=as_messages)

        def worst_case(target: Target, price: Price) -> int:
            return price.worst_case(target.provider.count(request), 0)

        return worst_case

    def _take(self, answered: Answered[EmbeddingAnswer]) -> None:
        self.vectors += [list(vector) for vector in answered.answer.embeddings]
        self.usages.append(answered.usage)
        self.cost += answered.cost
        self.simulated = self.simulated or answered.simulated
        self.model = answered.answer.model

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
        return {**result, "simulated": True} if self.simulated else result
