"""What OpenAI's chat and embedding API answers, read into values; requests are in `openai_requests`. No I/O here.

An answer is read for what it says and not for its looks: unknown fields are passed over, a usage that makes
no sense counts as none (then we count, and say `estimated`), and what cannot be read at all is a
`malformed_response`, which still carries the usage where one was reported.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec

from headgate.core.values import Usage
from headgate.llm.answer_parts import AnswerParts, Told
from headgate.llm.provider_errors import malformed
from headgate.llm.usage_reports import openai_usage as read_usage
from headgate.llm.usage_reports import tier_of
from headgate.llm.vectors import Vectors
from headgate.ports import FinishReason

__all__ = ["FINISH_REASONS", "Body", "add_body", "read_body", "read_embeddings", "read_usage"]

FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "Stop",
    "eos": "Stop",
    "end_turn": "Stop",
    "stop_sequence": "Stop",
    "length": "MaxTokens",
    "max_tokens": "MaxTokens",
    "model_length": "MaxTokens",
    "tool_calls": "ToolUse",
    "function_call": "ToolUse",
    "content_filter": "ContentFilter",
}


# --- Answers -------------------------------------------------------------------------------------------


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: Any = None


class _ToolPart(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Part(msgspec.Struct):
    content: Any = None
    refusal: str | None = None
    reasoning_content: Any = None
    """What is shown of the thinking: DeepSeek's name, and that of vLLM and others."""
    reasoning: Any = None
    """OpenRouter's name, and Ollama's."""
    tool_calls: list[_ToolPart] | None = None


class _Choice(msgspec.Struct):
    message: _Part | None = None
    delta: _Part | None = None
    finish_reason: str | None = None


class Body(msgspec.Struct):
    """A whole answer, or one event of a streamed one: they differ only in `message` and `delta`."""

    model: str | None = None
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None
    service_tier: Any = None
    x_groq: Any = None
    """Where Groq puts the usage of a stream."""

    @property
    def reported(self) -> Usage | None:
        elsewhere = cast("dict[str, object]", self.x_groq).get("usage") if isinstance(self.x_groq, dict) else None
        return read_usage(self.usage, tier=self.service_tier) or read_usage(elsewhere, tier=self.service_tier)


def read_body(data: bytes | str, who: str) -> Body:
    """Return the body. Raises `ProviderError` (`malformed_response`) where it is none."""
    try:
        return msgspec.json.decode(data, type=Body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(f"{who} answered with something that is no chat completion: {error}") from None


def add_body(body: Body, parts: AnswerParts) -> str:
    """Take in a body or an event; return the text that it brought."""
    parts.model = body.model or parts.model
    if body.service_tier is not None:
        parts.tier = tier_of(body.service_tier)
    reported = body.reported or parts.reported
    parts.reported = msgspec.structs.replace(reported, tier=parts.tier) if reported is not None else None
    if body.error is not None:
        parts.error = Told(_status_of(body.error), {"error": body.error})
    if not body.choices:
        return ""
    parts.answered = True
    choice = body.choices[0]
    if choice.finish_reason is not None:
        parts.finish(choice.finish_reason)
    part = choice.message or choice.delta
    if part is None:
        return ""
    text = parts.say(_text(part.content))
    parts.think(_thought(part))
    parts.refuse(part.refusal or "")
    for call in part.tool_calls or ():
        function = call.function or _Function()
        number = call.index if call.index is not None else _number_without_one(function, parts)
        parts.call(number, call.id, function.name, function.arguments)
    return text


def _number_without_one(function: _Function, parts: AnswerParts) -> int:
    """Some servers leave the index out: a part with a name begins a call, another continues the last."""
    return parts.calls if function.name or not parts.calls else parts.calls - 1


def _status_of(error: object) -> int:
    """Return the status that an error inside an answer names, or that of a fault of the server."""
    inner = cast("dict[str, object]", error) if isinstance(error, dict) else {}
    code = inner.get("code", inner.get("status"))
    return code if isinstance(code, int) and 400 <= code < 600 else 500


def _text(content: object) -> str:
    """Return the text of a message, which some vendors write as a list of parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = [part for part in cast("list[object]", content) if isinstance(part, dict)]
    return "".join(text for part in parts if isinstance(text := part.get("text"), str))


def _thought(part: _Part) -> str:
    """Return what is shown of the thinking: a text of its own, or parts of the content, as Mistral has it."""
    for told in (part.reasoning_content, part.reasoning):
        if isinstance(told, str) and told:
            return told
    if not isinstance(part.content, list):
        return ""
    parts = [one for one in cast("list[object]", part.content) if isinstance(one, dict)]
    return "".join(_text(cast("object", one.get("thinking"))) for one in parts if one.get("type") == "thinking")


# --- Embeddings ----------------------------------------------------------------------------------------


class _Vector(msgspec.Struct):
    embedding: tuple[float, ...]
    index: int | None = None


class _Vectors(msgspec.Struct):
    data: list[_Vector]
    model: str | None = None
    usage: Any = None


def read_embeddings(data: bytes, expected: int, who: str) -> Vectors:
    """Return the vectors in the order of the inputs."""
    try:
        body = msgspec.json.decode(data, type=_Vectors)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(f"{who} answered with something that is no list of embeddings: {error}") from None
    usage = read_usage(body.usage, of_embedding=True)
    places = [vector.index if vector.index is not None else place for place, vector in enumerate(body.data)]
    if sorted(places) != list(range(expected)):
        broken = malformed(f"{who} was asked for {expected} embeddings and answered with {len(body.data)}.")
        broken.usage = usage
        raise broken
    vectors = dict(zip(places, (vector.embedding for vector in body.data), strict=True))
    return Vectors(tuple(vectors[place] for place in range(expected)), usage, body.model or "")
