"""Google's Gemini API, behind its own address or any that speaks the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast
from urllib.parse import quote

from headgate.core.values import Usage
from headgate.llm.answer_parts import AnswerParts
from headgate.llm.asking import Asked
from headgate.llm.event_streams import ServerSentEvents
from headgate.llm.google_answers import ENDS, read_chunk, read_embeddings
from headgate.llm.google_requests import embeddings_request, generate_request
from headgate.llm.provider_settings import ProviderSettings
from headgate.llm.usage_reports import gemini_usage
from headgate.llm.vectors import EmbeddingAsked, Vectors
from headgate.ports import ModelRequest

__all__ = ["Google"]


class Google:
    """Google's words."""

    def __init__(self, settings: ProviderSettings) -> None:
        self.settings = settings
        self.secrets = settings.secrets
        self.host = settings.host
        self._models = f"{settings.base_url.rstrip('/').removesuffix('/v1beta')}/v1beta/models"

    def url(self, model: str, *, streamed: bool) -> str:
        return self._url(model, "streamGenerateContent?alt=sse" if streamed else "generateContent")

    def _url(self, model: str, verb: str) -> str:
        return f"{self._models}/{quote(model.removeprefix('models/'), safe='')}:{verb}"

    async def headers(self, url: str, content: bytes) -> Mapping[str, str]:
        return {**self.settings.headers, "x-goog-api-key": self.settings.key()}

    def ask(self, request: ModelRequest, *, streamed: bool, without: frozenset[str] = frozenset()) -> Asked:
        return generate_request(request, self.settings.name, without=without)

    def parts(self, who: str) -> AnswerParts:
        return AnswerParts(who, self.settings.name, ENDS)

    def framing(self) -> ServerSentEvents:
        return ServerSentEvents()

    def read(self, data: bytes, parts: AnswerParts) -> None:
        read_chunk(data, parts)

    def read_event(self, event: bytes, parts: AnswerParts) -> str:
        return read_chunk(event, parts)

    def billed(self, said: object) -> Usage | None:
        return gemini_usage(cast("dict[str, object]", said).get("usageMetadata")) if isinstance(said, dict) else None

    def ask_embeddings(self, model: str, inputs: Sequence[str]) -> Sequence[EmbeddingAsked]:
        return [EmbeddingAsked(self._url(model, "batchEmbedContents"), embeddings_request(model, inputs), inputs)]

    def read_embeddings(self, data: bytes, headers: Mapping[str, str], asked: EmbeddingAsked, who: str) -> Vectors:
        return read_embeddings(data, len(asked.texts), who)
