"""Requests in the words of Google's Gemini API. No I/O here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from headgate.llm.asking import Asked, Dropping, check_extra, merged, without_fields
from headgate.llm.gemini import Gemini, gemini_of
from headgate.llm.provider_errors import refused_here
from headgate.llm.request_parts import Turn, choice_of, image_of, own_thoughts, tool_of, turns_of
from headgate.llm.schema_subset import open_schema
from headgate.ports import Message, ModelRequest

__all__ = ["embeddings_request", "generate_request"]

UNSIGNED = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
"""`skip_thought_signature_validator`: how Google lets a call be told that no Gemini has made; else it refuses one."""
MODES = {"auto": "AUTO", "none": "NONE", "any": "ANY", "tool": "ANY"}


def generate_request(request: ModelRequest, provider: str, *, without: frozenset[str]) -> Asked:
    """Return what to send, without the fields `without`. Raises `ProviderError` for what the model does not take."""
    check_extra(request.extra)
    dropping, gemini = Dropping(request), gemini_of(request.model)
    system, turns = turns_of(request.messages)
    body = {
        "contents": list(_contents(turns, provider)),
        "systemInstruction": {"parts": [{"text": text} for text in system]} if system else None,
        "generationConfig": _config(request, gemini, dropping),
        "tools": [{"functionDeclarations": [_tool(tool) for tool in request.tools]}] if request.tools else None,
        "toolConfig": {"functionCallingConfig": _calling(request, gemini)} if request.tools else None,
    }
    body = merged({name: value for name, value in body.items() if value is not None}, request.extra)
    return without_fields(body, without, dropping.notes)


def embeddings_request(model: str, inputs: Sequence[str]) -> dict[str, Any]:
    """Return what asks for a vector of each text, as one to be found later, which newer models are told in words."""
    in_words = model.startswith("gemini-embedding-2")
    task = {} if in_words else {"taskType": "RETRIEVAL_DOCUMENT"}
    texts = [f"title: none | text: {text}" for text in inputs] if in_words else inputs
    return {
        "requests": [{"model": f"models/{model}", "content": {"parts": [{"text": text}]}, **task} for text in texts]
    }


# --- Messages ---------------------------------------------------------------------------------------------------


def _contents(turns: Sequence[Turn], provider: str) -> Iterator[dict[str, Any]]:
    names: dict[str, str] = {}
    if not turns or turns[0].role == "assistant":  # a conversation begins with the user
        yield {"role": "user", "parts": [{"text": ""}]}
    for turn in turns:
        names |= {call.id: call.name for message in turn.messages for call in message.tool_calls}
        if turn.role == "assistant":
            yield from _content("model", (part for message in turn.messages for part in _answered(message, provider)))
            continue
        for _, together in groupby(turn.messages, key=lambda message: message.role):  # results stand alone
            yield from _content("user", (part for message in together for part in _asked(message, names)))


def _content(role: str, parts: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    if written := list(parts):
        yield {"role": role, "parts": written}


def _asked(message: Message, names: dict[str, str]) -> Iterator[dict[str, Any]]:
    if message.role == "tool":
        name = names.get(message.tool_call_id, message.tool_call_id)
        result = {"id": message.tool_call_id, "name": name, "response": {"output": message.content}}
        yield {"functionResponse": result}
        return
    if message.content or not message.images:
        yield {"text": message.content}
    for url in message.images:
        image = image_of(url)
        yield {"inlineData": {"mimeType": image.kind, "data": image.base64}}


def _answered(message: Message, provider: str) -> Iterator[dict[str, Any]]:
    """Signatures stand where they stood: at the text, or at the call. Of calls side by side the first has one."""
    signature = _signature(message, provider)
    if message.content or signature:
        yield {"text": message.content, **signature}
    for number, call in enumerate(message.tool_calls):
        told = {"functionCall": {"id": call.id, "name": call.name, "args": call.arguments}}
        unsigned = {} if number else {"thoughtSignature": UNSIGNED}
        yield {**told, **unsigned, **_signature(message, provider, call.id)}


def _signature(message: Message, provider: str, call: str = "") -> dict[str, str]:
    seals = [thought.seal for thought in own_thoughts(message, provider, call)]
    return {"thoughtSignature": seals[-1]} if seals else {}


# --- What an answer must be like --------------------------------------------------------------------------------


def _config(request: ModelRequest, gemini: Gemini, dropping: Dropping) -> dict[str, Any]:
    schema = request.response_schema
    if schema is not None and request.tools and not gemini.takes_schema_beside_tools:
        raise refused_here(
            "missing_capability",
            f"{request.model} was not asked: it takes no schema beside tools. Ask for one of them, or use Gemini 3.",
        )
    effort = dropping.effort() if gemini.thinks else ""
    if request.reasoning and not gemini.thinks:
        dropping.drop("reasoning")
    fields: dict[str, Any] = {
        "maxOutputTokens": request.max_tokens,
        "temperature": request.temperature,
        "topP": request.top_p,
        "stopSequences": list(request.stop_sequences) or None,
        "seed": request.seed,
        "responseModalities": ["TEXT"],
        "responseMimeType": None if schema is None else "application/json",
        "responseJsonSchema": None if schema is None else open_schema(schema),
        "thinkingConfig": gemini.thinking(effort) if effort else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _tool(given: dict[str, Any]) -> dict[str, Any]:
    tool = tool_of(given)
    return {"name": tool.name, "description": tool.description, "parametersJsonSchema": open_schema(tool.schema)}


def _calling(request: ModelRequest, gemini: Gemini) -> dict[str, Any]:
    choice = choice_of(request)
    if choice.kind == "auto" and gemini.checks_calls:
        return {"mode": "VALIDATED"}
    named = {"allowedFunctionNames": [choice.name]} if choice.name else {}
    return {"mode": MODES[choice.kind], **named}
