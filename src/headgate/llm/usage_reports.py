"""What each vendor reports that a call used, made into one `Usage`; how vendors differ stands here and nowhere else.

| vendor | its input holds the cached tokens | its output holds the reasoning |
| --- | --- | --- |
| OpenAI, and most that imitate it | yes | yes (xAI counts it beside: then its total shows it) |
| Anthropic | no: read and written are counted beside | yes, and does not say how much |
| Gemini | yes; what tools brought is counted beside | no: thoughts are counted beside |
| Bedrock (Converse) | no: as Anthropic | yes |

All functions are tolerant in the same way: a report that does not say how much went in and came out is none (None: then
we count, and say `estimated`). A part that is no number of tokens (wrong type, negative, absurd) counts as nothing, and
one that is more than the whole it is a part of is cut to it: the sums are what is billed, and stay as they were told.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from headgate.core.values import STANDARD, Usage

__all__ = [
    "TOKENS_MAX",
    "anthropic_usage",
    "bedrock_usage",
    "gemini_usage",
    "merged_report",
    "ollama_usage",
    "openai_usage",
    "tier_of",
]

TOKENS_MAX = 10**12
"""A reported number of tokens above this is nonsense."""
TIER_LETTERS_MAX = 64

Report = dict[str, object]


def openai_usage(report: object, *, of_embedding: bool = False, tier: object = "") -> Usage | None:
    """Return what `usage` of a chat completion, a response or an embedding says; `tier` is the body's `service_tier`.

    Also Azure's, Mistral's, DeepSeek's, Groq's, OpenRouter's and others' in this form.
    """
    fields = _report(report)
    given = _first(fields, "prompt_tokens", "input_tokens")
    if given is None and of_embedding:
        given = _tokens(fields.get("total_tokens"))
    made = 0 if of_embedding else _first(fields, "completion_tokens", "output_tokens")
    if given is None or made is None:
        return None
    taken = _report(fields.get("prompt_tokens_details") or fields.get("input_tokens_details"))
    brought = _report(fields.get("completion_tokens_details") or fields.get("output_tokens_details"))
    reasoned = 0 if of_embedding else _part(brought, "reasoning_tokens")
    if reasoned and _tokens(fields.get("total_tokens")) == given + made + reasoned:
        made += reasoned
    cached_audio = _part(_report(taken.get("cached_tokens_details")), "audio_tokens")
    return _usage(
        given,
        made,
        read=_part(taken, "cached_tokens")
        or _part(fields, "prompt_cache_hit_tokens")  # DeepSeek
        or _part(fields, "num_cached_tokens"),  # Mistral
        written=_part(taken, "cache_write_tokens"),  # OpenRouter
        audio_read=cached_audio,
        heard=_part(taken, "audio_tokens") - cached_audio,
        reasoned=reasoned,
        spoken=_part(brought, "audio_tokens"),
        tier=tier_of(tier),
    )


def anthropic_usage(report: object) -> Usage | None:
    """Return what `usage` of a message says. Of a stream: the `merged_report` of its start and its deltas."""
    fields = _report(report)
    fresh, made = _tokens(fields.get("input_tokens")), _tokens(fields.get("output_tokens"))
    if fresh is None or made is None:
        return None
    split = _report(fields.get("cache_creation"))
    for_an_hour = _part(split, "ephemeral_1h_input_tokens")
    split_total = for_an_hour + _part(split, "ephemeral_5m_input_tokens")
    written = max(_part(fields, "cache_creation_input_tokens"), split_total)
    read = _part(fields, "cache_read_input_tokens")
    speed = tier_of(fields.get("speed"))
    return _usage(
        fresh + read + written,
        made,
        read=read,
        written=written - for_an_hour,
        written_1h=for_an_hour,
        reasoned=_part(_report(fields.get("output_tokens_details")), "thinking_tokens"),
        tier=speed or tier_of(fields.get("service_tier")),
    )


def gemini_usage(report: object) -> Usage | None:
    """Return what `usageMetadata` of an answer says; of a stream, that of its last event."""
    fields = _report(report)
    prompt = _first(fields, "promptTokenCount", "prompt_token_count")
    said = _first(fields, "candidatesTokenCount", "candidates_token_count")
    if prompt is None:
        return None
    thought = _first(fields, "thoughtsTokenCount", "thoughts_token_count") or 0
    tools = _first(fields, "toolUsePromptTokenCount", "tool_use_prompt_token_count") or 0
    if said is None:  # it is left out where nothing was said
        total = _first(fields, "totalTokenCount", "total_token_count")
        said = max(0, total - prompt - tools - thought) if total is not None else 0 if thought else None
    if said is None:
        return None
    cached_audio = _of_modality(fields.get("cacheTokensDetails") or fields.get("cache_tokens_details"), "AUDIO")
    heard = _of_modality(fields.get("promptTokensDetails") or fields.get("prompt_tokens_details"), "AUDIO")
    return _usage(
        prompt + tools,
        said + thought,
        read=_first(fields, "cachedContentTokenCount", "cached_content_token_count") or 0,
        audio_read=cached_audio,
        heard=heard - cached_audio,
        reasoned=thought,
        spoken=_of_modality(fields.get("candidatesTokensDetails") or fields.get("candidates_tokens_details"), "AUDIO"),
        tier=_gemini_tier(fields),
    )


def _gemini_tier(fields: Report) -> str:
    """Return the tier; Vertex says it as a kind of traffic: ON_DEMAND, ON_DEMAND_FLEX, PROVISIONED_THROUGHPUT."""
    told = tier_of(fields.get("serviceTier") or fields.get("service_tier"))
    return told or tier_of(fields.get("trafficType") or fields.get("traffic_type")).removeprefix("on_demand_")


def bedrock_usage(report: object, *, tier: object = "") -> Usage | None:
    """Return what `usage` of a Converse answer says; `tier` is the type in its `serviceTier`."""
    fields = _report(report)
    fresh, made = _tokens(fields.get("inputTokens")), _tokens(fields.get("outputTokens"))
    if fresh is None or made is None:
        return None
    by_life = [_report(one) for one in _list(fields.get("cacheDetails"))]
    for_an_hour = sum(_part(one, "inputTokens") for one in by_life if one.get("ttl") == "1h")
    written = max(_part(fields, "cacheWriteInputTokens"), sum(_part(one, "inputTokens") for one in by_life))
    read = _part(fields, "cacheReadInputTokens")
    return _usage(
        fresh + read + written,
        made,
        read=read,
        written=written - for_an_hour,
        written_1h=for_an_hour,
        tier=tier_of(tier),
    )


def ollama_usage(report: object) -> Usage | None:
    """Return what an answer of Ollama's own API says, which counts beside its fields; a cached prompt is left out."""
    fields = _report(report)
    made = _tokens(fields.get("eval_count"))
    return None if made is None else _usage(_part(fields, "prompt_eval_count"), made)


