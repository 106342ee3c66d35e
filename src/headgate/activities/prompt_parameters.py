"""The parameters of `llm_prompt`: each checked by name, and made into the request that a model gets.

A template may have yielded any JSON value where text belongs; then the text is its JSON, as it would have
been inside a longer text. Null counts as not given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import msgspec

from headgate.activities.parameters import wrong_parameters
from headgate.activities.prompt_images import image_urls, split_parts
from headgate.core.model_list import ModelEntry, entries_of, read_entry
from headgate.ports import Attempt, Message, ModelRequest, Thought, ToolCall

__all__ = ["invalid", "models_of", "request_of"]

KNOWN = frozenset(
    {"model", "prompt", "messages", "system_prompt", "max_tokens", "temperature", "top_p", "stop_sequences"}
    | {"tools", "tool_choice", "response_schema", "seed", "extra", "drop_unsupported"}
    | {"images", "documents", "reasoning", "max_cost"}
    | {"template"}  # its text is under prompt already; which one it was is no part of what is asked
)
NOT_BUILT = {
    "documents": "read the text first, and put it into the prompt",
}
TOKENS_MAX = 10_000_000
"""No model writes more; a larger `max_tokens` is a mistake."""
FIELDS = ("role", "content", "tool_calls", "tool_call_id", "images", "thoughts")
ROLES = ("system", "user", "assistant", "tool")

Value = TypeVar("Value")


def invalid(message: str) -> Attempt:
    """Return the failure for parameters that no further attempt makes right."""
    return wrong_parameters("llm_prompt", message)


def models_of(parameters: Mapping[str, Any]) -> tuple[ModelEntry, ...]:
    """Return the models under `model`: one, or a list in order of preference, each a name or a map of settings."""
    entries = entries_of(parameters.get("model"))
    if not entries:
        raise invalid('expected model to be "provider/model" or a list of these, got []')
    try:
        return tuple(read_entry(entry) for entry in entries)
    except ValueError as error:
        raise invalid(f"expected {error}") from None


def request_of(parameters: Mapping[str, Any], *, max_tokens_default: int | None) -> ModelRequest:
    """Return what is asked of each model (its name left open). Raises `Attempt` (`invalid_parameters`)."""
    given = {name: value for name, value in parameters.items() if value is not None}
    for name in given:
        if name not in KNOWN:
            raise invalid(f"expected parameters of {', '.join(sorted(KNOWN))}, got {name}")
    for name, instead in NOT_BUILT.items():
        if given.get(name, False) not in (False, [], {}):
            raise invalid(f"{name} is not built yet; {instead}")
    return ModelRequest(
        model="",
        messages=_with_images(_messages(given), given.get("images")),
        max_tokens=_take(given, "max_tokens", _limit, f"a whole number from 1 to {TOKENS_MAX}", max_tokens_default),
        temperature=_take(given, "temperature", _number(0, 10), "a number of at least 0", None),
        top_p=_take(given, "top_p", _number(0, 1), "a number from 0 to 1", None),
        stop_sequences=_take(given, "stop_sequences", _texts, "a list of texts", ()),
        response_schema=_take(given, "response_schema", _map, "a JSON Schema (a map)", None),
        tools=_take(given, "tools", _maps, "a list of tools (maps)", ()),
        tool_choice=_take(given, "tool_choice", _choice, "a text or a map", None),
        seed=_take(given, "seed", _whole, "a whole number", None),
        extra=_take(given, "extra", _map, "a map", None) or {},
        reasoning=_take(given, "reasoning", _effort, "a word such as low, medium or high, or {effort: low}", ""),
        drop_unsupported=_take(given, "drop_unsupported", _flag, "true or false", False),
    )


def _take(
    given: Mapping[str, Any], name: str, read: Callable[[Any], Value | None], expected: str, default: Value
) -> Value:
    if name not in given:
        return default
    value = read(given[name])
    if value is None:
        raise invalid(f"expected {name} to be {expected}, got {_shown(given[name])}")
    return value


# --- Messages ------------------------------------------------------------------------------------------


def _messages(given: Mapping[str, Any]) -> tuple[Message, ...]:
    if ("prompt" in given) == ("messages" in given):
        got = "both" if "prompt" in given else "neither"
        raise invalid(f"expected either prompt or messages, got {got}")
    system = (Message("system", _text(given["system_prompt"])),) if "system_prompt" in given else ()
    if "prompt" in given:
        return (*system, Message("user", _text(given["prompt"])))
    entries = given["messages"]
    if not isinstance(entries, list) or not entries:
        raise invalid(f"expected messages to be a list of at least one message, got {_shown(entries)}")
    read = (_message(f"messages[{number}]", entry) for number, entry in enumerate(cast("list[object]", entries)))
    return (*system, *read)


def _message(place: str, entry: object) -> Message:
    if not isinstance(entry, dict):
        raise invalid(f"expected {place} to be a map of role and content, got {_shown(entry)}")
    fields = cast("dict[str, Any]", entry)
    unknown = sorted(fields.keys() - set(FIELDS))
    if unknown:
        raise invalid(f"expected {place} to have {', '.join(FIELDS)}, got {unknown[0]}")
    role, calls = fields.get("role"), fields.get("tool_calls") or []
    if role not in ROLES:
        raise invalid(f"expected {place}.role to be one of {', '.join(ROLES)}, got {_shown(role)}")
    content, parts = split_parts(fields.get("content"))
    if content is None and not calls:
        raise invalid(f"expected {place}.content to be a text, got null")
    try:
        tool_calls = msgspec.convert(calls, tuple[ToolCall, ...])
    except msgspec.ValidationError as error:
        raise invalid(f"expected {place}.tool_calls to be a list of id, name and arguments: {error}") from None
    answered = fields.get("tool_call_id") or ""
    if not isinstance(answered, str):
        raise invalid(f"expected {place}.tool_call_id to be a text, got {_shown(answered)}")
    images = image_urls([*parts, *_listed(fields.get("images"))], f"{place}.images")
    if images and role not in ("user", "system"):
        raise invalid(f"expected images in a message of the user, got some in {place} of the {role}")
    thoughts = _thoughts(place, fields.get("thoughts") or [], role)
    return Message(role, "" if content is None else _text(content), tool_calls, answered, images, thoughts)


def _thoughts(place: str, given: object, role: str) -> tuple[Thought, ...]:
    try:
        thoughts = msgspec.convert(given, tuple[Thought, ...])
    except msgspec.ValidationError as error:
        raise invalid(f"expected {place}.thoughts to be those of an earlier result: {error}") from None
    if thoughts and role != "assistant":
        raise invalid(f"expected thoughts in a message of the assistant, got some in {place} of the {role}")
    return thoughts


def _with_images(messages: tuple[Message, ...], given: object) -> tuple[Message, ...]:
    """Return the messages with the parameter `images` in the last one of the user."""
    images = image_urls(_listed(given), "images")
    if not images:
        return messages
    for number in range(len(messages) - 1, -1, -1):
        if messages[number].role == "user":
            whole = msgspec.structs.replace(messages[number], images=(*messages[number].images, *images))
            return (*messages[:number], whole, *messages[number + 1 :])
    raise invalid("expected images to go with a message of the user, and there is none")


def _listed(value: object) -> list[object]:
    if value is None:
        return []
    return cast("list[object]", value) if isinstance(value, list) else [value]


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


# --- Single values: each returns None for what it cannot take ------------------------------------------


def _whole(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():  # templates that divide yield floats
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _limit(value: object) -> int | None:
    whole = _whole(value)
    return whole if whole is not None and 1 <= whole <= TOKENS_MAX else None


def _number(least: float, most: float) -> Callable[[object], float | None]:
    def read(value: object) -> float | None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return None
        return value if least <= value <= most else None

    return read


def _texts(value: object) -> tuple[str, ...] | None:
    entries = [value] if isinstance(value, str) else value
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        return None
    return tuple(cast("list[str]", entries))


def _maps(value: object) -> tuple[dict[str, Any], ...] | None:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        return None
    return tuple(cast("list[dict[str, Any]]", value))


def _map(value: object) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _choice(value: object) -> str | dict[str, Any] | None:
    return value if isinstance(value, str) else _map(value)


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _effort(value: object) -> str | None:
    """Return the effort, as a word of letters: its vendor knows which words there are."""
    fields = _map(value)
    word = value if fields is None else fields.get("effort") if len(fields) == 1 else None
    return word if isinstance(word, str) and word.isalpha() and len(word) <= 20 else None


def _shown(value: object) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
