"""Google's Gemini API: its clients, what it takes, and what it reports of its usage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from google.genai import Client
from google.genai.types import FinishReason as Ends
from google.genai.types import HttpOptions, HttpRetryOptions
from pydantic_ai.embeddings.google import GoogleEmbeddingModel
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.providers.google import GoogleProvider

from headgate.core.values import Usage
from headgate.llm.direct.messages import Offer
from headgate.llm.direct.usage import detail, tokens
from headgate.ports import FinishReason

if TYPE_CHECKING:
    from pydantic_ai.embeddings import EmbeddingModel
    from pydantic_ai.models import Model

    from headgate.llm.direct.provider import Connection
    from headgate.llm.direct.wire import WatchedClient

__all__ = ["GoogleVendor"]

IMITATED = {"FUNCTION_CALL": Ends.STOP.value}
"""Ends that Google has not, and servers that imitate it have."""
KNOWN_ENDS = frozenset(end.value for end in Ends)


class GoogleVendor:
    """Gemini, behind its own address or any that speaks the same."""

    name = "google"
    host = "generativelanguage.googleapis.com"
    offer = Offer(seed=True, extra="")
    reasons: Mapping[str, FinishReason] = {
        "STOP": "Stop",
        "MAX_TOKENS": "MaxTokens",
        "CONTINUATION": "MaxTokens",
        **dict.fromkeys(
            (
                *("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"),
                *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "MODEL_ARMOR"),
            ),
            "ContentFilter",
        ),
    }

    def missing(self, connection: Connection) -> str:
        return "" if connection.api_key else "GOOGLE_API_KEY or GEMINI_API_KEY"

    async def open(self, connection: Connection, http: WatchedClient) -> _Opened:
        options = HttpOptions(
            base_url=connection.base_url.rstrip("/").removesuffix("/v1beta"),
            headers=dict(connection.headers),
            httpx_async_client=http,
            retry_options=HttpRetryOptions(attempts=1),
            timeout=int(connection.timeout_seconds * 1_000) + 60_000,
        )
        return _Opened(GoogleProvider(client=Client(api_key=connection.api_key, vertexai=False, http_options=options)))

    def usage(self, reported: Mapping[str, object]) -> Usage | None:
        """Google counts thinking beside what is visible, and what tools were given beside the prompt."""
        prompt = tokens(reported, "promptTokenCount")
        if prompt is None:
            return None
        visible = tokens(reported, "candidatesTokenCount")
        thought = tokens(reported, "thoughtsTokenCount")
        bad = [name for name in ("candidatesTokenCount", "thoughtsTokenCount") if _is_wrong(reported, name)]
        if bad or (visible is None and thought is None and "totalTokenCount" not in reported):
            return None
        given = prompt + detail(reported, "toolUsePromptTokenCount")
        made = (visible or 0) + (thought or 0)
        return Usage(
            input_tokens=given,
            output_tokens=made,
            cache_read_tokens=min(detail(reported, "cachedContentTokenCount"), given),
            reasoning_tokens=thought or 0,
            audio_input_tokens=_audio(reported, "promptTokensDetails", "cacheTokensDetails"),
            audio_output_tokens=min(_audio(reported, "candidatesTokensDetails"), made),
        )

    def mend(self, said: dict[str, Any]) -> bool:
        """Usage is read already, and the SDK is spared it: it refuses one that is none, and each chunk brings one that
        would be reckoned anew, at nearly half of a stream's cost. An end that it does not know would make it warn."""
        changed = said.pop("usageMetadata", None) is not None
        candidates = said.get("candidates")
        for candidate in cast("list[object]", candidates) if isinstance(candidates, list) else ():
            if isinstance(candidate, dict):
                end = cast("dict[str, object]", candidate)
                if "finishReason" in end and end["finishReason"] not in KNOWN_ENDS:
                    end["finishReason"] = IMITATED.get(str(end["finishReason"]), Ends.OTHER.value)
                    changed = True
        return changed

    def embedding_requests(self, model: str, inputs: Sequence[str]) -> int:
        return 1


class _Opened:
    def __init__(self, provider: GoogleProvider) -> None:
        self._provider = provider

    def model(self, name: str) -> Model[Any]:
        return GoogleModel(name, provider=self._provider)

    def embedding_model(self, name: str) -> EmbeddingModel | None:
        return GoogleEmbeddingModel(name, provider=self._provider)


def _is_wrong(reported: Mapping[str, object], name: str) -> bool:
    return reported.get(name) is not None and tokens(reported, name) is None


def _audio(reported: Mapping[str, object], name: str, less: str = "") -> int:
    """Return the tokens that were audio, without those of `less` (audio that the cache was read for)."""
    return max(0, _of_audio(reported, name) - (_of_audio(reported, less) if less else 0))


def _of_audio(reported: Mapping[str, object], name: str) -> int:
    parts = reported.get(name)
    listed = cast("list[object]", parts) if isinstance(parts, list) else []
    found = [cast("dict[str, object]", part) for part in listed if isinstance(part, dict)]
    return sum(tokens(part, "tokenCount") or 0 for part in found if part.get("modality") == "AUDIO")
