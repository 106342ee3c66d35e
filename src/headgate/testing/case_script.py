"""What stands in for the outside world while a case runs: models and activities that answer from its lists.

An answer is taken when it is asked for, and stays taken when the engine has recorded what came of it. One that was
taken by an attempt which a crash swallowed goes back: the world would answer the next attempt as well.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from headgate.core.money import nano
from headgate.core.values import Price, Usage
from headgate.engine.task_context import current_task
from headgate.llm.provider_errors import refused_here
from headgate.llm.registry import build_providers
from headgate.llm.scripted import ScriptedProvider
from headgate.ports import EmbeddingAnswer, ModelAnswer, ModelProvider, ModelRequest
from headgate.testing.cases import Case, Mismatch

__all__ = ["Answers", "CaseProviders", "one_answer", "price_from"]

PROMPT_SHOWN_MAX = 120
BESIDE = frozenset({"model", "finish_reason", "cost", "delay"})
"""Keys of an answer that are ours; the others are those of `llm.scripted`."""

PRICED = frozenset({"input", "output", "cache_read", "cache_write"})

Sleep = Callable[[float], Awaitable[None]]


class Answers:
    """Lists of answers by name, each used in order."""

    def __init__(self, lists: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        self._lists = lists
        self._left = {key: list(range(len(entries))) for key, entries in lists.items()}
        self._taken: dict[str, list[tuple[str, int]]] = {}

    def key_of(self, names: Sequence[str]) -> str | None:
        """Return the first of the names that has a list."""
        return next((name for name in names if name in self._lists), None)

    def take(self, key: str, owner: str) -> Mapping[str, Any] | None:
        """Return the list's next answer, for `owner` (an attempt); None when they are used up."""
        if not self._left[key]:
            return None
        number = self._left[key].pop(0)
        self._taken.setdefault(owner, []).append((key, number))
        return self._lists[key][number]

    def keep(self, owner: str) -> None:
        """What came of the attempt is recorded: what it took is used."""
        self._taken.pop(owner, None)

    def give_back(self) -> None:
        """Put back what attempts have taken of which nothing is recorded."""
        for taken in self._taken.values():
            for key, number in taken:
                self._left[key] = sorted([*self._left[key], number])
        self._taken.clear()

    def left_over(self, what: str) -> Iterator[Mismatch]:
        for key, numbers in self._left.items():
            if numbers:
                given = len(self._lists[key])
                said = f"{len(numbers)} of {given} answers were not asked for"
                yield Mismatch(f"{what}.{key}", f'{said}; take them out, or say "unused: allowed"')


class CaseProviders(Mapping[str, ModelProvider]):
    """The providers of a case: every name that the real registry knows, and those that the case names."""

    def __init__(self, case: Case, sleep: Sleep) -> None:
        self.answers = Answers(case.models)
        self.requests: list[ModelRequest] = []
        self.mismatches: list[Mismatch] = []
        self._real = build_providers({}, scripted=ScriptedProvider({}))
        prices = {name: price_from(name, price) for name, price in case.prices.items()}
        named = {name.partition("/")[0] for name in (*case.models, *case.prices) if "/" in name}
        self._providers = {
            name: _CaseProvider(name, self, self._real.get(name), prices, sleep) for name in (*self._real, *named)
        }

    def __getitem__(self, name: str) -> ModelProvider:
        return self._providers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._providers)

    def __len__(self) -> int:
        return len(self._providers)


