"""What must be true of a database and its journal, however often the processes that wrote them were killed.

`problems` returns one sentence for each thing that is not, so that a test can show all of them at once. It reads the
database as any reader does, and shares nothing with the engine but the stored form and the fold.

The journal (see `crashes`) is in the order of what was known: `opened` and `committed` name events that were durable
then; `told`, `shown`, `acknowledged`, `answered`, `settled` are promises that were given; `executed` and `called` are
effects, with the provider's bill for each call.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.core.codec import GENESIS, chain, decode
from headgate.core.view import RunView
from headgate.engine.audit import Fault, verify
from headgate.engine.reader import Reader
from headgate.ports import EventRow, Log, OverBudget, RunRow
from headgate.stores.sqlite import SqliteLog
from headgate.testing.crashes import Journal

__all__ = ["Evidence", "gather", "gather_from", "problems", "problems_of_books", "problems_of_log"]

EVENTS_MAX = 1_000_000

Line = dict[str, Any]
Attempt = tuple[str, str, int]


class Evidence(msgspec.Struct, frozen=True):
    """All that is in a database and its journal. `first` is the run that nothing else started."""

    runs: dict[str, RunRow]
    rows: list[EventRow]
    events: list[e.Event]
    budgets: list[OverBudget]
    journal: list[Line]
    first: RunView
    faults: list[Fault]
    """What the engine's own audit finds."""

    @property
    def bill(self) -> int:
        """What the providers charge for all calls that were made."""
        return sum(line["bill"] for line in self.journal if line["kind"] == "called")

    @property
    def forfeits(self) -> int:
        return sum(isinstance(event, g.CallForfeited) for event in self.events)

    @property
    def ledger(self) -> int:
        """What all runs say that their calls cost."""
        return sum(_spent(event) for event in self.events)


def gather(database: Path, journal: Path) -> Evidence:
    """Read everything. Raises what opening a database raises."""
    return asyncio.run(_gather(database, journal))


async def _gather(database: Path, journal: Path) -> Evidence:
    log = SqliteLog(database, read_only=True)
    try:
        return await gather_from(log, journal)
    finally:
        await log.close()


