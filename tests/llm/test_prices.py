"""Prices of the list that comes with the package: exact, and those of the time, the length and the tier."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from decimal import Decimal
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.llm.price_books import JUNE, listed

from headgate.core.errors import Invalid
from headgate.core.values import Price, Rates, Tier, Usage, Variant
from headgate.llm.price_list import PriceList
from headgate.llm.price_overrides import read_time
from headgate.llm.prices import open_prices, price_of

LIST = f"genai-prices-{metadata.version('genai-prices')}"


# --- Lists ------------------------------------------------------------------------------------------------------------


def test_the_vendors_prices_are_exact_whole_numbers():
    assert listed("openai/gpt-4o") == Price(2_500_000_000, 10_000_000_000, 1_250_000_000, id=f"{LIST}:openai/gpt-4o")
    assert listed("anthropic/claude-haiku-4-5").cache_write == 1_250_000_000
    assert listed("openai/text-embedding-3-small").output == 0


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("openai/gpt-4o-2024-08-06", "openai/gpt-4o"),
        ("openai/gpt-4o-latest", "openai/gpt-4o"),
        ("openai/gpt-5-mini-2025-08-07", "openai/gpt-5-mini"),
        ("anthropic/claude-opus-4-1-20250805", "anthropic/claude-opus-4-1"),
        ("mistral/mistral-large-latest", "mistral/mistral-large"),
        ("google/models/gemini-2.5-pro", "google/gemini-2.5-pro"),
        ("azure/gpt-4o-2024-08-06", "azure/gpt-4o"),
        ("bedrock/eu.amazon.nova-lite-v1:0", "aws/amazon.nova-lite-v1:0"),
    ],
)
def test_aliases_and_dated_names_are_the_model_that_they_mean(asked: str, meant: str):
    assert listed(asked).id.endswith(f":{meant}")


def test_a_snapshot_with_a_price_of_its_own_keeps_it():
    assert listed("openai/gpt-4o-2024-05-13").input == 5_000_000_000 != listed("openai/gpt-4o").input


def test_a_price_is_that_of_the_time():
    assert listed("openai/o3", "2025-06-09").input == 10_000_000_000
    assert listed("openai/o3", "2025-06-10").input == 2_000_000_000
    assert listed("openai/o3", "2025-06-10").id.endswith("openai/o3@2025-06-10")
    assert listed("deepseek/deepseek-chat", "2026-06-15T12:00").input == 270_000_000
    assert listed("deepseek/deepseek-chat", "2026-06-15T18:00").input == 135_000_000


@pytest.mark.parametrize(
    "name", ["openai/gpt-9", "openai/gpt-4o-mini-xyz", "nobody/gpt-4o", "azure/our-deployment", "openai/whisper-1"]
)
def test_what_is_not_known_is_unpriced(name: str):
    assert price_of(*name.split("/", 1)) is None


def test_a_model_that_is_charged_in_ways_that_we_cannot_say_is_unpriced():
    import genai_prices.data

    charges = {"output_image_mtok", "output_video_mtok", "output_citation_mtok", "input_audio_hours", "input_mchars"}
    odd = [
        (provider.id, model.id)
        for provider in genai_prices.data.providers
        for model in provider.models
        if not isinstance(model.prices, list) and charges & vars(model.prices).keys()
    ]

    assert len(odd) > 10
    prices = [found.price(JUNE) for provider, model in odd if (found := PriceList().find(provider, model))]
    assert len(prices) > 10
    assert set(prices) == {None}


def test_rates_apart_and_fees_for_each_call_are_told():
    assert listed("anthropic/claude-sonnet-4-5").cache_write_1h == 6_000_000_000
    flash = listed("google/gemini-2.5-flash")
    assert (flash.audio_input, flash.cache_read_audio) == (1_000_000_000, 100_000_000)
    spoken = listed("openai/gpt-audio")
    assert (spoken.audio_input, spoken.audio_output) == (32_000_000_000, 64_000_000_000)
    assert listed("perplexity/sonar").request == 12_000_000
    assert listed("openrouter/perplexity/sonar-deep-research").reasoning == 3_000_000_000
    assert price_of("perplexity", "sonar-deep-research") is None, "it charges for citations, too"


def test_an_embedding_model_that_could_be_given_pictures_costs_what_its_texts_do():
    price = listed("google/gemini-embedding-2")

    assert (price.input, price.output, price.audio_input) == (200_000_000, 0, None)
    assert price_of("openai", "gpt-realtime") is None, "of a chat model pictures cost apart"


THEIRS = {
    "cache_read_tokens": "cache_read_tokens",
    "cache_write_5m_tokens": "cache_write_tokens",
    "cache_write_1h_tokens": "cache_write_1h_tokens",
    "input_audio_tokens": "audio_input_tokens",
    "cache_audio_read_tokens": "cache_read_audio_tokens",
    "output_audio_tokens": "audio_output_tokens",
    "output_reasoning_tokens": "reasoning_tokens",
}
"""Names of the data set's buckets, and of ours."""
OCTOBER = datetime.datetime(2026, 10, 20, tzinfo=datetime.UTC)
OF_MANY_KINDS = [
    ("anthropic", "claude-sonnet-4-5", {}),
    ("anthropic", "claude-sonnet-4-5", {"processing": "batch"}),
    ("anthropic", "claude-fable-5-2", {"speed": "fast"}),
    ("google", "gemini-2.5-pro", {}),
    ("google", "gemini-2.5-flash", {}),
    ("google", "gemini-2.5-flash", {"processing": "batch"}),
    ("openai", "gpt-4o", {}),
    ("openai", "gpt-audio", {}),
    ("openai", "gpt-5", {"service_tier": "flex"}),
    ("openai", "gpt-5", {"service_tier": "priority"}),
    ("openai", "gpt-5", {"service_tier": "default"}),
    ("openai", "gpt-4.1", {"processing": "batch"}),
    ("perplexity", "sonar", {}),
    ("openrouter", "perplexity/sonar-deep-research", {}),
]


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Return a usage whose parts fit into their sums, in every bucket."""
    said, thought, spoken = (draw(st.integers(0, 10_000)) for _ in range(3))
    read, written, kept, heard, plain = (draw(st.integers(0, 80_000)) for _ in range(5))
    return Usage(
        input_tokens=read + written + kept + heard + plain,
        output_tokens=said + thought + spoken,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=kept,
        audio_input_tokens=heard,
        cache_read_audio_tokens=draw(st.integers(0, read)),
        reasoning_tokens=thought,
        audio_output_tokens=spoken,
    )


@pytest.mark.parametrize(("provider", "model", "context"), OF_MANY_KINDS)
@given(usage=usages())
def test_what_a_call_costs_agrees_with_the_data_sets_own_reckoning(
    provider: str, model: str, context: dict[str, str], usage: Usage
):
    from genai_prices import Usage as TheirUsage
    from genai_prices.data import providers

    tier = next(iter(context.values()), "")
    price = listed(f"{provider}/{model}", "2026-10-20")
    apart = {name for name in ("audio_input", "audio_output") if getattr(price, name) is None}
    usage = msgspec.structs.replace(  # theirs asks for prices of what is counted apart
        usage,
        tier=tier,
        cache_read_audio_tokens=0 if price.cache_read_audio is None else usage.cache_read_audio_tokens,
        **{f"{name}_tokens": 0 for name in apart},
    )
    their_usage = {theirs: getattr(usage, ours) for theirs, ours in THEIRS.items()}
    their_usage["cache_write_tokens"] = usage.cache_write_tokens + usage.cache_write_1h_tokens
    their_usage["input_audio_tokens"] += usage.cache_read_audio_tokens
    (vendor,) = [one for one in providers if one.id == provider]
    found = vendor.find_model(model, all_providers=providers)
    assert found is not None
    theirs = found.calc_price(
        TheirUsage(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, **their_usage),
        vendor,
        genai_request_timestamp=OCTOBER,
        price_context=context,
    ).total_price

    ours = price.cost(usage)

    assert 0 <= ours - theirs * 10**9 < 1, f"{ours} is not {theirs} rounded up"


def test_every_price_of_the_list_can_be_told_or_is_unpriced():
    found = list(PriceList().all())

    assert len(found) > 2_000
    priced = [price for one in found if (price := one.price(JUNE)) is not None]
    assert len(priced) > 0.85 * len(found)
    assert all(price.input >= 0 and price.output >= 0 and ":" in price.id for price in priced)


def write_price_list(folder: Path, model: dict[str, Any]) -> None:
    """Write a list whose only provider, acme, has this model."""
    vendor = {"id": "acme", "name": "Acme", "api_pattern": "x", "models": [model]}
    (folder / "price-list.json").write_text(json.dumps([vendor]))


def test_a_list_from_a_file_takes_the_place_of_ours(tmp_path: Path):
    model = {"id": "m", "match": {"starts_with": "m-"}, "prices": {"input_mtok": 0.1, "output_mtok": 0.3}}
    write_price_list(tmp_path, model)

    book = open_prices({}, tmp_path)

    price = price_of("acme", "m-7", book)
    assert price is not None
    assert (price.input, price.output) == (100_000_000, 300_000_000)
    assert price.id.startswith("price-list-")
    assert price_of("openai", "gpt-4o", book) is None


def test_of_variants_of_one_tier_the_first_that_holds_is_the_one_rate_by_rate(tmp_path: Path):
    def batch(since: str, **prices: float) -> dict[str, Any]:
        return {"when": {"processing": "batch"}, "prices": prices, "constraint": {"start_date": since}}

    variants = [
        batch("2026-07-01", input_mtok=9),
        batch("2026-06-01", input_mtok=5),
        batch("2026-01-01", output_mtok=6),
    ]
    variants += [{"when": {"route": "eu"}, "prices": {"input_mtok": 1}}]
    prices = {"input_mtok": 10, "output_mtok": 12}
    write_price_list(tmp_path, {"id": "m", "match": {"equals": "m"}, "prices": prices, "price_variants": variants})

    found = PriceList(tmp_path / "price-list.json").find("acme", "m")

    assert found is not None
    price = found.price(JUNE)
    assert price is not None
    assert price.variants == (Variant(5_000_000_000, 6_000_000_000, name="batch"),)
    later = found.price(read_time("2026-07-02", "a test"))
    assert later is not None
    assert later.variants[0].input == 9_000_000_000


@pytest.mark.parametrize("text", ["[]", "{}", "[1]", "nonsense", '[{"id": "a", "models": [{"id": 3}]}]'])
def test_a_file_that_is_no_list_says_so(text: str, tmp_path: Path):
    (tmp_path / "list.json").write_text(text)

    with pytest.raises(Invalid, match=r"list\.json is not"):
        PriceList(tmp_path / "list.json").find("a", "b")


# --- Tiers ------------------------------------------------------------------------------------------------------------


def test_a_long_call_costs_the_price_of_its_length_for_all_its_tokens():
    price = Price(3_000, 15_000, 300, tiers=(Tier(above=200, input=6_000, output=22_000, cache_read=600),))

    assert price.cost(Usage(input_tokens=200_000_000)) == 1_200_000
    short = Price(3_000_000, 15_000_000, 300_000, tiers=(Tier(above=200, input=6_000_000, output=22_000_000),))
    assert short.cost(Usage(input_tokens=200, output_tokens=10)) == 200 * 3 + 10 * 15
    assert short.cost(Usage(input_tokens=201, output_tokens=10)) == 201 * 6 + 10 * 22


NANO_RATES = st.integers(0, 10**10)
SOME = st.none() | NANO_RATES


def rates() -> dict[str, st.SearchStrategy[Any]]:
    apart = [name for name in Rates.__struct_fields__ if name not in ("input", "output", "request")]
    return {"input": NANO_RATES, "output": NANO_RATES, "request": NANO_RATES} | dict.fromkeys(apart, SOME)


LENGTHS = st.lists(st.integers(0, 400_000), unique=True, max_size=2)
TIERS = LENGTHS.flatmap(
    lambda lengths: st.tuples(*(st.builds(Tier, above=st.just(above), **rates()) for above in sorted(lengths)))
)
VARIANTS = st.lists(st.sampled_from(["batch", "flex", "priority"]), unique=True, max_size=2).flatmap(
    lambda names: st.tuples(*(st.builds(Variant, name=st.just(name), tiers=TIERS, **rates()) for name in names))
)
PRICES = st.builds(Price, tiers=TIERS, variants=VARIANTS, **rates())


@given(PRICES, usages(), st.integers(0, 50_000), st.sampled_from(["", "default", "batch", "flex", "nonsuch"]))
def test_the_worst_case_is_never_less_than_what_a_call_of_that_size_costs(
    price: Price, usage: Usage, longer: int, tier: str
):
    answered = msgspec.structs.replace(usage, tier=tier)

    worst = price.worst_case(usage.input_tokens + longer, usage.output_tokens + longer, tier=tier)

    assert price.cost(answered) <= worst
    assert price.cost(usage) <= worst, "the provider may answer at its standard tier"


@given(PRICES, usages(), st.sampled_from(["", "auto", "default", "batch", "priority", "nonsuch"]))
def test_a_cost_is_that_of_the_tier_that_answered_and_of_an_unknown_one_the_dearest(
    price: Price, usage: Usage, tier: str
):
    usage = msgspec.structs.replace(usage, tier=tier)
    known = price.at_tier(tier)

    if known is not None:
        assert price.cost(usage) == known.cost(usage)
        assert known.variants == ()
    else:
        assert price.cost(usage) == max(
            at.cost(usage) for name in ("", "batch", "flex", "priority") if (at := price.at_tier(name)) is not None
        )
    assert price.of(usage).cost(usage) == price.cost(usage)
    assert price.of(usage).of(usage) == price.of(usage)


def test_of_parts_that_are_more_than_their_sum_nothing_is_given_back():
    price = Price(10_000_000, 10_000_000, cache_read=1_000_000)

    assert price.cost(Usage(input_tokens=5, cache_read_tokens=8, output_tokens=2, reasoning_tokens=3)) == 8 + 30


def test_a_price_with_tiers_reads_as_it_was_written():
    price = listed("anthropic/claude-sonnet-4-5")

    assert price.tiers == (
        Tier(6_000_000_000, 22_500_000_000, 600_000_000, 7_500_000_000, 12_000_000_000, above=200_000),
    )
    assert msgspec.json.decode(msgspec.json.encode(price), type=Price) == price


# --- What it takes ----------------------------------------------------------------------------------------------------


def test_the_list_is_imported_with_the_first_price_that_needs_it_and_no_socket_is_opened():
    program = """
import socket, sys
class NoSocket(socket.socket):
    def __init__(self, *a, **k): raise AssertionError("a socket was opened")
import headgate.app
from headgate.llm.prices import price_of
assert price_of("ollama", "x") is not None
assert "genai_prices" not in sys.modules
socket.socket = NoSocket
assert price_of("openai", "gpt-4o") is not None
assert "genai_prices" in sys.modules
"""

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr


def test_decimals_finer_than_a_nano_dollar_are_rounded_to_the_nearest():
    from headgate.llm.price_list import _rate

    assert _rate(Decimal("0.18000000000000002"), None) == 180_000_000