class _CaseProvider:
    """One provider: its prices and its way of counting are the real ones, its answers are the case's."""

    def __init__(
        self,
        name: str,
        all_of_them: CaseProviders,
        real: ModelProvider | None,
        prices: Mapping[str, Price],
        sleep: Sleep,
    ) -> None:
        self._name = name
        self._all = all_of_them
        self._real = real if real is not None else ScriptedProvider({}, name=name)
        self._prices = prices
        self._sleep = sleep

    @property
    def name(self) -> str:
        return self._name

    def price(self, model: str) -> Price | None:
        for name in (f"{self._name}/{model}", model):
            if name in self._prices:
                return self._prices[name]
        return self._real.price(model)

    def count(self, request: ModelRequest) -> int:
        return self._real.count(request)

    async def request(self, request: ModelRequest) -> ModelAnswer:
        entry = await self._next(request)
        if entry is None:
            return await self._real.request(request)
        scripted = one_answer(self._name, request.model, entry)
        answer = await scripted.request(msgspec.structs.replace(request, activity_key=""))
        return msgspec.structs.replace(
            answer,
            model=entry.get("model", answer.model),
            finish_reason=entry.get("finish_reason", answer.finish_reason),
            usage=_usage(answer.usage, entry),
        )

    async def stream(self, request: ModelRequest) -> AsyncIterator[str | ModelAnswer]:
        answer = await self.request(request)
        if answer.content:
            yield answer.content
        yield answer

    async def embed(self, model: str, inputs: Sequence[str]) -> EmbeddingAnswer:
        task = current_task.get()
        asked = ModelRequest(
            model=model, messages=(), extra={"input": list(inputs)}, activity_key=task.activity_key if task else ""
        )
        entry = await self._next(asked)
        if entry is None:
            return await self._real.embed(model, inputs)
        answer = await one_answer(self._name, model, entry).embed(model, inputs)
        return msgspec.structs.replace(answer, usage=_usage(answer.usage, entry))

    async def _next(self, request: ModelRequest) -> Mapping[str, Any] | None:
        """Return what the case answers; None: the demo model answers itself. Raises `unscripted_call`."""
        self._all.requests.append(request)
        task = current_task.get()
        place = task.place if task else request.activity_key
        key = self._all.answers.key_of((place, request.activity_key, f"{self._name}/{request.model}", request.model))
        if key is None and self._name == "demo":
            return None
        entry = None if key is None else self._all.answers.take(key, task.activity_id if task else "")
        if entry is None:
            raise self._unscripted(request, place, key)
        if entry.get("delay"):
            await self._sleep(float(entry["delay"]))
        return entry

    def _unscripted(self, request: ModelRequest, place: str, key: str | None) -> Exception:
        asked = request.messages[-1].content if request.messages else str(request.extra.get("input", ""))
        begins = asked if len(asked) <= PROMPT_SHOWN_MAX else f"{asked[:PROMPT_SHOWN_MAX]}…"
        why = "the case has no answer for it" if key is None else f"the answers under models.{key} are used up"
        said = f"{self._name}/{request.model} was called by {place}, and {why}. It was asked: {begins!r}"
        self._all.mismatches.append(Mismatch(f"models.{key or place}", said))
        return refused_here("unscripted_call", said)


def one_answer(provider: str, model: str, entry: Mapping[str, Any]) -> ScriptedProvider:
    """Return a provider whose `model` gives this answer, once. Raises `Invalid` for what is no answer."""
    plain = {name: value for name, value in entry.items() if name not in BESIDE}
    return ScriptedProvider({model: [plain]}, name=provider)


def price_from(name: str, dollars: Mapping[str, Any]) -> Price:
    """Return a price given in dollars per million tokens. Raises `TypeError` for what no price has, and what reading
    an amount raises."""
    if unknown := dollars.keys() - PRICED:
        raise TypeError(f"a price has no {', '.join(sorted(unknown))}")
    amounts = {part: nano(str(amount)) for part, amount in dollars.items()}
    return Price(
        input=amounts.get("input", 0),
        output=amounts.get("output", 0),
        cache_read=amounts.get("cache_read"),
        cache_write=amounts.get("cache_write"),
        id=f"case/{name}",
    )


def _usage(usage: Usage, entry: Mapping[str, Any]) -> Usage:
    return msgspec.structs.replace(usage, cost_nano=nano(str(entry["cost"]))) if "cost" in entry else usage
