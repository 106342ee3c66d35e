"""What a usage costs at given rates, and what a call can cost at most: whole numbers, rounded up once for a call.

A rate is in nano-dollars per million tokens. One that a vendor does not list is that of the bucket around it: what is
read from the cache, written to it, or heard costs as text input does, an hour's cache as five minutes', thought and
speech as text output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headgate.core.values import Rates, Usage

__all__ = ["cost_at", "worst_case_at"]

MILLION = 1_000_000


def cost_at(rates: Rates, usage: Usage) -> int:
    """Return what `usage` costs in nano-dollars."""
    total = _input_cost(rates, usage) + _output_cost(rates, usage)
    return -(-total // MILLION) + rates.request


def _input_cost(rates: Rates, usage: Usage) -> int:
    heard_again = min(usage.cache_read_audio_tokens, usage.cache_read_tokens)
    read = _or(rates.cache_read, rates.input)
    written = _or(rates.cache_write, rates.input)
    return (
        usage.uncached_input_tokens * rates.input
        + (usage.cache_read_tokens - heard_again) * read
        + heard_again * _or(rates.cache_read_audio, read)
        + usage.cache_write_tokens * written
        + usage.cache_write_1h_tokens * _or(rates.cache_write_1h, written)
        + usage.audio_input_tokens * _or(rates.audio_input, rates.input)
    )


def _output_cost(rates: Rates, usage: Usage) -> int:
    return (
        usage.visible_output_tokens * rates.output
        + usage.reasoning_tokens * _or(rates.reasoning, rates.output)
        + usage.audio_output_tokens * _or(rates.audio_output, rates.output)
    )


def _or(rate: int | None, otherwise: int) -> int:
    return otherwise if rate is None else rate


def worst_case_at(rates: Rates, input_tokens: int, output_tokens: int) -> int:
    """Return what so many tokens cost if all of them fall into the dearest bucket of their side."""
    cached = (rates.cache_read, rates.cache_read_audio, rates.cache_write, rates.cache_write_1h)
    dearest_input = max(rates.input, *(rate or 0 for rate in (*cached, rates.audio_input)))
    dearest_output = max(rates.output, rates.reasoning or 0, rates.audio_output or 0)
    return -(-(input_tokens * dearest_input + output_tokens * dearest_output) // MILLION) + rates.request
