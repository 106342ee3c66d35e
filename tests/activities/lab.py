"""A provider whose models do as they are told, and a ledger that notes down what it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from headgate.activities.llm_prompt import llm_prompt
from headgate.core.values import Assignment, Candidate, Failure, PassedOver, Price, Usage
from headgate.ports import (
    Admission,
    Admitted,
    Attempt,
    CallRequest,
    EmbeddingAnswer,
    ModelAnswer,
    ModelRequest,
    ProviderError,
    Settlement,
    Thought,
    ToolCall,
)

__all__ = [
    "CACHED",
    "COST",
    "FULL",
    "PRICE",
    "SCHEMA",
    "USED",
    "Ledger",
    "Models",
    "Outcome",
    "fails",
    "failure",
    "prompt",
    "says",
    "task",
]

PRICE = Price(input=1_000_000_000, output=4_000_000_000)
USED = Usage(input_tokens=100, output_tokens=50, cache_read_tokens=20, reasoning_tokens=5)
COST = 100 * 1000 + 50 * 4000
CACHED = {"settings": {"cache_calls": True}}
FULL = ModelAnswer(
    content='{"km": 1}',
    model="m-2026",
    usage=USED,
    finish_reason="ToolUse",
    tool_calls=(ToolCall("t", "add", {"a": 1}),),
    reasoning="first this, then that",
    thoughts=(Thought(provider="lab", seal="c2VhbA==", text="first this", call="t"),),
    notes=("top_p was left out",),
)
SCHEMA = {
    "type": "object",
    "properties": {"km": {"type": "integer"}, "unit": {"enum": ["km", "mi"]}},
    "required": ["km"],
    "additionalProperties": False,
}


def task(**fields: Any) -> Assignment:
    known = {"activity_id": "claim-1", "workflow_id": "run-1", "activity_key": "ask", "place": "ask"}
    return Assignment(**known, activity_name="llm_prompt", **fields)


@dataclass
class Ledger:
    """An activity's context that admits as it is told (by default the first candidate) and notes down all."""

    task: Assignment = field(default_factory=task)
    admissions: list[Admission | Literal["first", "last"]] = field(default_factory=list)
    asked: list[tuple[str, list[Candidate]]] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    reuse: list[tuple[str, ...]] = field(default_factory=list)
    admitted: list[str] = field(default_factory=list)
    settled: list[tuple[str, Any]] = field(default_factory=list)
    settlements: list[Settlement] = field(default_factory=list)
    streamed: list[str] = field(default_factory=list)
    logged: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    settling: asyncio.Event | None = None

    async def admit(self, request: CallRequest) -> tuple[str, Admission]:
        candidates = request.candidates
        self.asked.append((request.request_hash, list(candidates)))
        self.passed_over += request.passed_over
        self.pauses.append(request.pause_seconds)
        self.reuse.append(request.reuse)
        call_id = f"call-{len(self.asked)}"
        wanted = self.admissions.pop(0) if self.admissions else "first"
        if not isinstance(wanted, str):
            return call_id, wanted
        index = 0 if wanted == "first" else len(candidates) - 1
        self.admitted.append(call_id)
        skipped = tuple(candidate.model for candidate in candidates[:index])
        return call_id, Admitted(candidates[index].model, candidates[index].worst_case, skipped)

    async def settle(self, call_id: str, settlement: Settlement) -> None:
        if self.settling is not None:
            await self.settling.wait()
        self.settlements.append(settlement)
        self.settled.append((call_id, settlement.usage or settlement.outcome))

    def stream(self, text: str) -> None:
        self.streamed.append(text)

    def restart_stream(self) -> None:
        self.streamed.clear()

    def log(self, message: str, **fields: Any) -> None:
        self.logged.append((message, fields))


Outcome = ModelAnswer | Exception | asyncio.Event


class Models:
    """A provider whose models' outcomes are listed by name: an answer, an error, or an event to wait for."""

    def __init__(self, outcomes: dict[str, Outcome], price: Price | None = PRICE, name: str = "lab") -> None:
        self.name = name
        self.outcomes = outcomes
        self.requests: list[ModelRequest] = []
        self.asked = asyncio.Event()
        self.prices: dict[str, Price] = {}
        self._price = price

    async def request(self, request: ModelRequest) -> ModelAnswer:
        self.requests.append(request)
        self.asked.set()
        outcome = self.outcomes[request.model]
        if isinstance(outcome, asyncio.Event):
            await outcome.wait()
            raise AssertionError("nobody sets it")
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def stream(self, request: ModelRequest) -> AsyncIterator[str | ModelAnswer]:
        yield "so "
        answer = await self.request(request)
        yield answer.content
        yield answer

    async def embed(self, model: str, inputs: Sequence[str]) -> EmbeddingAnswer:
        self.requests.append(ModelRequest(model=model, messages=()))
        outcome = self.outcomes[model]
        if isinstance(outcome, Exception):
            raise outcome
        vectors = tuple((float(len(text)), 0.0) for text in inputs)
        return EmbeddingAnswer(embeddings=vectors, model=model, usage=Usage(input_tokens=10 * len(inputs)))

    def price(self, model: str) -> Price | None:
        return self.prices.get(model, self._price if model in self.outcomes else None)

    def count(self, request: ModelRequest) -> int:
        return sum(len(message.content) for message in request.messages)


def says(content: str, **fields: Any) -> ModelAnswer:
    return ModelAnswer(content=content, model="m", usage=USED, **fields)


def fails(status: int = 0, code: str = "provider_error", **fields: Any) -> ProviderError:
    return ProviderError(f"lab said {status} ({code}).", status=status, code=code, **fields)


def prompt(models: Models, ledger: Ledger, **parameters: Any) -> Any:
    asked = {"model": "lab/m", "prompt": "How far is the moon?", **parameters}
    running = llm_prompt({"lab": models})(asked, ledger)
    return asyncio.run(running)


def failure(models: Models, ledger: Ledger, **parameters: Any) -> Failure:
    with pytest.raises(Attempt) as caught:
        prompt(models, ledger, **parameters)
    return caught.value.failure
