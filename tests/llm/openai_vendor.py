"""Talks with servers that speak OpenAI's API."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.llm.fake_openai import FakeOpenAI, completion
from tests.llm.fakes.server import json_reply

from headgate.llm.openai_compatible import OpenAICompatibleProvider
from headgate.ports import Message, ModelRequest, ProviderError

KEY = "sk-very-secret-123"
ASKED = (Message("user", "How far is the moon?"),)
SCHEMA = {"type": "object", "properties": {"km": {"type": "number"}}}


def talk(request: ModelRequest, *replies: Any, **options: Any) -> tuple[Any, list[Any]]:
    """Return the answer, or the error, and the bodies that the server was sent."""

    async def conversation() -> tuple[Any, list[Any]]:
        async with FakeOpenAI(*(replies or [json_reply(completion("x"))])) as server:
            provider = OpenAICompatibleProvider("openai", server.base_url, KEY, **options)
            outcome: Any
            try:
                outcome = await provider.request(request)
            except ProviderError as error:
                outcome = error
            finally:
                await provider.close()
            return outcome, [seen.body for seen in server.requests]

    return asyncio.run(conversation())
