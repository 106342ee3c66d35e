"""`headgate limit` at the command line: rates are set and taken out, and what is known of providers is shown."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from tests.cli.conftest import Verb

from headgate.cli import words
from headgate.ports import Swap
from headgate.stores.limits import SqliteLimits
from headgate.stores.sqlite import SqliteLog
from headgate.testing.clock import VirtualClock

FLOW = """
name: asks
activities:
  one: {use: llm_prompt, with: {model: demo/small, prompt: "Verb yes."}}
"""


@pytest.fixture(autouse=True)
def flows(tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text(FLOW)


def know(database: Path, cells: dict[str, str]) -> None:
    """Put cells into the file, as a process that owned it left them."""

    async def put() -> None:
        log = SqliteLog(database)
        store = SqliteLimits(log, VirtualClock())
        await store.swap([Swap(name, None, body) for name, body in cells.items()])
        await store.close()
        await log.close()

    asyncio.run(put())


def test_a_rate_is_set_shown_replaced_and_taken_out(headgate: Verb):
    said = headgate("limit", "set", "openai", "--requests", "60", "--tokens", "100000", "--money", "2.00")
    assert said[:2] == (0, "openai is held to 60 requests, 100,000 tokens, $2 a minute\n")

    code, out, _ = headgate("limit", "list")
    assert code == 0
    assert [line.split("  ")[0] for line in out.splitlines()] == ["rate"] * 3
    assert "60 requests a minute" in out
    assert "$2 a minute" in out
    assert "nothing used" in out

    headgate("limit", "set", "openai", "--requests", "5", "--per", "10s")
    _, out, _ = headgate("limit", "--json")
    assert json.loads(out)["limits"] == [
        {"scope": "openai", "requests": 5, "tokens": None, "money_usd": None, "seconds": 10}
    ]

    code, out, _ = headgate("limit", "rm", "openai")
    assert (code, out) == (0, "openai is no longer held to 5 requests in 10 s\n")
    assert json.loads(headgate("limit", "list", "--json")[1])["limits"] == []


def test_what_is_known_of_providers_is_shown(headgate: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    headgate("run", "flow.yaml")
    at = VirtualClock().now()
    know(
        tmp_path / ".headgate" / "headgate.db",
        {
            "circuit lab/m": json.dumps({"since": at, "failed": 5, "openings": 1, "until": at + 15_000_000}),
            "pause lab/n": json.dumps({"until": at + 30_000_000, "why": "429 from the provider"}),
            "wait run1 a call": json.dumps({"why": "a pause", "until": at, "since": at, "model": "lab/m"}),
        },
    )
    monkeypatch.setattr("headgate.cli.limit_verb.now", lambda: at)

    _, out, _ = headgate("limit")
    shown = json.loads(headgate("limit", "--json")[1])

    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "circuit lab/m open since 08:00:00 UTC next probe in 15 s" in lines
    assert "pause lab/n for another 30 s 429 from the provider" in lines
    assert [circuit["state"] for circuit in shown["circuits"]] == ["open"]
    assert [pause["model"] for pause in shown["pauses"]] == ["lab/n"]
    assert [(wait["run"], wait["place"], wait["why"]) for wait in shown["waits"]] == [("run1", "a", "a pause")]


def test_where_nothing_is_known_it_says_how_to_begin(headgate: Verb):
    headgate("run", "flow.yaml")

    code, out, err = headgate("limit")

    assert (code, out) == (0, "")
    assert "`headgate limit set openai --requests 60` sets one." in err


def test_show_says_what_a_call_waits_for_though_the_log_does_not(headgate: Verb, tmp_path: Path):
    headgate("run", "flow.yaml", "--detach")
    (run,) = json.loads(headgate("runs", "--json")[1])
    until = words.now() + 3_600_000_000
    wait = {"why": "the rate of demo: 60 requests a minute", "until": until, "since": 0, "model": "demo/small"}
    know(tmp_path / ".headgate" / "headgate.db", {f"wait {run['id']} one call": json.dumps(wait)})

    out = headgate("show", "-")[1]
    shown = json.loads(headgate("show", "-", "--json")[1])

    assert "waits     waits for the rate of demo: 60 requests a minute, " in out
    assert shown["activities"][0]["waiting_for"].startswith("waits for the rate of demo: 60 requests a minute, ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("set",), "takes a SCOPE"),
        (("rm",), "takes a SCOPE"),
        (("list", "openai"), "takes no SCOPE"),
        (("set", "openai"), "needs requests, tokens or money"),
        (("set", "openai/", "--requests", "1"), "expected a provider"),
        (("set", "openai", "--money", "much"), "expected --money to be dollars"),
        (("set", "openai", "--requests", "1", "--per", "1ms"), "expected --per to be whole seconds"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_to_say_instead(headgate: Verb, words: tuple[str, ...], said: str):
    headgate("run", "flow.yaml")

    code, _, err = headgate("limit", *words)

    assert code == 2
    assert said in err


def test_a_rate_that_was_not_set_cannot_be_taken_out(headgate: Verb):
    _, out, _ = headgate("limit", "set", "openai", "--requests", "1")
    assert out == "openai is held to 1 request a minute\n"

    code, _, err = headgate("limit", "rm", "anthropic")

    assert code != 0
    assert "There is no rate limit for 'anthropic'; there are: openai." in err
