"""Requests in the words of OpenAI's chat API, and where vendors speak it differently. No I/O here."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Literal, cast

import msgspec

from headgate.llm.asking import SCHEMA_NOTE, Asked, Dropping, as_text, check_extra, without_fields
from headgate.ports import Message, ModelRequest

__all__ = ["Dialect", "chat_request"]

LIMITS = ("max_tokens", "max_completion_tokens")
REASONS = re.compile(r"(?:.*/)?(?:o\d|gpt-5(?!.*chat))")
"""OpenAI's models that think first: they know `max_completion_tokens` only, also behind others' addresses."""


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """Where vendors differ: the names of fields, what there is none of, and whether streams must be asked for usage."""

    output_limit: str = "max_tokens"
    seed: str = "seed"
    asks_for_usage: bool = True
    schema: Literal["json_schema", "json_object"] = "json_schema"
    """How an answer is held to a schema; `json_object`: to being JSON only, and the schema stands in the prompt."""
    reasoning: str = "reasoning_effort"
    """The field for how much to think; empty: the vendor has none."""


def chat_request(request: ModelRequest, dialect: Dialect, *, streamed: bool, without: Collection[str] = ()) -> Asked:
    """Return what to send, without the fields `without`. Raises `ProviderError` where `extra` sets what is not its to
    set, and for effort where the vendor has no field for it (unless it may be dropped)."""
    check_extra(request.extra)
    dropping = Dropping(request)
    schema = request.response_schema
    refused = "response_format" in without
    messages = [_message(message) for message in request.messages]
    if schema is not None and (dialect.schema == "json_object" or refused):
        messages = _with_schema(messages, schema)
        dropping.notes.append(SCHEMA_NOTE)
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
        "response_format": None if schema is None or refused else _response_format(schema, dialect),
        **_effort(request, dialect, dropping),
        **request.extra,
    }
    if streamed and dialect.asks_for_usage:
        fields["stream_options"] = {"include_usage": True}
    body = {name: value for name, value in fields.items() if value is not None}
    body |= {"stream": True} if streamed else {}
    # A limit of tokens is renamed, and never dropped.
    return without_fields(body, frozenset(without) - {*LIMITS}, dropping.notes)


def _limit_name(model: str, dialect: Dialect, without: Collection[str]) -> str:
    name = "max_completion_tokens" if REASONS.match(model) else dialect.output_limit
    if name in without and name in LIMITS:
        return next(other for other in LIMITS if other != name)
    return name


def _effort(request: ModelRequest, dialect: Dialect, dropping: Dropping) -> dict[str, str]:
    if not request.reasoning:
        return {}
    if dialect.reasoning:
        return {dialect.reasoning: request.reasoning}
    dropping.drop("reasoning", "the provider has no field for it")
    return {}


def _with_schema(messages: list[dict[str, Any]], schema: dict[str, Any]) -> list[dict[str, Any]]:
    text = as_text(schema)
    if messages and messages[0]["role"] == "system":
        return [{**messages[0], "content": f"{messages[0]['content']}\n\n{text}"}, *messages[1:]]
    return [{"role": "system", "content": text}, *messages]


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


def _response_format(schema: dict[str, Any], dialect: Dialect) -> dict[str, Any]:
    if dialect.schema == "json_object":
        return {"type": "json_object"}
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
