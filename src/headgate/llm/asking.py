"""What requests to all vendors have in common: what `extra` may not set, what is left out, a schema in the prompt.

What a model is known not to take is refused before anything is sent, or with `drop_unsupported` left out; what it turns
out to refuse is left out then by asking again without it, for a refusal is not billed. Either is said in the answer's
`notes`. No I/O here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import msgspec

from headgate.llm.provider_errors import refused_here
from headgate.ports import Message, ModelRequest

__all__ = [
    "AS_TEXT",
    "DROPS_MAX",
    "EFFORTS",
    "SCHEMA_NOTE",
    "Asked",
    "Dropping",
    "as_text",
    "check_extra",
    "merged",
    "refused_field",
    "with_schema",
    "without_fields",
]

AS_TEXT = "Answer with one JSON value that fits this JSON Schema, and with nothing else: "
SCHEMA_NOTE = "The schema was put into the prompt, for the model takes none."
EFFORTS = ("minimal", "low", "medium", "high", "xhigh", "max")
DROPS_MAX = 8
OURS = frozenset(
    {"model", "modelId", "messages", "contents", "stream", "stream_options", "n"}
    | {"max_tokens", "max_completion_tokens", "maxTokens", "inferenceConfig"}
    | {"generationConfig.maxOutputTokens", "generationConfig.candidateCount"}
)
"""What `extra` may not set: it would change what was reserved, or the shape of the answer."""
KEPT = frozenset(
    {"model", "messages", "contents", "stream", "tools", "toolConfig", "inferenceConfig", "generationConfig"}
)
"""Without these it would be another question, or one without its limit of tokens."""
REFUSES = re.compile(
    r"unsupported|not supported|does not support|unrecognized|unknown|unexpected|not permitted|extra_forbidden"
    r"|extra inputs|not allowed|only the default",
    re.IGNORECASE,
)


class Asked(msgspec.Struct, frozen=True):
    """The body of a request, and what it says otherwise than it was meant."""

    body: dict[str, Any]
    notes: tuple[str, ...] = ()


# --- What is left out -------------------------------------------------------------------------------------------


class Dropping:
    """What is left out of a request because its model has no place for it: said where that is allowed, else refused."""

    def __init__(self, request: ModelRequest) -> None:
        self._request = request
        self.notes: list[str] = []

    def drop(self, name: str, why: str = "the model has no such parameter") -> None:
        """Note that `name` is left out. Raises `ProviderError` (`missing_capability`) where nothing may be."""
        if not self._request.drop_unsupported:
            raise refused_here(
                "missing_capability",
                f"{self._request.model} was not asked with `{name}`: {why}. Leave it out, or say "
                "`drop_unsupported: true`.",
            )
        self.notes.append(f"{name} was left out, for {why}.")

    def sampling(self, *, taken: bool) -> tuple[float | None, float | None]:
        """Return `temperature` and `top_p`, which are left out where they are not `taken`."""
        asked = {"temperature": self._request.temperature, "top_p": self._request.top_p}
        for name, value in asked.items():
            if value is not None and not taken:
                self.drop(name)
                asked[name] = None
        return asked["temperature"], asked["top_p"]

    def effort(self) -> str:
        """Return how much the model is to think. Raises `ProviderError` for a word that is none."""
        effort = self._request.reasoning
        if effort and effort not in EFFORTS:
            raise refused_here(
                "invalid_request", f"expected `reasoning` to be one of {', '.join(EFFORTS)}, got {effort!r}."
            )
        return effort


def check_extra(extra: Mapping[str, Any]) -> None:
    """Raise `ProviderError` where `extra` sets what is not its to set."""
    inner = [(name, part) for name, part in extra.items() if isinstance(part, dict)]
    named = extra.keys() | {f"{name}.{field}" for name, part in inner for field in cast("dict[str, Any]", part)}
    forbidden = sorted(OURS & named)
    if forbidden:
        raise refused_here(
            "invalid_request",
            f"expected `extra` to leave {', '.join(forbidden)} alone: budgets count on the "
            "parameters. Set max_tokens beside `extra`; n and streaming are not for `extra`.",
        )


def merged(body: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return `body` with the fields of `extra`, maps into maps."""
    whole = dict(body)
    for name, value in extra.items():
        old = whole.get(name)
        both = isinstance(old, dict) and isinstance(value, dict)
        whole[name] = merged(cast("dict[str, Any]", old), cast("dict[str, Any]", value)) if both else value
    return whole


def without_fields(body: Mapping[str, Any], without: Collection[str], notes: Sequence[str]) -> Asked:
    """Return what is asked without the fields that the model was found to refuse, and says so."""
    dropped = sorted(name for name in without if name in body)
    said = [f"{name} was left out, for the model refuses it." for name in dropped]
    return Asked({name: value for name, value in body.items() if name not in without}, (*notes, *said))


def refused_field(said: object, body: dict[str, Any]) -> str:
    """Return the field of `body` that a refusal `said` is about, where one can be dropped (or renamed), or nothing."""
    text = said if isinstance(said, str) else msgspec.json.encode(said).decode()
    if not REFUSES.search(text):
        return ""
    named = _named_field(said)
    if named not in body:
        named = next((name for name in body if _names(text, name)), "")
    return "" if named in KEPT else named


def _names(text: str, field: str) -> bool:
    """Say whether a refusal names a field: in quotes, or before a colon, as Anthropic does (`thinking.type: …`)."""
    return re.search(rf"[\"'`]{field}[\"'`\\]|\b{field}(?:\.\w+)*: ", text) is not None


def _named_field(said: object) -> str:
    """Return the `param` of an error (`response_format.json_schema` is `response_format`), or nothing."""
    if not isinstance(said, dict):
        return ""
    fields = cast("dict[str, object]", said)
    inner = fields.get("error")
    param = (cast("dict[str, object]", inner) if isinstance(inner, dict) else fields).get("param")
    return param.partition(".")[0] if isinstance(param, str) else ""


# --- Answers by a schema, where the model takes none ------------------------------------------------------------


def as_text(schema: dict[str, Any]) -> str:
    """Return the words that ask for an answer by `schema`."""
    return AS_TEXT + msgspec.json.encode(schema).decode()


def with_schema(messages: Sequence[Message], schema: dict[str, Any]) -> tuple[Message, ...]:
    """Return the messages, the last of which asks for an answer by `schema`."""
    if not messages:
        return (Message("user", as_text(schema)),)
    last = msgspec.structs.replace(messages[-1], content=f"{messages[-1].content}\n\n{as_text(schema)}")
    return (*messages[:-1], last)
