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

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.errors import Invalid, Unavailable
from headgate.core.values import Price, Tier, Usage
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

    charges = {"requests_kcount", "output_reasoning_mtok"}
    odd = [
        (provider.id, model.id)
        for provider in genai_prices.data.providers
        for model in provider.models
        if not isinstance(model.prices, list) and charges & vars(model.prices).keys()
    ]

    assert odd
    prices = [found.price(JUNE) for provider, model in odd if (found := PriceList().find(provider, model))]
    assert prices
    assert set(prices) == {None}


@given(st.integers(0, 400_000), st.integers(0, 10_000), st.integers(0, 100), st.integers(0, 100))
def test_what_a_call_costs_agrees_with_the_data_sets_own_reckoning(tokens: int, said: int, read: int, written: int):
    from genai_prices import Usage as TheirUsage
    from genai_prices import calc_price

    read, written = tokens * read // 200, tokens * written // 200
    for provider, model in (("anthropic", "claude-sonnet-4-5"), ("google", "gemini-2.5-pro"), ("openai", "gpt-4o")):
        usage = Usage(input_tokens=tokens, output_tokens=said, cache_read_tokens=read, cache_write_tokens=written)
        theirs = calc_price(
            TheirUsage(input_tokens=tokens, output_tokens=said, cache_read_tokens=read, cache_write_tokens=written),
            model,
            provider_id=provider,
            genai_request_timestamp=datetime.datetime(2026, 6, 15, tzinfo=datetime.UTC),
        ).total_price

        ours = listed(f"{provider}/{model}").cost(usage)

        assert 0 <= ours - theirs * 10**9 < 1, f"{model}: {ours} is not {theirs} rounded up"


def test_every_price_of_the_list_can_be_told_or_is_unpriced():
    found = list(PriceList().all())

    assert len(found) > 2_000
    priced = [price for one in found if (price := one.price(JUNE)) is not None]
    assert len(priced) > 0.85 * len(found)
    assert all(price.input >= 0 and price.output >= 0 and ":" in price.id for price in priced)


def test_a_list_from_a_file_takes_the_place_of_ours(tmp_path: Path):
    (tmp_path / "price-list.json").write_text(json.dumps([
        {"id": "acme", "name": "Acme", "api_pattern": "x", "models": [
            {"id": "m", "match": {"starts_with": "m-"}, "prices": {"input_mtok": 0.1, "output_mtok": 0.3}},
        ]},
    ]))  # fmt: skip

    book = open_prices({}, tmp_path)

    price = price_of("acme", "m-7", book)
    assert price is not None
    assert (price.input, price.output) == (100_000_000, 300_000_000)
    assert price.id.startswith("price-list-")
    assert price_of("openai", "gpt-4o", book) is None


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


@given(st.integers(0, 1_000), st.integers(0, 1_000), st.integers(0, 1_000), st.integers(0, 3), st.integers(0, 3))
def test_the_worst_case_is_never_less_than_what_a_smaller_call_costs(
    most: int, tokens: int, said: int, read: int, written: int
):
    price = Price(
        3_000_000, 5_000_000, 700_000, 4_000_000,
        tiers=(Tier(above=100, input=9_000_000, output=1_000_000), Tier(above=500, input=2_000_000, output=6_000_000)),
    )  # fmt: skip
    tokens = min(tokens, most)
    read, written = tokens * read // 6, tokens * written // 6

    usage = Usage(input_tokens=tokens, output_tokens=said, cache_read_tokens=read, cache_write_tokens=written)

    assert price.cost(usage) <= price.worst_case(most, said)


def test_a_price_with_tiers_reads_as_it_was_written():
    price = listed("anthropic/claude-sonnet-4-5")

    assert price.tiers == (Tier(200_000, 6_000_000_000, 22_500_000_000, 600_000_000, 7_500_000_000),)
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
    from headgate.llm.price_list import _rate  # pyright: ignore[reportPrivateUsage]

    assert _rate(Decimal("0.18000000000000002"), None) == 180_000_000
