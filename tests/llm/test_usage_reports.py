"""What vendors report, each in its own convention: nothing is counted twice, lost, or believed blindly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.values import Usage
from headgate.llm.answer_parts import AnswerParts
from headgate.llm.openai_messages import Body, add_body
from headgate.llm.usage_reports import (
    TOKENS_MAX,
    anthropic_usage,
    bedrock_usage,
    gemini_usage,
    merged_report,
    ollama_usage,
    openai_usage,
    tier_of,
)

READERS: dict[str, Callable[[object], Usage | None]] = {
    "openai": openai_usage,
    "an embedding": lambda report: openai_usage(report, of_embedding=True),
    "anthropic": anthropic_usage,
    "gemini": gemini_usage,
    "bedrock": bedrock_usage,
    "ollama": ollama_usage,
}
OPENAI = {
    "prompt_tokens": 1_000,
    "completion_tokens": 300,
    "total_tokens": 1_300,
    "prompt_tokens_details": {
        "cached_tokens": 600,
        "audio_tokens": 250,
        "cached_tokens_details": {"audio_tokens": 50},
    },
    "completion_tokens_details": {"reasoning_tokens": 120, "audio_tokens": 80},
}
RESPONSE = {
    "input_tokens": 1_000,
    "output_tokens": 300,
    "input_tokens_details": {"cached_tokens": 600},
    "output_tokens_details": {"reasoning_tokens": 120},
}
ANTHROPIC = {
    "input_tokens": 50,
    "output_tokens": 300,
    "cache_read_input_tokens": 600,
    "cache_creation_input_tokens": 350,
    "cache_creation": {"ephemeral_5m_input_tokens": 250, "ephemeral_1h_input_tokens": 100},
    "service_tier": "standard",
}
GEMINI = {
    "promptTokenCount": 900,
    "cachedContentTokenCount": 600,
    "candidatesTokenCount": 180,
    "thoughtsTokenCount": 120,
    "toolUsePromptTokenCount": 100,
    "totalTokenCount": 1_300,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 650}, {"modality": "AUDIO", "tokenCount": 250}],
    "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 50}],
    "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 80}],
    "trafficType": "ON_DEMAND",
}
BEDROCK = {
    "inputTokens": 50,
    "outputTokens": 300,
    "totalTokens": 1_300,
    "cacheReadInputTokens": 600,
    "cacheWriteInputTokens": 350,
    "cacheDetails": [{"ttl": "1h", "inputTokens": 100}, {"ttl": "5m", "inputTokens": 250}],
}
PARTLY = {"cache_read_tokens": 600, "reasoning_tokens": 120}
HEARD = {"audio_input_tokens": 200, "cache_read_audio_tokens": 50, "audio_output_tokens": 80}
WRITTEN = {"cache_read_tokens": 600, "cache_write_tokens": 250, "cache_write_1h_tokens": 100}


@pytest.mark.parametrize(
    ("reader", "report", "parts"),
    [
        ("openai", OPENAI, {**PARTLY, **HEARD}),
        ("openai", RESPONSE, PARTLY),
        ("anthropic", ANTHROPIC, WRITTEN),
        ("gemini", GEMINI, {**PARTLY, **HEARD}),
        ("bedrock", BEDROCK, WRITTEN),
    ],
)
def test_the_same_call_is_the_same_usage_in_every_convention(reader: str, report: Any, parts: dict[str, int]):
    assert READERS[reader](report) == Usage(input_tokens=1_000, output_tokens=300, **parts)


def test_what_a_vendor_leaves_out_is_nothing():
    assert openai_usage({"prompt_tokens": 3, "completion_tokens": 4}) == Usage(input_tokens=3, output_tokens=4)
    assert anthropic_usage({"input_tokens": 3, "output_tokens": 4}) == Usage(input_tokens=3, output_tokens=4)
    assert bedrock_usage({"inputTokens": 3, "outputTokens": 4}) == Usage(input_tokens=3, output_tokens=4)
    assert ollama_usage({"prompt_eval_count": 3, "eval_count": 4}) == Usage(input_tokens=3, output_tokens=4)
    assert ollama_usage({"eval_count": 4}) == Usage(output_tokens=4)


def test_reasoning_that_is_counted_beside_the_output_is_added_to_it_once():
    beside = {"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 7}}

    assert openai_usage({**beside, "total_tokens": 22}) == Usage(input_tokens=10, output_tokens=12, reasoning_tokens=7)
    assert openai_usage({**beside, "completion_tokens": 12, "total_tokens": 22}) == Usage(
        input_tokens=10, output_tokens=12, reasoning_tokens=7
    )


def test_a_cache_that_is_told_by_another_name_is_read():
    sums = {"prompt_tokens": 10, "completion_tokens": 1}
    of_openrouter = {"cached_tokens": 4, "cache_write_tokens": 5}

    assert openai_usage({**sums, "prompt_cache_hit_tokens": 6, "prompt_cache_miss_tokens": 4}) == Usage(
        input_tokens=10, output_tokens=1, cache_read_tokens=6
    )
    assert openai_usage({**sums, "num_cached_tokens": 6}) == Usage(
        input_tokens=10, output_tokens=1, cache_read_tokens=6
    )
    assert openai_usage({**sums, "prompt_tokens_details": of_openrouter}) == Usage(
        input_tokens=10, output_tokens=1, cache_read_tokens=4, cache_write_tokens=5
    )


def test_a_cache_write_whose_lives_are_not_told_lives_for_five_minutes():
    known = {"input_tokens": 1, "output_tokens": 1, "cache_creation_input_tokens": 90}

    untold, partly = (
        anthropic_usage(known),
        anthropic_usage({**known, "cache_creation": {"ephemeral_1h_input_tokens": 9}}),
    )

    assert untold is not None
    assert partly is not None
    assert (untold.cache_write_tokens, untold.cache_write_1h_tokens) == (90, 0)
    assert (partly.input_tokens, partly.cache_write_tokens, partly.cache_write_1h_tokens) == (91, 81, 9)


def test_the_reports_of_a_stream_are_merged_and_nulls_take_nothing_back():
    started = {"input_tokens": 50, "cache_read_input_tokens": 600, "output_tokens": 1}
    ended = {"input_tokens": None, "output_tokens": 300}

    assert anthropic_usage(merged_report(started, ended)) == Usage(
        input_tokens=650, output_tokens=300, cache_read_tokens=600
    )
    assert merged_report(None, [1]) == {}


def test_gemini_leaves_out_what_was_not_said_and_counts_its_thoughts_all_the_same():
    assert gemini_usage({"promptTokenCount": 9, "totalTokenCount": 9}) == Usage(input_tokens=9)
    assert gemini_usage({"promptTokenCount": 9, "thoughtsTokenCount": 4, "totalTokenCount": 13}) == Usage(
        input_tokens=9, output_tokens=4, reasoning_tokens=4
    )
    assert gemini_usage({"promptTokenCount": 9}) is None
    assert gemini_usage({"prompt_token_count": 9, "candidates_token_count": 2}) == Usage(
        input_tokens=9, output_tokens=2
    )


@pytest.mark.parametrize(
    ("told", "tier"),
    [
        ("flex", "flex"),
        ("PRIORITY", "priority"),
        ("default", ""),
        ("on_demand", ""),
        (None, ""),
        (3, ""),
        ("x" * 99, ""),
    ],
)
def test_the_tier_that_answered_is_told_and_the_standard_one_has_no_name(told: object, tier: str):
    counted = {"prompt_tokens": 1, "completion_tokens": 1}
    of_claude, of_titan = {"input_tokens": 1, "output_tokens": 1}, {"inputTokens": 1, "outputTokens": 1}
    of_gemini = {"promptTokenCount": 1, "candidatesTokenCount": 1}

    usages = [
        openai_usage(counted, tier=told),
        anthropic_usage({**of_claude, "service_tier": told}),
        gemini_usage({**of_gemini, "serviceTier": told}),
        bedrock_usage(of_titan, tier=told),
    ]

    assert [usage and usage.tier for usage in usages] == [tier] * 4
    assert tier_of(told) == tier


def test_other_words_for_a_tier_are_known():
    of_gemini = {"promptTokenCount": 1, "candidatesTokenCount": 1, "trafficType": "ON_DEMAND_FLEX"}
    fast = anthropic_usage({"input_tokens": 1, "output_tokens": 1, "speed": "fast", "service_tier": "standard"})

    assert (flex := gemini_usage(of_gemini)) is not None
    assert flex.tier == "flex"
    assert fast is not None
    assert fast.tier == "fast"


def test_of_a_stream_the_last_tier_holds_whether_it_comes_with_the_usage_or_not():
    counted = {"prompt_tokens": 1, "completion_tokens": 1}
    parts, downgraded = AnswerParts("lab"), AnswerParts("lab")

    for body in (Body(service_tier="flex"), Body(usage=counted), Body()):
        add_body(body, parts)
    for body in (Body(service_tier="flex"), Body(usage=counted, service_tier="default"), Body()):
        add_body(body, downgraded)

    assert parts.reported == Usage(input_tokens=1, output_tokens=1, tier="flex")
    assert downgraded.reported == Usage(input_tokens=1, output_tokens=1)


# --- Nonsense --------------------------------------------------------------------------------------------------

NONSENSE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
MOSTLY_TOKENS = st.one_of(st.integers(0, 5_000), st.integers(0, 5_000), NONSENSE)


def like(example: Any) -> st.SearchStrategy[Any]:
    """Return reports of the example's form whose numbers are anything, mostly tokens; parts may be missing."""
    if isinstance(example, dict):
        return st.fixed_dictionaries({}, optional={name: like(value) for name, value in example.items()}) | NONSENSE
    if isinstance(example, list):
        return st.lists(st.one_of(*map(like, example)), max_size=3) | NONSENSE
    return MOSTLY_TOKENS if isinstance(example, int) else st.just(example) | NONSENSE


