"""OpenAI's chat and embedding API as the fake server speaks it, and as Mistral and DeepSeek speak it otherwise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.llm.fakes.server import Reply, json_reply

from headgate.core.values import Usage
from headgate.testing.provider_conformance import Said

MODEL = "gpt-4o-2024-08-06"
STREAM = {"content-type": "text/event-stream; charset=utf-8"}
ENDS = {
    "Stop": "stop",
    "MaxTokens": "length",
    "ToolUse": "tool_calls",
    "ContentFilter": "content_filter",
    "unheard of": "solar_flare",
}
REFUSALS: dict[str, tuple[int, str, str]] = {
    "authentication": (401, "invalid_api_key", "Incorrect API key provided."),
    "content_filter": (400, "content_filter", "The response was filtered."),
    "context_too_long": (400, "context_length_exceeded", "This model's maximum context length is 128000 tokens."),
    "invalid_request": (400, "invalid_value", "Invalid value for messages."),
    "not_found": (404, "model_not_found", "The model does not exist or you do not have access to it."),
    "provider_unavailable": (503, "server_error", "The server is overloaded."),
    "quota_exhausted": (429, "insufficient_quota", "You exceeded your current quota."),
    "rate_limited": (429, "rate_limit_exceeded", "Rate limit reached for requests."),
}
NONSENSE: tuple[object, ...] = (
    {"prompt_tokens": 0, "completion_tokens": 0},
    "many",
    [11, 7],
    {},
    {"prompt_tokens": "11", "completion_tokens": 7},
    {"prompt_tokens": 11, "completion_tokens": -7},
    {"prompt_tokens": 11, "completion_tokens": 10**15},
    {"prompt_tokens": 11.5, "completion_tokens": 7},
    {"prompt_tokens": None, "completion_tokens": None},
)


def usage_of(usage: Any) -> Any:
    if not isinstance(usage, Usage):
        return usage
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "audio_tokens": usage.audio_input_tokens,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": usage.audio_output_tokens,
        },
    }


def called(said: Said, *, parts: bool) -> list[dict[str, Any]]:
    return [
        {
            **({"index": number} if parts else {}),
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
        }
        for number, call in enumerate(said.calls)
    ]


def body_of(kind: str, choices: list[dict[str, Any]], usage: Any = None) -> dict[str, Any]:
    body = {"id": "c1", "object": kind, "created": 1_767_225_600, "model": MODEL, "choices": choices}
    return body | ({} if usage is None else {"usage": usage_of(usage)})


def message(said: Said) -> dict[str, Any]:
    told: dict[str, Any] = {"role": "assistant", "content": "".join(said.texts) or None, "refusal": None}
    if said.reasoning:
        told["reasoning_content"] = said.reasoning
    if said.calls:
        told["tool_calls"] = called(said, parts=False)
    choice = {"index": 0, "message": told, "logprobs": None, "finish_reason": ENDS[said.finish]}
    return body_of("chat.completion", [choice], said.usage)


def whole(said: Said) -> Reply:
    return json_reply(message(said))


def event(delta: dict[str, Any] | None, finish: str | None = None, usage: Any = None) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
    return f"data: {json.dumps(body_of('chat.completion.chunk', choices, usage))}\n\n".encode()


def texts(said: Said) -> list[bytes]:
    events = [event({"role": "assistant", "content": ""})]
    events += [event({"reasoning_content": said.reasoning})] if said.reasoning else []
    return [*events, *(event({"content": text}) for text in said.texts)]


def ending(said: Said) -> list[bytes]:
    events: list[bytes] = []
    for part in called(said, parts=True):
        arguments = part["function"]["arguments"]
        begun = {**part, "function": {"name": part["function"]["name"], "arguments": arguments[:5]}}
        events.append(event({"tool_calls": [begun]}))
        events.append(event({"tool_calls": [{"index": part["index"], "function": {"arguments": arguments[5:]}}]}))
    events.append(event({}, ENDS[said.finish]))
    events += [] if said.usage is None else [event(None, usage=said.usage)]
    return [*events, b"data: [DONE]\n\n"]


def failure_inside() -> list[bytes]:
    error = {"message": "The server is overloaded.", "type": "server_error", "param": None, "code": 503}
    return [f"data: {json.dumps({'error': error})}\n\n".encode()]


def refusal(code: str) -> Reply:
    status, vendor_code, text = REFUSALS[code]
    headers = {"retry-after": "7"} if code == "rate_limited" else {}
    error = {"message": text, "type": "error", "param": None, "code": vendor_code}
    return json_reply({"error": error}, status=status, headers=headers)


def embeddings(vectors: Sequence[Sequence[float]], tokens: int) -> list[Reply]:
    data = [
        {"object": "embedding", "index": number, "embedding": list(vector)}
        for number, vector in reversed(list(enumerate(vectors)))
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return [json_reply({"object": "list", "data": data, "model": "text-embedding-3-small", "usage": usage})]
