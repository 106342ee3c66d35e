"""Every provider that speaks OpenAI's chat and embedding API: OpenAI, Azure, Mistral, Ollama, any base URL.

What is said is in `openai_requests` and `openai_messages`, how a call is made in `http_provider`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast
from urllib.parse import quote

from headgate.core.values import Price, Usage
from headgate.llm.answer_parts import AnswerParts
from headgate.llm.asking import Asked
from headgate.llm.event_streams import ServerSentEvents
from headgate.llm.http_provider import HttpProvider
from headgate.llm.openai_messages import FINISH_REASONS, add_body, read_body, read_embeddings, read_usage
from headgate.llm.openai_requests import Dialect, chat_request
from headgate.llm.provider_settings import TIMEOUT_SECONDS, ProviderSettings
from headgate.llm.token_estimate import FACTOR_UNKNOWN
from headgate.llm.vectors import EmbeddingAsked, Vectors
from headgate.ports import ModelRequest

__all__ = ["OpenAICompatibleProvider"]

DONE = b"[DONE]"


class OpenAICompatibleProvider(HttpProvider):
    """The models behind `base_url` (which ends before `/chat/completions`), under the name `name`.

    `key_variable` is the environment variable that holds the key: a call without a key is refused with its
    name before anything is sent. Where it is empty, no key is needed. `prices` are keyed "provider/model" and
    win over the table; `timeout_seconds` bounds a call whose request has no limit of its own. With `api_version` the
    model is the name of a deployment and stands in the address, as Azure's dated API versions have it.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        api_key: str | None = None,
        *,
        key_variable: str = "",
        key_header: str = "Authorization",
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        prices: Mapping[str, Price] | None = None,
        token_factor: float = FACTOR_UNKNOWN,
        dialect: Dialect | None = None,
        api_version: str = "",
        account: str = "",
    ) -> None:
        settings = ProviderSettings(
            name=name,
            base_url=base_url.rstrip("/"),
            api_key=(api_key or "").strip(),
            key_variable=key_variable,
            headers=dict(headers or {}),
            timeout_seconds=timeout_seconds,
            account=account,
        )
        vendor = _OpenAI(settings, key_header, dialect or Dialect(), api_version)
        super().__init__(vendor, prices=prices, token_factor=token_factor)


class _OpenAI:
    """OpenAI's words, in a dialect."""

    def __init__(self, settings: ProviderSettings, key_header: str, dialect: Dialect, api_version: str) -> None:
        self.settings = settings
        self.secrets = settings.secrets
        self.host = settings.host
        self._key_header = key_header
        self._dialect = dialect
        self._api_version = api_version

    def url(self, model: str, *, streamed: bool) -> str:
        return self._url("chat/completions", model)

    def _url(self, path: str, model: str) -> str:
        if not self._api_version:
            return f"{self.settings.base_url}/{path}"
        deployment, version = quote(model, safe=""), quote(self._api_version, safe="")
        return f"{self.settings.base_url}/deployments/{deployment}/{path}?api-version={version}"

    async def headers(self, url: str, content: bytes) -> Mapping[str, str]:
        key = self.settings.key()
        if not key:
            return self.settings.headers
        value = f"Bearer {key}" if self._key_header == "Authorization" else key
        return {**self.settings.headers, self._key_header: value}

    def ask(self, request: ModelRequest, *, streamed: bool, without: frozenset[str] = frozenset()) -> Asked:
        return chat_request(request, self._dialect, streamed=streamed, without=without)

    def parts(self, who: str) -> AnswerParts:
        return AnswerParts(who, self.settings.name, FINISH_REASONS)

    def framing(self) -> ServerSentEvents:
        return ServerSentEvents()

    def read(self, data: bytes, parts: AnswerParts) -> None:
        add_body(read_body(data, parts.who), parts)

    def read_event(self, event: bytes, parts: AnswerParts) -> str:
        if event.strip() == DONE:
            parts.ended = True
            return ""
        return add_body(read_body(event, parts.who), parts)

    def billed(self, said: object) -> Usage | None:
        if not isinstance(said, dict):
            return None
        usage = cast("dict[str, object]", said).get("usage")
        return read_usage(usage) or read_usage(usage, of_embedding=True)

    def ask_embeddings(self, model: str, inputs: Sequence[str]) -> Sequence[EmbeddingAsked]:
        body = {"model": model, "input": list(inputs)}
        return [EmbeddingAsked(self._url("embeddings", model), body, inputs)]

    def read_embeddings(self, data: bytes, headers: Mapping[str, str], asked: EmbeddingAsked, who: str) -> Vectors:
        return read_embeddings(data, len(asked.texts), who)
