"""What Google's Gemini API answers, whole or as events (in one form), read into the parts of an answer. No I/O here."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import msgspec

from headgate.core.values import Usage
from headgate.llm.answer_parts import AnswerParts, Told
from headgate.llm.provider_errors import malformed
from headgate.llm.usage_reports import gemini_usage
from headgate.llm.vectors import Vectors
from headgate.ports import FinishReason

__all__ = ["ENDS", "read_chunk", "read_embeddings"]

FILTERED = "SAFETY"
NONE = msgspec.Raw(b"null")
ENDS: dict[str, FinishReason] = {
    "STOP": "Stop",
    "FUNCTION_CALL": "Stop",  # of servers that imitate Google
    "MAX_TOKENS": "MaxTokens",
    "CONTINUATION": "MaxTokens",
    **dict.fromkeys(
        (
            *(FILTERED, "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"),
            *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "MODEL_ARMOR"),
        ),
        "ContentFilter",
    ),
}


class _Call(msgspec.Struct):
    name: str = ""
    id: str | None = None
    args: dict[str, Any] | None = None


class _Part(msgspec.Struct, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: _Call | None = None


class _Content(msgspec.Struct):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class _Chunk(msgspec.Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: msgspec.Raw = NONE
    """Comes with every event, and the last one holds: so it is not read before it is asked for."""
    model_version: str | None = None
    error: Any = None


_chunks = msgspec.json.Decoder(_Chunk)


def read_chunk(data: bytes, parts: AnswerParts) -> str:
    """Take in an answer, or an event of one; return the text that it brought. Raises `ProviderError`."""
    try:
        chunk = _chunks.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(f"{parts.who} answered with something that is no content: {error}") from None
    parts.model = chunk.model_version or parts.model
    if chunk.usage_metadata != NONE:
        parts.report_later(partial(_usage, chunk.usage_metadata))
    if chunk.error is not None:
        parts.error = _told(chunk.error)
    if chunk.prompt_feedback is not None and chunk.prompt_feedback.block_reason:
        parts.answered = True
        parts.finish(FILTERED)
    if not chunk.candidates:
        return ""
    parts.answered = True
    candidate = chunk.candidates[0]
    if candidate.finish_reason is not None:
        parts.finish(candidate.finish_reason)
    brought = candidate.content.parts if candidate.content is not None else None
    return "".join(_read_part(part, parts) for part in brought or ())


def _usage(report: msgspec.Raw) -> Usage | None:
    return gemini_usage(msgspec.json.decode(report))


def _read_part(part: _Part, parts: AnswerParts) -> str:
    if part.thought_signature:  # it goes back with what it stands at: a call, or the text
        parts.think("", parts.thoughts + 1, seal=part.thought_signature)
    if part.function_call is not None:
        call = part.function_call
        parts.call(parts.calls, call.id, call.name, call.args)
        return ""
    if part.thought:
        parts.think(part.text or "")
        return ""
    return parts.say(part.text or "")


def _told(error: object) -> Told:
    code = cast("dict[str, object]", error).get("code") if isinstance(error, dict) else None
    return Told(code if isinstance(code, int) and 400 <= code < 600 else 500, {"error": error})


# --- Embeddings ---------------------------------------------------------------------------------------------------


class _Vector(msgspec.Struct):
    values: tuple[float, ...]


class _Embeddings(msgspec.Struct):
    embeddings: list[_Vector]


def read_embeddings(data: bytes, expected: int, who: str) -> Vectors:
    """Return the vectors; Google reports no tokens for them."""
    try:
        found = msgspec.json.decode(data, type=_Embeddings).embeddings
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(f"{who} answered with something that is no list of embeddings: {error}") from None
    if len(found) != expected or not all(vector.values for vector in found):
        raise malformed(f"{who} was asked for {expected} embeddings and answered with {len(found)}.")
    return Vectors(tuple(vector.values for vector in found))
