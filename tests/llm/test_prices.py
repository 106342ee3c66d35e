"""Prices: those that were set win, then the vendors' lists; dated, tiered, exact, and never fetched."""

from __future__ import annotations

import datetime
import json
import logging
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

from headgate.core.errors import Invalid, Unavailable
from headgate.core.values import Price, Rates, Tier, Usage, Variant
from headgate.llm.price_list import PriceList
from headgate.llm.price_overrides import read_prices, read_time, write_prices
from headgate.llm.prices import FREE, PriceBook, open_prices, price_of

LIST = f"genai-prices-{metadata.version('genai-prices')}"
JUNE = read_time("2026-06-15", "a test")
OWN = """
openai/gpt-4o: {input: 3, output: 15.000000001, cache_read: 0.30}
acme/large:
  - {input: 2, output: 12, valid_from: 2026-06-01}
  - {input: 3, output: 15}
acme/long:
  input: 3
  output: 15
  cache_write_1h: 6
  audio_input: 40
  request: 0.005
  above: {200000: {input: 6, output: 22.5}}
  tiers:
    batch: {input: 1.5, output: 7.5}
    flex-2: {output: 8, above: {100: {output: 9}}}
"""


def book_of(folder: Path, text: str = OWN, *, name: str = "prices.yaml", at: int = JUNE) -> PriceBook:
    (folder / name).write_text(text)
    return PriceBook(folder / name, now=lambda: at)


def listed(name: str, at: str = "2026-06-15") -> Price:
    provider, _, model = name.partition("/")
    found = PriceList().find(provider, model)
    assert found is not None
    price = found.price(read_time(at, "a test"))
    assert price is not None
    return price


# --- Lists --------------------------------------------------------------------------------------------------------


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


# --- Tiers --------------------------------------------------------------------------------------------------------


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


# --- Prices that were set -----------------------------------------------------------------------------------------


def test_what_was_set_wins_also_for_dated_names_and_is_exact(tmp_path: Path):
    book = book_of(tmp_path)

    for model in ("gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-latest"):
        assert price_of("openai", model, book) == Price(
            3_000_000_000, 15_000_000_001, 300_000_000, id="set:openai/gpt-4o"
        )
    assert price_of("openai", "gpt-4o-2024-05-13", book) == listed("openai/gpt-4o-2024-05-13")
    assert price_of("openai", "gpt-4o-mini", book) == listed("openai/gpt-4o-mini")


def test_of_several_prices_the_one_of_the_time_holds(tmp_path: Path):
    before = book_of(tmp_path, at=read_time("2026-05-31T23:59:59", "a test"))
    from_then = book_of(tmp_path, at=read_time("2026-06-01", "a test"))

    early, late = price_of("acme", "large", before), price_of("acme", "large-2026-06-02", from_then)

    assert early is not None
    assert late is not None
    assert (early.input, early.id) == (3_000_000_000, "set:acme/large")
    assert (late.input, late.id) == (2_000_000_000, "set:acme/large@2026-06-01")


def test_a_price_that_does_not_hold_yet_leaves_the_list_its_word(tmp_path: Path):
    book = book_of(tmp_path, "openai/gpt-4o: {input: 9, output: 9, valid_from: 2027-01-01}")

    assert price_of("openai", "gpt-4o", book) == listed("openai/gpt-4o")


def test_long_calls_fees_and_service_tiers_can_be_set_and_inherit_what_they_do_not_name(tmp_path: Path):
    price = price_of("acme", "long", book_of(tmp_path))

    dear: dict[str, Any] = {"cache_write_1h": 6_000_000_000, "audio_input": 40_000_000_000, "request": 5_000_000}
    long = Tier(6_000_000_000, 22_500_000_000, above=200_000, **dear)
    assert price == Price(
        3_000_000_000,
        15_000_000_000,
        **dear,
        id="set:acme/long",
        tiers=(long,),
        variants=(
            Variant(1_500_000_000, 7_500_000_000, **dear, name="batch", tiers=(long,)),
            Variant(
                3_000_000_000,
                8_000_000_000,
                **dear,
                name="flex-2",
                tiers=(Tier(3_000_000_000, 9_000_000_000, **dear, above=100),),
            ),
        ),
    )
    assert price is not None
    assert price.at_tier("batch") == Price(
        1_500_000_000, 7_500_000_000, **dear, id="set:acme/long#batch", tiers=(long,)
    )
    assert price.at_tier("priority") is None


def test_ollama_is_free_unless_a_price_was_set(tmp_path: Path):
    assert price_of("ollama", "llama3") is FREE
    assert not FREE.simulated
    book = book_of(tmp_path, "ollama/llama3: {input: 0.1}")
    price = price_of("ollama", "llama3", book)
    assert price is not None
    assert price.input == 100_000_000
    assert price_of("ollama", "other", book) is FREE


