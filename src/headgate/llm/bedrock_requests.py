"""Requests in the words of AWS Bedrock's Converse API. No I/O here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import msgspec

from headgate.llm.asking import SCHEMA_NOTE, Asked, Dropping, check_extra, merged, with_schema, without_fields
from headgate.llm.bedrock_models import Family, effort_fields, family_of, takes_schema
from headgate.llm.claude import claude_of, drop_forced
from headgate.llm.request_parts import Choice, Turn, choice_of, image_of, own_thoughts, tool_of, turns_of
from headgate.llm.schema_subset import closed_schema
from headgate.ports import Message, ModelRequest, Thought

__all__ = ["REDACTED", "converse_request"]

REDACTED = "redacted"
"""The kind of thinking that only its vendor can read."""
NOTHING: list[dict[str, Any]] = [{"text": "."}]
"""Stands where a turn must be and nobody has said anything."""


def converse_request(request: ModelRequest, provider: str, *, without: frozenset[str]) -> Asked:
    """Return what to send, without the fields `without`. Raises `ProviderError` for what the model does not take."""
    check_extra(request.extra)
    model, dropping = request.model, Dropping(request)
    family = family_of(model)
    messages, schema = request.messages, request.response_schema
    if schema is not None and (not takes_schema(model) or "outputConfig" in without):
        messages, schema = with_schema(messages, schema), None
        dropping.notes.append(SCHEMA_NOTE)
    if request.seed is not None:
        dropping.drop("seed")
    system, turns = turns_of(messages)
    own = effort_fields(model, request, dropping)
    choice = _choice_of(request, family, dropping, budgeted=own.get("thinking", {}).get("type") == "enabled")
    if choice.kind == "none" and family.claude and request.tools and _talked_of_tools(request):
        own = {**own, "tool_choice": {"type": "none"}}  # Converse has no word for it, and Claude has
    fields: dict[str, Any] = {
        "messages": list(_messages(turns, family, provider)),
        "system": [{"text": text} for text in system] or None,
        "inferenceConfig": _config(request, family, dropping) or None,
        "toolConfig": _tools(request, family, choice),
        "outputConfig": None if schema is None else {"textFormat": _text_format(schema)},
        "additionalModelRequestFields": merged(own, request.extra) or None,
    }
    body = {name: value for name, value in fields.items() if value is not None}
    return without_fields(body, without, dropping.notes)


def _config(request: ModelRequest, family: Family, dropping: Dropping) -> dict[str, Any]:
    taken = claude_of(request.model).takes_sampling if family.claude else family.takes_sampling
    temperature, top_p = dropping.sampling(taken=taken)
    fields = {
        "maxTokens": request.max_tokens,
        "temperature": temperature,
        "topP": top_p,
        "stopSequences": list(request.stop_sequences) or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


# --- Messages ---------------------------------------------------------------------------------------------------


def _messages(turns: Sequence[Turn], family: Family, provider: str) -> Iterator[dict[str, Any]]:
    if not turns or (turns[0].role == "assistant" and not family.assistant_first):
        yield {"role": "user", "content": NOTHING}
    for turn in turns:
        if turn.role == "assistant":
            content = [part for message in turn.messages for part in _answered(message, provider)]
            yield {"role": "assistant", "content": content}
            continue
        parts = [list(_asked(message, family)) for message in turn.messages]
        if not family.results_alone:
            yield {"role": "user", "content": [part for some in parts for part in some]}
            continue
        for number, (_, together) in enumerate(groupby(zip(turn.messages, parts, strict=True), key=_is_result)):
            if number:  # AWS joins turns of one side that follow each other
                yield {"role": "assistant", "content": NOTHING}
            yield {"role": "user", "content": [part for _, some in together for part in some]}


def _is_result(pair: tuple[Message, object]) -> bool:
    return pair[0].role == "tool"


def _asked(message: Message, family: Family) -> Iterator[dict[str, Any]]:
    if message.role == "tool":
        status = {"status": "success"} if family.takes_status else {}
        result = {"toolUseId": message.tool_call_id, "content": [{"text": message.content}], **status}
        yield {"toolResult": result}
        return
    if message.content:
        yield {"text": message.content}
    for url in message.images:
        image = image_of(url)
        yield {"image": {"format": image.kind.rpartition("/")[2], "source": {"bytes": image.base64}}}


def _answered(message: Message, provider: str) -> Iterator[dict[str, Any]]:
    yield from map(_thought, own_thoughts(message, provider))
    if message.content:
        yield {"text": message.content}
    for call in message.tool_calls:
        yield from map(_thought, own_thoughts(message, provider, call.id))
        yield {"toolUse": {"toolUseId": call.id, "name": call.name, "input": call.arguments}}


def _thought(thought: Thought) -> dict[str, Any]:
    if thought.kind == REDACTED:
        return {"reasoningContent": {"redactedContent": thought.seal}}
    return {"reasoningContent": {"reasoningText": {"text": thought.text, "signature": thought.seal}}}


# --- Tools, and what an answer must be like ---------------------------------------------------------------------


def _choice_of(request: ModelRequest, family: Family, dropping: Dropping, *, budgeted: bool) -> Choice:
    choice = choice_of(request) if request.tools else Choice()
    if family.claude:
        return drop_forced(claude_of(request.model), choice, dropping, budgeted=budgeted)
    if choice.forced and not family.takes_choice:
        dropping.drop("tool_choice", "it cannot be forced")
        return Choice()
    return choice


def _tools(request: ModelRequest, family: Family, choice: Choice) -> dict[str, Any] | None:
    """Return the tools. To have none called, none are named, but where a call must be declared that was made."""
    if not request.tools or (choice.kind == "none" and not _talked_of_tools(request)):
        return None
    named = {"toolChoice": _choice(choice)} if family.takes_choice and choice.kind != "none" else {}
    return {"tools": [_tool(tool) for tool in request.tools], **named}


def _talked_of_tools(request: ModelRequest) -> bool:
    return any(message.tool_calls or message.role == "tool" for message in request.messages)


def _tool(given: dict[str, Any]) -> dict[str, Any]:
    tool = tool_of(given)
    described = {"description": tool.description} if tool.description else {}
    return {"toolSpec": {"name": tool.name, **described, "inputSchema": {"json": tool.schema}}}


def _choice(choice: Choice) -> dict[str, Any]:
    return {"tool": {"name": choice.name}} if choice.kind == "tool" else {choice.kind: {}}


def _text_format(schema: dict[str, Any]) -> dict[str, Any]:
    written = msgspec.json.encode(closed_schema(schema)).decode()
    return {"type": "json_schema", "structure": {"jsonSchema": {"name": "response", "schema": written}}}
