"""A model that says what a test tells it to, and a reader of what it says."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

from headgate.core.values import Price, Usage
from headgate.ports import Changed, Chunk, ModelAnswer, ModelRequest, Position, ProviderError
from headgate.testing.stream_conformance import Heard

__all__ = ["TEXT", "Tap", "Watcher", "in_pieces"]

TEXT = "The owl 🦉 said 二 words, and then a few more.\n" * 40


class Tap:
    """A provider whose models say what they are told to, when they are told to."""

    name = "tap"

    def __init__(self) -> None:
        self.said: defaultdict[str, asyncio.Queue[str | ModelAnswer | ProviderError]] = defaultdict(asyncio.Queue)
        self.asked = asyncio.Event()

    def say(self, *texts: str, model: str = "one") -> None:
        for text in texts:
            self.said[model].put_nowait(text)

    def end(self, content: str, model: str = "one") -> None:
        self.said[model].put_nowait(ModelAnswer(content=content, model=model, usage=Usage()))

    def fail(self, *, retryable: bool = True, model: str = "one", code: str = "provider_unavailable") -> None:
        self.said[model].put_nowait(ProviderError("It broke.", status=503, code=code, retryable=retryable))

    async def stream(self, request: ModelRequest) -> AsyncIterator[str | ModelAnswer]:
        self.asked.set()
        while True:
            item = await self.said[request.model].get()
            if isinstance(item, ProviderError):
                raise item
            yield item
            if isinstance(item, ModelAnswer):
                return

    async def request(self, request: ModelRequest) -> ModelAnswer:
        raise AssertionError("these tests stream")

    def price(self, model: str) -> Price | None:
        return None

    def count(self, request: ModelRequest) -> int:
        return 1


class Watcher:
    """Watches a run in a task of its own. `heard` folds what came of a place, and sees to it that nothing is amiss."""

    def __init__(self, client: Any, run_id: str, place: str = "", resume: Sequence[Position] = ()) -> None:
        self.updates: list[Any] = []
        self._watched = client.watch(run_id, tokens=True, place=place, resume=resume)
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        async with aclosing(self._watched):
            async for update in self._watched:
                self.updates.append(update)

    def chunks(self, place: str = "ask") -> list[Chunk]:
        return [update for update in self.updates if not isinstance(update, Changed) and update.place == place]

    def heard(self, place: str = "ask", before: Heard | None = None) -> Heard:
        return Heard.of(self.chunks(place), before)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def end(self) -> None:
        await asyncio.wait_for(self._task, 10)


def in_pieces(text: str, size: int = 7) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]
