"""Requests in the words of Anthropic's Messages API. No I/O here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from headgate.llm.asking import (
    SCHEMA_NOTE,
    Asked,
    Dropping,
    check_extra,
    merged,
    with_schema,
    without_fields,
)
from headgate.llm.claude import claude_of, drop_forced, thinking_fields
from headgate.llm.request_parts import Choice, Turn, choice_of, image_of, own_thoughts, tool_of, turns_of
from headgate.llm.schema_subset import closed_schema
from headgate.ports import Message, ModelRequest, Thought

__all__ = ["REDACTED", "messages_request"]

REDACTED = "redacted_thinking"
"""The kind of thinking that only its vendor can read."""


def messages_request(request: ModelRequest, provider: str, *, streamed: bool, without: frozenset[str]) -> Asked:
    """Return what to send, without the fields `without`. Raises `ProviderError` for what the model does not take."""
    check_extra(request.extra)
    dropping, claude = Dropping(request), claude_of(request.model)
    messages, schema = request.messages, request.response_schema
    if schema is not None and (not claude.takes_schema or "output_config" in without):
        messages, schema = with_schema(messages, schema), None
        dropping.notes.append(SCHEMA_NOTE)
    if request.seed is not None:
        dropping.drop("seed")
    system, turns = turns_of(messages)
    temperature, top_p = dropping.sampling(taken=claude.takes_sampling)
    thinking = thinking_fields(claude, request, dropping)
    budgeted = thinking.get("thinking", {}).get("type") == "enabled"
    fields: dict[str, Any] = {
        "model": request.model,
        "max_tokens": claude.output_tokens_max if request.max_tokens is None else request.max_tokens,
        "system": "\n\n".join(system) or None,
        "messages": [_turn(turn, provider) for turn in turns],
        "temperature": temperature,
        "top_p": top_p,
        "stop_sequences": list(request.stop_sequences) or None,
        "tools": [_tool(tool) for tool in request.tools] or None,
        "tool_choice": (
            _choice(drop_forced(claude, choice_of(request), dropping, budgeted=budgeted)) if request.tools else None
        ),
        "stream": True if streamed else None,
    }
    body = merged({name: value for name, value in fields.items() if value is not None}, thinking)
    if schema is not None:
        body = merged(body, {"output_config": {"format": {"type": "json_schema", "schema": closed_schema(schema)}}})
    return without_fields(merged(body, request.extra), without, dropping.notes)


def _turn(turn: Turn, provider: str) -> dict[str, Any]:
    write = _answered if turn.role == "assistant" else _asked
    return {"role": turn.role, "content": [part for message in turn.messages for part in write(message, provider)]}


def _asked(message: Message, _: str) -> Iterator[dict[str, Any]]:
    if message.role == "tool":
        content = [_text(message.content)] if message.content else []
        yield {"type": "tool_result", "tool_use_id": message.tool_call_id, "content": content}
        return
    if message.content:
        yield _text(message.content)
    for url in message.images:
        yield {"type": "image", "source": _source(url)}


def _answered(message: Message, provider: str) -> Iterator[dict[str, Any]]:
    yield from map(_thought, own_thoughts(message, provider))
    if message.content:
        yield _text(message.content)
    for call in message.tool_calls:
        yield from map(_thought, own_thoughts(message, provider, call.id))
        yield {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}


def _thought(thought: Thought) -> dict[str, Any]:
    if thought.kind == REDACTED:
        return {"type": REDACTED, "data": thought.seal}
    return {"type": "thinking", "thinking": thought.text, "signature": thought.seal}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _source(url: str) -> dict[str, Any]:
    if not url.startswith("data:"):
        return {"type": "url", "url": url}
    image = image_of(url)
    return {"type": "base64", "media_type": image.kind, "data": image.base64}


def _tool(given: dict[str, Any]) -> dict[str, Any]:
    """Return a tool; one of Anthropic's own, which has a `type` (web search …), goes as it is."""
    if given.get("type") not in (None, "function", "custom"):
        return given
    tool = tool_of(given)
    described = {"description": tool.description} if tool.description else {}
    cached = {"cache_control": given["cache_control"]} if "cache_control" in given else {}
    return {"name": tool.name, **described, "input_schema": tool.schema, **cached}


def _choice(choice: Choice) -> dict[str, Any]:
    return {"type": choice.kind, **({"name": choice.name} if choice.name else {})}
