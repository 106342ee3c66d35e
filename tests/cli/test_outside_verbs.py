"""`headgate webhooks`, `headgate hooks` and `headgate schedule backfill` at the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Verb
from tests.receiver import Receiver

FLOW = "name: flow\nactivities: {a: {use: echo, with: {n: 1}}}"


@pytest.fixture(autouse=True)
def flows(tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text(FLOW)


def test_a_webhooks_password_is_not_printed(headgate: Verb):
    made = json.loads(headgate("webhooks", "add", "https://ann:hush@example.org/news", "--json")[1])

    asked = [("list",), ("list", "--json"), ("disable", made["id"]), ("remove", made["id"], "--json")]
    printed = [made["url"], *(headgate("webhooks", *words)[1] for words in asked)]

    assert all("https://ann:***@example.org/news" in text for text in printed)
    assert not any("hush" in text for text in printed)


def test_webhooks_are_listed_without_the_key_too_and_no_key_is_made(headgate: Verb, tmp_path: Path):
    headgate("webhooks", "add", "https://example.org/news")
    key = tmp_path / ".headgate" / "key"
    key.unlink()

    code, out, _ = headgate("webhooks", "list", "--json")

    assert (code, [one["url"] for one in json.loads(out)]) == (0, ["***"])
    assert not key.exists()


def test_a_webhook_is_added_tested_told_and_removed(headgate: Verb):
    with Receiver() as receiver:
        code, out, _ = headgate(
            "webhooks", "add", receiver.url, "--event", "run_completed", "--label", "team=blue", "--json"
        )
        made = json.loads(out)
        assert (code, made["events"], made["labels"]) == (0, ["run_completed"], {"team": "blue"})
        assert made["secret"].startswith("whsec_")

        assert headgate("webhooks", "test", made["id"])[:2] == (0, "It arrived, and was answered with 204.\n")
        receiver.answers.append(500)
        code, _, err = headgate("webhooks", "test", made["id"])
        assert (code, "it answered 500" in err) == (1, True)

        assert headgate("run", "flow.yaml", "--label", "team=blue")[0] == 0
        assert headgate("run", "flow.yaml")[0] == 0
        assert [one.json["type"] for one in receiver.got] == ["webhook_test", "webhook_test", "run_completed"]

        headgate("webhooks", "disable", made["id"])
        code, out, _ = headgate("webhooks", "list")
        assert made["secret"] not in out
        assert out.split()[-1] == "disabled"
        assert headgate("webhooks", "enable", made["id"])[0] == 0
        assert headgate("webhooks", "remove", made["id"])[0] == 0
        assert json.loads(headgate("webhooks", "--json")[1]) == []
        assert headgate("webhooks", "remove", made["id"])[0] == 2


def test_a_hook_is_added_listed_and_removed(headgate: Verb, monkeypatch: pytest.MonkeyPatch):
    assert headgate("run", "flow.yaml")[0] == 0
    monkeypatch.setenv("GITHUB_SECRET", "sixteen characters at least")

    code, out, _ = headgate(
        "hooks",
        "add",
        "gh",
        "--start",
        "flow",
        "--scheme",
        "github",
        "--secret-from",
        "GITHUB_SECRET",
        "--filter",
        "BODY.action == 'opened'",
        "--input-json",
        '{"n": "{{ BODY.number }}"}',
        "--json",
    )
    made = json.loads(out)

    assert (code, made["secret"], made["path"]) == (0, "sixteen characters at least", "/api/v1/hooks/gh")
    assert made["input"] == {"n": "{{ BODY.number }}"}
    code, out, _ = headgate("hooks")
    assert (code, out.split()) == (0, ["gh", "/api/v1/hooks/gh", "github", "starts", "flow"])
    assert headgate("hooks", "add", "gh", "--start", "flow")[0] == 2
    assert headgate("hooks", "remove", "gh")[:2] == (0, "hook gh removed\n")
    assert json.loads(headgate("hooks", "--json")[1]) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("webhooks", "add"),
        ("webhooks", "add", "ftp://x"),
        ("hooks", "add", "x"),
        ("hooks", "add", "x", "--start", "flow", "--secret-from", "NOT_THERE"),
        ("hooks", "remove"),
        ("schedule", "backfill", "beat"),
        ("schedule", "backfill", "beat", "--from", "yesterday"),
    ],
)
def test_what_cannot_be_is_refused_with_2(arguments: tuple[str, ...], headgate: Verb):
    headgate("schedule", "add", "beat", "flow.yaml", "--every", "1h")

    code, _, err = headgate(*arguments)

    assert code == 2
    assert err


def test_a_backfill_says_how_many_times_have_their_runs(headgate: Verb):
    headgate("schedule", "add", "beat", "flow.yaml", "--cron", "0 * * * *", "--misfire", "skip")
    window = ("--from", "2026-01-31T00:00Z", "--until", "2026-01-31T03:00+00:00")

    for _ in range(2):
        said = headgate("schedule", "backfill", "beat", *window)
        assert said[:2] == (0, "schedule beat: 3 times have their runs\n")

    assert len(json.loads(headgate("runs", "--json")[1])) == 3