def test_a_plain_map_of_prices_serves_as_well():
    assert price_of("lab", "m", {"lab/m": Price(7)}) == Price(7)


def test_json_is_read_as_exactly_as_yaml(tmp_path: Path):
    book = book_of(tmp_path, '{"acme/m": {"input": 0.1, "output": 2.000000001}}', name="prices.json")

    price = price_of("acme", "m", book)

    assert price is not None
    assert (price.input, price.output) == (100_000_000, 2_000_000_001)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1]", "expected a map"),
        ("gpt-4o: {input: 1}", "expected a model like"),
        ("demo/small: {input: 1}", "notional"),
        ("scripted/m: {input: 1}", "in the script"),
        ("a/b: 3", "expected a/b to be like"),
        ("a/b: {output: 1}", "no price of its input"),
        ("a/b: {input: 1, ouput: 2}", "ouput"),
        ("a/b: {input: 1, above: 7}", "a/b.above: expected"),
        ("a/b: {input: 1, above: {long: {input: 2}}}", "expected numbers of tokens"),
        ("a/b: {input: 1, above: {7: {tiers: {}}}}", "a/b.above.7 has tiers"),
        ("a/b: {input: 1, tiers: {batch: 3}}", "a/b.tiers.batch: expected"),
        ("a/b: {input: 1, tiers: {batch: {valid_from: 2026-01-01}}}", "has valid_from"),
        ("a/b: {input: 1, tiers: {default: {input: 1}}}", "the standard tier"),
        ("a/b: {input: 1, above: {" + ", ".join(f"{n}: {{}}" for n in range(21)) + "}}", "at most 20"),
        ("a/b: {input: cheap}", "a/b.input: expected US dollars"),
        ("a/b: {input: -1}", "from 0 to"),
        ("a/b: {input: nan}", "expected US dollars"),
        ("a/b: {input: 2500000000}", "from 0 to 1000000"),
        ("a/b: {input: 0.0000000001}", "at most 9 decimals"),
        ("a/b: {input: 1, valid_from: soon}", "expected a day like"),
        ("a/b: [{input: 1}, {input: 2}]", "one price for each valid_from"),
        ("a/b: []", "at least one"),
        ("a/b: {input: [", "is not YAML"),
    ],
)
def test_what_is_no_price_is_refused_with_its_place(text: str, says: str, tmp_path: Path):
    with pytest.raises(Invalid, match=says) as caught:
        book_of(tmp_path, text)

    assert str(tmp_path / "prices.yaml") in caught.value.message


def test_what_is_set_while_a_process_runs_counts_from_the_next_call_on(tmp_path: Path):
    book = open_prices({}, tmp_path)
    assert price_of("acme", "large", book) is None

    (tmp_path / "prices.yaml").write_text("acme/large: {input: 3, output: 15}")

    price = price_of("acme", "large", book)
    assert price is not None
    assert price.output == 15_000_000_000
    (tmp_path / "prices.yaml").unlink()
    assert price_of("acme", "large", book) is None


def test_a_file_that_is_spoilt_meanwhile_is_reported_once_and_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    book = book_of(tmp_path)
    before = price_of("acme", "large", book)
    (tmp_path / "prices.yaml").write_text("acme/large: {input: oh dear}")

    with caplog.at_level(logging.ERROR):
        assert price_of("acme", "large", book) == before
        assert price_of("acme", "large", book) == before

    assert len(caplog.records) == 1
    assert "oh dear" in caplog.text


def test_the_environment_names_the_file_and_it_must_be_there(tmp_path: Path):
    named = tmp_path / "mine.yaml"
    with pytest.raises(Invalid, match="HEADGATE_PRICES"):
        open_prices({"HEADGATE_PRICES": str(named)}, tmp_path)

    named.write_text("acme/m: {input: 1}")

    assert price_of("acme", "m", open_prices({"HEADGATE_PRICES": str(named)}, tmp_path)) is not None


@pytest.mark.parametrize("name", ["prices.yaml", "prices.json"])
def test_what_is_written_reads_the_same(name: str, tmp_path: Path):
    entries = book_of(tmp_path).set_prices()

    write_prices(tmp_path / name, entries)

    assert read_prices(tmp_path / name) == entries


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path):
    (tmp_path / "file").write_text("")

    with pytest.raises(Unavailable, match="Nothing was changed"):
        write_prices(tmp_path / "file" / "prices.yaml", {})


# --- What it takes ------------------------------------------------------------------------------------------------


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
