"""What Anthropic's Messages API answers, whole or as events, read into the parts of an answer. No I/O here."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from headgate.llm.answer_parts import AnswerParts, Told
from headgate.llm.anthropic_requests import REDACTED
from headgate.llm.provider_errors import malformed
from headgate.llm.usage_reports import anthropic_usage, merged_report
from headgate.ports import FinishReason

__all__ = ["ENDS", "read_event", "read_message"]

ENDS: dict[str, FinishReason] = {
    "end_turn": "Stop",
    "stop_sequence": "Stop",
    "max_tokens": "MaxTokens",
    "model_context_window_exceeded": "MaxTokens",
    "tool_use": "ToolUse",
    "refusal": "ContentFilter",
}
STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""An error inside a stream has a name, and the status that it would have had outside."""


class _Block(msgspec.Struct):
    """A part of the content, or the beginning of one."""

    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    data: str = ""
    id: str = ""
    name: str = ""
    input: Any = None


class _Message(msgspec.Struct):
    model: str | None = None
    content: list[_Block] | None = None
    stop_reason: str | None = None
    usage: Any = None
    type: str = ""
    error: Any = None


class _Delta(msgspec.Struct):
    text: str = ""
    thinking: str = ""
    signature: str = ""
    partial_json: str | None = None
    stop_reason: str | None = None


class _Event(msgspec.Struct):
    type: str = ""
    index: int = 0
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: Any = None
    error: Any = None


_messages = msgspec.json.Decoder(_Message)
_events = msgspec.json.Decoder(_Event)


def read_message(data: bytes, parts: AnswerParts) -> None:
    """Take in a whole answer. Raises `ProviderError` (`malformed_response`) where it is none."""
    message = _decoded(_messages, data, parts)
    _report(message.usage, parts)
    if message.type == "error":
        parts.error = _told(message.error)
    if message.content is None:
        return
    parts.answered = True
    parts.model = message.model or ""
    for number, block in enumerate(message.content):
        _begin(number, block, parts)
    if message.stop_reason is not None:
        parts.finish(message.stop_reason)


def read_event(data: bytes, parts: AnswerParts) -> str:
    """Take in an event; return the text that it brought."""
    event = _decoded(_events, data, parts)
    match event.type:
        case "content_block_delta" if event.delta is not None:
            return _continue(event.index, event.delta, parts)
        case "content_block_start" if event.content_block is not None:
            return _begin(event.index, event.content_block, parts)
        case "message_start" if event.message is not None:
            parts.model = event.message.model or ""
            _report(event.message.usage, parts)
            parts.output_reported = False
        case "message_delta":
            if event.delta is not None and event.delta.stop_reason is not None:
                parts.finish(event.delta.stop_reason)
            if _report(event.usage, parts):
                parts.output_reported = True
        case "message_stop":
            parts.ended = True
        case "error":
            parts.error = _told(event.error)
        case _:
            pass
    return ""


def _decoded(decoder: msgspec.json.Decoder[Any], data: bytes, parts: AnswerParts) -> Any:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(f"{parts.who} answered with something that is no message: {error}") from None


def _begin(number: int, block: _Block, parts: AnswerParts) -> str:
    match block.type:
        case "text":
            return parts.say(block.text)
        case "thinking":
            parts.think(block.thinking, number, seal=block.signature, kind=block.type)
        case "redacted_thinking":
            parts.think("", number, seal=block.data, kind=REDACTED)
        case "tool_use":
            # A stream begins a call with no arguments, and brings them in pieces.
            parts.call(number, block.id, block.name, block.input or None)
        case _:  # what the vendor's own tools did: it is told in the text
            pass
    return ""


def _continue(number: int, delta: _Delta, parts: AnswerParts) -> str:
    if delta.text:
        return parts.say(delta.text)
    if delta.thinking or delta.signature:
        parts.think(delta.thinking, number, seal=delta.signature, kind="thinking")
    elif delta.partial_json is not None:
        parts.call(number, None, None, delta.partial_json)
    return ""


def _report(usage: object, parts: AnswerParts) -> bool:
    """Take in a report of usage, which a stream gives in two parts; say whether there was one."""
    parts.report = merged_report(parts.report, usage)
    parts.reported = anthropic_usage(parts.report)
    return isinstance(usage, dict) and "output_tokens" in usage


def _told(error: object) -> Told:
    fields = cast("dict[str, object]", error) if isinstance(error, dict) else {}
    return Told(STATUSES.get(str(fields.get("type")), 500), {"error": error})
