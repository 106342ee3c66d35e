"""The chat and embedding messages of OpenAI's API as values: requests written, answers read. No I/O here.

An answer is read for what it says and not for its looks: unknown fields are passed over, a usage that makes
no sense counts as none (then we count, and say `estimated`), and what cannot be read at all is a
`malformed_response`, which still carries the usage where one was reported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec

from headgate.core.values import Usage
from headgate.llm.provider_errors import malformed, refused_here
from headgate.ports import EmbeddingAnswer, FinishReason, Message, ModelAnswer, ModelRequest, ToolCall

__all__ = ["AnswerParts", "Body", "Dialect", "chat_body", "read_body", "read_embeddings", "read_usage"]

TOKENS_MAX = 10**12
"""A reported number of tokens above this is nonsense."""
OURS = frozenset({"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n"})
"""What `extra` may not set: it would change what was reserved, or the shape of the answer."""
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


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """Where vendors differ: the names of fields, and whether usage must be asked for when streaming."""

    output_limit: str = "max_tokens"
    seed: str = "seed"
    asks_for_usage: bool = True


# --- Requests ------------------------------------------------------------------------------------------


def chat_body(request: ModelRequest, dialect: Dialect, *, streamed: bool) -> dict[str, Any]:
    """Return the body of a chat request. Raises `ProviderError` where `extra` sets what is not its to set."""
    forbidden = sorted(OURS & request.extra.keys())
    if forbidden:
        raise refused_here(
            "invalid_request",
            f"expected `extra` to leave {', '.join(forbidden)} alone: budgets count on the "
            "parameters. Set max_tokens beside `extra`; n and streaming are not for `extra`.",
        )
    schema = request.response_schema
    fields = {
        "model": request.model,
        "messages": [_message(message) for message in request.messages],
        dialect.output_limit: request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop": list(request.stop_sequences) or None,
        dialect.seed: request.seed,
        "tools": [_tool(tool) for tool in request.tools] or None,
        "tool_choice": _tool_choice(request.tool_choice),
        "response_format": None if schema is None else _response_format(schema),
    }
    body: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    if streamed:
        body["stream"] = True
        if dialect.asks_for_usage:
            body["stream_options"] = {"include_usage": True}
    return body | request.extra


def _message(message: Message) -> dict[str, Any]:
    written: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        written["content"] = message.content or None
        written["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": msgspec.json.encode(call.arguments).decode()},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        written["tool_call_id"] = message.tool_call_id
    return written


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    """Return a tool in OpenAI's form; `{name, description, parameters or input_schema}` is taken as well."""
    if "function" in tool or "name" not in tool:
        return tool
    function = {"name": tool["name"], "parameters": tool.get("parameters") or tool.get("input_schema") or {}}
    if tool.get("description"):
        function["description"] = tool["description"]
    return {"type": "function", "function": function}


def _tool_choice(choice: str | dict[str, Any] | None) -> str | dict[str, Any] | None:
    if isinstance(choice, dict) and "name" in choice:
        return {"type": "function", "function": {"name": choice["name"]}}
    return choice


def _response_format(schema: dict[str, Any]) -> dict[str, Any]:
    written = {"name": "response", "schema": schema, "strict": _can_be_strict(schema)}
    return {"type": "json_schema", "json_schema": written}


def _can_be_strict(schema: object) -> bool:
    """Say whether OpenAI takes the schema as strict: every object closed, all its fields required."""
    if isinstance(schema, list):
        return all(_can_be_strict(part) for part in schema)
    if not isinstance(schema, dict):
        return True
    fields = schema.get("properties")
    if isinstance(fields, dict) or schema.get("type") == "object":
        names = set(cast("dict[str, object]", fields or {}))
        closed = schema.get("additionalProperties") is False
        if not closed or names - set(cast("list[str]", schema.get("required") or [])):
            return False
    return all(_can_be_strict(part) for part in schema.values())


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
        self._calls: dict[int, _ToolPart] = {}
        self._arguments: dict[int, list[str]] = {}
        self._finish_reason: str | None = None
        self._model = ""
        self.reported: Usage | None = None
        self.finished = False

    @property
    def begun(self) -> bool:
        """Say whether the model has produced anything."""
        return bool(self._texts or self._refusals or self._calls)

    @property
    def content(self) -> str:
        return "".join(self._texts) or "".join(self._refusals)

    def add(self, body: Body) -> str:
        """Take in a body or an event; return the text that it brought."""
        self._model = body.model or self._model
        self.reported = read_usage(body.usage) or self.reported
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
        usage = self.reported or count(self.content, calls)
        return ModelAnswer(
            content=self.content,
            model=name,
            usage=msgspec.structs.replace(usage, model=name),
            finish_reason=self._reason(calls),
            tool_calls=calls,
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


def read_usage(reported: object, *, of_embedding: bool = False) -> Usage | None:
    """Return the usage as reported, or None where it does not say how many tokens went in and out."""
    if not isinstance(reported, dict):
        return None
    given = _tokens(reported.get("prompt_tokens"))
    made = 0 if of_embedding else _tokens(reported.get("completion_tokens"))
    if given is None or made is None:
        return None
    cached = _detail(reported.get("prompt_tokens_details"), "cached_tokens")
    reasoned = _detail(reported.get("completion_tokens_details"), "reasoning_tokens")
    return Usage(
        input_tokens=given,
        output_tokens=made,
        cache_read_tokens=min(cached, given),
        reasoning_tokens=min(reasoned, made),
    )


def _detail(details: object, name: str) -> int:
    return (_tokens(details.get(name)) or 0) if isinstance(details, dict) else 0


def _tokens(value: object) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return cast("int", value) if whole and 0 <= cast("int", value) <= TOKENS_MAX else None


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