async def gather_from(log: Log, journal: Path) -> Evidence:
    """Read everything of any log."""
    reader = Reader(log, lambda: time.time_ns() // 1_000)
    runs = {row.id: row for row in await log.runs(limit=10_000)}
    rows = await log.feed(0, EVENTS_MAX)
    events = [decode(row.data)[0] for row in rows]
    names = {name for event in events if isinstance(event, e.RunStarted) for name in event.outer}
    budgets = [budget for name in sorted(names) if (budget := await log.budget(name)) is not None]
    first = next(row.id for row in runs.values() if not row.parent)
    return Evidence(runs, rows, events, budgets, Journal.read(journal), await reader.show(first), await verify(log))


def problems(evidence: Evidence, *, interrupted: bool) -> list[str]:
    """Return what is wrong, a sentence each; nothing when all is well. `interrupted`: some process was killed on the
    way, or the run was cancelled.

    Without that the ledger must equal the providers' log call by call; with it a call that nobody settled must stand in
    the ledger as one forfeit.
    """
    return [
        *_strangers(evidence),
        *_broken_promises(evidence),
        *problems_of_books(evidence, interrupted=interrupted),
    ]


def problems_of_books(evidence: Evidence, *, interrupted: bool) -> list[str]:
    """Return what is wrong with the log and with the money, whatever was promised meanwhile, and however many runs
    were started."""
    return [*problems_of_log(evidence), *_wrong_calls(evidence, interrupted=interrupted)]


def problems_of_log(evidence: Evidence) -> list[str]:
    """Return what is wrong with the log and its sums, where the providers' log does not say which call it tells of."""
    return [
        *map(str, evidence.faults),
        *_torn_chains(evidence),
        *_wrong_money(evidence),
        *_over_admissions(evidence),
    ]


def _strangers(evidence: Evidence) -> Iterator[str]:
    firsts = [run.id for run in evidence.runs.values() if not run.parent]
    if len(firsts) != 1:
        yield f"Expected one run that was started from outside, got {len(firsts)}: {', '.join(firsts)}."


# --- The log -----------------------------------------------------------------------------------------------------


def _torn_chains(evidence: Evidence) -> Iterator[str]:
    ids = {row.key: row.id for row in evidence.runs.values()}
    heads: dict[int, tuple[int, bytes]] = defaultdict(lambda: (0, GENESIS))
    for row in evidence.rows:
        version, previous = heads[row.run]
        if row.version != version + 1:
            yield f"Run {ids.get(row.run)}: expected event {version + 1}, got {row.version}."
        if row.hash != chain(previous, row.data):
            yield f"Run {ids.get(row.run)}: the hash of event {row.version} is not that of its bytes."
        heads[row.run] = row.version, row.hash
    for run in evidence.runs.values():
        if heads[run.key] != (run.head.version, run.head.hash):
            yield f"Run {run.id}: its head says event {run.head.version}, its events end at {heads[run.key][0]}."


# --- What was known, and when ---------------------------------------------------------------------------------------


class _Known:
    """What was durable at a point of the journal."""

    def __init__(self) -> None:
        self.events: set[tuple[str, int]] = set()
        self.scheduled: set[Attempt] = set()
        self.ended: set[Attempt] = set()
        self.completed: set[tuple[str, str]] = set()
        self.decided: set[str] = set()
        self.open_calls: dict[str, tuple[str, str]] = {}
        self.settled: set[str] = set()
        self.runs: set[str] = set()
        self.cancelled: set[Attempt] = set()
        """Their outcome is known, though they may have been handed out already, and still begin."""
        self.over: set[str] = set()

    def has_outcome(self, attempt: Attempt) -> bool:
        return attempt in self.ended or attempt in self.cancelled or attempt[0] in self.over

    def learn(self, run: str, version: int, kind: str, place: str, attempt: int, call: str) -> None:
        self.events.add((run, version))
        match kind:
            case "run_started":
                self.runs.add(run)
            case "activity_scheduled":
                self.scheduled.add((run, place, attempt))
            case "activity_completed":
                self.completed.add((run, place))
                self.ended.add((run, place, attempt))
            case "attempt_failed" | "attempt_timed_out" | "attempt_lost":
                self.ended.add((run, place, attempt))
            case "activity_cancelled":
                self.cancelled.add((run, place, attempt))
            case "run_failed" | "run_cancelled":
                self.over.add(run)
            case "call_refused":
                self.decided.add(call)
            case "call_admitted":
                self.decided.add(call)
                if call not in self.settled:
                    self.open_calls[call] = (run, place)
            case "call_settled" | "call_forfeited":
                self.settled.add(call)
                self.open_calls.pop(call, None)
            case _:
                pass


def _broken_promises(evidence: Evidence) -> Iterator[str]:
    known = _Known()
    for line in evidence.journal:
        if line["kind"] == "opened":
            found = {(event[0], event[1]) for event in line["events"]}
            lost = known.events - found
            if lost:
                yield f"Events that were committed are gone when the log is opened again: {sorted(lost)}."
        if line["kind"] in ("opened", "committed"):
            for event in line["events"]:
                known.learn(*event)
        else:
            yield from _broken_promise(known, line)
    final = {(event.run_id, event.version) for event in evidence.events}
    if lost := known.events - final:
        yield f"Events that were committed are not in the log: {sorted(lost)}."


def _broken_promise(known: _Known, line: Line) -> Iterator[str]:
    match line["kind"]:
        case "told" if line["run"] not in known.runs:
            yield f"A client was told of run {line['run']} before its start was committed."
        case "shown" if (line["run"], line["version"]) not in known.events:
            yield f"A client was shown run {line['run']} at event {line['version']} before that was committed."
        case "acknowledged" if not known.has_outcome(_attempt_of(line["activity_id"])):
            yield f"The report of {line['activity_id']} was acknowledged before its outcome was committed."
        case "answered" if line["call_id"] not in known.decided:
            yield f"Call {line['call_id']} was answered before the answer was committed."
        case "settled" if line["call_id"] not in known.settled:
            yield f"The settlement of call {line['call_id']} was acknowledged before it was committed."
        case "executed" | "called":
            attempt = (line["run"], line["place"], line["attempt"])
            if attempt not in known.scheduled:
                yield f"Attempt {attempt} was {line['kind']} before it was committed as scheduled."
            if attempt in known.ended or attempt[:2] in known.completed:
                yield f"Attempt {attempt} was {line['kind']} after the outcome of its activity was recorded."
            for call, place in known.open_calls.items():
                if place == attempt[:2] and not call.startswith(f"{line['activity_id']}/"):
                    yield f"Attempt {attempt} was {line['kind']} while call {call} of a dead claim was still open."
        case _:
            pass


def _attempt_of(activity_id: str) -> Attempt:
    run, place, attempt, _ = activity_id.split("/")
    return run, place, int(attempt)


# --- Calls and money -----------------------------------------------------------------------------------------------


class _Books:
    """What the log says of each call; admissions by the claim that asked, in order."""

    def __init__(self, events: list[e.Event]) -> None:
        self.admitted: dict[str, list[g.CallAdmitted]] = defaultdict(list)
        self.settled: dict[str, list[g.CallSettled]] = defaultdict(list)
        self.forfeited: dict[str, list[g.CallForfeited]] = defaultdict(list)
        for event in events:
            match event:
                case g.CallAdmitted():
                    self.admitted[event.call_id.rpartition("/")[0]].append(event)
                case g.CallSettled() if event.outcome != "lost":
                    self.settled[event.call_id].append(event)
                case g.CallForfeited():
                    self.forfeited[event.call_id].append(event)
                case _:
                    pass


def _wrong_calls(evidence: Evidence, *, interrupted: bool) -> Iterator[str]:
    """Compare the ledger with the providers' log: the nth call of a claim is the nth that was admitted for it."""
    books = _Books(evidence.events)
    made: Counter[str] = Counter()
    called: set[str] = set()
    for line in evidence.journal:
        if line["kind"] != "called":
            continue
        number, claim = made[line["activity_id"]], line["activity_id"]
        made[claim] += 1
        if number >= len(books.admitted[claim]):
            yield f"Claim {claim} called {line['model']} without an admission (call {number + 1})."
            continue
        call = books.admitted[claim][number].call_id
        called.add(call)
        yield from _wrong_call(call, line["bill"], books.settled[call], books.forfeited[call])
    for call in (event.call_id for events in books.admitted.values() for event in events):
        if call not in called:
            yield from _wrong_call_never_made(call, books.settled[call], books.forfeited[call])
    if not interrupted and evidence.forfeits:
        yield f"Nothing was interrupted, and {evidence.forfeits} calls were forfeited."


def _wrong_call(call: str, bill: int, settled: list[g.CallSettled], forfeits: list[g.CallForfeited]) -> Iterator[str]:
    if len(settled) > 1:
        yield f"Call {call} was settled {len(settled)} times."
    if settled and settled[-1].cost != bill:
        yield f"Call {call} is settled at {settled[-1].cost}; the provider charged {bill}."
    if not settled and len(forfeits) != 1:
        yield f"Call {call} was made and not settled; expected one forfeit, got {len(forfeits)}."
    if not settled and any(forfeit.amount < bill for forfeit in forfeits):
        yield f"Call {call} was forfeited at less than the {bill} that the provider charged."


def _wrong_call_never_made(call: str, settled: list[g.CallSettled], forfeits: list[g.CallForfeited]) -> Iterator[str]:
    if any(event.outcome == "used" for event in settled):
        yield f"Call {call} was settled as used, and no provider was called."
    if len(settled) + len(forfeits) != 1:
        yield f"Call {call} was admitted and never made; it has {len(settled)} settlements, {len(forfeits)} forfeits."


def _wrong_money(evidence: Evidence) -> Iterator[str]:
    if evidence.ledger < evidence.bill:
        yield f"The ledger says {evidence.ledger}; the providers charged {evidence.bill}."
    spent: Counter[str] = Counter()
    for event in evidence.events:
        spent[event.run_id] += _spent(event)
    for run in evidence.runs.values():
        if run.head.finished_at is not None and run.head.reserved:
            yield f"Run {run.id} has finished and still holds {run.head.reserved} as reserved."
    for run_id, total in _with_all_below(evidence.runs, spent).items():
        run = evidence.runs[run_id]
        if run.head.finished_at is not None and run.head.cost != total:
            yield f"Run {run.id} says that it cost {run.head.cost}; its calls come to {total}."
    for budget in evidence.budgets:
        sharing = {
            event.run_id
            for event in evidence.events
            if isinstance(event, e.RunStarted) and budget.budget in event.outer
        }
        total = sum(spent[run] for run in sharing)
        if (budget.spent, budget.reserved) != (total, 0):
            stands = f"{budget.spent} and {budget.reserved} reserved"
            yield f"Budget {budget.budget} stands at {stands}; its calls cost {total}."


def _with_all_below(runs: dict[str, RunRow], spent: Counter[str]) -> Counter[str]:
    """Return what each run comes to with its children, their children, and so on."""
    totals: Counter[str] = Counter()
    for run in runs.values():
        above: RunRow | None = run
        while above is not None:
            totals[above.id] += spent[run.id]
            above = runs.get(above.parent or "")
    return totals


def _spent(event: e.Event) -> int:
    """Return what the event adds to what has been spent."""
    match event:
        case g.CallSettled() if event.outcome != "lost":
            return event.cost - event.replaces
        case g.CallForfeited():
            return event.amount
        case e.ActivityCompleted() | e.AttemptFailed():
            return event.cost
        case _:
            return 0


def _over_admissions(evidence: Evidence) -> Iterator[str]:
    """Add up every budget again, in the order of the log, and look at each admission."""
    limits = {budget.budget: budget.limit for budget in evidence.budgets}
    limits |= {run.id: run.limit for run in evidence.runs.values() if run.limit is not None}
    outer: dict[str, tuple[str, ...]] = {}
    open_calls: dict[str, int] = {}
    stands: Counter[str] = Counter()
    for event in evidence.events:
        if isinstance(event, e.RunStarted):
            outer[event.run_id] = event.outer
        above = (event.run_id, *outer.get(event.run_id, ()))
        change = _spent(event)
        match event:
            case g.CallAdmitted():
                open_calls[event.call_id] = event.reservation
                change = event.reservation
            case g.CallSettled() if event.outcome != "lost":
                change -= open_calls.pop(event.call_id, 0)
            case g.CallForfeited():
                change -= open_calls.pop(event.call_id, 0)
            case _:
                pass
        for budget in above:
            stands[budget] += change
            if isinstance(event, g.CallAdmitted) and stands[budget] > limits.get(budget, 1 << 62):
                yield f"Call {event.call_id} was admitted at {stands[budget]} of {limits[budget]} in budget {budget}."
