"""AWS Bedrock's Converse API, in the region and with the credentials that the environment leads to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import cast
from urllib.parse import quote

from headgate.core.values import Usage
from headgate.llm.amazon_credentials import AmazonAccount
from headgate.llm.amazon_signing import signed
from headgate.llm.answer_parts import AnswerParts
from headgate.llm.asking import Asked
from headgate.llm.bedrock_answers import ENDS, read_answer, read_frame
from headgate.llm.bedrock_embeddings import embedding_bodies, read_vectors
from headgate.llm.bedrock_requests import converse_request
from headgate.llm.event_streams import AmazonFrames, Frame
from headgate.llm.provider_settings import ProviderSettings
from headgate.llm.usage_reports import bedrock_usage
from headgate.llm.vectors import EmbeddingAsked, Vectors
from headgate.ports import ModelRequest

__all__ = ["Bedrock"]

JSON = {"content-type": "application/json"}


class Bedrock:
    """AWS's words. A token of the environment goes as it is (`AWS_BEARER_TOKEN_BEDROCK`); else requests are signed."""

    def __init__(self, settings: ProviderSettings, variables: Mapping[str, str]) -> None:
        self.settings = settings
        self.host = settings.host if settings.base_url else "bedrock-runtime"
        self._account = AmazonAccount(variables)

    @property
    def secrets(self) -> tuple[str, ...]:
        return (*self.settings.secrets, *self._account.secrets)

    def url(self, model: str, *, streamed: bool) -> str:
        return self._url(model, "converse-stream" if streamed else "converse")

    def _url(self, model: str, verb: str) -> str:
        region = self._account.region
        end = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        base = self.settings.base_url.rstrip("/") or f"https://bedrock-runtime.{region}.{end}"
        return f"{base}/model/{quote(model, safe='')}/{verb}"

    async def headers(self, url: str, content: bytes) -> Mapping[str, str]:
        if token := self.settings.key():
            return {**self.settings.headers, "authorization": f"Bearer {token}"}
        proof = signed(
            "POST",
            url,
            JSON,
            content,
            credentials=await self._account.credentials(),
            region=self._account.region,
            service="bedrock",
            at=datetime.now(UTC),
        )
        return {**self.settings.headers, **proof}

    def ask(self, request: ModelRequest, *, streamed: bool, without: frozenset[str] = frozenset()) -> Asked:
        return converse_request(request, self.settings.name, without=without)

    def parts(self, who: str) -> AnswerParts:
        return AnswerParts(who, self.settings.name, ENDS)

    def framing(self) -> AmazonFrames:
        return AmazonFrames()

    def read(self, data: bytes, parts: AnswerParts) -> None:
        read_answer(data, parts)

    def read_event(self, event: Frame, parts: AnswerParts) -> str:
        return read_frame(event, parts)

    def billed(self, said: object) -> Usage | None:
        return bedrock_usage(cast("dict[str, object]", said).get("usage")) if isinstance(said, dict) else None

    def ask_embeddings(self, model: str, inputs: Sequence[str]) -> Sequence[EmbeddingAsked]:
        url = self._url(model, "invoke")
        return [EmbeddingAsked(url, body, texts) for body, texts in embedding_bodies(model, inputs)]

    def read_embeddings(self, data: bytes, headers: Mapping[str, str], asked: EmbeddingAsked, who: str) -> Vectors:
        return read_vectors(data, headers, len(asked.texts), who)
