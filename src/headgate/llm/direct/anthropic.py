"""Anthropic's Messages API: its clients, what it takes, and what it reports of its usage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from anthropic import AsyncAnthropic
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.providers.anthropic import AnthropicProvider

from headgate.core.values import Usage
from headgate.llm.direct.messages import Offer
from headgate.llm.direct.reports import is_sound
from headgate.llm.direct.usage import detail, tokens
from headgate.ports import FinishReason

if TYPE_CHECKING:
    from pydantic_ai.embeddings import EmbeddingModel
    from pydantic_ai.models import Model

    from headgate.llm.direct.provider import Connection
    from headgate.llm.direct.wire import WatchedClient

__all__ = ["AnthropicVendor"]

URL = "https://api.anthropic.com"
NEEDED = {"message": {"input_tokens", "output_tokens"}, "message_delta": {"output_tokens"}}
"""What the usage of an answer, and of the event that ends one, must have."""


class AnthropicVendor:
    """Anthropic, behind its own address or any that speaks the same."""

    name = "anthropic"
    host = "api.anthropic.com"
    offer = Offer(image_addresses=True)
    reasons: Mapping[str, FinishReason] = {
        "end_turn": "Stop",
        "stop_sequence": "Stop",
        "max_tokens": "MaxTokens",
        "model_context_window_exceeded": "MaxTokens",
        "tool_use": "ToolUse",
        "refusal": "ContentFilter",
    }

    def missing(self, connection: Connection) -> str:
        return "" if connection.api_key else "ANTHROPIC_API_KEY"

    async def open(self, connection: Connection, http: WatchedClient) -> _Opened:
        client = AsyncAnthropic(
            api_key=connection.api_key,
            base_url=connection.base_url.rstrip("/").removesuffix("/v1") or URL,
            max_retries=0,
            default_headers=dict(connection.headers),
            http_client=http,
        )
        return _Opened(AnthropicProvider(anthropic_client=client))

    def usage(self, reported: Mapping[str, object]) -> Usage | None:
        """Anthropic counts what its cache read and wrote beside the input; we count it among it."""
        fresh, made = tokens(reported, "input_tokens"), tokens(reported, "output_tokens")
        if fresh is None or made is None:
            return None
        read = detail(reported, "cache_read_input_tokens")
        written = detail(reported, "cache_creation_input_tokens")
        hour = min(detail(reported, "cache_creation", "ephemeral_1h_input_tokens"), written)
        return Usage(
            input_tokens=fresh + read + written,
            output_tokens=made,
            cache_read_tokens=read,
            cache_write_tokens=written - hour,
            cache_write_1h_tokens=hour,
            reasoning_tokens=min(detail(reported, "output_tokens_details", "thinking_tokens"), made),
        )

    def mend(self, said: dict[str, Any]) -> bool:
        """The SDK and `pydantic_ai` take it that a usage is there, and is one."""
        inner = said.get("message")
        holder = (
            cast("dict[str, Any]", inner) if said.get("type") == "message_start" and isinstance(inner, dict) else said
        )
        needed = NEEDED.get(str(holder.get("type")))
        usage = cast("object", holder.get("usage"))
        if needed is None or (is_sound(usage) and needed <= _held(cast("dict[str, object]", usage))):
            return False
        holder["usage"] = {"input_tokens": 0, "output_tokens": 0}
        return True

    def embedding_requests(self, model: str, inputs: Sequence[str]) -> int:
        return 1


class _Opened:
    def __init__(self, provider: AnthropicProvider) -> None:
        self._provider = provider

    def model(self, name: str) -> Model[Any]:
        return AnthropicModel(name, provider=self._provider)

    def embedding_model(self, name: str) -> EmbeddingModel | None:
        return None


def _held(usage: dict[str, object]) -> set[str]:
    return {name for name in usage if tokens(usage, name) is not None}
