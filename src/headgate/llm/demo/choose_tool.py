"""Choosing a tool: the one whose name, description and parameters share most with the user's message, if
any does."""

from __future__ import annotations

import hashlib
from math import fsum
from typing import Any

import msgspec

from headgate.llm.demo.extract import MISSING, Reader
from headgate.llm.demo.models import Model
from headgate.llm.demo.prompt import Prompt
from headgate.llm.demo.refusal import cannot
from headgate.llm.demo.schema import Schema, problem, resolved
from headgate.llm.demo.sentences import Part
from headgate.llm.demo.words import common, name_words, rarity, related, stem, words
from headgate.ports import ModelRequest, ProviderError, ToolCall

__all__ = ["choose_tool"]

_ENOUGH = 0.3
_FREE_WORDS = """
query question text input message prompt content search q body note term keywords request expression
"""
_FREE = frozenset(_FREE_WORDS.split())


class _Tool(msgspec.Struct):
    name: str
    description: str
    parameters: Schema

    def stems(self) -> list[str]:
        found = [*name_words(self.name), *words(self.description)]
        for name, shape in self.parameters.get("properties", {}).items():
            found += name_words(name) + words(str(shape.get("description", "")) if isinstance(shape, dict) else "")
        return [stem(word) for word in found if not common(word)]


def choose_tool(request: ModelRequest, prompt: Prompt, model: Model) -> ToolCall | None:
    """Return the call of the best tool, or None where none fits or its arguments are not in the message.

    Raises `demo_cannot` where `tool_choice` demands a tool that cannot be called.
    """
    tools = [_read(tool) for tool in request.tools]
    choice = request.tool_choice
    if not tools or choice == "none":
        return None
    named = _named(choice)
    if named:
        tools = [tool for tool in tools if tool.name == named]
        if not tools:
            raise cannot(f"call the tool {named!r}: it is not among the request's tools")
    forced = bool(named) or choice in ("required", "any") or (isinstance(choice, dict) and choice.get("type") == "any")
    if prompt.called:
        tools, forced = [tool for tool in tools if tool.name not in prompt.called], False
    asked = prompt.instruction or prompt.question
    order = _ranked(tools, asked if asked and prompt.material else prompt.message)
    for score, tool in order:
        if score >= _ENOUGH or forced:
            arguments = _arguments(tool, prompt.message, model, forced=forced)
            if arguments is not None:
                return _call(tool.name, arguments, request)
    return None


def _read(tool: dict[str, Any]) -> _Tool:
    """Read a tool in any vendor's form."""
    inner: dict[str, Any] = tool["function"] if isinstance(tool.get("function"), dict) else tool
    parameters = inner.get("parameters") or inner.get("input_schema") or inner.get("inputSchema") or {}
    return _Tool(str(inner.get("name", "")), str(inner.get("description", "") or ""), parameters)


def _named(choice: str | dict[str, Any] | None) -> str:
    if isinstance(choice, dict):
        inner = choice["function"] if isinstance(choice.get("function"), dict) else choice
        return str(inner.get("name", "") or "")
    return choice if isinstance(choice, str) and choice not in ("auto", "required", "any", "none") else ""


def _ranked(tools: list[_Tool], message: str) -> list[tuple[float, _Tool]]:
    asked = list(dict.fromkeys(stem(word) for word in words(message) if not common(word)))
    vocabularies = [tool.stems() for tool in tools]
    telling = rarity(vocabularies)
    scored: list[tuple[float, _Tool]] = []
    for tool, vocabulary in zip(tools, vocabularies, strict=True):
        own = [stem(word) for word in name_words(tool.name) if not common(word)]
        gains = [_gain(word, vocabulary, own) * telling.get(word, 1.0) for word in asked]
        size = fsum(telling[word] for word in dict.fromkeys(vocabulary)) or 1.0
        shared = fsum(gains)
        scored.append((round(shared / (0.5 * min(size, len(asked) * 1.5) + 1.0), 9), tool))
    return sorted(scored, key=lambda one: -one[0])


def _gain(word: str, vocabulary: list[str], own: list[str]) -> float:
    if word in own:
        return 1.5
    if word in vocabulary:
        return 1.0
    if any(other in vocabulary for other in related(word)):
        return 0.7
    long = len(word) >= 5 and any(len(o) >= 5 and (o.startswith(word) or word.startswith(o)) for o in vocabulary)
    return 0.7 if long else 0.0


def _arguments(tool: _Tool, message: str, model: Model, *, forced: bool) -> dict[str, Any] | None:
    root = tool.parameters
    reader = Reader((Part(message),), model, root)
    needed = root.get("required", [])
    found: dict[str, Any] = {}
    for name, schema in root.get("properties", {}).items():
        try:
            value = reader.value(schema, name, name)
        except ProviderError:
            value = MISSING
        if (
            value is MISSING
            or (isinstance(value, str) and len(value) > 60)
            or ((value == [] or value is False) and name not in needed)
        ):
            value = _free(name, resolved(schema, root), message, root) if name in needed else MISSING
        if value is not MISSING:
            found[name] = value
        elif name in needed:
            if forced:
                raise cannot(f"call the tool {tool.name!r}: its argument `{name}` is not in the last user message")
            return None
    return found if not problem(found, {**root, "type": "object"}, root) else None


def _free(name: str, shape: Schema, message: str, root: Schema) -> Any:
    """A parameter for free text (`query`, `text`) takes the message as it is."""
    free = set(name_words(name)) & _FREE and shape.get("type", "string") == "string"
    return message if free and not problem(message, shape, root) else MISSING


def _call(name: str, arguments: dict[str, Any], request: ModelRequest) -> ToolCall:
    said = msgspec.json.encode([[m.role, m.content] for m in request.messages] + [name, arguments], order="sorted")
    return ToolCall(f"call_{hashlib.sha256(said).hexdigest()[:20]}", name, arguments)
