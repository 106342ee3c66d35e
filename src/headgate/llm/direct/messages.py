"""What is asked, in the words of `pydantic_ai`: messages, tools, parameters and settings that all vendors share."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import msgspec
from pydantic_ai import messages as theirs
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.tools import ToolDefinition

from headgate.llm.openai_requests import AS_TEXT
from headgate.llm.provider_errors import refused_here
from headgate.ports import Message, ModelRequest

if TYPE_CHECKING:
    from pydantic_ai.models import Model

__all__ = ["EFFORTS", "Asked", "Offer", "asked_of"]

EFFORTS = ("minimal", "low", "medium", "high", "xhigh", "max")
OURS = frozenset(
    {"model", "modelId", "messages", "contents", "stream", "n", "max_tokens", "maxTokens", "inferenceConfig"}
    | {"generationConfig.maxOutputTokens", "generationConfig.candidateCount"}
)
"""What `extra` may not set: it would change what was reserved, or the shape of the answer."""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What a vendor takes that others may not."""

    seed: bool = False
    image_addresses: bool = False
    """Images by URL; without it only `data:` URLs, for nobody but the caller should fetch what it names."""
    timeouts: bool = True
    """Its SDK takes a timeout and a number of retries with each request; else its client has them."""
    extra: str = "extra_body"
    """The setting that takes fields of the vendor's own; empty: they go into the body as they are."""


class Asked(msgspec.Struct, frozen=True):
    """A request in their words, and what it says otherwise than it was meant."""

    messages: list[theirs.ModelMessage]
    parameters: ModelRequestParameters
    settings: dict[str, Any]
    notes: tuple[str, ...]
    extra: dict[str, Any]
    """Fields of the vendor's own that no setting takes."""


def asked_of(model: Model[Any], offer: Offer, request: ModelRequest) -> Asked:
    """Return `request` as it is put to `model`. Raises `ProviderError` for what it does not take, unless that may be
    dropped: then `notes` say so."""
    dropping = _Dropping(request)
    schema = request.response_schema
    as_text = schema is not None and not model.profile.get("supports_json_schema_output", False)
    messages = request.messages
    if schema is not None and as_text:
        messages = (*messages[:-1], _with_schema(messages[-1], schema)) if messages else messages
        dropping.notes.append("The schema was put into the prompt, for the model takes none.")
    return Asked(
        _conversation(messages, offer),
        _parameters(request, None if as_text else schema),
        _settings(model, offer, request, dropping),
        tuple(dropping.notes),
        {} if offer.extra else request.extra,
    )


class _Dropping:
    """What is left out because there is no place for it: said where that is allowed, else refused."""

    def __init__(self, request: ModelRequest) -> None:
        self._request = request
        self.notes: list[str] = []

    def drop(self, name: str) -> None:
        if not self._request.drop_unsupported:
            raise refused_here(
                "missing_capability",
                f"{self._request.model} was not asked: it has no `{name}`. Leave it out, or say "
                "`drop_unsupported: true`.",
            )
        self.notes.append(f"{name} was left out, for the model has no such parameter.")


# --- Messages ----------------------------------------------------------------------------------------------


def _conversation(messages: Sequence[Message], offer: Offer) -> list[theirs.ModelMessage]:
    said: list[theirs.ModelMessage] = []
    asked: list[theirs.ModelRequestPart] = []
    tools: dict[str, str] = {}
    for message in messages:
        if message.role == "assistant":
            if asked:
                said.append(theirs.ModelRequest(parts=asked))
                asked = []
            tools |= {call.id: call.name for call in message.tool_calls}
            said.append(theirs.ModelResponse(parts=_answered(message)))
        else:
            asked.append(_asked(message, tools, offer))
    if asked:
        said.append(theirs.ModelRequest(parts=asked))
    return said


def _answered(message: Message) -> list[theirs.ModelResponsePart]:
    parts: list[theirs.ModelResponsePart] = [theirs.TextPart(message.content)] if message.content else []
    return [*parts, *(theirs.ToolCallPart(call.name, call.arguments, call.id) for call in message.tool_calls)]


def _asked(message: Message, tools: dict[str, str], offer: Offer) -> theirs.ModelRequestPart:
    if message.role == "system":
        return theirs.SystemPromptPart(message.content)
    if message.role == "tool":
        name = tools.get(message.tool_call_id, message.tool_call_id)
        return theirs.ToolReturnPart(name, message.content, message.tool_call_id)
    if not message.images:
        return theirs.UserPromptPart(message.content)
    text = [message.content] if message.content else []
    return theirs.UserPromptPart([*text, *(_image(url, offer) for url in message.images)])


