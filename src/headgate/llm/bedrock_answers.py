"""What AWS Bedrock's Converse and ConverseStream answer, read into the parts of an answer. No I/O here."""

from __future__ import annotations

from typing import Any

import msgspec

from headgate.llm.answer_parts import AnswerParts, Told
from headgate.llm.bedrock_requests import REDACTED
from headgate.llm.event_streams import Frame
from headgate.llm.provider_errors import malformed
from headgate.llm.usage_reports import bedrock_usage
from headgate.ports import FinishReason

__all__ = ["ENDS", "read_answer", "read_frame"]

ENDS: dict[str, FinishReason] = {
    "end_turn": "Stop",
    "stop_sequence": "Stop",
    "max_tokens": "MaxTokens",
    "model_context_window_exceeded": "MaxTokens",
    "tool_use": "ToolUse",
    "content_filtered": "ContentFilter",
    "guardrail_intervened": "ContentFilter",
}
STATUSES = {
    "ValidationException": 400,
    "ThrottlingException": 429,
    "ModelStreamErrorException": 424,
    "InternalServerException": 500,
    "ServiceUnavailableException": 503,
}
"""An error inside a stream has a name, and the status that it would have had outside."""


class _ToolUse(msgspec.Struct, rename="camel"):
    tool_use_id: str = ""
    name: str = ""
    input: Any = None


class _ReasoningText(msgspec.Struct):
    text: str = ""
    signature: str = ""


class _Reasoning(msgspec.Struct, rename="camel"):
    """Thinking: of a whole answer, or (`text`, `signature`) a piece of it."""

    reasoning_text: _ReasoningText | None = None
    redacted_content: str = ""
    text: str = ""
    signature: str = ""


class _Block(msgspec.Struct, rename="camel"):
    """A part of the content, or a piece of one."""

    text: str = ""
    tool_use: _ToolUse | None = None
    reasoning_content: _Reasoning | None = None


class _Message(msgspec.Struct):
    content: list[_Block] = []


class _Output(msgspec.Struct):
    message: _Message | None = None


class _Tier(msgspec.Struct):
    type: Any = None


class _Answer(msgspec.Struct, rename="camel"):
    """A whole answer, or the payload of a frame: the frame's type says what can be in it."""

    output: _Output | None = None
    stop_reason: str | None = None
    usage: Any = None
    service_tier: _Tier | None = None
    content_block_index: int = 0
    start: _Block | None = None
    delta: _Block | None = None
    message: Any = None
    """Of an error: what it says."""


_answers = msgspec.json.Decoder(_Answer)


def read_answer(data: bytes, parts: AnswerParts) -> None:
    """Take in a whole answer. Raises `ProviderError` (`malformed_response`) where it is none."""
    answer = _decoded(data, parts)
    _report(answer, parts)
    if answer.output is None or answer.output.message is None:
        return
    parts.answered = True
    for number, block in enumerate(answer.output.message.content):
        _take(number, block, parts)
    if answer.stop_reason is not None:
        parts.finish(answer.stop_reason)


def read_frame(frame: Frame, parts: AnswerParts) -> str:
    """Take in a frame of a stream; return the text that it brought."""
    answer = _decoded(frame.payload, parts)
    if frame.headers.get("message-type") != "event":
        parts.error = _told(frame, answer)
        return ""
    match frame.headers.get("event-type"):
        case "contentBlockDelta" if answer.delta is not None:
            return _take(answer.content_block_index, answer.delta, parts)
        case "contentBlockStart" if answer.start is not None:
            return _take(answer.content_block_index, answer.start, parts)
        case "messageStop" if answer.stop_reason is not None:
            parts.finish(answer.stop_reason)
        case "metadata":
            _report(answer, parts)
            parts.ended = True
        case _:
            pass
    return ""


def _decoded(data: bytes, parts: AnswerParts) -> _Answer:
    try:
        return _answers.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(f"{parts.who} answered with something that is no answer of Converse: {error}") from None


def _take(number: int, block: _Block, parts: AnswerParts) -> str:
    if block.tool_use is not None:
        tool = block.tool_use
        parts.call(number, tool.tool_use_id, tool.name, tool.input)
    elif block.reasoning_content is not None:
        thought = block.reasoning_content
        whole = thought.reasoning_text or thought
        if thought.redacted_content:
            parts.think("", number, seal=thought.redacted_content, kind=REDACTED)
        parts.think(whole.text, number, seal=whole.signature)
    return parts.say(block.text)


def _report(answer: _Answer, parts: AnswerParts) -> None:
    tier = answer.service_tier.type if answer.service_tier is not None else ""
    parts.reported = bedrock_usage(answer.usage, tier=tier) or parts.reported


def _told(frame: Frame, answer: _Answer) -> Told:
    """Return what a frame says that is no event: an exception with a body, or an error that stands in the headers."""
    told = frame.headers.get("exception-type") or frame.headers.get("error-code") or ""
    name = told[:1].upper() + told[1:]
    text = answer.message or frame.headers.get("error-message") or ""
    return Told(STATUSES.get(name, 500), {"message": text, "type": name})
