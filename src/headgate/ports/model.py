"""What is asked of a model, and what it answers, whoever its provider is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from headgate.core.errors import HeadgateError
from headgate.core.values import Price, RateReport, Usage

__all__ = [
    "EmbeddingAnswer",
    "FinishReason",
    "Foresees",
    "HasAccounts",
    "HasKeys",
    "Message",
    "ModelAnswer",
    "ModelProvider",
    "ModelRequest",
    "ProviderError",
    "Providers",
    "Thought",
    "ToolCall",
]


class ToolCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call of a tool that the model asks for."""

    id: str
    name: str
    arguments: dict[str, Any]


class Thought(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A piece of a model's thinking that its vendor wants back, unchanged, with the results of tools.

    Nobody reads it but `provider`: an adapter of another leaves it out.
    """

    provider: str
    seal: str
    """What the vendor signed the thinking with, or hid it in."""
    text: str = ""
    """What is shown of it."""
    kind: str = ""
    """What it is in the vendor's words, where there are several kinds."""
    call: str = ""
    """The id of the call that it stands before; empty: it stands before the text."""


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of a conversation, in the least form that all providers share."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    images: tuple[str, ...] = ()
    """What is to be looked at beside the text: URLs, `data:` URLs among them."""
    thoughts: tuple[Thought, ...] = ()
    """Of the assistant's messages: the answer's own."""


class ModelRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What is asked of a model. `model` is the name without its provider; `activity_key` names who asks (scripts)."""

    model: str
    messages: tuple[Message, ...]
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: tuple[str, ...] = ()
    response_schema: dict[str, Any] | None = None
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: str | dict[str, Any] | None = None
    seed: int | None = None
    extra: dict[str, Any] = {}
    activity_key: str = ""
    timeout_seconds: float | None = None
    reasoning: str = ""
    """How much the model is to think before it answers, in its vendor's words: low, medium, high …"""
    drop_unsupported: bool = False
    """What the model refuses may be left out; the answer's `notes` say what was."""


FinishReason = Literal["Stop", "MaxTokens", "ToolUse", "ContentFilter", "Error"]


class ModelAnswer(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a model answered. `model` is the one that answered, as the provider names it."""

    content: str
    model: str
    usage: Usage
    finish_reason: FinishReason = "Stop"
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    """What the model lets be seen of its thinking; no part of `content`."""
    thoughts: tuple[Thought, ...] = ()
    """The thinking that goes back with the results of the tools."""
    notes: tuple[str, ...] = ()
    """Where the model was asked something else than the request says, a sentence each."""
    rates: RateReport | None = None


class EmbeddingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One vector per input text, in order."""

    embeddings: tuple[tuple[float, ...], ...]
    model: str
    usage: Usage
    rates: RateReport | None = None


class ProviderError(HeadgateError):
    """A model call that did not give an answer.

    `status` is the HTTP status or 0 (no answer at all: then `sent` says whether the request may have left).
    `usage` is what the provider reported all the same. `retryable`: the same call may go well later.
    """

    code = "provider_error"

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        code: str = "provider_error",
        retryable: bool = False,
        sent: bool = True,
        retry_after_seconds: float | None = None,
        usage: Usage | None = None,
        rates: RateReport | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = code
        self.retryable = retryable
        self.sent = sent
        self.retry_after_seconds = retry_after_seconds
        self.usage = usage
        self.rates = rates


class ModelProvider(Protocol):
    """A family of models behind one name (`openai/…`). Never retries: the engine owns retries."""

    @property
    def name(self) -> str: ...

    async def request(self, request: ModelRequest) -> ModelAnswer:
        """Make the call. Raises `ProviderError`."""
        ...

    def stream(self, request: ModelRequest) -> AsyncIterator[str | ModelAnswer]:
        """Yield text as it comes, then the whole answer, once, as the last item. Raises `ProviderError`."""
        ...

    async def embed(self, model: str, inputs: Sequence[str]) -> EmbeddingAnswer: ...

    def price(self, model: str) -> Price | None:
        """Return the price of `model`, or None where it is not known."""
        ...

    def count(self, request: ModelRequest) -> int:
        """Return an upper estimate of the request's input tokens."""
        ...


@runtime_checkable
class Foresees(Protocol):
    """A provider that knows beforehand what its models cannot do."""

    def cannot(self, request: ModelRequest) -> str:
        """Return why the model could not take the request, in a sentence; nothing: it may be asked."""
        ...


@runtime_checkable
class HasAccounts(Protocol):
    """A provider with several keys: rates are held for each."""

    @property
    def account(self) -> str:
        """Which key it uses, by a name that is no secret."""
        ...


Providers = Mapping[str, ModelProvider]


@runtime_checkable
class HasKeys(Protocol):
    """Providers that may be called with other keys than those of the process."""

    def keyed(self, keys: Mapping[str, str], *, account: str, only: bool) -> Providers:
        """Return the same providers, those that `keys` names with these keys, for which `account` is a name that is no
        secret. `only`: no other one is called with a key; it refuses."""
        ...
