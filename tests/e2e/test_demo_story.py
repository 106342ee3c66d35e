"""`headgate demo` is true: what it prints is what real processes wrote into the database, offline, on any texts."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import select
import shlex
import subprocess
import sys
import tempfile
import termios
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.socket_guard import SocketGuard

from headgate.cli.demo_record import repeated
from headgate.core.money import show
from headgate.core.view import PlaceView, RunView
from headgate.engine.reader import Reader
from headgate.ports import EventView, SpendTotal, SpendWanted
from headgate.stores.sqlite import SqliteLog

STORY = Path(__file__).parents[2] / "src" / "headgate" / "cli" / "demo_story"
SECONDS_MAX = 120.0
SLOWLY = ("--pace", "0.03")
"""Of few tickets, so that there is a middle to be killed in."""
MANUAL = """# The ferry Alma

## Lost luggage

Luggage that was left on board is kept at the harbour office for thirty days. After that it is given to the mission.

## Cancelled crossings

A crossing that the wind cancels is refunded in full within five days. A bicycle ticket is refunded with it.

## Bicycles

Up to twenty bicycles can be taken on each crossing. A bicycle ticket costs 7 dollars, and a tandem counts as two.

## Dogs

Dogs stay on the open deck and on a lead. A dog travels free of charge.
"""
TICKETS = """# Post

## A-1 from Noor
My umbrella was on board. Where is luggage kept that was left on board?

## A-2 from Henk
The wind cancelled our crossing and we want our money back. When is a cancelled crossing refunded?

## A-3 from Lot
We cycle. What does a bicycle ticket cost?
"""

pytestmark = pytest.mark.slow

Ended = subprocess.CompletedProcess[str]


class Guarded:
    """A folder to run in, every provider's key, and a guard in each process that refuses and records connections."""

    def __init__(self, folder: Path) -> None:
        self.temporary = folder / "t"
        self.temporary.mkdir()
        self.somebody_elses = folder / "somebody-elses.db"
        self._guard = SocketGuard(folder, loopback=False)
        self.environment = self._guard.environment()
        self.environment |= {"TMPDIR": str(self.temporary), "HEADGATE_DB": str(self.somebody_elses)}

    def python(self, *arguments: str) -> Ended:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.temporary,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS_MAX,
        )

    def demo(self, *arguments: str) -> Ended:
        return self.python("-m", "headgate", "demo", "--fast", *arguments)

    def connections(self) -> list[str]:
        return self._guard.outside()

    def processes(self) -> set[int]:
        return self._guard.processes()


class Told:
    """What a demo printed, and the database that it left."""

    def __init__(self, ended: Ended, folder: Path, seconds: float) -> None:
        self.ended = ended
        self.text = ended.stdout
        self.folder = folder
        self.seconds = seconds
        self.database = folder / ".headgate" / "headgate.db"

    def section(self, number: int) -> str:
        return self.text.split(f"\n{number}. ", 1)[1].split(f"\n{number + 1}. ", 1)[0]

    def flat(self, number: int) -> str:
        """Return a section with each of its folded lines in one again."""
        return " ".join(self.section(number).split())

    def rows(self) -> list[list[str]]:
        """Return the rows of the table of replies."""
        table = self.section(3).split("ticket  ", 1)[1]
        return [re.split(r"  +", line.strip()) for line in table.splitlines()[1:] if line.strip()]

    # The database is read here with nothing of the demo's own.

    def runs(self) -> list[RunView]:
        """Return the runs, the oldest first, with their contents."""

        async def read(reader: Reader, _: SqliteLog) -> list[RunView]:
            return [await reader.show(run.id) for run in reversed(await reader.runs())]

        return self._read(read)

    def events(self, run: str) -> list[EventView]:
        return self._read(lambda reader, _: reader.events(run, limit=10_000, contents=False))

    def costs(self, run: str) -> dict[str, SpendTotal]:
        async def read(_: Reader, log: SqliteLog) -> dict[str, SpendTotal]:
            totals = await log.spend_totals("activity", SpendWanted((run,), None, None, "", {}))
            return {total.name: total for total in totals}

        return self._read(read)

    def _read(self, ask: Any) -> Any:
        async def read() -> Any:
            log = SqliteLog(self.database, read_only=True)
            try:
                return await ask(Reader(log, lambda: 0), log)
            finally:
                await log.close()

        return asyncio.run(read())


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    # A short path, as a temporary folder has on most systems: a socket's name must fit into a hundred characters.
    with tempfile.TemporaryDirectory(prefix="hg-") as folder:
        yield Guarded(Path(folder))


