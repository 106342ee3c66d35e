"""Requests in the words of OpenAI's chat API, and where vendors speak it differently. No I/O here.

What a vendor is known not to have is settled before anything is sent: a schema goes into the prompt, effort is refused.
What a model turns out to refuse is left out where `drop_unsupported` says so, by asking again without it: a refusal
is not billed. Either is said in the answer's `notes`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Literal, cast

import msgspec

from headgate.llm.provider_errors import refused_here
from headgate.ports import Message, ModelRequest

__all__ = ["AS_TEXT", "DROPS_MAX", "Asked", "Dialect", "chat_request", "refused_field", "without_effort"]

OURS = frozenset({"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n"})
"""What `extra` may not set: it would change what was reserved, or the shape of the answer."""
DROPS_MAX = 8
LIMITS = ("max_tokens", "max_completion_tokens")
KEPT = frozenset({"model", "messages", "stream", "tools"})
"""Without these it would be another question; a limit of tokens is renamed, and never dropped."""
REASONS = re.compile(r"(?:.*/)?(?:o\d|gpt-5(?!.*chat))")
"""OpenAI's models that think first: they know `max_completion_tokens` only, also behind others' addresses."""
REFUSES = re.compile(
    r"unsupported|not supported|does not support|unrecognized|unknown|unexpected|not permitted|extra_forbidden"
    r"|extra inputs|not allowed|only the default",
    re.IGNORECASE,
)
AS_TEXT = "Answer with one JSON value that fits this JSON Schema, and with nothing else: "


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """Where vendors differ: the names of fields, what there is none of, and whether streams must be asked for usage."""

    output_limit: str = "max_tokens"
    seed: str = "seed"
    asks_for_usage: bool = True
    schema: Literal["json_schema", "json_object"] = "json_schema"
    """How an answer is held to a schema; `json_object`: to being JSON only, and the schema stands in the prompt."""
    reasoning: str = "reasoning_effort"
    """The field for how much to think; empty: the vendor has none."""


class Asked(msgspec.Struct, frozen=True):
    """The body of a request, and what it says otherwise than it was meant."""

    body: dict[str, Any]
    notes: tuple[str, ...] = ()


def chat_request(request: ModelRequest, dialect: Dialect, *, streamed: bool, without: Collection[str] = ()) -> Asked:
    """Return what to send, without the fields `without`. Raises `ProviderError` where `extra` sets what is not its to
    set, and for effort where the vendor has no field for it (unless it may be dropped)."""
    _check_extra(request)
    notes: list[str] = []
    schema = request.response_schema
    as_text = schema is not None and (dialect.schema == "json_object" or "response_format" in without)
    messages = [_message(message) for message in request.messages]
    if as_text:
        messages = _with_schema(messages, schema)
        notes.append("The schema was put into the prompt, for the model takes none.")
    limit = _limit_name(request.model, dialect, without)
    fields: dict[str, Any] = {
        "model": request.model,
        "messages": messages,
        limit: request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop": list(request.stop_sequences) or None,
        dialect.seed: request.seed,
        "tools": [_tool(tool) for tool in request.tools] or None,
        "tool_choice": _tool_choice(request.tool_choice),
        "response_format": None if schema is None else {"type": "json_object"} if as_text else _response_format(schema),
        **_effort(request, dialect, notes),
        **request.extra,
    }
    if streamed and dialect.asks_for_usage:
        fields["stream_options"] = {"include_usage": True}
    dropped = sorted(name for name in without if fields.get(name) is not None and name not in LIMITS)
    notes += [f"{name} was left out, for the model refuses it." for name in dropped if name != "response_format"]
    body = {name: value for name, value in fields.items() if value is not None and name not in dropped}
    body |= {"stream": True} if streamed else {}
    return Asked(body, tuple(notes))


def _check_extra(request: ModelRequest) -> None:
    forbidden = sorted(OURS & request.extra.keys())
    if forbidden:
        raise refused_here(
            "invalid_request",
            f"expected `extra` to leave {', '.join(forbidden)} alone: budgets count on the "
            "parameters. Set max_tokens beside `extra`; n and streaming are not for `extra`.",
        )


def _limit_name(model: str, dialect: Dialect, without: Collection[str]) -> str:
    name = "max_completion_tokens" if REASONS.match(model) else dialect.output_limit
    if name in without and name in LIMITS:
        return next(other for other in LIMITS if other != name)
    return name


def _effort(request: ModelRequest, dialect: Dialect, notes: list[str]) -> dict[str, str]:
    if not request.reasoning:
        return {}
    if dialect.reasoning:
        return {dialect.reasoning: request.reasoning}
    if why := without_effort(request, dialect):
        raise refused_here("missing_capability", why)
    notes.append("reasoning was left out, for the provider has no field for it.")
    return {}


def without_effort(request: ModelRequest, dialect: Dialect) -> str:
    """Return that the vendor has no field for the effort that is asked for, in a sentence; nothing: it has, or the
    effort may be dropped."""
    if not request.reasoning or dialect.reasoning or request.drop_unsupported:
        return ""
    return (
        f"{request.model} was not asked: its provider has no field for `reasoning`. Leave it out, set the "
        "provider's own under `extra`, or say `drop_unsupported: true`."
    )


def _with_schema(messages: list[dict[str, Any]], schema: dict[str, Any] | None) -> list[dict[str, Any]]:
    text = AS_TEXT + msgspec.json.encode(schema).decode()
    if messages and messages[0]["role"] == "system":
        return [{**messages[0], "content": f"{messages[0]['content']}\n\n{text}"}, *messages[1:]]
    return [{"role": "system", "content": text}, *messages]


def refused_field(said: object, body: dict[str, Any]) -> str:
    """Return the field of `body` that a refusal `said` is about, where one can be dropped (or renamed), or nothing."""
    text = said if isinstance(said, str) else msgspec.json.encode(said).decode()
    if not REFUSES.search(text):
        return ""
    named = _named_field(said)
    if named not in body:
        named = next((name for name in body if re.search(rf"[\"'`]{re.escape(name)}[\"'`\\]", text)), "")
    return "" if named in KEPT else named


def _named_field(said: object) -> str:
    """Return the `param` of an error (`response_format.json_schema` is `response_format`), or nothing."""
    if not isinstance(said, dict):
        return ""
    fields = cast("dict[str, object]", said)
    inner = fields.get("error")
    param = (cast("dict[str, object]", inner) if isinstance(inner, dict) else fields).get("param")
    return param.partition(".")[0] if isinstance(param, str) else ""


def _message(message: Message) -> dict[str, Any]:
    written: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.images:
        text = [{"type": "text", "text": message.content}] if message.content else []
        written["content"] = [*text, *({"type": "image_url", "image_url": {"url": url}} for url in message.images)]
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
