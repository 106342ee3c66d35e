"""The parts of a request in no vendor's words: tools, which of them to call, turns, thoughts, images. No I/O here."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, cast

import msgspec

from headgate.llm.provider_errors import refused_here
from headgate.ports import Message, ModelRequest, Thought

__all__ = ["Choice", "Image", "Tool", "Turn", "choice_of", "image_of", "own_thoughts", "tool_of", "turns_of"]

# --- Tools ------------------------------------------------------------------------------------------------------


class Tool(msgspec.Struct, frozen=True):
    """A tool in no vendor's words. `schema` is of its parameters."""

    name: str
    description: str
    schema: dict[str, Any]


class Choice(msgspec.Struct, frozen=True):
    """Whether tools are called: as the model likes (`auto`), not (`none`), some (`any`), or the one that is named."""

    kind: Literal["auto", "none", "any", "tool"] = "auto"
    name: str = ""

    @property
    def forced(self) -> bool:
        return self.kind in ("any", "tool")


def tool_of(tool: Mapping[str, Any]) -> Tool:
    """Return a tool that is given in OpenAI's form, or as `{name, description, parameters or input_schema}`."""
    fields = cast("Mapping[str, Any]", tool["function"]) if isinstance(tool.get("function"), dict) else tool
    name = fields.get("name")
    if not isinstance(name, str) or not name:
        raise refused_here(
            "invalid_request", f"expected a tool to have a name, got one with {', '.join(tool) or 'nothing'}."
        )
    schema = fields.get("parameters") or fields.get("input_schema") or {"type": "object", "properties": {}}
    return Tool(name, fields.get("description") or "", schema)


def choice_of(request: ModelRequest) -> Choice:
    """Return which tools are to be called, as it is given in OpenAI's words, in Anthropic's, or by a name."""
    choice = request.tool_choice
    if not choice:
        return Choice()
    named: Mapping[str, Any] = {} if isinstance(choice, str) else choice
    if isinstance(function := named.get("function"), dict):
        named = cast("Mapping[str, Any]", function)
    if named.get("name"):
        return Choice("tool", str(named["name"]))
    kind = choice if isinstance(choice, str) else str(choice.get("type"))
    kind = "any" if kind == "required" else kind
    if kind not in ("auto", "none", "any"):
        raise refused_here(
            "invalid_request", f"expected tool_choice to be auto, none, required or {{name: …}}, got {choice!r}."
        )
    return Choice(kind)


# --- Messages ---------------------------------------------------------------------------------------------------


class Turn(msgspec.Struct, frozen=True):
    """Messages of one side that follow each other: vendors want the sides to alternate."""

    role: Literal["user", "assistant"]
    messages: tuple[Message, ...]


def turns_of(messages: Sequence[Message]) -> tuple[list[str], list[Turn]]:
    """Return the texts of the system, and the turns; results of tools are of the user's side. Who says nothing is left
    out: vendors refuse what is empty."""
    system = [message.content for message in messages if message.role == "system" and message.content]
    turns: list[Turn] = []
    for message in messages:
        if message.role == "system" or not _says_something(message):
            continue
        role = "assistant" if message.role == "assistant" else "user"
        if turns and turns[-1].role == role:
            turns[-1] = Turn(role, (*turns[-1].messages, message))
        else:
            turns.append(Turn(role, (message,)))
    return system, turns


def _says_something(message: Message) -> bool:
    return message.role == "tool" or bool(message.content or message.images or message.tool_calls)


def own_thoughts(message: Message, provider: str, call: str = "") -> Iterator[Thought]:
    """Yield the thoughts that go back to `provider`: those before the call of this id, or else before the text."""
    known = {one.id for one in message.tool_calls}
    for thought in message.thoughts:
        place = thought.call if thought.call in known else ""
        if thought.provider == provider and place == call:
            yield thought


# --- Images -----------------------------------------------------------------------------------------------------


class Image(msgspec.Struct, frozen=True):
    """An image by its bytes, in base64, and what kind it is: `image/png`."""

    kind: str
    base64: str


def image_of(url: str) -> Image:
    """Return the image of a `data:` URL. Raises `ProviderError` for another URL, or for one that cannot be read."""
    if not url.startswith("data:"):
        raise refused_here(
            "missing_capability",
            f"The image {url[:80]} was not sent: this provider takes images as `data:` URLs, and fetches none. "
            "Read it first (a file or http_request), and pass its bytes.",
        )
    head, comma, data = url[5:].partition(",")
    try:
        if not comma or not head.endswith(";base64"):
            raise ValueError("it is not in base64")
        base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise refused_here(
            "invalid_request", f"An image was not sent: its `data:` URL cannot be read ({error})."
        ) from None
    return Image(head.removesuffix(";base64") or "image/png", data)
