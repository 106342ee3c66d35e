"""What OpenAI's chat and embedding API answers, read into values; requests are in `openai_requests`. No I/O here.

An answer is read for what it says and not for its looks: unknown fields are passed over, a usage that makes
no sense counts as none (then we count, and say `estimated`), and what cannot be read at all is a
`malformed_response`, which still carries the usage where one was reported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec

from headgate.core.values import Usage
from headgate.llm.provider_errors import malformed
from headgate.llm.usage_reports import openai_usage as read_usage
from headgate.llm.usage_reports import tier_of
from headgate.ports import EmbeddingAnswer, FinishReason, ModelAnswer, ToolCall

__all__ = ["AnswerParts", "Body", "read_body", "read_embeddings", "read_usage"]

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


class AnswerParts:
    """An answer being put together: all of it at once, or event by event.

    `finished` says that the provider has said how it ended; without that a stream was cut.
    """

    def __init__(self, who: str) -> None:
        self._who = who
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self._thoughts: list[str] = []
        self._calls: dict[int, _ToolPart] = {}
        self._arguments: dict[int, list[str]] = {}
        self._finish_reason: str | None = None
        self._model = ""
        self._tier = ""
        self.reported: Usage | None = None
        self.finished = False

    @property
    def begun(self) -> bool:
        """Say whether the model has produced anything."""
        return bool(self._texts or self._refusals or self._thoughts or self._calls)

    @property
    def content(self) -> str:
        return "".join(self._texts) or "".join(self._refusals)

    @property
    def delivered(self) -> str:
        """All that has come so far: thinking, texts, and the arguments of calls."""
        pieces = [piece for number in sorted(self._arguments) for piece in self._arguments[number]]
        return "".join([*self._thoughts, *self._texts, *self._refusals, *pieces])

    def add(self, body: Body) -> str:
        """Take in a body or an event; return the text that it brought."""
        self._model = body.model or self._model
        if body.service_tier is not None:
            self._tier = tier_of(body.service_tier)
        reported = body.reported or self.reported
        self.reported = msgspec.structs.replace(reported, tier=self._tier) if reported is not None else None
        if not body.choices:
            return ""
        choice = body.choices[0]
        if choice.finish_reason is not None:
            self._finish_reason = choice.finish_reason
            self.finished = True
        part = choice.message or choice.delta
        if part is None:
            return ""
        text = _text(part.content)
        if text:
            self._texts.append(text)
        if thought := _thought(part):
            self._thoughts.append(thought)
        if part.refusal:
            self._refusals.append(part.refusal)
        for call in part.tool_calls or ():
            self._add_call(call)
        return text

    def _add_call(self, part: _ToolPart) -> None:
        index = part.index if part.index is not None else self._index_without_one(part)
        call = self._calls.setdefault(index, _ToolPart(index, None, _Function()))
        call.id = call.id or part.id
        if part.function is None:
            return
        assert call.function is not None
        call.function.name = call.function.name or part.function.name
        arguments = part.function.arguments
        if arguments is not None:
            text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
            self._arguments.setdefault(index, []).append(text)

    def _index_without_one(self, part: _ToolPart) -> int:
        """Some servers leave the index out: a part with a name begins a call, another continues the last."""
        begins = part.function is not None and bool(part.function.name)
        return len(self._calls) if begins or not self._calls else len(self._calls) - 1

    def answer(self, model: str, count: Callable[[str, Sequence[ToolCall]], Usage]) -> ModelAnswer:
        """Return the whole answer; `count` makes the usage where none was reported.

        Raises `ProviderError` (`malformed_response`), with the reported usage, for calls that cannot be read.
        """
        try:
            calls = tuple(self._call(index) for index in sorted(self._calls))
        except msgspec.DecodeError as error:
            broken = malformed(f"{self._who} asked for a tool with arguments that are no JSON object: {error}")
            broken.usage = self.reported
            raise broken from None
        name = self._model or model
        told = self.reported
        usage = told if told and (told.input_tokens or told.output_tokens) else count(self.content, calls)
        return ModelAnswer(
            content=self.content,
            model=name,
            usage=msgspec.structs.replace(usage, model=name),
            finish_reason=self._reason(calls),
            tool_calls=calls,
            reasoning="".join(self._thoughts),
        )

    def _call(self, index: int) -> ToolCall:
        call = self._calls[index]
        text = "".join(self._arguments.get(index, ()))
        arguments = msgspec.json.decode(text, type=dict[str, Any]) if text.strip() else {}
        name = call.function.name if call.function is not None else None
        if not name:
            raise msgspec.DecodeError("it names no tool")
        return ToolCall(call.id or f"call_{index}", name, arguments)

    def _reason(self, calls: Sequence[ToolCall]) -> FinishReason:
        if self._refusals and not self._texts:
            return "ContentFilter"
        reason = FINISH_REASONS.get(self._finish_reason or "stop", "Error")
        return "ToolUse" if reason == "Stop" and calls else reason


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


def read_embeddings(data: bytes, model: str, expected: int, estimated: Usage, who: str) -> EmbeddingAnswer:
    """Return the vectors in the order of the inputs. `estimated` is the usage where none was reported."""
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
    name = body.model or model
    return EmbeddingAnswer(
        embeddings=tuple(vectors[place] for place in range(expected)),
        model=name,
        usage=msgspec.structs.replace(usage or estimated, model=name),
    )
