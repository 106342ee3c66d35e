"""Mistral's API as the fake server speaks it: OpenAI's, with calls in one piece, and thinking in the content."""

from __future__ import annotations

import json
from typing import Any

from tests.llm.fakes.openai import NONSENSE, REFUSALS, body_of, called, embeddings
from tests.llm.fakes.server import Reply, json_reply

from headgate.core.values import Usage
from headgate.testing.provider_conformance import Said

__all__ = [
    "ENDS",
    "NONSENSE",
    "REFUSALS",
    "STREAM",
    "embeddings",
    "ending",
    "failure_inside",
    "message",
    "refusal",
    "texts",
    "whole",
]

STREAM = {"content-type": "text/event-stream; charset=utf-8"}
ENDS = {"Stop": "stop", "MaxTokens": "length", "ToolUse": "tool_calls", "unheard of": "solar_flare"}


def usage_of(usage: Any) -> Any:
    """Mistral tells what the cache was read for, and no more."""
    if not isinstance(usage, Usage):
        return usage
    total = usage.input_tokens + usage.output_tokens
    reported = {"prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens, "total_tokens": total}
    return reported | ({"num_cached_tokens": usage.cache_read_tokens} if usage.cache_read_tokens else {})


def thinking(said: Said) -> list[dict[str, Any]]:
    return [{"type": "thinking", "thinking": [{"type": "text", "text": said.reasoning}]}] if said.reasoning else []


def message(said: Said) -> dict[str, Any]:
    text = "".join(said.texts)
    content: Any = [*thinking(said), {"type": "text", "text": text}] if said.reasoning else text
    told = {"role": "assistant", "content": content, "tool_calls": called(said, parts=True) or None}
    return _body("chat.completion", {"index": 0, "message": told, "finish_reason": ENDS[said.finish]}, said.usage)


def whole(said: Said) -> Reply:
    return json_reply(message(said))


def _body(kind: str, choice: dict[str, Any], usage: Any = None) -> dict[str, Any]:
    return body_of(kind, [choice]) | ({} if usage is None else {"usage": usage_of(usage)})


def event(delta: dict[str, Any], finish: str | None = None, usage: Any = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return f"data: {json.dumps(_body('chat.completion.chunk', choice, usage))}\n\n".encode()


def texts(said: Said) -> list[bytes]:
    events = [event({"role": "assistant", "content": ""})]
    events += [event({"content": thinking(said)})] if said.reasoning else []
    return [*events, *(event({"content": text}) for text in said.texts)]


def ending(said: Said) -> list[bytes]:
    """The last event has the calls, the end and the usage, all three."""
    calls = called(said, parts=True)
    last = {"content": "", **({"tool_calls": calls} if calls else {})}
    return [event(last, ENDS[said.finish], said.usage), b"data: [DONE]\n\n"]


def failure_inside() -> list[bytes]:
    error = {"object": "error", "message": "Service unavailable.", "type": "unavailable", "code": 503}
    return [f"data: {json.dumps({'error': error})}\n\n".encode()]


def refusal(code: str) -> Reply:
    """Mistral's errors have no `error` around them."""
    status, vendor_code, text = REFUSALS[code]
    headers = {"retry-after": "7"} if code == "rate_limited" else {}
    body = {"object": "error", "message": text, "type": "error", "param": None, "code": vendor_code}
    return json_reply(body, status=status, headers=headers)
