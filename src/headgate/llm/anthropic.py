"""Anthropic's Messages API, behind its own address or any that speaks the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from headgate.core.values import Usage
from headgate.llm.answer_parts import AnswerParts
from headgate.llm.anthropic_answers import ENDS, read_event, read_message
from headgate.llm.anthropic_requests import messages_request
from headgate.llm.asking import Asked
from headgate.llm.event_streams import ServerSentEvents
from headgate.llm.provider_errors import refused_here
from headgate.llm.provider_settings import ProviderSettings
from headgate.llm.usage_reports import anthropic_usage
from headgate.llm.vectors import EmbeddingAsked, Vectors
from headgate.ports import ModelRequest

__all__ = ["Anthropic"]

VERSION = "2023-06-01"
"""The version after it refuses `temperature` and `top_p` of every model, also of those that take them. Another one can
be set among the provider's headers."""


class Anthropic:
    """Anthropic's words."""

    def __init__(self, settings: ProviderSettings) -> None:
        self.settings = settings
        self.secrets = settings.secrets
        self.host = settings.host
        self._url = f"{settings.base_url.rstrip('/').removesuffix('/v1')}/v1/messages"

    def url(self, model: str, *, streamed: bool) -> str:
        return self._url

    async def headers(self, url: str, content: bytes) -> Mapping[str, str]:
        own = {name.lower(): value for name, value in self.settings.headers.items()}
        return {"anthropic-version": VERSION, **own, "x-api-key": self.settings.key()}

    def ask(self, request: ModelRequest, *, streamed: bool, without: frozenset[str] = frozenset()) -> Asked:
        return messages_request(request, self.settings.name, streamed=streamed, without=without)

    def parts(self, who: str) -> AnswerParts:
        return AnswerParts(who, self.settings.name, ENDS)

    def framing(self) -> ServerSentEvents:
        return ServerSentEvents()

    def read(self, data: bytes, parts: AnswerParts) -> None:
        read_message(data, parts)

    def read_event(self, event: bytes, parts: AnswerParts) -> str:
        return read_event(event, parts)

    def billed(self, said: object) -> Usage | None:
        return anthropic_usage(cast("dict[str, object]", said).get("usage")) if isinstance(said, dict) else None

    def ask_embeddings(self, model: str, inputs: Sequence[str]) -> Sequence[EmbeddingAsked]:
        raise refused_here(
            "missing_capability",
            f"{self.settings.name} has no models that embed. Use another provider for that, such as openai, google, "
            "bedrock, mistral or ollama.",
        )

    def read_embeddings(self, data: bytes, headers: Mapping[str, str], asked: EmbeddingAsked, who: str) -> Vectors:
        raise AssertionError("it has none to read")
