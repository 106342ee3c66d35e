"""One conversation of an OpenAI-compatible provider with its fake server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tests.llm.fake_openai import FakeOpenAI, completion
from tests.llm.fakes.server import json_reply

from headgate.llm.openai_compatible import OpenAICompatibleProvider
from headgate.ports import Message, ModelAnswer, ModelRequest, ProviderError

__all__ = ["KEY", "LIGHT", "QUESTION", "asked", "meet", "sent", "streamed"]

KEY = "sk-very-secret-123"
QUESTION = ModelRequest(model="gpt-4o", messages=(Message("user", "How far is the moon?"),), max_tokens=50)
LIGHT = {"prompt_tokens": 5, "completion_tokens": 2}


def meet(reply: Any, use: Callable[[OpenAICompatibleProvider], Awaitable[Any]], **options: Any) -> tuple[Any, Any]:
    """Return what `use` makes of a provider whose server sends `reply`, and what the server was asked."""

    async def conversation() -> tuple[Any, Any]:
        async with FakeOpenAI(reply) as server:
            provider = OpenAICompatibleProvider("openai", server.base_url, KEY, **options)
            try:
                outcome = await use(provider)
            except ProviderError as error:
                outcome = error
            finally:
                await provider.close()
            return outcome, server.requests[0] if server.requests else None

    return asyncio.run(conversation())


def asked(reply: Any, request: ModelRequest = QUESTION, **options: Any) -> Any:
    return meet(reply, lambda provider: provider.request(request), **options)[0]


def sent(request: ModelRequest, **options: Any) -> Any:
    return meet(json_reply(completion("x")), lambda provider: provider.request(request), **options)[1]


def streamed(reply: Any, request: ModelRequest = QUESTION, **options: Any) -> tuple[list[str], Any]:
    texts: list[str] = []

    async def read(provider: OpenAICompatibleProvider) -> ModelAnswer | None:
        answer = None
        async for item in provider.stream(request):
            if isinstance(item, str):
                texts.append(item)
            else:
                assert answer is None, "the whole answer comes once"
                answer = item
        return answer

    return texts, meet(reply, read, **options)[0]
