"""What travels between the core, workers and models: frozen values, nothing that does anything."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

__all__ = ["Assignment", "Candidate", "Failure", "Price", "Usage"]


class Failure(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Why an attempt failed. `retryable` False means: trying again cannot help, whatever the definition allows."""

    code: str
    message: str
    retryable: bool = True
    retry_after_seconds: float | None = None
    details: dict[str, Any] | None = None


class Price(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a model costs, in nano-dollars per million tokens. `simulated` prices are notional (demo models)."""

    input: int = 0
    output: int = 0
    cache_read: int | None = None
    cache_write: int | None = None
    simulated: bool = False
    id: str = ""

    def cost(self, usage: Usage) -> int:
        """Return what `usage` costs in nano-dollars, rounded up once for the whole call."""
        read, write = usage.cache_read_tokens, usage.cache_write_tokens
        total = (
            (usage.input_tokens - read - write) * self.input
            + read * (self.input if self.cache_read is None else self.cache_read)
            + write * (self.input if self.cache_write is None else self.cache_write)
            + usage.output_tokens * self.output
        )
        return -(-total // 1_000_000)

    def worst_case(self, input_tokens: int, max_output_tokens: int) -> int:
        """Return the most that a call of this size can cost, in nano-dollars, rounded up."""
        dearest = max(self.input, self.cache_write or 0)
        return -(-(input_tokens * dearest + max_output_tokens * self.output) // 1_000_000)


class Usage(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Tokens of one model call. `input_tokens` is all of the input, cache reads and writes included; `output_tokens`
    is all of the output, reasoning included. `estimated`: counted by us, for the provider reported nothing."""

    provider: str = ""
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    cost_nano: int | None = None
    """What the caller says that the call cost; None: priced by the model's price."""


class Candidate(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A model that a call may go to. `worst_case` is in nano-dollars; `price` None: unpriced."""

    model: str
    worst_case: int
    price: Price | None = None


class Assignment(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A task handed to a worker: one attempt of one place, with its parameters rendered.

    `activity_id` is opaque and new with each claim; it is the fence. `iteration` is the 0-based index in the loop.
    """

    activity_id: str
    workflow_id: str
    activity_key: str
    place: str
    activity_name: str
    worker: str = "std"
    parameters: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    timeout_seconds: float = 300.0
    attempt: int = 1
    iteration: int = 0
    trace_id: str = ""
    workflow_name: str = ""
    streaming: bool = False
    budget_remaining_nano: int | None = None
    """The least that is left of any budget above this attempt, reservations not counted; None: no budget."""
    signal_data: Any = None
    mode: Literal["realtime", "batch"] = "realtime"
