"""A provider in virtual time, and workflows that call it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from headgate.core.values import Price, RateReport, Usage
from headgate.ports import EmbeddingAnswer, ModelAnswer, ModelRequest, ProviderError
from headgate.testing.clock import VirtualClock

__all__ = ["FAN", "SECOND", "USED", "Lab", "asking", "broken", "busy", "fan", "most_in_a_minute"]

SECOND = 1_000_000
USED = Usage(input_tokens=100, output_tokens=50)


class Lab:
    """A provider in virtual time: `answers` says what becomes of each call; it notes when it was asked what."""

    name = "lab"

    def __init__(self, clock: VirtualClock, answers: Callable[[ModelRequest], Any] | None = None) -> None:
        self.clock = clock
        self.answers = answers or (lambda request: "yes")
        self.asked: list[tuple[int, str, str]] = []
        self.rates: RateReport | None = None
        self.usage = USED

    @property
    def models(self) -> list[str]:
        return [model for _, model, _ in self.asked]

    async def request(self, request: ModelRequest) -> ModelAnswer:
        self.asked.append((self.clock.now(), request.model, request.messages[-1].content))
        said = self.answers(request)
        if isinstance(said, asyncio.Event):
            await said.wait()
            said = "yes"
        if isinstance(said, ProviderError):
            raise said
        return ModelAnswer(content=said, model=request.model, usage=self.usage, rates=self.rates)

    async def stream(self, request: ModelRequest) -> AsyncIterator[str | ModelAnswer]:
        yield await self.request(request)

    async def embed(self, model: str, inputs: Sequence[str]) -> EmbeddingAnswer:
        raise AssertionError("nobody asks for it")

    def price(self, model: str) -> Price | None:
        return Price(input=1_000_000_000, output=1_000_000_000)

    def count(self, request: ModelRequest) -> int:
        return 100


def busy(seconds: float | None = None) -> ProviderError:
    return ProviderError("lab is busy.", status=429, code="rate_limited", retryable=True, retry_after_seconds=seconds)


def broken() -> ProviderError:
    return ProviderError("lab is broken.", status=500, code="provider_unavailable", retryable=True)


def asking(model: str = "lab/m", **settings: Any) -> str:
    more = "".join(f", {name}: {value}" for name, value in settings.items())
    return f"name: t\nactivities: {{a: {{use: llm_prompt, with: {{model: {model}, prompt: x, max_tokens: 50}}{more}}}}}"


FAN = """
name: fan
activities:
  a:
    use: llm_prompt
    for_each: "{{INPUT.items}}"
    with: {model: MODEL, prompt: "{{ITEM}}", max_tokens: 50}
    retry: 1
"""


def fan(model: str = "lab/m", name: str = "fan") -> str:
    return FAN.replace("MODEL", model).replace("fan", name)


def most_in_a_minute(times: list[int]) -> int:
    return max(sum(begin <= at < begin + 60 * SECOND for at in times) for begin in times)