@pytest.mark.parametrize(
    ("reader", "example"),
    [
        ("openai", OPENAI),
        ("openai", RESPONSE),
        ("an embedding", OPENAI),
        ("anthropic", ANTHROPIC),
        ("gemini", GEMINI),
        ("bedrock", BEDROCK),
        ("ollama", {"prompt_eval_count": 1, "eval_count": 1}),
    ],
)
@given(data=st.data())
def test_whatever_is_reported_the_buckets_do_not_overlap_and_the_sums_hold_them(reader: str, example: Any, data: Any):
    usage = READERS[reader](data.draw(like(example)))

    if usage is None:
        return
    parts_in = (
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.cache_write_1h_tokens,
        usage.audio_input_tokens,
    )
    parts_out = (usage.reasoning_tokens, usage.audio_output_tokens)
    assert min(*parts_in, *parts_out, usage.cache_read_audio_tokens) >= 0
    assert sum(parts_in) + usage.uncached_input_tokens == usage.input_tokens <= 4 * TOKENS_MAX
    assert sum(parts_out) + usage.visible_output_tokens == usage.output_tokens <= 2 * TOKENS_MAX
    assert usage.cache_read_audio_tokens <= usage.cache_read_tokens


@pytest.mark.parametrize("wrong", [None, [], "12", {}, {"prompt_tokens": "3"}, {"prompt_tokens": -1}, 7])
@pytest.mark.parametrize("reader", list(READERS))
def test_a_report_without_its_sums_is_none(reader: str, wrong: object):
    assert READERS[reader](wrong) is None


@pytest.mark.parametrize(
    ("number", "read"),
    [
        (3, 3),
        (3.0, 3),
        (3.5, None),
        (True, None),
        (-1, None),
        (TOKENS_MAX + 1, None),
        (float("nan"), None),
        ("3", None),
    ],
)
def test_a_number_of_tokens_is_a_whole_one(number: object, read: int | None):
    usage = openai_usage({"prompt_tokens": number, "completion_tokens": 1})

    assert (None if usage is None else usage.input_tokens) == read
