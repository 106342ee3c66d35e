"""What travels between the core, workers and models: frozen values, nothing that does anything."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from headgate.core.reckoning import cost_at, worst_case_at

__all__ = [
    "BY_HAND",
    "FILE_MARK",
    "STANDARD",
    "Assignment",
    "CallError",
    "Candidate",
    "Failure",
    "Mode",
    "PassedOver",
    "Price",
    "RateReport",
    "Rates",
    "SharedBudget",
    "Tier",
    "Usage",
    "Variant",
    "Verdict",
]

BY_HAND = "set:"
"""How the ids of prices begin that somebody set, rather than that a vendor lists."""
FILE_MARK = "$file"
"""The key of a map among values that says it is a file's; under it stands the SHA-256 of the content."""
Mode = Literal["realtime", "batch"]
"""How soon a run wants its models' answers."""


class Failure(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Why an attempt failed. `retryable` False means: trying again cannot help, whatever the definition allows."""

    code: str
    message: str
    retryable: bool = True
    retry_after_seconds: float | None = None
    details: dict[str, Any] | None = None


class Rates(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What tokens cost, bucket by bucket, in nano-dollars per million; `request` is what each call costs beside them.

    None: the vendor lists none; then it is that of the bucket around it (see `core/reckoning.py`).
    """

    input: int = 0
    output: int = 0
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    cache_read_audio: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None
    reasoning: int | None = None
    request: int = 0


class Tier(Rates, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """What all tokens of a call cost whose input is longer than `above` tokens."""

    above: int


class Variant(Rates, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """What a model costs at another service tier, such as `batch`, `flex` or `priority`."""

    name: str
    tiers: tuple[Tier, ...] = ()


STANDARD = frozenset({"", "auto", "default", "on_demand", "standard", "standard_only"})
"""What vendors call the service tier that their ordinary prices are of."""


class Price(Rates, frozen=True, gc=False, omit_defaults=True):
    """What a model costs. `simulated` prices are notional (demo models)."""

    simulated: bool = False
    id: str = ""
    """Where the price is from, of which model and service tier, and since when: enough to look it up again."""
    tiers: tuple[Tier, ...] = ()
    """What long calls cost instead, by rising length."""
    variants: tuple[Variant, ...] = ()
    """What other service tiers cost instead; none of them is worked out from the standard one."""

    @property
    def by_hand(self) -> bool:
        """Whether somebody set the price: such a one wins over any that is listed."""
        return self.id.startswith(BY_HAND)

    @property
    def standard(self) -> Price:
        """This price without its variants."""
        return msgspec.structs.replace(self, variants=()) if self.variants else self

    def at_tier(self, tier: str) -> Price | None:
        """Return the price of one service tier, which has no variants; None: it is not known."""
        if tier in STANDARD or self.id.endswith(f"#{tier}"):
            return self.standard
        variant = next((one for one in self.variants if one.name == tier), None)
        if variant is None:
            return None
        rates = {name: getattr(variant, name) for name in Rates.__struct_fields__}
        return Price(**rates, simulated=self.simulated, id=f"{self.id}#{tier}", tiers=variant.tiers)

    def of(self, usage: Usage) -> Price:
        """Return the price of the service tier that answered.

        Of a tier that is not known it is the one of those known at which the usage costs most: too much rather than
        too little.
        """
        known = self.at_tier(usage.tier)
        return known if known is not None else max(self._of_every_tier(), key=lambda price: price.cost(usage))

    def cost(self, usage: Usage) -> int:
        """Return what `usage` costs in nano-dollars at the tier that answered, rounded up once for the whole call."""
        if self.variants:
            return self.of(usage).cost(usage)
        rates = next((tier for tier in reversed(self.tiers) if tier.above < usage.input_tokens), self)
        return cost_at(rates, usage)

    def worst_case(self, input_tokens: int, max_output_tokens: int, *, tier: str = "") -> int:
        """Return the most that a call of this size can cost, in nano-dollars, rounded up.

        `tier` is the service tier that is asked for; the provider may serve the call at the standard one all the same.
        """
        asked = self.at_tier(tier)
        prices = [self.standard, asked] if asked is not None else self._of_every_tier()
        reached: list[Rates] = [*prices, *(one for price in prices for one in price.tiers if one.above < input_tokens)]
        return max(worst_case_at(rates, input_tokens, max_output_tokens) for rates in reached)

    def _of_every_tier(self) -> list[Price]:
        return [self.standard, *(price for one in self.variants if (price := self.at_tier(one.name)) is not None)]


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
    cache_read_audio_tokens: int = 0
    """Of `cache_read_tokens`, those that are audio; they are no part of `audio_input_tokens`."""
    tier: str = ""
    """The service tier that answered, as the provider calls it (`batch`, `flex`, `priority` …); empty: the standard."""
    estimated_input: int = 0
    """What the input was estimated at before the call, without any learned factor; 0: it was not."""

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
    account: str = ""
    """Which of the provider's keys the caller would use, by a name that is no secret; empty: it uses none."""
    hurries: bool = False
    """While a rate keeps this model waiting, a later one of the list that can be called now is."""


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

    @property
    def denies(self) -> bool:
        """Whether the call, or its answer, was stopped by it."""
        return self.decision == "deny" and not self.dry_run


class CallError(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """How a call that was made failed: what circuit breakers and learnt rates go by. `status` 0: no answer came."""

    code: str
    status: int = 0
    retry_after_seconds: float | None = None


class RateReport(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a provider said of the rates it holds us to: what is left of each, and in how many seconds all of it is
    there again. None: it said nothing of it."""

    requests_left: int | None = None
    requests_reset_seconds: float | None = None
    tokens_left: int | None = None
    tokens_reset_seconds: float | None = None

    @property
    def wait_seconds(self) -> float:
        """In how many seconds it may be asked again; 0: now, as far as it says."""
        used_up = (
            reset or 0.0
            for left, reset in (
                (self.requests_left, self.requests_reset_seconds),
                (self.tokens_left, self.tokens_reset_seconds),
            )
            if left == 0
        )
        return max(used_up, default=0.0)


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
    mode: Mode = "realtime"
    tenant: str = "default"
    scheduled_version: int = 0
    """The version of the event that scheduled this attempt: the run's id and it name the attempt for good."""
