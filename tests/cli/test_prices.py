"""`headgate prices`: what is shown, what is set, and that nothing is fetched."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Verb


@pytest.fixture
def say(headgate: Verb, monkeypatch: pytest.MonkeyPatch) -> Verb:
    """Return what says a verb in an empty folder. No socket can be opened."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return headgate


def priced(say: Verb, name: str) -> dict[str, Any] | None:
    code, out, _ = say("prices", "search", name, "--json")
    assert code == 0
    found = {one["model"]: one["price"] for one in json.loads(out)}
    return found[name]


def test_the_list_names_models_prices_and_where_they_are_from(say: Verb):
    code, out, _ = say("prices", "list", "--provider", "openai")

    line = next(line for line in out.splitlines() if line.startswith("openai/gpt-4o "))
    assert code == 0
    assert line.split()[1:4] == ["$2.50", "$10", "$1.25"]
    assert "genai-prices-" in line
    assert all(line.startswith("openai/") for line in out.splitlines()[1:])


def test_a_long_call_and_a_missing_price_are_shown_as_such(say: Verb):
    _, out, _ = say("prices", "search", "claude-sonnet-4-5")
    _, none, _ = say("prices", "search", "openai/whisper-1")

    assert "above 200,000 tokens $6 and $22.50" in out
    assert "unpriced" in none


def test_in_json_prices_are_exact_decimals(say: Verb):
    price = priced(say, "anthropic/claude-sonnet-4-5")

    assert price is not None
    assert price["cache_read_usd_per_million"] == "0.3"
    assert price["tiers"][0]["above"] == 200_000
    assert price["tiers"][0]["output_usd_per_million"] == "22.5"


def test_what_is_set_is_shown_and_holds_for_dated_names(say: Verb):
    code, out, _ = say("prices", "set", "openai/gpt-4o", "--input", "3", "--output", "15", "--cache-read", "0.3")

    assert code == 0
    assert "openai/gpt-4o costs $3 in and $15 out, $0.30 read from the cache per million tokens" in out
    price = priced(say, "openai/gpt-4o-2024-08-06")
    assert price is not None
    assert (price["id"], price["input_usd_per_million"]) == ("set:openai/gpt-4o", "3")


def test_prices_of_several_times_stay_beside_each_other_and_one_of_the_same_time_is_replaced(say: Verb):
    say("prices", "set", "acme/m", "--input", "3", "--output", "15")
    say("prices", "set", "acme/m", "--input", "2", "--output", "12", "--from", "2026-06-01")
    say("prices", "set", "acme/m", "--input", "4", "--output", "15")

    text = (Path(".headgate") / "prices.yaml").read_text()

    assert text.endswith('"acme/m":\n  - {input: 4, output: 15}\n  - {input: 2, output: 12, valid_from: 2026-06-01}\n')
    assert (Path(".headgate") / ".gitignore").exists()


def test_the_file_that_the_environment_names_is_written(say: Verb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    named = tmp_path / "mine.json"
    named.write_text('{"acme/old": {"input": 1}}')
    monkeypatch.setenv("HEADGATE_PRICES", str(named))

    code, _, _ = say("prices", "set", "acme/new", "--input", "0.000000001", "--output", "0")

    assert code == 0
    assert json.loads(named.read_text()) == {
        "acme/new": [{"input": "0.000000001", "output": "0"}],
        "acme/old": [{"input": "1", "output": "0"}],
    }
    assert not Path(".headgate").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("set", "gpt-4o", "--input", "1", "--output", "1"), "expected a model like"),
        (("set", "demo/small", "--input", "1", "--output", "1"), "notional"),
        (("set", "a/b", "--input", "x", "--output", "1"), "--input: expected US dollars"),
        (("set", "a/b", "--input", "1", "--output", "1", "--cache-write", "-1"), "--cache-write: expected US dollars"),
        (("set", "a/b", "--input", "1", "--output", "1", "--from", "soon"), "expected a day"),
        (("list", "--provider", "nobody"), "nobody"),
        (("search", "no-such-model"), "no-such-model"),
        (("update", "--from", "nowhere.yaml"), "nowhere.yaml"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_written(say: Verb, words: tuple[str, ...], says: str):
    code, _, err = say("prices", *words)

    assert code != 0
    assert says in err
    assert not (Path(".headgate") / "prices.yaml").exists()


def test_an_update_of_our_form_is_added_to_what_was_set(say: Verb):
    say("prices", "set", "acme/old", "--input", "1", "--output", "1")
    Path("new.yaml").write_text("acme/new: {input: 2, output: 2}\n")

    code, out, _ = say("prices", "update", "--from", "new.yaml")

    assert (code, out) == (0, "Set the prices of 1 model.\n")
    assert priced(say, "acme/old") is not None
    assert priced(say, "acme/new") is not None


def test_an_update_with_a_list_takes_its_place(say: Verb):
    models = [{"id": "m", "match": {"equals": "m"}, "prices": {"input_mtok": 0.1, "output_mtok": 0.3}}]
    Path("list.json").write_text(json.dumps([{"id": "acme", "name": "A", "api_pattern": "x", "models": models}]))

    code, out, _ = say("prices", "update", "--from", "list.json")

    assert code == 0
    assert "1 model now" in out
    price = priced(say, "acme/m")
    assert price is not None
    assert price["input_usd_per_million"] == "0.1"
    assert say("prices", "list", "--provider", "openai")[0] != 0


def test_every_rate_can_be_set_and_is_shown_by_name(say: Verb):
    rates = {
        "cache-read": "0.1",
        "cache-write": "1.25",
        "cache-write-1h": "2",
        "cache-read-audio": "0.4",
        "audio-input": "32",
        "audio-output": "64",
        "reasoning": "3",
        "request": "0.012",
    }
    options = [word for name, amount in rates.items() for word in (f"--{name}", amount)]

    code, out, _ = say("prices", "set", "acme/all", "--input", "1", "--output", "4", *options)
    shown = priced(say, "acme/all")

    assert code == 0
    assert "audio out $64" in out
    assert "each call $0.012" in out
    assert shown is not None
    for name, amount in rates.items():
        key = f"{name.replace('-', '_')}_usd"
        assert shown[key if name == "request" else f"{key}_per_million"] == amount


def test_other_service_tiers_are_shown_beside_the_standard_one(say: Verb):
    _, out, _ = say("prices", "search", "openai/gpt-5")
    price = priced(say, "openai/gpt-5")

    line = next(line for line in out.splitlines() if line.startswith("openai/gpt-5 "))
    assert "flex $0.625 and $5" in line or "flex $0.63 and $5" in line
    assert price is not None
    assert price["service_tiers"]["flex"]["input_usd_per_million"] == "0.625"
    assert price["service_tiers"]["priority"]["output_usd_per_million"] == "20"
