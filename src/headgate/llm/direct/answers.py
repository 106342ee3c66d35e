"""What a model answered, out of the words of `pydantic_ai` into ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from pydantic_ai import messages as theirs

from headgate.core.values import Usage
from headgate.ports import FinishReason, ModelAnswer, ToolCall

__all__ = ["answer_of", "delivered", "reason_told", "text_in"]


def text_in(event: object) -> str:
    """Return the visible text that an event of a stream brings."""
    match event:
        case theirs.PartStartEvent(part=theirs.TextPart(content=text)):
            return text
        case theirs.PartDeltaEvent(delta=theirs.TextPartDelta(content_delta=text)):
            return text
        case _:
            return ""


def answer_of(
    response: theirs.ModelResponse,
    reasons: Mapping[str, FinishReason],
    model: str,
    usage: Usage,
    notes: tuple[str, ...],
) -> ModelAnswer:
    """Return the answer. Raises `msgspec.DecodeError` for the arguments of a tool that are no JSON object."""
    calls = tuple(_call(part) for part in response.parts if isinstance(part, theirs.ToolCallPart))
    name = response.model_name or model
    return ModelAnswer(
        content="".join(part.content for part in response.parts if isinstance(part, theirs.TextPart)),
        model=name,
        usage=msgspec.structs.replace(usage, model=name),
        finish_reason=_reason(response, reasons, called=bool(calls)),
        tool_calls=calls,
        reasoning="".join(part.content for part in response.parts if isinstance(part, theirs.ThinkingPart)),
        notes=notes,
    )


def reason_told(response: theirs.ModelResponse) -> str:
    """Return the vendor's own word for how the answer ended, or nothing: it has not ended."""
    told = (response.provider_details or {}).get("finish_reason")
    return told if isinstance(told, str) else ""


def _reason(response: theirs.ModelResponse, reasons: Mapping[str, FinishReason], *, called: bool) -> FinishReason:
    told = reason_told(response)
    if not told:
        return "ContentFilter" if _blocked(response) else "Stop" if not called else "ToolUse"
    reason = reasons.get(told, "Error")
    return "ToolUse" if reason == "Stop" and called else reason


def _blocked(response: theirs.ModelResponse) -> bool:
    return response.finish_reason == "content_filter"


def _call(part: theirs.ToolCallPart) -> ToolCall:
    arguments = part.args
    if isinstance(arguments, str):
        arguments = msgspec.json.decode(arguments, type=dict[str, Any]) if arguments.strip() else {}
    if not part.tool_name:
        raise msgspec.DecodeError("it names no tool")
    return ToolCall(part.tool_call_id, part.tool_name, dict(arguments or {}))


def delivered(response: theirs.ModelResponse) -> str:
    """Return all that came of an answer: text, thinking, and the arguments of calls."""
    pieces: list[str] = []
    for part in response.parts:
        match part:
            case theirs.TextPart() | theirs.ThinkingPart():
                pieces.append(part.content)
            case theirs.ToolCallPart():
                pieces.append(part.args if isinstance(part.args, str) else msgspec.json.encode(part.args).decode())
            case _:
                pass
    return "".join(pieces)
