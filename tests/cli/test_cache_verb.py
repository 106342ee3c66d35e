"""`headgate cache` at the command line: what it shows of the results that are kept, and how they are taken out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Verb

from headgate.stores.ownership import Ownership

FLOW = """
name: greets
activities:
  hello: {use: echo, with: {to: "{{INPUT.who}}"}, cache: {ttl: 1h}}
  bye: {use: echo, with: {to: "{{INPUT.who}}", bye: true}, cache: true, after: hello}
outputs: {to: "{{hello.to}}"}
"""

ASKS = """
name: asks
activities:
  ask: {use: llm_prompt, with: {model: demo/small, prompt: "Summarise: It rained. It was cold."}, cache: true}
"""


@pytest.fixture(autouse=True)
def flows(tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text(FLOW)
    (tmp_path / "asks.yaml").write_text(ASKS)


def listed(headgate: Verb, *options: str) -> list[dict[str, Any]]:
    code, out, _ = headgate("cache", "list", "--json", *options)
    assert code == 0
    return json.loads(out)


def test_a_second_run_is_answered_from_the_cache_and_show_says_so(headgate: Verb):
    headgate("run", "flow.yaml", "--input", "who=Ann")
    headgate("run", "flow.yaml", "--input", "who=Ann")

    _, out, _ = headgate("show", "-")

    assert out.count("(cached)") == 2


def test_without_the_cache_nothing_is_reused(headgate: Verb):
    headgate("run", "flow.yaml", "--input", "who=Ann")
    headgate("run", "flow.yaml", "--input", "who=Ann", "--no-cache")

    _, out, _ = headgate("show", "-")

    assert "(cached)" not in out


def test_the_results_are_listed_with_what_they_are_and_how_often_they_were_used(headgate: Verb):
    headgate("run", "flow.yaml", "--input", "who=Ann")
    headgate("run", "flow.yaml", "--input", "who=Ann")

    entries = listed(headgate, "--activity", "hello")
    _, text, _ = headgate("cache")

    assert [(entry["workflow"], entry["activity"], entry["hits"]) for entry in entries] == [("greets", "hello", 1)]
    assert entries[0]["cost_usd"] == "0"
    assert len(entries[0]["key"]) == 64
    assert [line.split()[1] for line in text.splitlines()] == ["greets/bye", "greets/hello"]
    assert entries[0]["key"][:12] in text


def test_answers_of_models_are_listed_with_the_model_and_taken_out_like_results(headgate: Verb):
    headgate("run", "flow.yaml", "--input", "who=Ann")
    headgate("run", "asks.yaml")
    headgate("run", "asks.yaml")

    kinds = {entry["activity"]: (entry["kind"], entry["model"], entry["hits"]) for entry in listed(headgate)}
    _, text, _ = headgate("cache", "list", "--activity", "ask")
    code, out, _ = headgate("costs", "-", "--by", "kind", "--json")
    headgate("cache", "clear", "--activity", "ask")

    assert kinds == {"hello": ("result", "", 0), "bye": ("result", "", 0), "ask": ("call", "demo/small", 1)}
    assert text.rstrip().endswith("from demo/small")
    (row,) = json.loads(out)["rows"]
    assert (code, row["kind"], row["hits"], row["hit_rate"]) == (0, "cached", 1, 1.0)
    assert float(row["saved_usd"]) > 0
    assert {entry["activity"] for entry in listed(headgate)} == {"hello", "bye"}


def test_the_sums_say_what_is_kept_of_each_activity(headgate: Verb):
    for who in ("Ann", "Bob", "Ann"):
        headgate("run", "flow.yaml", "--input", f"who={who}")

    _, out, _ = headgate("cache", "stats", "--json")

    assert [(row["activity"], row["results"], row["hits"]) for row in json.loads(out)] == [
        ("bye", 2, 1),
        ("hello", 2, 1),
    ]
    assert "2 uses of what is kept now" in headgate("cache", "stats")[2]


def test_a_result_is_forgotten_by_the_beginning_of_its_key_and_made_anew(headgate: Verb):
    headgate("run", "flow.yaml", "--input", "who=Ann")
    key = listed(headgate, "--activity", "hello")[0]["key"]

    code, _, said = headgate("cache", "forget", key[:10])

    assert (code, "Took out 1 result." in said) == (0, True)
    assert [entry["activity"] for entry in listed(headgate)] == ["bye"]


def test_results_are_cleared_by_activity_workflow_and_age(headgate: Verb):
    headgate("run", "flow.yaml", "--input", "who=Ann")

    assert "Took out 0 results." in headgate("cache", "clear", "--workflow", "other")[2]
    assert "Took out 0 results." in headgate("cache", "clear", "--older", "1h")[2]
    assert "Took out 1 result." in headgate("cache", "clear", "--activity", "hello")[2]
    assert json.loads(headgate("cache", "clear", "--json")[1]) == {"forgotten": 1}
    assert listed(headgate) == []


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("cache", "forget"), 2, "needs a KEY"),
        (("cache", "clear", "abc"), 2, "takes no KEY"),
        (("cache", "list", "--older", "1h"), 2, "--older is for `headgate cache clear`"),
        (("cache", "clear", "--older", "soon"), 2, "expected a duration"),
        (("cache", "forget", "xyz"), 2, "hexadecimal"),
        (("cache", "forget", "ffffffffff"), 2, "no result whose key begins with"),
    ],
)
def test_a_wrong_call_is_explained(headgate: Verb, arguments: tuple[str, ...], code: int, says: str):
    headgate("run", "flow.yaml", "--input", "who=Ann")

    ended, _, said = headgate(*arguments)

    assert says in said
    assert ended == code


def test_while_another_process_works_on_the_file_nothing_is_taken_out(headgate: Verb):
    headgate("run", "flow.yaml", "--input", "who=Ann")

    with Ownership.take(Path(".headgate", "headgate.db")):
        code, _, said = headgate("cache", "clear")

    assert code != 0
    assert "Results can be taken out when it has ended." in said
    assert len(listed(headgate)) == 2


def test_without_a_database_none_is_made(headgate: Verb):
    code, _, said = headgate("cache")

    assert code != 0
    assert "There is no database" in said
    assert not Path(".headgate").exists()
