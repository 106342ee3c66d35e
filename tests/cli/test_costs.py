"""`headgate costs`: every property, exact, live, demo prices apart; and `headgate rebuild`."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Verb

from headgate.cli import costs_verb
from headgate.stores.sqlite import SqliteLog
from headgate.testing.log_conformance import NOON, HandmadeRun

DAY = 86_400_000_000


async def fill(path: Path) -> None:
    """Two runs: one at real prices, one at demo prices; a reused result in the first."""
    log = SqliteLog(path)
    real, demo = HandmadeRun(log, "run-real"), HandmadeRun(log, "run-demo", workflow="show")
    for run in (real, demo):
        await run.commit()
    await real.commit(
        spend=[
            real.spent(1_000_000_001, labels='{"team":"ops"}'),
            real.spent(250_000_000, part=1, activity="ask", model="small", at=NOON + DAY),
            real.spent(
                0, part=2, kind="cached", saved=70_000_000, input_tokens=0, output_tokens=0, cache_read_tokens=0
            ),
        ],
        finished_at=NOON,
    )
    await demo.commit(spend=[demo.spent(3_000_000, simulated=True, provider="demo")], finished_at=NOON)
    await log.close()


@pytest.fixture
def say(headgate: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Verb:
    monkeypatch.setenv("HEADGATE_DB", "log.db")
    asyncio.run(fill(tmp_path / "log.db"))
    return headgate


def table(out: str) -> list[list[str]]:
    return [re.split(r"  +", line.strip()) for line in out.splitlines()]


def names(say: Verb, *words: str) -> dict[str, str]:
    code, out, _ = say("costs", *words, "--json")
    assert code == 0
    form = json.loads(out)
    return {row[form["by"]]: row["cost_usd"] for row in form["rows"]}


def test_everything_is_shown_by_workflow_and_demo_money_never_added_to_real_money(say: Verb):
    code, out, _ = say("costs")

    assert code == 0
    assert [[line[0], *line[6:]] for line in table(out)[1:]] == [
        ["letters", "$1.250000001", "$0.07"],
        ["show (demo prices)", "$0.003"],
        ["total", "$1.250000001", "$0.07"],
        ["total (demo prices)", "$0.003"],
    ]


def test_one_run_is_shown_by_activity_with_tokens_calls_and_what_was_saved(say: Verb):
    _, out, _ = say("costs", "run-real")

    assert table(out) == [
        ["calls", "tokens in", "from cache", "tokens out", "reasoning", "cost", "saved"],
        ["answer", "1 +1 reused", "100", "20", "50", "10", "$1.000000001", "$0.07"],
        ["ask", "1", "100", "20", "50", "5", "$0.25"],
        ["total", "2 +1 reused (33%)", "200", "40", "100", "15", "$1.250000001", "$0.07"],
    ]


def test_json_is_exact_to_the_nano_dollar(say: Verb):
    form = json.loads(say("costs", "--json")[1])

    assert form["total"]["cost_usd"] == "1.250000001"
    assert form["total"]["saved_usd"] == "0.07"
    assert (form["total"]["hit_rate"], form["demo_total"]["hit_rate"]) == (0.3333, 0.0)
    assert form["demo_total"]["cost_usd"] == "0.003"
    assert [row["simulated"] for row in form["rows"]] == [False, True]


@pytest.mark.parametrize(
    ("by", "found"),
    [
        ("activity", {"answer": "1.000000001", "ask": "0.25"}),
        ("run", {"run-real": "1.250000001"}),
        ("workflow", {"letters": "1.250000001"}),
        ("model", {"acme/large": "1.000000001", "acme/small": "0.25"}),
        ("provider", {"acme": "1.250000001"}),
        ("day", {"2026-01-01": "1.000000001", "2026-01-02": "0.25"}),
        ("label:team", {"ops": "1.000000001", "": "0.25"}),
        ("prompt", {"": "1.250000001"}),
        ("kind", {"call": "1.250000001", "cached": "0"}),
    ],
)
def test_costs_are_told_by_every_property(say: Verb, by: str, found: dict[str, str]):
    assert names(say, "run-real", "--by", by) == found


def test_only_what_is_asked_for_is_added_up(say: Verb):
    assert names(say, "--workflow", "show") == {"show": "0.003"}
    assert names(say, "--label", "team=ops") == {"letters": "1.000000001"}
    assert names(say, "--since", "2026-01-02") == {"letters": "0.25"}
    assert names(say, "--workflow", "letters", "--until", "2026-01-02") == {"letters": "1.000000001"}
    assert names(say, "run-real", "run-demo") == {"run-real": "1.250000001", "run-demo": "0.003"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--by", "colour"), "--by: expected one of activity"),
        (("--by", "label:"), "--by: expected"),
        (("--since", "soon"), "--since: expected a day"),
        (("--label", "team"), "--label: expected NAME=VALUE"),
        (("--live",), "--live follows runs"),
        (("nobody",), "nobody"),
    ],
)
def test_what_cannot_be_answered_is_said(say: Verb, words: tuple[str, ...], says: str):
    code, _, err = say("costs", *words)

    assert code != 0
    assert says in err


def test_nothing_spent_is_said_so(say: Verb):
    code, out, err = say("costs", "--workflow", "nobody")

    assert (code, out) == (0, "")
    assert "Nothing was spent." in err


def test_live_prints_a_line_for_each_change_while_another_connection_writes_and_ends_with_the_run(
    say: Verb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    writer = SqliteLog(tmp_path / "log.db")
    run = HandmadeRun(writer, "run-live")
    asyncio.run(run.commit())
    steps: list[dict[str, Any]] = [
        {"spend": [run.spent(5_000_000)]},
        {},
        {"spend": [run.spent(6_000_000, version=4)]},
        {"finished_at": NOON},
    ]

    async def meanwhile(_: float) -> None:
        await run.commit(**steps.pop(0))

    monkeypatch.setattr(costs_verb, "sleep", meanwhile)

    code, out, err = say("costs", "run-live", "--live")

    asyncio.run(writer.close())
    told = [line.partition("  ")[2] for line in err.splitlines()[1:]]
    assert (code, steps) == (0, [])
    assert told == ["nothing was spent yet", "$0.005 in 1 call", "$0.011 in 2 calls"]
    assert table(out)[-1][-1] == "$0.011"


def test_rebuild_says_what_it_made_and_leaves_rows_of_no_run(say: Verb, tmp_path: Path):
    (tmp_path / "flow.yaml").write_text(
        "name: flow\nactivities: {ask: {use: llm_prompt, with: {model: demo/small, prompt: 'Summarise: it rains.'}}}\n"
    )
    (tmp_path / "flow").mkdir()
    assert say("run", "flow.yaml", "-q", "--db", "flow/log.db")[0] == 0
    before = say("costs", "--db", "flow/log.db", "--json")[1]

    code, out, _ = say("rebuild", "--db", "flow/log.db")

    assert (code, out) == (0, "Made 1 spend row again.\n")
    assert say("costs", "--db", "flow/log.db", "--json")[1] == before
    assert json.loads(before)["demo_total"]["calls"] == 1


def test_rare_buckets_and_estimates_are_shown_where_there_are_any(say: Verb, tmp_path: Path):
    async def add() -> None:
        log = SqliteLog(tmp_path / "log.db")
        run = HandmadeRun(log, "run-rare", workflow="rare")
        await run.commit()
        buckets = {"cache_write_tokens": 3, "cache_write_1h_tokens": 4, "audio_output_tokens": 6}
        await run.commit(spend=[run.spent(1, estimated=True, reasoning_tokens=0, tier="flex", **buckets)])
        await log.close()

    _, plain, _ = say("costs")
    asyncio.run(add())
    _, rare, _ = say("costs", "--workflow", "rare")
    _, whole, _ = say("costs", "--by", "tier", "--json")

    assert table(plain)[0] == ["calls", "tokens in", "from cache", "tokens out", "reasoning", "cost", "saved"]
    assert table(rare)[:2] == [
        ["calls", "tokens in", "from cache", "tokens out", "to cache", "audio out", "cost", "saved"],
        ["rare", "1 (1 estimated)", "100", "20", "50", "7", "6", "$0.000000001"],
    ]
    flex = next(row for row in json.loads(whole)["rows"] if row["tier"] == "flex")
    assert (flex["cache_write_1h_tokens"], flex["audio_output_tokens"], flex["estimated"]) == (4, 6, 1)
