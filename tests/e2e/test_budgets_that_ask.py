"""A budget that asks, from the command line: waiting for a person outlives processes, and one call is made."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

SECONDS_MAX = 30
FLOW = """
name: dear
budget: {limit: 0.000001, action: ask}
activities:
  a: {use: llm_prompt, with: {model: scripted/m, prompt: hello, max_tokens: 20}}
outputs: {said: "{{ a.content }}"}
"""
MODELS = "models: {a: [{text: one}]}\nprices: {m: {input: 1, output: 1000}}"


class Folder:
    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "dear.yaml").write_text(FLOW)
        (path / "models.yaml").write_text(MODELS)
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
        self.environment = kept | {"PYTHONUTF8": "1"}

    def begin(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "headgate", *words],
            cwd=self.path,
            env=self.environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def headgate(self, *words: str) -> tuple[int, str, str]:
        process = self.begin(*words)
        out, err = process.communicate(timeout=SECONDS_MAX)
        assert "Traceback" not in err, err
        return process.returncode, out, err

    def json(self, *words: str) -> Any:
        code, out, err = self.headgate(*words, "--json")
        assert out, f"{words}: {code}, {err}"
        return json.loads(out)

    def events(self) -> list[str]:
        _, out, _ = self.headgate("events", "-", "--json")
        return [json.loads(line)["type"] for line in out.splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def follow_until(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    seen: list[str] = []
    for line in process.stderr:
        seen.append(line)
        if text in line:
            return
    pytest.fail(f"{text!r} never came; what came: {seen}")


def test_asked_and_left_the_run_waits_and_a_raised_limit_lets_the_next_process_make_the_one_call(folder: Folder):
    asked = folder.headgate("run", "dear.yaml", "--models", "models.yaml", "--no-wait")
    shown = folder.json("show", "-")

    raised = folder.headgate("budget", "raise", "-", "--to", "0.50", "--who", "ann")
    worked = folder.headgate("work", "--models", "models.yaml")

    assert asked[0] == 3
    assert "waits for a person: scripted/m would cost up to $" in asked[2]
    assert shown["status"] == "waiting"
    assert "Raised the budget of run" in raised[2]
    assert worked[0] == 0
    run = folder.json("show", "-")
    assert (run["status"], run["outputs"], run["limit_usd"]) == ("completed", {"said": "one"}, "0.5")
    events = folder.events()
    assert (events.count("call_admitted"), events.count("call_settled"), events.count("attempt_lost")) == (1, 1, 0)


def test_killed_while_it_asks_the_run_loses_nothing_and_one_call_is_made(folder: Folder):
    process = folder.begin("run", "dear.yaml", "--models", "models.yaml")
    follow_until(process, "headgate budget raise")
    process.send_signal(signal.SIGKILL)
    process.communicate()

    again = folder.begin("work", "--models", "models.yaml", "--forever")
    follow_until(again, "Working")
    raised = folder.headgate("budget", "raise", "-", "--by", "0.50")
    follow_until(again, "completed")
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=SECONDS_MAX)

    assert raised[0] == 0, raised
    assert folder.json("show", "-")["status"] == "completed"
    events = folder.events()
    assert (events.count("call_admitted"), events.count("call_settled"), events.count("attempt_lost")) == (1, 1, 0)
    assert events.count("activity_scheduled") == 1


def test_refused_while_nobody_works_on_it_the_run_fails_for_its_budget(folder: Folder):
    folder.headgate("run", "dear.yaml", "--models", "models.yaml", "--no-wait")

    refused = folder.headgate("budget", "refuse", "-", "--who", "bob")
    worked = folder.headgate("work", "--models", "models.yaml")

    assert refused[0] == 0, refused
    assert worked[0] == 0
    run = folder.json("show", "-")
    assert (run["status"], "bob refused" in json.dumps(run)) == ("failed", True)
    assert "call_admitted" not in folder.events()


def test_budgets_above_runs_are_set_shown_and_removed_and_stop_a_run(folder: Folder):
    folder.headgate("budget", "set", "workflow:dear", "0.0000005", "--per", "month", "--warn", "80")
    run = folder.headgate("run", "dear.yaml", "--models", "models.yaml", "--budget", "1")
    (listed,) = folder.json("budget")
    shown = folder.headgate("budget", "show", "workflow:dear", "--per", "month")
    removed = folder.headgate("budget", "rm", "workflow:dear", "--per", "month")

    assert run[0] == 4
    assert "the budget of workflow:dear per month has $0.0000005 left of $0.0000005" in run[2]
    assert (listed["scope"], listed["per"], listed["limit_usd"], listed["warn_percent"]) == (
        "workflow:dear",
        "month",
        "0.0000005",
        80,
    )
    assert "$0 of $0.0000005, $0.0000005 left" in shown[1]
    assert removed[0] == 0
    assert folder.headgate("budget")[1] == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("set", "tenant"), "`headgate budget set` takes SCOPE and USD, got tenant."),
        (("set", "team", "5"), "Expected a scope to be tenant, workflow:NAME"),
        (("set", "tenant", "much"), "USD: expected dollars such as 0.25, got 'much'."),
        (("raise", "-"), "takes either --to or --by"),
        (("refuse", "-"), "waits for a person to raise a limit"),
        (("rm", "tenant"), "There is no budget of tenant per day; there is none."),
    ],
)
def test_what_cannot_be_done_is_said(folder: Folder, words: tuple[str, ...], said: str):
    (folder.path / "say.yaml").write_text("name: say\nactivities: {w: {use: approval, with: {title: ok}}}")
    folder.headgate("run", "say.yaml", "--no-wait")

    code, _, err = folder.headgate("budget", *words)

    assert code == 2
    assert said in err
