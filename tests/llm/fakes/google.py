"""Google's Gemini API as the fake server speaks it: generateContent, streamGenerateContent and batchEmbedContents."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.llm.fakes.server import Reply, json_reply

from headgate.core.values import Usage
from headgate.testing.provider_conformance import Said

MODEL = "gemini-2.5-flash"
STREAM = {"content-type": "text/event-stream"}
ENDS = {
    "Stop": "STOP",
    "ToolUse": "STOP",
    "MaxTokens": "MAX_TOKENS",
    "ContentFilter": "SAFETY",
    "unheard of": "SOLAR_FLARE",
}
REFUSALS: dict[str, tuple[int, str, str]] = {
    "authentication": (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
    "content_filter": (400, "INVALID_ARGUMENT", "The prompt was blocked by the content filtering policy."),
    "context_too_long": (
        400,
        "INVALID_ARGUMENT",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    ),
    "invalid_request": (400, "INVALID_ARGUMENT", "Please use a valid role: user, model."),
    "not_found": (404, "NOT_FOUND", "models/gemini-2.5-flesh is not found for API version v1beta"),
    "provider_unavailable": (503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
    "quota_exhausted": (429, "RESOURCE_EXHAUSTED", "You exceeded your current quota."),
    "rate_limited": (429, "RESOURCE_EXHAUSTED", "You exceeded your current quota."),
}
NONSENSE: tuple[object, ...] = (
    {"promptTokenCount": 0, "candidatesTokenCount": 0, "totalTokenCount": 0},
    "many",
    [11, 7],
    {},
    {"promptTokenCount": "11", "candidatesTokenCount": 7},
    {"promptTokenCount": "eleven", "candidatesTokenCount": 7},
    {"promptTokenCount": 11, "candidatesTokenCount": -7, "totalTokenCount": 4},
    {"promptTokenCount": 11, "candidatesTokenCount": 10**15, "totalTokenCount": 18},
    {"promptTokenCount": 11.5, "candidatesTokenCount": 7},
    {"promptTokenCount": None, "candidatesTokenCount": 7},
)


def usage_of(usage: Any) -> Any:
    """Google counts thinking beside what is visible."""
    if not isinstance(usage, Usage):
        return usage
    reported: dict[str, Any] = {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": usage.output_tokens - usage.reasoning_tokens,
        "totalTokenCount": usage.input_tokens + usage.output_tokens,
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": usage.input_tokens - usage.audio_input_tokens},
            {"modality": "AUDIO", "tokenCount": usage.audio_input_tokens},
        ],
    }
    if usage.cache_read_tokens:
        reported["cachedContentTokenCount"] = usage.cache_read_tokens
    if usage.reasoning_tokens:
        reported["thoughtsTokenCount"] = usage.reasoning_tokens
    return reported


def chunk(parts: list[dict[str, Any]], usage: Any = None, finish: str = "") -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    body: dict[str, Any] = {"candidates": [candidate], "modelVersion": MODEL, "responseId": "r1"}
    return body | ({} if usage is None else {"usageMetadata": usage_of(usage)})


def called(said: Said) -> list[dict[str, Any]]:
    return [{"functionCall": {"id": call.id, "name": call.name, "args": call.arguments}} for call in said.calls]


def thought(said: Said) -> list[dict[str, Any]]:
    return [{"text": said.reasoning, "thought": True}] if said.reasoning else []


def message(said: Said) -> dict[str, Any]:
    text = [{"text": "".join(said.texts)}] if said.texts else []
    return chunk([*thought(said), *text, *called(said)], said.usage, ENDS[said.finish])


def whole(said: Said) -> Reply:
    return json_reply(message(said))


def event(body: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(body)}\r\n\r\n".encode()


def texts(said: Said) -> list[bytes]:
    """Google reports the prompt with every chunk, and what came out as far as it has come."""
    events = [event(chunk(thought(said)))] if said.reasoning else []
    used = said.usage
    if isinstance(used, Usage):
        used = {"promptTokenCount": used.input_tokens, "totalTokenCount": used.input_tokens}
    for number, text in enumerate(said.texts, 1):
        so_far = (
            used | {"candidatesTokenCount": 3 * number}
            if isinstance(used, dict) and isinstance(said.usage, Usage)
            else used
        )
        events.append(event(chunk([{"text": text}], so_far)))
    return events


def ending(said: Said) -> list[bytes]:
    calls = [event(chunk([part])) for part in called(said)]
    return [*calls, event(chunk([{"text": ""}], said.usage, ENDS[said.finish]))]


def failure_inside() -> list[bytes]:
    return [event({"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}})]


def refusal(code: str) -> Reply:
    status, kind, text = REFUSALS[code]
    details: list[dict[str, Any]] = []
    if code == "authentication":
        details.append({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"})
    if status == 429:
        period = "PerMinute" if code == "rate_limited" else "PerDay"
        quota = {"quotaId": f"GenerateRequests{period}PerProjectPerModel"}
        details.append({"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [quota]})
    if code == "rate_limited":
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"})
    body = {"error": {"code": status, "message": text, "status": kind, "details": details}}
    return json_reply(body, status=status)


def embeddings(vectors: Sequence[Sequence[float]], tokens: int) -> list[Reply]:
    """Google reports no tokens for embeddings."""
    return [json_reply({"embeddings": [{"values": list(vector)} for vector in vectors]})]
