"""The rig that a provider of models comes with to be tested, and what the scenarios have in common.

A rig is the provider, and a server of ours that speaks its vendor's protocol and answers what a scenario says, in no
vendor's words.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, Protocol

import msgspec

from headgate.core.values import Usage
from headgate.ports import FinishReason, Message, ModelAnswer, ModelProvider, ModelRequest, ProviderError, ToolCall

__all__ = [
    "PIXEL",
    "PROMISES",
    "SCHEMA",
    "TOOL",
    "WAIT_SECONDS_MAX",
    "WITHOUT_SERVER",
    "Rig",
    "Said",
    "bare",
    "collect",
    "failed",
    "of_all",
    "promise",
    "refused",
    "request_of",
    "streamed",
]

WAIT_SECONDS_MAX = 10.0
"""How long a scenario waits for what must come: it fails then, and never passes because of it."""
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+M8AAQUBAScY42YAAAAASUVORK5CYII="
)
SCHEMA = {
    "type": "object",
    "properties": {"kilometres": {"type": "number"}},
    "required": ["kilometres"],
    "additionalProperties": False,
}
TOOL = {
    "name": "measure_distance",
    "description": "Measures.",
    "parameters": {"type": "object", "properties": {"target": {"type": "string"}}, "required": ["target"]},
}


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What the vendor's server is to answer, in no vendor's words."""

    texts: tuple[str, ...] = ("384", ",400", " km")
    reasoning: str = ""
    calls: tuple[ToolCall, ...] = ()
    usage: Any = Usage(input_tokens=20, output_tokens=9)
    """A `Usage`; None: none is reported; else what stands in its place, nonsense as it is."""
    finish: FinishReason | Literal["unheard of"] = "Stop"


class Rig(Protocol):
    """A provider and its vendor's server, for one scenario."""

    @property
    def name(self) -> str: ...
    @property
    def provider(self) -> ModelProvider: ...
    @property
    def model(self) -> str: ...
    @property
    def embedding_model(self) -> str: ...
    @property
    def lacks(self) -> frozenset[str]:
        """What the vendor does not offer or report: audio, cache_write, cache_write_1h, embeddings, filtered (an end of
        that name), image_urls, names (of models, in the price list), reasoning, reasoning_usage, schema, seed."""
        ...

    @property
    def secrets(self) -> Sequence[str]:
        """What no error may show."""
        ...

    @property
    def asked(self) -> list[str]:
        """The bodies of the requests that came, as text."""
        ...

    @property
    def open_connections(self) -> int: ...
    @property
    def received(self) -> asyncio.Event:
        """Set with each request."""
        ...

    @property
    def hung_up(self) -> asyncio.Event:
        """Set when the provider closed a connection in the middle of an answer."""
        ...

    def will_say(self, said: Said, *, streamed: bool) -> None: ...
    def will_break_off(self, said: Said, after: int, *, politely: bool) -> None:
        """Stream `after` texts of `said`, then end: by hanging up, or `politely` as if all had been said."""
        ...

    def will_fall_silent(self, said: Said | None) -> None:
        """Stream the texts of `said` and then nothing more, for ever; None: do not even begin."""
        ...

    def will_fail_inside(self, said: Said) -> None:
        """Stream the texts of `said`, then the vendor's error for being overloaded."""
        ...

    def will_refuse(self, code: str) -> None:
        """Answer the refusal that has our `code`, as the vendor words it."""
        ...

    def will_send(self, data: bytes, *, streamed: bool) -> None:
        """Answer 200 with these bytes, whatever they are."""
        ...

    def will_stream_for_ever(self) -> None:
        """Stream texts of a megabyte, and no end."""
        ...

    def will_redirect(self, address: str) -> None: ...
    @property
    def nonsense(self) -> Sequence[object]:
        """What may stand where a usage should, in the vendor's form and wrong."""
        ...

    def elsewhere(self, base_url: str) -> ModelProvider:
        """Return the provider as it is at another address."""
        ...

    def without_key(self) -> ModelProvider | None:
        """Return the provider without its key, or None: it needs none."""
        ...

    @property
    def key_variable(self) -> str: ...
    def will_embed(self, vectors: Sequence[Sequence[float]], tokens: int) -> None: ...
    async def close(self) -> None:
        """Close the provider's connections."""
        ...


Promise = Callable[[Rig], Awaitable[None]]
PROMISES: dict[str, Promise] = {}
WITHOUT_SERVER: dict[str, Promise] = {}


def promise(scenario: Promise) -> Promise:
    """Decorate a scenario of those that every provider is run through."""
    PROMISES[scenario.__name__] = scenario  # they are functions
    return scenario


def of_all(scenario: Promise) -> Promise:
    """Decorate a scenario that also holds for providers without a server."""
    WITHOUT_SERVER[scenario.__name__] = scenario
    return promise(scenario)


def request_of(rig: Rig, text: str = "How far is the moon?", **fields: Any) -> ModelRequest:
    """Return a plain question to the rig's model, with these fields set."""
    plain = ModelRequest(model=rig.model, messages=(Message("user", text),), max_tokens=200)
    return msgspec.structs.replace(plain, **fields)


async def streamed(rig: Rig, request: ModelRequest) -> tuple[list[str], ModelAnswer]:
    """Return the texts of a stream, and the answer, which must be its last item and its only one."""
    items = [item async for item in rig.provider.stream(request)]
    *texts, answer = items
    assert isinstance(answer, ModelAnswer), f"a stream ends with the whole answer, not with {answer!r}"
    assert all(isinstance(text, str) for text in texts), "the whole answer comes once"
    return [str(text) for text in texts], answer


async def refused(rig: Rig, request: ModelRequest, *, by_stream: bool = False) -> ProviderError:
    """Return the error of a call that must fail."""
    return (await collect(rig, request))[1] if by_stream else await failed(rig, rig.provider.request(request))


async def collect(rig: Rig, request: ModelRequest) -> tuple[str, ProviderError]:
    """Return the text of a stream that must fail, and its error."""
    texts: list[str] = []

    async def read() -> None:
        async for item in rig.provider.stream(request):
            texts.append(str(item))

    error = await failed(rig, read())
    return "".join(texts), error


async def failed(rig: Rig, call: Awaitable[object]) -> ProviderError:
    """Return the error of a call that must fail, without a secret in it, nor in what it was made from."""
    try:
        answer = await call
    except ProviderError as error:
        shown = "".join(traceback.format_exception(error))
        leaked = [secret for secret in rig.secrets if secret in f"{shown} {error!r} {vars(error)}"]
        assert not leaked, "the error shows a secret"
        return error
    raise AssertionError(f"expected the call to fail, and it answered {answer!r}")


def bare(usage: Usage) -> Usage:
    """Return the numbers of a usage, without whose they are."""
    return msgspec.structs.replace(usage, model="", provider="")