@pytest.fixture(scope="module")
def told(guarded: Guarded) -> Told:
    """The demo as a newcomer runs it, but for the pauses."""
    began = time.monotonic()
    ended = guarded.demo()
    seconds = time.monotonic() - began
    (folder,) = guarded.temporary.iterdir()
    return Told(ended, folder, seconds)


@pytest.fixture(scope="module")
def swapped(guarded: Guarded) -> Told:
    """The demo on a manual and tickets of ours."""
    folder = guarded.temporary.parent / "mine"
    texts = guarded.temporary.parent
    (texts / "manual.txt").write_text(MANUAL)
    (texts / "tickets.txt").write_text(TICKETS)
    given = ("--manual", str(texts / "manual.txt"), "--tickets", str(texts / "tickets.txt"), *SLOWLY)
    return Told(guarded.demo("--keep", str(folder), *given), folder, 0.0)


def place_of(view: RunView, key: str) -> PlaceView:
    return next(place for place in view.activities if place.key == key)


def contents_of(view: RunView, key: str) -> list[str]:
    return [output["content"] for output in place_of(view, key).output]


def key_of(event: EventView) -> str:
    return event.place.partition("[")[0]


def used_calls(events: Sequence[EventView]) -> list[EventView]:
    return [event for event in events if event.type == "call_settled" and event.fields["outcome"] == "used"]


def counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


# --- The whole -------------------------------------------------------------------------------------------------------


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


# --- Act by act ------------------------------------------------------------------------------------------------------


def test_a_typo_is_refused_with_its_line_and_what_was_meant(told: Told):
    typo = (told.folder / "typo.yaml").read_text().splitlines()
    line = next(number for number, text in enumerate(typo, 1) if "tikets" in text)

    assert f"typo.yaml:{line}:" in told.section(1)
    assert 'Did you mean "tickets"?' in told.flat(1)


def test_the_process_was_killed_and_another_one_went_on_without_repeating_anything(told: Told):
    first = told.runs()[0]
    events = told.events(first.id)
    killed = re.search(r"Process (\d+) was killed with SIGKILL", told.section(2))
    other = re.search(r"process (\d+):", told.section(3))
    held = re.search(r"(\d+) events, (\d+) activities completed", told.section(2))
    came = re.search(r"(\d+) activities from the log, (\d+) calls repeated, ([\d.]+ \w+)", told.section(3))
    assert killed
    assert other
    assert held
    assert came

    version = int(held[1])
    before, after = events[:version], events[version:]
    done = [event.place for event in before if event.type == "activity_completed"]
    every = Counter(event.place for event in events if event.type == "activity_completed")
    gap = (after[0].at - before[-1].at) / 1e6

    assert f"process {killed[1]}:" in told.section(2)
    assert killed[1] != other[1]
    assert not Path(f"/proc/{killed[1]}").exists()
    assert int(held[2]) == int(came[1]) == len(done) > 0
    assert set(every.values()) == {1}
    assert int(came[2]) == sum(event.type == "call_requested" and event.place in done for event in after) == 0
    assert abs(float(came[3].split()[0]) - gap) < 0.1
    lost = [event.place for event in after if event.type == "attempt_lost"]
    assert lost
    assert all(f"completed {place}, attempt 2" in told.flat(3) for place in lost)
    forfeited = sum(event.fields["amount"] for event in after if event.type == "call_forfeited")
    assert f"{show(forfeited)} count as spent" in told.flat(3)
    assert f"{len(lost)} model calls under way" in told.section(2) or len(lost) == 1