def _image(url: str, offer: Offer) -> theirs.BinaryContent | theirs.ImageUrl:
    if not url.startswith("data:"):
        if offer.image_addresses:
            return theirs.ImageUrl(url)
        raise refused_here(
            "missing_capability",
            f"The image {url[:80]} was not sent: this provider takes images as `data:` URLs, and fetches none. "
            "Read it first (a file or http_request), and pass its bytes.",
        )
    head, comma, data = url[5:].partition(",")
    try:
        if not comma or not head.endswith(";base64"):
            raise ValueError("it is not in base64")
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise refused_here(
            "invalid_request", f"An image was not sent: its `data:` URL cannot be read ({error})."
        ) from None
    return theirs.BinaryContent(content, media_type=head.removesuffix(";base64") or "image/png")


def _with_schema(message: Message, schema: dict[str, Any]) -> Message:
    text = f"{message.content}\n\n{AS_TEXT}{msgspec.json.encode(schema).decode()}"
    return msgspec.structs.replace(message, content=text)


# --- Tools, and what an answer must look like ---------------------------------------------------------------


def _parameters(request: ModelRequest, schema: dict[str, Any] | None) -> ModelRequestParameters:
    tools = [_tool(tool) for tool in request.tools]
    if schema is None:
        return ModelRequestParameters(function_tools=tools)
    wanted = OutputObjectDefinition(json_schema=schema, name="response")
    return ModelRequestParameters(function_tools=tools, output_mode="native", output_object=wanted)


def _tool(tool: dict[str, Any]) -> ToolDefinition:
    """Return a tool given in OpenAI's form, or as `{name, description, parameters or input_schema}`."""
    fields = cast("dict[str, Any]", tool.get("function")) if isinstance(tool.get("function"), dict) else tool
    name = fields.get("name")
    if not isinstance(name, str) or not name:
        raise refused_here(
            "invalid_request", f"expected a tool to have a name, got one with {', '.join(tool) or 'nothing'}."
        )
    schema = fields.get("parameters") or fields.get("input_schema") or {"type": "object", "properties": {}}
    return ToolDefinition(name=name, description=fields.get("description"), parameters_json_schema=schema)


def _tool_choice(choice: str | dict[str, Any]) -> Any:
    if isinstance(choice, str):
        return "required" if choice == "any" else choice
    function = choice.get("function")
    named = cast("dict[str, Any]", function) if isinstance(function, dict) else choice
    kind = {"any": "required"}.get(str(choice.get("type")), choice.get("type"))
    return [named["name"]] if named.get("name") else kind


# --- Settings -----------------------------------------------------------------------------------------------


def _settings(model: Model[Any], offer: Offer, request: ModelRequest, dropping: _Dropping) -> dict[str, Any]:
    _check_extra(request)
    if request.seed is not None and not offer.seed:
        dropping.drop("seed")
    sampling = {"temperature": request.temperature, "top_p": request.top_p}
    if model.profile.get("anthropic_disallows_sampling_settings", False):
        for name in [name for name, value in sampling.items() if value is not None]:
            dropping.drop(name)
            del sampling[name]
    settings: dict[str, Any] = {
        **sampling,
        "max_tokens": request.max_tokens,
        "stop_sequences": list(request.stop_sequences) or None,
        "seed": request.seed if offer.seed else None,
        "tool_choice": _tool_choice(request.tool_choice) if request.tool_choice and request.tools else None,
        "thinking": _thinking(model, request, dropping),
    }
    if request.extra and offer.extra:
        settings[offer.extra] = request.extra
    return {name: value for name, value in settings.items() if value is not None}


def _check_extra(request: ModelRequest) -> None:
    inner = [(name, part) for name, part in request.extra.items() if isinstance(part, dict)]
    named = request.extra.keys() | {f"{name}.{field}" for name, part in inner for field in cast("dict[str, Any]", part)}
    forbidden = sorted(OURS & named)
    if forbidden:
        raise refused_here(
            "invalid_request",
            f"expected `extra` to leave {', '.join(forbidden)} alone: budgets count on the "
            "parameters. Set max_tokens beside `extra`; streaming is not for `extra`.",
        )


def _thinking(model: Model[Any], request: ModelRequest, dropping: _Dropping) -> str | None:
    effort = request.reasoning
    if not effort:
        return None
    if not model.profile.get("supports_thinking", False):
        dropping.drop("reasoning")
        return None
    if effort not in EFFORTS:
        raise refused_here(
            "invalid_request", f"expected `reasoning` to be one of {', '.join(EFFORTS)}, got {effort!r}."
        )
    return effort
