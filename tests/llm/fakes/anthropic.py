"""Anthropic's Messages API as the fake server speaks it, whole and as events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.llm.fakes.server import Reply, json_reply

from headgate.core.values import Usage
from headgate.testing.provider_conformance import Said

MODEL = "claude-haiku-4-5-20251001"
STREAM = {"content-type": "text/event-stream; charset=utf-8"}
ENDS = {
    "Stop": "end_turn",
    "MaxTokens": "max_tokens",
    "ToolUse": "tool_use",
    "ContentFilter": "refusal",
    "unheard of": "solar_flare",
}
REFUSALS: dict[str, tuple[int, str, str]] = {
    "authentication": (401, "authentication_error", "invalid x-api-key"),
    "content_filter": (400, "invalid_request_error", "Output blocked by content filtering policy"),
    "context_too_long": (400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
    "invalid_request": (400, "invalid_request_error", "messages: roles must alternate"),
    "not_found": (404, "not_found_error", "model: claude-haiku-4-9"),
    "provider_unavailable": (529, "overloaded_error", "Overloaded"),
    "quota_exhausted": (400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API."),
    "rate_limited": (429, "rate_limit_error", "This request would exceed your rate limit"),
}


NONSENSE: tuple[object, ...] = (
    {"input_tokens": 0, "output_tokens": 0},
    "many",
    [11, 7],
    {},
    {"input_tokens": "11", "output_tokens": 7},
    {"input_tokens": 11, "output_tokens": -7},
    {"input_tokens": 11, "output_tokens": 10**15},
    {"input_tokens": 11.5, "output_tokens": 7},
    {"input_tokens": None, "output_tokens": None},
    {"input_tokens": 11, "output_tokens": "7", "cache_creation": "none", "server_tool_use": 3},
)


def usage_of(usage: Any) -> Any:
    """Anthropic counts what the cache read and wrote beside the input."""
    if not isinstance(usage, Usage):
        return usage
    written = usage.cache_write_tokens + usage.cache_write_1h_tokens
    reported: dict[str, Any] = {
        "input_tokens": usage.input_tokens - usage.cache_read_tokens - written,
        "output_tokens": usage.output_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation_input_tokens": written,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_tokens,
            "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
        },
        "service_tier": "standard",
    }
    if usage.reasoning_tokens:
        reported["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return reported


def message(said: Said) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    if said.reasoning:
        content.append({"type": "thinking", "thinking": said.reasoning, "signature": "c2lnbmVk"})
    if said.texts:
        content.append({"type": "text", "text": "".join(said.texts)})
    content += [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments} for call in said.calls]
    body: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": content,
        "stop_reason": ENDS[said.finish],
        "stop_sequence": None,
    }
    return body | ({} if said.usage is None else {"usage": usage_of(said.usage)})


def whole(said: Said) -> Reply:
    return json_reply(message(said))


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def opening(said: Said) -> bytes:
    began = message(Said(texts=(), usage=said.usage)) | {"stop_reason": None}
    if isinstance(said.usage, Usage):
        began["usage"] = usage_of(said.usage) | {"output_tokens": 1}
        began["usage"].pop("output_tokens_details", None)
    return event("message_start", message=began)


def texts(said: Said) -> list[bytes]:
    """Return the stream up to the last text: how it begins, thinking, and an event per text."""
    events = [opening(said) + event("ping")]
    index = 0
    if said.reasoning:
        block = {"type": "thinking", "thinking": "", "signature": ""}
        events.append(event("content_block_start", index=0, content_block=block))
        events.append(
            event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": said.reasoning})
        )
        events.append(event("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "c2lnbmVk"}))
        events.append(event("content_block_stop", index=0))
        index = 1
    if said.texts:
        events.append(event("content_block_start", index=index, content_block={"type": "text", "text": ""}))
    events += [
        event("content_block_delta", index=index, delta={"type": "text_delta", "text": text}) for text in said.texts
    ]
    return events


def ending(said: Said) -> list[bytes]:
    events: list[bytes] = []
    index = 1 if said.reasoning else 0
    if said.texts:
        events.append(event("content_block_stop", index=index))
        index += 1
    for number, call in enumerate(said.calls, index):
        block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        arguments = json.dumps(call.arguments) if call.arguments else ""
        events.append(event("content_block_start", index=number, content_block=block))
        for part in (arguments[:5], arguments[5:]):
            delta = {"type": "input_json_delta", "partial_json": part}
            events.append(event("content_block_delta", index=number, delta=delta))
        events.append(event("content_block_stop", index=number))
    used: Any = said.usage
    if isinstance(said.usage, Usage):
        used = {"output_tokens": said.usage.output_tokens}
        if said.usage.reasoning_tokens:
            used["output_tokens_details"] = {"thinking_tokens": said.usage.reasoning_tokens}
    delta = {"stop_reason": ENDS[said.finish], "stop_sequence": None}
    events.append(event("message_delta", delta=delta, **({} if used is None else {"usage": used})))
    return [*events, event("message_stop")]


def failure_inside() -> list[bytes]:
    return [event("error", error={"type": "overloaded_error", "message": "Overloaded"})]


def refusal(code: str) -> Reply:
    status, kind, text = REFUSALS[code]
    headers = {"retry-after": "7"} if code == "rate_limited" else {}
    body = {"type": "error", "error": {"type": kind, "message": text}, "request_id": "req_1"}
    return json_reply(body, status=status, headers=headers)


def embeddings(vectors: Sequence[Sequence[float]], tokens: int) -> list[Reply]:
    raise AssertionError("Anthropic has no embeddings")
