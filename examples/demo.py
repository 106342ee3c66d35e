"""What `make demo` runs: a workflow is checked, started, killed, taken up again, approved, and ends.

Everything it prints is read from the processes that it starts and from the log that they write; nothing is prepared.
It works offline and free of charge, whatever keys the environment holds, and ends with 1 if anything goes wrong.

    python examples/demo.py [--letters FILE] [--pace SECONDS]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import IO, TypeVar

from headgate.core.errors import HeadgateError
from headgate.core.money import show
from headgate.core.view import RunView
from headgate.engine.reader import Reader
from headgate.ports import EventView
from headgate.stores.sqlite import SqliteLog

EXAMPLE = Path(__file__).parent / "triage"
COLUMNS = 80
SECONDS_MAX = 30.0
LOOK_SECONDS = 0.02
SHOW_CURSOR = "\x1b[?25h"
FLOW, LETTERS, TYPO = "flow.yaml", "letters.txt", "typo.yaml"

printing = threading.Lock()

Found = TypeVar("Found")


class DemoFailed(Exception):
    """Something did not happen as it must."""


def main() -> int:
    arguments = _arguments()
    folder = Path(tempfile.mkdtemp(prefix="headgate-demo-"))
    demo = Demo(folder, arguments.pace)
    try:
        shutil.copy(EXAMPLE / FLOW, folder / FLOW)
        shutil.copy(arguments.letters, folder / LETTERS)
        demo.check_a_typo()
        run_id, recorded = demo.run_and_kill()
        demo.go_on(run_id, recorded)
        demo.approve(run_id)
        demo.show_what_it_came_to(run_id, recorded)
    except (DemoFailed, HeadgateError, OSError, subprocess.SubprocessError) as error:
        print(f"\nThe demo failed: {error}\nIts state is in {folder}", file=sys.stderr)
        return 1
    finally:
        demo.end_processes()
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="See a workflow killed in the middle go on to its end.")
    letters = "letters of your own, with a line of four hyphens between two"
    parser.add_argument("--letters", type=Path, default=EXAMPLE / LETTERS, metavar="FILE", help=letters)
    parser.add_argument("--pace", default="0.05", metavar="SECONDS", help="for each word of the demo models")
    return parser.parse_args()


class Demo:
    """One demonstration, in a folder of its own."""

    def __init__(self, folder: Path, pace: str) -> None:
        self.folder = folder
        self.pace = pace
        self.processes: list[subprocess.Popen[str]] = []
        self.relays: list[threading.Thread] = []
        self.live = sys.stdout.isatty() and sys.stderr.isatty()
        """At a terminal the run is drawn by its own process; elsewhere its lines are passed on."""
        # The state belongs into our folder, wherever the person usually keeps it.
        self.environment = {name: text for name, text in os.environ.items() if name != "HEADGATE_DB"}
        self.environment |= {"PYTHONUNBUFFERED": "1"} if self.live else {"PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}

    # --- The five parts -----------------------------------------------------------------------------------

    def check_a_typo(self) -> None:
        heading("1. A mistake is found before anything runs")
        text = (self.folder / FLOW).read_text(encoding="utf-8").replace("INPUT.letters", "INPUT.leters", 1)
        (self.folder / TYPO).write_text(text, encoding="utf-8")
        line = text[: text.index("INPUT.leters")].count("\n") + 1

        checked = self.call("check", TYPO)

        must(checked.returncode == 2, f"`headgate check` ended with {checked.returncode} for a file with a typo")
        said = checked.stdout + checked.stderr
        must(f":{line}:" in said and "letters" in said, f"`headgate check` did not name line {line} and what was meant")

    def run_and_kill(self) -> tuple[str, list[EventView]]:
        """Return the run's id and what its log held when its process was gone."""
        heading("2. A workflow runs, and its process is killed")
        arguments = ("run", FLOW, "--input", f"letters=@{LETTERS}", "--offline", "--pace", self.pace)
        process = self.start(*arguments, draws=self.live)
        self.wait_for("the middle of the run", self._in_the_middle, process)
        process.kill()
        ended = process.wait(SECONDS_MAX)
        if self.live:
            say(SHOW_CURSOR)  # whoever is killed cannot tidy up
        must(ended == -signal.SIGKILL, f"process {process.pid} ended by itself, with {ended}")
        self._join_relays()

        run_id = self.view().id
        recorded = self.events(run_id)
        say(f"Process {process.pid} was killed with SIGKILL. What the log holds:")
        say(f"  {len(recorded)} events; {counted(len(completed(recorded)), 'activity', 'activities')} completed")
        say(f"  {counted(len(open_calls(recorded)), 'model call')} under way")
        must(bool(completed(recorded)) and not self.view().finished_at, "the run was not in the middle")
        return run_id, recorded

    def go_on(self, run_id: str, recorded: list[EventView]) -> None:
        heading("3. Another process goes on from the log")
        worker = self.start("work", "--forever", "--offline", "--pace", self.pace)
        said: set[int] = set()

        def waits() -> bool:
            waiting = self.view().status == "waiting"  # before the events, so that none of them is missed
            for event in self.events(run_id, after=len(recorded)):
                if event.version not in said:
                    said.add(event.version)
                    tell(event)
            return waiting

        self.wait_for("the approval", waits, worker)
        here, again = completed(recorded), repeated(recorded, self.events(run_id, after=len(recorded)))
        must(not again, f"ran again though it was recorded: {', '.join(again)}")
        say(f"{counted(len(here), 'activity', 'activities')} came from the log; of these ran again: {len(again)}")

    def approve(self, run_id: str) -> None:
        heading("4. It waits for a person, who answers from another terminal")
        say(f"run {run_id[:8]} {self.view().waiting_for}")
        say(f"It asks: {self._question(run_id)}")
        approved = self.call("approve", run_id[:8], "--by", "you", "--comment", "well put")
        must(approved.returncode == 0, f"`headgate approve` ended with {approved.returncode}")
        self.wait_for("the end of the run", lambda: bool(self.view().finished_at), self.processes[-1])
        must(self.view().status == "completed", f"the run is {self.view().status}: {self.view().error}")

    def show_what_it_came_to(self, run_id: str, recorded: list[EventView]) -> None:
        self.end_processes()
        view, events = self.view(contents=True), self.events(run_id)
        heading("5. What it came to")
        for line in str(view.outputs["digest"]).splitlines():
            say(line)
        say("")
        for record in view.outputs["records"]:
            say("  ".join(f"{name}: {'none' if value is None else value}" for name, value in record.items()))
        say(f"sent: {'yes' if view.outputs['sent'] else 'no'}, decided by {view.outputs['by']}")
        say("")
        self._timeline(view, events)
        heading("What to try next")
        program = "headgate" if shutil.which("headgate") else str(Path(sys.executable).with_name("headgate"))
        say(f"$ cd {shlex.quote(str(self.folder))}", wrap=False)
        for command in ("show -", "events -", f"state - --at {len(recorded)}"):
            say(f"$ {shlex.quote(program)} {command}", wrap=False)
        say("")
        say("The state of this run is in that folder; nothing else was left. Remove it when you have seen enough.")

    def _timeline(self, view: RunView, events: list[EventView]) -> None:
        spent = sum(
            event.fields.get("cost", 0) - event.fields.get("replaces", 0) + event.fields.get("amount", 0)
            for event in events
            if event.type in ("call_settled", "call_forfeited")
        )
        costs = sum(activity.cost for activity in view.activities)
        must(
            spent == costs == view.cost > 0,
            f"the log's calls sum to {spent}, the activities to {costs}, not {view.cost}",
        )
        must(view.simulated and not view.reserved, "the run's money is not as it must be")
        say(f"{'activity':<10} {'begun':>8} {'ended':>8}  {'items':>5}  {'cost (demo prices)':>18}")
        for activity in view.activities:
            begun, ended = (
                f"{(at - view.created_at) / 1e6:.1f} s" for at in (activity.scheduled_at, activity.ended_at)
            )
            items = "" if activity.count is None else str(activity.count)
            cost = show(activity.cost) if activity.cost else ""
            say(f"{activity.key:<10} {begun:>8} {ended:>8}  {items:>5}  {cost:>18}")
        lost = sum(event.fields.get("amount", 0) for event in events if event.type == "call_forfeited")
        say("")
        say(
            f"In all {show(view.cost)} of {show(view.limit or 0)} (demo prices). Of it {show(lost)} for calls that the "
            "kill cut short: nobody knows what they cost, so they count in full."
        )

    # --- The log ------------------------------------------------------------------------------------------

    def view(self, *, contents: bool = False) -> RunView:
        return self._read(lambda reader: reader.show("-", contents=contents))

    def events(self, run_id: str, after: int = 0, *, contents: bool = False) -> list[EventView]:
        return self._read(lambda reader: reader.events(run_id, after=after, limit=100_000, contents=contents))

    def _question(self, run_id: str) -> str:
        events = self.events(run_id, contents=True)
        return next(str(event.content["title"]) for event in events if event.type == "activity_suspended")

    def _read(self, ask: Callable[[Reader], Awaitable[Found]]) -> Found:
        """Read the database file itself: what is in it, nobody needs to be running to say."""

        async def read() -> Found:
            log = SqliteLog(self.folder / ".headgate" / "headgate.db", read_only=True)
            try:
                return await ask(Reader(log, lambda: time.time_ns() // 1_000))
            finally:
                await log.close()

        return asyncio.run(read())

    def _in_the_middle(self) -> bool:
        """Whether half of what is done for each letter is recorded, while a model call is under way."""
        try:
            view = self.view()
        except HeadgateError:
            return False  # not begun
        over = view.status == "waiting" or view.finished_at
        must(not over, f"the run was {view.status} before it could be killed: give longer letters, or a larger --pace")
        counts = [(activity.done, activity.count) for activity in view.activities if activity.count]
        return bool(counts) and view.reserved > 0 and all(done * 2 >= count for done, count in counts)

    # --- Processes ----------------------------------------------------------------------------------------

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command line to its end, and show what it says."""
        say(f"$ headgate {shlex.join(arguments)}", wrap=False)
        done = subprocess.run(
            self._command(arguments),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
        for line in (done.stdout + done.stderr).splitlines():
            say(line)
        return done

    def start(self, *arguments: str, draws: bool = False) -> subprocess.Popen[str]:
        """Start the command line in a process of its own; what it says is shown as it comes, or drawn by itself."""
        say(f"$ headgate {shlex.join(arguments)}", wrap=False)
        process = subprocess.Popen(
            self._command(arguments),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if draws else subprocess.STDOUT,
            text=True,
        )
        self.processes.append(process)
        say(f"process {process.pid}:")
        assert process.stdout is not None, "it was asked for"
        self.relays.append(threading.Thread(target=relay, args=(process.stdout,), daemon=True))
        self.relays[-1].start()
        return process

    def _command(self, arguments: Sequence[str]) -> list[str]:
        return [sys.executable, "-m", "headgate", *arguments]

    def wait_for(self, what: str, happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
        until = time.monotonic() + SECONDS_MAX
        while not happened():
            ended = process.poll() is not None
            must(not ended, f"process {process.pid} ended with {process.returncode} before {what}")
            must(time.monotonic() < until, f"{what} did not come within {SECONDS_MAX:g} s")
            time.sleep(LOOK_SECONDS)

    def end_processes(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(SECONDS_MAX)
                process.kill()
        self._join_relays()

    def _join_relays(self) -> None:
        for thread in self.relays:
            thread.join(SECONDS_MAX)
        self.relays.clear()


# --- What the events say ----------------------------------------------------------------------------------


def completed(events: Sequence[EventView]) -> list[str]:
    return [event.place for event in events if event.type == "activity_completed"]


def open_calls(events: Sequence[EventView]) -> set[str]:
    over = {event.fields["call_id"] for event in events if event.type in ("call_settled", "call_forfeited")}
    return {event.fields["call_id"] for event in events if event.type == "call_admitted"} - over


def repeated(before: Sequence[EventView], after: Sequence[EventView]) -> list[str]:
    """What was recorded before, and was handed out, asked a model or completed again after."""
    work = ("activity_scheduled", "call_requested", "activity_completed")
    again = {event.place for event in after if event.type in work}
    return [place for place in completed(before) if place in again]


def tell(event: EventView) -> None:
    """Say of an event what there is to see of it."""
    match event.type:
        case "attempt_lost":
            say(f"  lost       {event.place}: {event.fields['reason']}")
        case "call_forfeited":
            say(f"  forfeited  {show(event.fields['amount'])} of a call of {event.place}")
        case "activity_completed":
            say(f"  completed  {event.place}" + (f", attempt {event.attempt}" if event.attempt > 1 else ""))
        case _:
            pass


# --- Words ------------------------------------------------------------------------------------------------


def heading(text: str) -> None:
    print(f"\n{text}\n", flush=True)


def say(text: str, *, wrap: bool = True) -> None:
    """Print a line, indented; a long one goes on below, unless it is to be copied."""
    indent = "   " + " " * (len(text) - len(text.lstrip()))
    width = COLUMNS if wrap else len(indent) + len(text)
    lines = textwrap.wrap(text.strip(), width, initial_indent=indent, subsequent_indent=f"{indent}  ") or [""]
    with printing:  # the relays are threads of their own
        print("\n".join(lines), flush=True)


def relay(lines: IO[str]) -> None:
    for line in lines:
        say(line.rstrip("\n"))


def counted(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or f'{one}s'}"


def must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise DemoFailed(otherwise)


if __name__ == "__main__":
    sys.exit(main())