@pytest.mark.parametrize("which", ["told", "swapped"])
def test_classes_and_citations_are_those_of_the_run(which: str, request: pytest.FixtureRequest):
    told: Told = request.getfixturevalue(which)
    first = told.runs()[0]
    classes, replies = contents_of(first, "classify"), contents_of(first, "draft")

    rows = told.rows()

    tickets = re.findall(r"^## (\S+)", (told.folder / "tickets.md").read_text(), re.MULTILINE)
    headings = re.findall(r"^## (.+)", (told.folder / "manual.md").read_text(), re.MULTILINE)
    assert [row[0] for row in rows] == tickets
    assert [row[1] for row in rows] == classes
    for (_, _, quoted), reply in zip(rows, replies, strict=True):
        assert (quoted in headings and f"(source {quoted}, " in reply) or quoted == reply == "not in the text"


@pytest.mark.parametrize("which", ["told", "swapped"])
def test_the_budget_runs_short_as_the_events_say(which: str, request: pytest.FixtureRequest):
    told: Told = request.getfixturevalue(which)
    short = told.runs()[1]
    events = told.events(short.id)
    skipped = next(event for event in events if event.type == "model_skipped")
    (refused,) = [event for event in events if event.type == "call_refused"]
    drafted = Counter(
        f"demo/{event.fields['usage']['model']}" for event in used_calls(events) if key_of(event) == "draft"
    )

    said = told.flat(4)

    assert (short.status, short.error_code) == ("failed", "budget_exceeded")
    assert f"From {skipped.place} on the cheaper model: {skipped.fields['reason']}." in said
    assert f"Drafted by {counted(drafted)}." in said
    assert set(drafted) == {"demo/large", "demo/small"}
    message: str = refused.fields["message"]
    assert re.search(r"would cost up to \$[\d.]+; the run's budget has \$[\d.]+ left", message)
    assert message.partition(" Raise ")[0] in said
    assert f"Spent: {show(short.cost)} of {show(short.limit or 0)}" in said
    assert short.cost <= (short.limit or 0)


def test_a_refund_waits_and_without_a_terminal_the_answer_is_scripted_and_said_so(told: Told):
    first = told.runs()[0]
    (decided,) = [event for event in told.events(first.id) if event.type == "approval_decided"]

    said = told.flat(5)

    assert "waits for approval 'refund'" in said
    assert "It asks: Pay T-1043 T-1052 back?" in said
    assert "Nobody is at a terminal to answer, so the demo answers y itself." in said
    assert (decided.fields["approved"], decided.fields["by"]) == (True, "demo")
    assert "Approved by demo." in said
    assert first.outputs["refunded"] is True
    assert "refunded: yes" in said


@pytest.mark.parametrize("which", ["told", "swapped"])
def test_after_a_change_only_what_depends_on_it_is_asked_again(which: str, request: pytest.FixtureRequest):
    told: Told = request.getfixturevalue(which)
    first, _, changed = told.runs()
    events = told.events(changed.id)
    done = [event for event in events if event.type == "activity_completed"]
    taken = Counter(
        key_of(event)
        for event in events
        if event.type == "call_reused" or (event in done and event.fields.get("cached"))
    )
    asked = Counter(key_of(event) for event in used_calls(events))
    hashes = {
        event.place: event.fields["input_hash"] for event in told.events(first.id) if event.type == "activity_completed"
    }
    same = sum(hashes[event.place] == event.fields["input_hash"] for event in done)
    tickets = len(first.outputs["tickets"])

    said = told.flat(6)

    assert taken["classify"] == taken["retrieve"] == asked["draft"] == tickets
    assert set(asked) <= {"draft", "report"}
    assert f"Taken from the cache: {counted(taken)}." in said
    assert f"Asked again: {counted(asked)}." in said
    assert f"{same} are those of the run before, {len(done) - same} are not" in said
    pairs = zip(contents_of(first, "draft"), contents_of(changed, "draft"), strict=True)
    assert f"read differently now: {sum(one != other for one, other in pairs)} of {tickets}." in said
    assert f"Spent: {show(changed.cost)} of {show(changed.limit or 0)}, saved {show(changed.saved)}" in said


