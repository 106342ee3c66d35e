"""The acts of the demo. Each lets real processes do something, and then tells what the database says of it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import msgspec

from headgate.cli import exit_codes
from headgate.cli.approval import user_name
from headgate.cli.demo_page import Page
from headgate.cli.demo_process import Processes, must
from headgate.cli.demo_record import (
    Record,
    activity_of,
    calls_by,
    completed,
    is_reuse,
    lost_amount,
    model_of,
    open_calls,
    place_of,
    repeated,
    reused,
    settled,
    spent,
)
from headgate.cli.words import cost_of_run, plural, short, span
from headgate.core.errors import HeadgateError
from headgate.core.money import NANO, show
from headgate.core.view import RunView
from headgate.ports import EventView

__all__ = ["CHANGED", "FLOW", "MANUAL", "TICKETS", "Acts", "Killed"]

FLOW, CHANGED, TYPO = "support.yaml", "changed.yaml", "typo.yaml"
MANUAL, TICKETS = "manual.md", "tickets.md"
COPY = "copy.db"
INPUTS = ("--input", f"manual=@{MANUAL}", "--input", f"tickets=@{TICKETS}", "--offline")
WRITTEN, MISSPELLED = "INPUT.tickets", "INPUT.tikets"
BEFORE = "Answer from the passages only, and name the passage."
AFTER = "Answer from the passages only, with two passages and their places."
CENT_OF_A_CENT = NANO // 10_000
SOURCE = re.compile(r"\(source (.+?), (?:sentence|line|under) ")
FOLLOWED = (exit_codes.COMPLETED, exit_codes.WAITS_FOR_PERSON)


class Killed(msgspec.Struct, frozen=True):
    """The run whose process was killed, and what its log held then."""

    run: str
    pid: int
    recorded: list[EventView]


class Acts:
    """The acts in their order, over one folder. Each raises `DemoFailed` where it does not go as it must."""

    def __init__(self, folder: Path, page: Page, processes: Processes, record: Record, pace: str) -> None:
        self._folder = folder
        self._page = page
        self._processes = processes
        self._record = record
        self._pace = pace

    # --- A mistake -----------------------------------------------------------------------------------------------

    def check_a_typo(self) -> None:
        text = (self._folder / FLOW).read_text(encoding="utf-8")
        wrong = text.replace(WRITTEN, MISSPELLED, 1)
        (self._folder / TYPO).write_text(wrong, encoding="utf-8")
        line = wrong[: wrong.index(MISSPELLED)].count("\n") + 1
        ended = self._processes.call("check", TYPO)
        said = ended.stdout + ended.stderr
        must(ended.returncode == exit_codes.INVALID, f"`headgate check` ended with {ended.returncode} for a typo")
        must(f":{line}:" in said and 'Did you mean "tickets"' in said, f"`headgate check` did not name line {line}")

    # --- The kill ------------------------------------------------------------------------------------------------

    def run_and_kill(self) -> Killed:
        process = self._processes.start("run", FLOW, *INPUTS, "--pace", self._pace)
        self._page.say(f"process {process.pid}:")
        self._processes.wait_for("the middle of the run", self._in_the_middle, process)
        self._processes.kill(process)
        view = self._record.view()
        recorded = self._record.events(view.id)
        must(view.status == "running", f"the run was {view.status} before its process was killed")
        self._page.say(f"Process {process.pid} was killed with SIGKILL. Its log holds:")
        self._page.say(f"  {plural(len(recorded), 'event')}, {_activities(completed(recorded))} completed")
        self._page.say(f"  {cost_of_run(view)}")
        self._page.say(f"  {plural(len(open_calls(recorded)), 'model call')} under way")
        return Killed(view.id, process.pid, recorded)

    def _in_the_middle(self) -> bool:
        """Whether half of the replies are drafted, while a model is being asked for another."""
        if not self._record.database.exists():
            return False
        try:
            view = self._record.view()
        except HeadgateError:
            return False  # the database is there, the run is not
        over = view.status == "waiting" or view.finished_at
        must(not over, f"the run was {view.status} before it could be killed: a larger --pace leaves more time")
        drafts = place_of(view, "draft")
        return bool(drafts.count) and drafts.done * 2 >= (drafts.count or 0) and view.reserved > 0

    def go_on(self, killed: Killed) -> None:
        said: list[str] = []
        process = self._processes.start("work", "--offline", "--pace", self._pace, held=said, draws=False)
        self._page.say(f"process {process.pid}:")
        told: set[int] = set()
        code = self._processes.watch(process, lambda: self._tell_new(killed, told))
        for line in said:
            self._page.say(line)
        must(code in FOLLOWED, f"`headgate work` ended with {code}")
        after = self._record.events(killed.run, after=len(killed.recorded))
        calls = repeated(killed.recorded, after, ("call_requested",))
        again = repeated(killed.recorded, after)
        must(not again, f"ran again though it was recorded: {', '.join(again)}")
        gap = span(after[0].at - killed.recorded[-1].at)
        came = _activities(completed(killed.recorded))
        self._page.say(f"{came} from the log, {plural(len(calls), 'call')} repeated, {gap}")
        self._page.say(
            f"(between the last event of process {killed.pid} and the first of process {process.pid}). What the kill "
            f"cut short was asked anew; what it cost nobody knows, so {show(lost_amount(after))} count as spent."
        )

    def _tell_new(self, killed: Killed, told: set[int]) -> None:
        for event in self._record.events(killed.run, after=len(killed.recorded)):
            if event.version in told:
                continue
            told.add(event.version)
            match event.type:
                case "attempt_lost":
                    self._page.say(f"  lost       {event.place}: {event.fields['reason']}")
                case "activity_completed":
                    attempt = f", attempt {event.attempt}" if event.attempt > 1 else ""
                    self._page.say(f"  completed  {event.place}{attempt}")
                case _:
                    pass

    def show_replies(self, run: str) -> None:
        """Print for each ticket its class, and the section that the reply quotes first."""
        view = self._record.view(run, contents=True)
        rows = [("ticket", "class", "quotes")]
        tickets = place_of(view, "inbox").output["tickets"]
        classes = [answer["content"] for answer in place_of(view, "classify").output]
        replies = [answer["content"] for answer in place_of(view, "draft").output]
        for ticket, label, reply in zip(tickets, classes, replies, strict=True):
            source = SOURCE.search(reply)
            rows.append((ticket.split()[0], label, source[1] if source else reply.splitlines()[0]))
        self._page.table(rows)

    # --- The budget ----------------------------------------------------------------------------------------------

    def run_short(self, killed: Killed) -> None:
        limit = self._too_little(killed.run)
        code = self._processes.run_to_end("run", FLOW, *INPUTS, "--no-cache", "--budget", limit)
        view = self._record.view()
        events = self._record.events(view.id)
        skipped = [event for event in events if event.type == "model_skipped"]
        refused = [event for event in events if event.type == "call_refused"]
        must(code == exit_codes.BUDGET, f"the run with a budget of ${limit} ended with {code}")
        must(bool(skipped and refused), f"a budget of ${limit} did not run short")
        must(spent(events) == view.cost <= (view.limit or 0), f"{show(view.cost)} were spent of ${limit}")
        self._page.say(f"From {skipped[0].place} on the cheaper model: {skipped[0].fields['reason']}.")
        models = calls_by([event for event in events if activity_of(event) == "draft"], model_of)
        self._page.say(f"Drafted by {_listed(models)}.")
        message = refused[0].fields["message"].partition(" Raise ")[0]
        self._page.say(f"Then a stop before a call, of {refused[0].place}: {message}")
        self._page.say(f"Spent: {cost_of_run(view)}")

    def _too_little(self, run: str) -> str:
        """Return a budget, as the command line takes it, that is enough for a third of the drafts by the dear model.

        What the drafts of the run before cost is in its log: with a third of it, and room for the largest reservation,
        some calls of the dear model are admitted and later ones are not.
        """
        events = self._record.events(run)
        drafts = settled(events, "draft")
        others = settled(events) - drafts - settled(events, "report")
        largest = max(
            event.fields["reservation"]
            for event in events
            if event.type == "call_admitted" and activity_of(event) == "draft"
        )
        steps = -(-(others + drafts // 3 + largest) // CENT_OF_A_CENT)
        return f"{steps // 10_000}.{steps % 10_000:04d}"

    # --- The approval --------------------------------------------------------------------------------------------

    def decide(self, run: str) -> None:
        waits = place_of(self._record.view(run), "refund")
        if waits.status == "skipped":
            self._page.say("No ticket is of class refund, so nothing waits for a person.")
            return
        events = self._record.events(run, contents=True)
        asked = next(event.content for event in events if event.type == "activity_suspended")
        self._page.say(f"run {short(run)} {self._record.view(run).waiting_for}")
        self._page.say(f"It asks: {' '.join(asked['title'].split())}")
        for line in str(asked["body"]).splitlines():
            self._page.say(f"  {line}")
        answer = self._page.answer("Pay?")
        if answer is None:
            self._page.say("Nobody is at a terminal to answer, so the demo answers y itself.")
        by = (user_name() or "you") if answer is not None else "demo"
        verb = "reject" if answer is False else "approve"
        ended = self._processes.call(
            verb, short(run), "--by", by, "--work", "--offline", "-q", shows=lambda line: line.startswith("error")
        )
        must(ended.returncode == exit_codes.COMPLETED, f"`headgate {verb}` ended with {ended.returncode}")

    def show_decision(self, run: str) -> None:
        view = self._record.view(run, contents=True)
        must(view.status == "completed", f"the run is {view.status}: {view.error}")
        decided = [event for event in self._record.events(run) if event.type == "approval_decided"]
        for event in decided:
            self._page.say(f"{'Approved' if event.fields['approved'] else 'Rejected'} by {event.fields['by']}.")
        self._page.say(f"run {short(run)} {view.status}; refunded: {'yes' if view.outputs['refunded'] else 'no'}")

    # --- The change ----------------------------------------------------------------------------------------------

    def change_a_prompt(self, run: str) -> str:
        text = (self._folder / FLOW).read_text(encoding="utf-8")
        must(BEFORE in text, f"{FLOW} does not say {BEFORE!r}")
        (self._folder / CHANGED).write_text(text.replace(BEFORE, AFTER, 1), encoding="utf-8")
        self._page.say(f"- system_prompt: {BEFORE}")
        self._page.say(f"+ system_prompt: {AFTER}")
        code = self._processes.run_to_end("run", CHANGED, *INPUTS, "--no-wait")
        before, after = self._record.view(run, contents=True), self._record.view(contents=True)
        must(code in FOLLOWED, f"the run of {CHANGED} ended with {code}")
        events = self._record.events(after.id)
        calls = calls_by(events, activity_of)
        must(set(calls) <= {"draft", "report"}, f"asked again though nothing had changed: {_listed(calls)}")
        must(spent(events) == after.cost, f"the calls come to {show(spent(events))}, the run to {show(after.cost)}")
        self._page.say(f"Taken from the cache: {_listed(reused(events))}.")
        self._page.say(f"Asked again: {_listed(calls)}.")
        same, other = self._inputs(run, events)
        self._page.say(f"The hashes of their inputs: {same} are those of the run before, {other} are not.")
        self._page.say(f"Replies that read differently now: {_different(before, after)}.")
        self._page.say(f"Spent: {cost_of_run(after)}")
        return after.id

    def _inputs(self, run: str, events: list[EventView]) -> tuple[int, int]:
        """Return how many completed activities were given what the first run gave them, and how many were not."""
        known = {
            event.place: event.fields["input_hash"]
            for event in self._record.events(run)
            if event.type == "activity_completed"
        }
        done = [event for event in events if event.type == "activity_completed"]
        equal = [event.place for event in done if known.get(event.place) == event.fields["input_hash"]]
        taken = {event.place for event in events if is_reuse(event)} & {event.place for event in done}
        must(taken <= set(equal), "a result was reused for another input")
        return len(equal), len(done) - len(equal)

    # --- The proof -----------------------------------------------------------------------------------------------

    def prove(self, run: str) -> None:
        view, events = self._record.view(run), self._record.events(run)
        costs = sum(activity.cost for activity in view.activities)
        must(spent(events) == costs == view.cost > 0, f"calls {spent(events)}, activities {costs}, run {view.cost}")
        must(view.simulated and not view.reserved, "the run's money is not as it must be")
        outputs = False

        def above_outputs(line: str) -> bool:
            nonlocal outputs
            outputs = outputs or line == "outputs:"
            return not outputs

        ended = [
            self._processes.call("show", short(run), shows=above_outputs, rows=True),
            self._processes.call("costs", short(run), rows=True),
            self._processes.call("audit", "verify"),
        ]
        must(not any(one.returncode for one in ended), f"they ended with {[one.returncode for one in ended]}")

    def flip_a_byte(self, run: str) -> None:
        must(self._processes.call("backup", COPY).returncode == 0, "the database could not be copied")
        offset = self._flip(run)
        self._page.say(f"One bit of byte {offset:,} of {COPY} is not what it was now.")
        ended = self._processes.call("audit", "verify", "--db", COPY)
        must(ended.returncode == exit_codes.FAILED, f"the flipped byte was not found: {ended.returncode}")
        self._page.say(f"It was found. {self._record.database.name} itself is untouched.")

    def _flip(self, run: str) -> int:
        """Change one bit in the middle of an event, where it lies in the copy's bytes; return the byte's number."""
        path = self._folder / COPY
        data = bytearray(path.read_bytes())
        stored = self._record.stored(run)
        whole = [event for event in stored[len(stored) // 2 :] if data.count(event) == 1]
        must(bool(whole), f"no event lies in one piece in {COPY}")
        offset = data.index(whole[0]) + len(whole[0]) // 2
        data[offset] ^= 1
        path.write_bytes(data)
        return offset


def _activities(places: list[str]) -> str:
    return "1 activity" if len(places) == 1 else f"{len(places)} activities"


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "nothing"


def _different(before: RunView, after: RunView) -> str:
    first, second = ([answer["content"] for answer in place_of(view, "draft").output] for view in (before, after))
    return f"{sum(one != other for one, other in zip(first, second, strict=True))} of {len(first)}"