def merged_report(earlier: object, later: object) -> Report:
    """Return two reports on one answer as one: what the later one says holds, what it leaves out or null stays."""
    return _report(earlier) | {name: value for name, value in _report(later).items() if value is not None}


def tier_of(value: object) -> str:
    """Return a service tier as prices name it: in lower case, and empty for the standard one."""
    name = value.strip().lower() if isinstance(value, str) else ""
    return "" if name in STANDARD or len(name) > TIER_LETTERS_MAX else name


# --- Numbers of tokens -----------------------------------------------------------------------------------------


def _usage(
    given: int,
    made: int,
    *,
    read: int = 0,
    written: int = 0,
    written_1h: int = 0,
    audio_read: int = 0,
    heard: int = 0,
    reasoned: int = 0,
    spoken: int = 0,
    tier: str = "",
) -> Usage:
    """Return the usage with its parts cut to what is left of their sums."""
    read, written, written_1h, heard = _cut(given, read, written, written_1h, heard)
    reasoned, spoken = _cut(made, reasoned, spoken)
    return Usage(
        input_tokens=given,
        output_tokens=made,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=written_1h,
        cache_read_audio_tokens=min(audio_read, read),
        audio_input_tokens=heard,
        reasoning_tokens=reasoned,
        audio_output_tokens=spoken,
        tier=tier,
    )


def _cut(whole: int, *parts: int) -> Iterator[int]:
    for part in parts:
        kept = max(0, min(part, whole))
        whole -= kept
        yield kept


def _report(value: object) -> Report:
    return cast("Report", value) if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _first(fields: Report, *names: str) -> int | None:
    return next((tokens for name in names if (tokens := _tokens(fields.get(name))) is not None), None)


def _part(fields: Report, name: str) -> int:
    return _tokens(fields.get(name)) or 0


def _of_modality(details: object, modality: str) -> int:
    found = [_report(one) for one in _list(details)]
    return sum(_first(one, "tokenCount", "token_count") or 0 for one in found if one.get("modality") == modality)


def _tokens(value: object) -> int | None:
    """Return a whole number of tokens, also where it is written as a float; None for all else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= TOKENS_MAX:
        return None
    return int(value) if value == int(value) else None
