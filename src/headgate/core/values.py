"""What travels between the core, workers and models: frozen values, nothing that does anything."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

__all__ = [
    "BY_HAND",
    "Assignment",
    "CallError",
    "Candidate",
    "Failure",
    "PassedOver",
    "Price",
    "SharedBudget",
    "Tier",
    "Usage",
    "Verdict",
]

BY_HAND = "set:"
"""How the ids of prices begin that somebody set, rather than that a vendor lists."""


class Failure(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Why an attempt failed. `retryable` False means: trying again cannot help, whatever the definition allows."""

    code: str
    message: str
    retryable: bool = True
    retry_after_seconds: float | None = None
    details: dict[str, Any] | None = None


class Tier(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What all tokens of a call cost whose input is longer than `above` tokens, in nano-dollars per million."""

    above: int
    input: int = 0
    output: int = 0
    cache_read: int | None = None
    cache_write: int | None = None


class Price(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a model costs, in nano-dollars per million tokens. `simulated` prices are notional (demo models)."""

    input: int = 0
    output: int = 0
    cache_read: int | None = None
    cache_write: int | None = None
    simulated: bool = False
    id: str = ""
    """Where the price is from, of which model, and since when: enough to look it up again."""
    tiers: tuple[Tier, ...] = ()
    """What long calls cost instead, by rising length."""

    @property
    def by_hand(self) -> bool:
        """Whether somebody set the price: such a one wins over any that is listed."""
        return self.id.startswith(BY_HAND)

    def cost(self, usage: Usage) -> int:
        """Return what `usage` costs in nano-dollars, rounded up once for the whole call."""
        rates = self._rates(usage.input_tokens)
        read, write = usage.cache_read_tokens, usage.cache_write_tokens
        total = (
            (usage.input_tokens - read - write) * rates.input
            + read * (rates.input if rates.cache_read is None else rates.cache_read)
            + write * (rates.input if rates.cache_write is None else rates.cache_write)
            + usage.output_tokens * rates.output
        )
        return -(-total // 1_000_000)

    def worst_case(self, input_tokens: int, max_output_tokens: int) -> int:
        """Return the most that a call of this size can cost, in nano-dollars, rounded up."""
        reached = [self, *(tier for tier in self.tiers if tier.above < input_tokens)]
        return max(_dearest(rates, input_tokens, max_output_tokens) for rates in reached)

    def _rates(self, input_tokens: int) -> Price | Tier:
        return next((tier for tier in reversed(self.tiers) if tier.above < input_tokens), self)


def _dearest(rates: Price | Tier, input_tokens: int, max_output_tokens: int) -> int:
    dearest = max(rates.input, rates.cache_write or 0)
    return -(-(input_tokens * dearest + max_output_tokens * rates.output) // 1_000_000)


class Usage(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Tokens of one model call, in buckets that do not overlap within the two sums.

    `input_tokens` is all of the input: what the cache was read for, what was written to it (for five minutes, and
    apart for an hour) and audio are parts of it. `output_tokens` is all of the output: reasoning and audio are parts of
    it. `estimated`: counted by us, for the provider reported nothing.
    """

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
    price: Price | None = None
    """What `cost_nano` was reckoned with, where that is not the price the call was admitted at."""
    cache_write_1h_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0

    @property
    def uncached_input_tokens(self) -> int:
        """Text input that the provider's cache had no part in."""
        cached = self.cache_read_tokens + self.cache_write_tokens + self.cache_write_1h_tokens
        return max(0, self.input_tokens - cached - self.audio_input_tokens)

    @property
    def visible_output_tokens(self) -> int:
        """Text output that is no reasoning."""
        return max(0, self.output_tokens - self.reasoning_tokens - self.audio_output_tokens)


class Candidate(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A model that a call may go to. `worst_case` is in nano-dollars; `price` None: unpriced."""

    model: str
    worst_case: int
    price: Price | None = None
    input_tokens: int = 0
    """The most that the input is estimated to have."""
    output_tokens: int = 0
    """The most that the answer may have; 0: no limit was set."""


class SharedBudget(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A budget above the run as it stood when a call was decided: what the store said, in nano-dollars.

    `id` names its row, `name` is how people know it. `models` are the candidates that it concerns; empty: all.
    """

    id: str
    name: str
    limit: int
    spent: int = 0
    reserved: int = 0
    action: Literal["abort", "alert", "fallback", "ask"] = "abort"
    models: tuple[str, ...] = ()
    before: int = 0
    """How many calls wait for room in it and came before this one."""
    warn_percent: int = 0
    """From so much of the limit on its spending is named once per run; 0: never."""


class PassedOver(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A model of the list that this call does not go to, for a reason that is not its price."""

    model: str
    reason: str
    code: str = ""


class Verdict(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a policy made of a call's text. It never holds the text: `details` has counts, kinds, scores."""

    policy: str
    decision: Literal["allow", "modify", "deny"]
    reason: str = ""
    of: Literal["request", "answer"] = "request"
    dry_run: bool = False
    """It was recorded, and nothing was done."""
    details: dict[str, Any] = {}


class CallError(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """How a call that was made failed: what circuit breakers and learnt rates go by. `status` 0: no answer came."""

    code: str
    status: int = 0
    retry_after_seconds: float | None = None


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