@pytest.mark.parametrize("which", ["told", "swapped"])
def test_the_ledger_that_is_printed_is_that_of_the_database(which: str, request: pytest.FixtureRequest):
    told: Told = request.getfixturevalue(which)
    first = told.runs()[0]
    events = told.events(first.id)
    printed = {
        match[1]: (int(match[2]), match[3])
        for match in re.finditer(r"^ +(\w+) \(demo prices\) +(\d+) .* \$([\d.]+)$", told.section(7), re.MULTILINE)
    }
    total = printed.pop("total")

    costs = told.costs(first.id)

    assert {name: calls for name, (calls, _) in printed.items()} == {name: one.calls for name, one in costs.items()}
    assert {name: round(float(cost) * 1e9) for name, (_, cost) in printed.items()} == {
        name: one.cost for name, one in costs.items()
    }
    assert round(float(total[1]) * 1e9) == first.cost == sum(place.cost for place in first.activities)
    # Calls that the kill cut short cost what was reserved for them; how often they were sent nobody counts.
    assert len(used_calls(events)) <= total[0]
    assert f"cost      {show(first.cost)} of {show(first.limit or 0)} (demo prices)" in told.section(7)


def test_the_log_is_whole_and_a_flipped_byte_in_a_copy_is_found(told: Told, guarded: Guarded):
    first = told.runs()[0]
    found = re.search(r"✗ Run (\w+), event (\d+)", told.section(7))
    assert found is not None

    ours = guarded.python("-m", "headgate", "audit", "verify", "--db", str(told.database))
    copy = guarded.python("-m", "headgate", "audit", "verify", "--db", str(told.folder / "copy.db"))

    assert "✓ 3 runs checked, 0 faults." in told.section(7)
    assert "✗ 3 runs checked, 1 fault." in told.section(7)
    assert (ours.returncode, copy.returncode) == (0, 1)
    assert found[1] == first.id
    assert f"event {found[2]}" in copy.stdout


# --- Nothing is prepared ---------------------------------------------------------------------------------------------


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


# --- At a terminal ---------------------------------------------------------------------------------------------------


def at_a_terminal(guarded: Guarded, answer: str, *arguments: str) -> tuple[int, str]:
    """Run the demo at a terminal of 80 columns, answer its question, and return its code and all that was drawn."""
    ours, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (40, 80))
    process = subprocess.Popen(
        [sys.executable, "-m", "headgate", "demo", "--fast", *arguments],
        cwd=guarded.temporary,
        env=guarded.environment | {"TERM": "xterm"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    drawn, answered = b"", False
    until = time.monotonic() + SECONDS_MAX
    while time.monotonic() < until:
        if not select.select([ours], [], [], 1)[0]:
            continue
        try:
            drawn += os.read(ours, 65_536)
        except OSError:
            break  # the other side has closed
        if not answered and b"then Enter:" in drawn:
            answered = True
            os.write(ours, f"{answer}\n".encode())
    os.close(ours)
    return process.wait(SECONDS_MAX), drawn.decode()


def test_at_a_terminal_the_tree_is_drawn_and_a_person_is_asked(guarded: Guarded):
    folder = guarded.temporary.parent / "terminal"

    code, drawn = at_a_terminal(guarded, "n", "--keep", str(folder))

    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn)
    told = Told(Ended([], code, plain.replace("\r", "")), folder, 0.0)
    first = told.runs()[0]
    (decided,) = [event for event in told.events(first.id) if event.type == "approval_decided"]
    assert code == 0
    # The words of an answer as they came, and the cost on its way to the budget.
    streamed = set(re.findall(r" \[(\d+)\] +([“…][^\n]*?)  ", told.section(2)))
    assert max(Counter(item for item, _ in streamed).values()) > 2
    assert len(set(re.findall(r"\$([\d.]+) of \$0\.04", told.section(2)))) > 3
    assert "Pay?  y or n, then Enter:" in told.section(5)
    assert "answers y itself" not in plain
    assert (decided.fields["approved"], first.outputs["refunded"]) == (False, False)
    assert "refunded: no" in told.section(5)
    assert "What to try next" in plain


def test_no_color_is_respected_at_a_terminal(guarded: Guarded):
    guarded.environment["NO_COLOR"] = "1"
    try:
        code, drawn = at_a_terminal(guarded, "y", "--pace", "0.005")
    finally:
        del guarded.environment["NO_COLOR"]

    assert code == 0
    assert not re.search(r"\x1b\[(?:3[0-7]|9[0-7]|4[0-7])", drawn)
    assert "refunded: yes" in drawn
