"""Prices that were set: in a file, by the environment, while a process runs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from tests.llm.price_books import JUNE, listed

from headgate.core.errors import Invalid, Unavailable
from headgate.core.values import Price, Tier, Variant
from headgate.llm.price_overrides import read_prices, read_time, write_prices
from headgate.llm.prices import FREE, PriceBook, open_prices, price_of

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
