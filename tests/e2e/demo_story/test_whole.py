"""`headgate demo` as a whole: offline, on any texts, from its first line to its last."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
from tests.e2e.demo_story.told import MANUAL, SLOWLY, TICKETS, Guarded, Told, contents_of

from headgate.cli.demo_record import repeated
from headgate.ports import EventView

STORY = Path(__file__).parents[3] / "src" / "headgate" / "cli" / "demo_story"

pytestmark = pytest.mark.slow


# --- The whole --------------------------------------------------------------------------------------------------------


def test_the_demo_goes_through_offline_whatever_keys_there_are(told: Told, guarded: Guarded):
    assert told.ended.returncode == 0, told.text + told.ended.stderr
    assert guarded.connections() == []
    # The demo itself, check, run, work, run, approve, run, show, costs, audit, backup, audit: all of them guarded.
    assert len(guarded.processes()) >= 12
    assert not guarded.somebody_elses.exists()
    assert all(view.simulated for view in told.runs())
    commands = [command for number in range(1, 8) for command in told.flat(number).split("$ headgate ")[1:]]
    assert all("--offline" in command for command in commands if re.match("run |work |approve ", command))


def test_the_guard_of_the_test_before_does_catch_a_connection(told: Told, guarded: Guarded):
    before = guarded.connections()

    tried = guarded.python("-c", "import socket; socket.create_connection(('127.0.0.1', 9))")
    sent = guarded.python("-c", "import socket; socket.socket().connect(('127.0.0.1', 9))")

    assert tried.returncode != 0
    assert sent.returncode != 0
    assert len(guarded.connections()) == len(before) + 2


def test_the_demo_takes_less_than_forty_seconds(told: Told):
    assert told.seconds < 40


def test_the_demo_fits_eighty_columns_without_colour(told: Told, guarded: Guarded):
    shown = told.text.replace(str(guarded.temporary), "/tmp").replace(f"{Path(sys.executable).parent}/", "")

    assert max(len(line) for line in shown.splitlines()) <= 80
    assert "\x1b" not in told.text
    assert all(line == line.rstrip() for line in shown.splitlines())


def test_the_demo_leaves_one_folder_in_which_the_commands_that_it_proposes_work(told: Told, guarded: Guarded):
    (next_,) = told.text.split("\nWhat to try next\n")[1:]
    lines = re.findall(r"\$ ((?:.+\\\n)*.+)", next_)
    proposed = [shlex.split(line.replace("\\\n", " "))[1:] for line in lines if "headgate" in line.split(" --db")[0]]
    assert str(told.folder) in told.text.splitlines()[0]
    assert not any(path.is_socket() for path in told.folder.rglob("*"))

    done = [guarded.python("-m", "headgate", *command) for command in proposed]

    assert [command[0] for command in proposed] == ["show", "events", "costs"]
    assert [(one.returncode, one.stderr.splitlines()[1:]) for one in done] == [(0, [])] * 3
    assert all(one.stdout for one in done)
    # Beside the copy lies what SQLite keeps for whoever reads it.
    assert sorted(path.name for path in told.folder.iterdir() if not path.name.startswith("copy.db-")) == [
        *(".headgate", "changed.yaml", "copy.db", "manual.md", "support.yaml", "tickets.md", "typo.yaml")
    ]


def test_the_change_to_a_real_model_is_a_line_that_the_workflow_has(told: Told, guarded: Guarded):
    lines = re.findall(r"models: \{type: array, default: \[(ollama|openai)/[^]]+\]\}", told.text)
    flow = told.folder / "support.yaml"
    ours = next(line for line in flow.read_text().splitlines() if line.startswith("  models: "))
    local = told.folder / "local.yaml"
    local.write_text(flow.read_text().replace(ours, "  models: {type: array, default: [ollama/llama3.2]}"))

    checked = guarded.python("-m", "headgate", "check", str(local))
    local.unlink()

    assert lines == ["ollama", "openai"]
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_bundled_texts_are_a_dozen_tickets_and_a_manual_of_forty_sections():
    assert (STORY / "tickets.md").read_text(encoding="utf-8").count("\n## ") == 12
    assert (STORY / "manual.md").read_text(encoding="utf-8").count("\n## ") == 40


# --- Nothing is prepared ----------------------------------------------------------------------------------------------


def test_other_texts_give_other_classes_citations_and_figures(told: Told, swapped: Told):
    assert swapped.ended.returncode == 0, swapped.text + swapped.ended.stderr
    assert swapped.rows() == [
        ["A-1", "other", "Lost luggage"],
        ["A-2", "refund", "Cancelled crossings"],
        ["A-3", "question", "Bicycles"],
    ]
    assert "It asks: Pay A-2 back?" in swapped.flat(5)
    assert "refunded in full within five days" in swapped.flat(5)
    ours, theirs = (one.runs() for one in (told, swapped))
    assert [view.cost for view in ours] != [view.cost for view in theirs]
    assert not set(contents_of(ours[0], "draft")) & set(contents_of(theirs[0], "draft"))
    figures = [
        set(re.findall(r"\$[\d.]*\d{3,}", "".join(one.section(n) for n in (4, 6, 7)))) for one in (told, swapped)
    ]
    assert not figures[0] & figures[1] - {"$0.04"}


def test_without_a_refund_nobody_is_asked(guarded: Guarded, tmp_path: Path):
    manual, tickets = tmp_path / "manual.md", tmp_path / "tickets.md"
    manual.write_text(MANUAL)
    tickets.write_text(re.sub(r"## A-2.*\n.*\n\n", "", TICKETS))

    ended = guarded.demo("--manual", str(manual), "--tickets", str(tickets), *SLOWLY)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "No ticket is of class refund, so nothing waits for a person." in ended.stdout
    assert "A-2" not in ended.stdout


@pytest.mark.parametrize("data", [None, b"\xff is not UTF-8", b"no headings"], ids=["missing", "unreadable", "empty"])
def test_the_demo_ends_with_1_and_says_why_when_something_fails(guarded: Guarded, tmp_path: Path, data: bytes | None):
    tickets = tmp_path / "tickets.md"
    if data is not None:
        tickets.write_bytes(data)

    failed = guarded.demo("--tickets", str(tickets))

    assert failed.returncode == 1
    assert "The demo failed: " in failed.stderr
    assert "Its state is in " in failed.stderr
    assert "Traceback" not in failed.stdout + failed.stderr
    assert "What to try next" not in failed.stdout


def test_a_folder_that_holds_something_is_left_as_it_is(guarded: Guarded, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")

    refused = guarded.demo("--keep", str(tmp_path))

    assert refused.returncode == 2
    assert "expected an empty folder" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def event(version: int, type_: str, place: str) -> EventView:
    return EventView(version=version, at=version, type=type_, place=place)


@pytest.mark.parametrize("type_", ["activity_scheduled", "call_requested", "activity_completed"])
def test_whatever_ran_again_would_be_counted(type_: str):
    before = [event(1, "activity_completed", "a"), event(2, "activity_completed", "b[0]")]

    assert repeated(before, [event(3, type_, "c"), event(4, "attempt_lost", "a")]) == []
    assert repeated(before, [event(3, type_, "b[0]")]) == ["b[0]"]
