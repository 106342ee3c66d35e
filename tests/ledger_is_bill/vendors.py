"""Vendors that answer by chance and write their own bills, each in the convention of one that there is.

A vendor's bill is reckoned here, from its own rates and its own buckets, in whole numbers: nothing of it goes through
our prices or our usages. What it reports is JSON, read by the function of `llm/usage_reports` that its adapter uses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from headgate.core.usage_sums import add_up_usages
from headgate.core.values import Price, Tier, Usage, Variant
from headgate.llm.usage_reports import anthropic_usage, bedrock_usage, gemini_usage, openai_usage
from headgate.ports import EmbeddingAnswer, ModelAnswer, ModelRequest, ProviderError

__all__ = ["BUCKETS", "LONG", "Line", "Vendor", "all_vendors"]

BUCKETS = ("fresh", "read", "written", "kept", "heard", "heard_again", "said", "thought", "spoken")
"""Disjoint: input that no cache had a part in, read from it, written for 5 minutes and an hour, audio; output."""
LONG = 3_000
"""Input above which a call is a long one."""
Rates = dict[str, int]


@dataclass(frozen=True)
class Line:
    """One line of a bill: what one request was charged for, bucket by bucket, and how much, in nano-dollars."""

    model: str
    tier: str
    tokens: tuple[int, ...]
    charge: int


@dataclass
class Vendor:
    """A provider with one model, its rates (nano-dollars per million) by tier and length, and how it reports."""

    name: str
    buckets: tuple[str, ...]
    rates: dict[str, Rates]
    report: Callable[[Rates, str], Any]
    read: Callable[[Any], Usage | None]
    fee: int = 0
    seed: int = 0
    bill: list[Line] = field(default_factory=list)
    refused: int = 0

    def __post_init__(self) -> None:
        self._random = Random(f"{self.name} {self.seed}")

    # --- What a provider is to the gate ---

    def price(self, model: str) -> Price:
        standard, long = _ours(self.rates[""], self.fee), _ours(self.rates["long"], self.fee)
        variants = tuple(
            Variant(name=name, **_ours(rates, self.fee), tiers=(Tier(above=LONG, **long),))
            for name, rates in self.rates.items()
            if name not in ("", "long")
        )
        return Price(**standard, id=f"list:{self.name}/m", tiers=(Tier(above=LONG, **long),), variants=variants)

    def count(self, request: ModelRequest) -> int:
        return 40_000

    async def request(self, request: ModelRequest) -> ModelAnswer:
        chance = self._random.random()
        if chance < 0.03:
            self.refused += 1
            raise ProviderError("busy", status=429, code="rate_limited")
        usage = self._served()
        if chance < 0.06:
            raise ProviderError("you are billed for this", status=400, code="invalid_request", usage=usage)
        if chance < 0.10:  # the model used tools of the vendor's: several requests for one answer
            loop = [usage, *(self._served() for _ in range(self._random.randint(1, 3)))]
            usage = add_up_usages(loop, self.price("m"))
        return ModelAnswer(content="x", model="m", usage=usage)

    def stream(self, request: ModelRequest) -> Any:
        raise NotImplementedError  # nothing here asks for a text in pieces

    async def embed(self, model: str, inputs: Any) -> EmbeddingAnswer:
        raise NotImplementedError  # nothing here asks for vectors

    # --- What it does ---

    def _served(self) -> Usage:
        tokens = {name: self._tokens() if name in self.buckets else 0 for name in BUCKETS}
        tier = self._random.choice([name for name in self.rates if name != "long"])
        self.bill.append(self._line(tokens, tier))
        usage = self.read(self.report(tokens, tier))
        assert usage is not None
        return usage

    def _tokens(self) -> int:
        return self._random.choice([0, self._random.randint(1, 40), self._random.randint(1, 2_000)])

    def _line(self, tokens: Rates, tier: str) -> Line:
        taken = sum(tokens[name] for name in ("fresh", "read", "written", "kept", "heard", "heard_again"))
        rates = self.rates["long" if taken > LONG else tier]
        millionths = sum(tokens[name] * rates[name] for name in self.buckets)
        return Line("m", tier, tuple(tokens[name] for name in BUCKETS), -(-millionths // 1_000_000) + self.fee)

    def totals(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for line in self.bill:
            found.update(dict(zip(BUCKETS, line.tokens, strict=True)))
            found["charge"] += line.charge
        return found


OURS = {
    "fresh": "input",
    "read": "cache_read",
    "written": "cache_write",
    "kept": "cache_write_1h",
    "heard": "audio_input",
    "heard_again": "cache_read_audio",
    "said": "output",
    "thought": "reasoning",
    "spoken": "audio_output",
}


def _ours(rates: Rates, fee: int) -> dict[str, Any]:
    return {OURS[name]: rate for name, rate in rates.items()} | {"request": fee}


# --- Conventions -----------------------------------------------------------------------------------------------


def _openai_report(t: Rates, tier: str) -> Any:
    """The input holds what was cached and heard; the output what was thought and spoken."""
    return tier, {
        "prompt_tokens": t["fresh"] + t["read"] + t["heard"] + t["heard_again"],
        "completion_tokens": t["said"] + t["thought"] + t["spoken"],
        "prompt_tokens_details": {
            "cached_tokens": t["read"] + t["heard_again"],
            "audio_tokens": t["heard"] + t["heard_again"],
            "cached_tokens_details": {"audio_tokens": t["heard_again"]},
        },
        "completion_tokens_details": {"reasoning_tokens": t["thought"], "audio_tokens": t["spoken"]},
    }


def _anthropic_report(t: Rates, tier: str) -> Any:
    """The input is only what no cache had a part in; what was written is split by how long it is kept."""
    return {
        "input_tokens": t["fresh"],
        "cache_read_input_tokens": t["read"],
        "cache_creation_input_tokens": t["written"] + t["kept"],
        "cache_creation": {"ephemeral_5m_input_tokens": t["written"], "ephemeral_1h_input_tokens": t["kept"]},
        "output_tokens": t["said"],
        "service_tier": tier or "standard",
    }


def _gemini_report(t: Rates, tier: str) -> Any:
    """The input holds what was cached; the thoughts stand beside the candidates."""
    return {
        "promptTokenCount": t["fresh"] + t["read"] + t["heard"] + t["heard_again"],
        "cachedContentTokenCount": t["read"] + t["heard_again"],
        "candidatesTokenCount": t["said"],
        "thoughtsTokenCount": t["thought"],
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": t["heard"] + t["heard_again"]}],
        "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": t["heard_again"]}],
        "trafficType": f"ON_DEMAND_{tier.upper()}" if tier else "ON_DEMAND",
    }


def _bedrock_report(t: Rates, tier: str) -> Any:
    """As Anthropic's, in other words, and the tier outside."""
    kept = [{"ttl": "1h", "inputTokens": t["kept"]}, {"ttl": "5m", "inputTokens": t["written"]}]
    return tier, {
        "inputTokens": t["fresh"],
        "outputTokens": t["said"],
        "cacheReadInputTokens": t["read"],
        "cacheWriteInputTokens": t["written"] + t["kept"],
        "cacheDetails": kept,
    }


def all_vendors(seed: int) -> list[Vendor]:
    """Return one vendor of each convention; no two of their rates are alike, so that none can stand for another."""
    random = Random(seed)

    def rates(buckets: tuple[str, ...], *tiers: str) -> dict[str, Rates]:
        return {tier: {name: random.randrange(10**7, 10**11) | 1 for name in buckets} for tier in ("", "long", *tiers)}

    spoken = ("fresh", "read", "heard", "heard_again", "said", "thought", "spoken")
    written = ("fresh", "read", "written", "kept", "said")
    thought = ("fresh", "read", "heard", "heard_again", "said", "thought")
    return [
        Vendor(
            "openai-like",
            spoken,
            rates(spoken, "flex", "priority"),
            _openai_report,
            lambda told: openai_usage(told[1], tier=told[0]),
            seed=seed,
        ),
        Vendor("anthropic-like", written, rates(written, "batch"), _anthropic_report, anthropic_usage, seed=seed),
        Vendor("gemini-like", thought, rates(thought, "flex"), _gemini_report, gemini_usage, fee=777, seed=seed),
        Vendor(
            "bedrock-like",
            written,
            rates(written, "priority"),
            _bedrock_report,
            lambda told: bedrock_usage(told[1], tier=told[0]),
            seed=seed,
        ),
    ]
