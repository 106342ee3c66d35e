"""A whole Headgate in one deterministic world: a real engine on a log, virtual time, scripted workers, crashes.

Everything that happens by chance is drawn from the seed and from names (run, place, attempt), never from the order of
things: on a log that uses no threads the same seed gives the same history, event by event.

A *crash* takes all memory away between two moments: at a chosen commit, either before it (nothing of it is in the
log) or after it (all of it is, and nobody was told). What is left is the log; a new engine is opened on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any, cast

import msgspec

from headgate.app import App
from headgate.core import commands as c
from headgate.core import events as e
from headgate.core.codec import content_value, decode
from headgate.core.definition import Definition
from headgate.core.errors import HeadgateError
from headgate.core.plan import compile_plan
from headgate.core.replay import replay, state_of
from headgate.core.run import Run
from headgate.core.values import Assignment, Candidate, Failure, Price, Usage
from headgate.engine.folding import fold_run
from headgate.engine.start import Start
from headgate.ports import (
    Admitted,
    BudgetRule,
    CallRequest,
    Completed,
    Failed,
    Log,
    RunRow,
    Settlement,
)
from headgate.stores.budgets import KeptBudgetRules
from headgate.stores.documents import MemoryDocuments
from headgate.testing.clock import NOON, VirtualClock
from headgate.testing.faults import faults_of
from headgate.testing.mortal_log import MortalLog

__all__ = ["Crash", "History", "World"]

TURNS_OF_REST = 60
"""So many turns of the loop without a commit or a report, and nothing will happen by itself any more."""

MOVES_MAX = 3_000
THE_END = NOON + 100 * 365 * 86_400_000_000
"""Whoever waits for a time after this waits for ever."""
QUEUES = ("std", "py-std")


class Crash(msgspec.Struct, frozen=True):
    """The process dies at its `commit`-th commit (counted from its start), before or after the log has it."""

    commit: int
    after: bool = True


class History(msgspec.Struct, frozen=True):
    """What the log holds of one run in the end."""

    run_id: str
    status: str
    events: list[e.Event]
    contents: dict[int, Any]
    definition: Definition
    cost: int
    """What its row says, in nano-dollars."""

    def count(self, kind: type[e.Event]) -> int:
        return sum(isinstance(event, kind) for event in self.events)


class World:
    """One database and what is done with it. `definitions` are deployed, and one run of each `start` is begun."""

    def __init__(
        self,
        log: Log,
        definitions: Sequence[Definition],
        *,
        seed: int = 0,
        crashes: Iterable[Crash] = (),
        calm: bool = False,
        greedy: bool = False,
        sleepy: bool = False,
        rules: Sequence[BudgetRule] = (),
    ) -> None:
        """`calm`: every worker does at once what it is asked, and succeeds. `greedy`: every worker makes model calls,
        which take their time, so that their reservations meet. `sleepy`: some workers fall asleep before they settle a
        call, and wake when all runs have ended. `rules` are set when the first process has begun."""
        self._rules = list(rules)
        self._kept_rules = KeptBudgetRules(MemoryDocuments())
        self.log = log
        self.clock = VirtualClock()
        self.definitions = {definition.name: definition for definition in definitions}
        self.starts: list[tuple[str, str, int]] = []
        """Every time that a worker began: run, place, attempt."""
        self.faults: list[str] = []
        self.crashed = 0
        self._seed = seed
        self._calm = calm
        self._greedy = greedy
        self._sleepy = sleepy
        self._asleep: list[tuple[str, str, Settlement]] = []
        """What is settled when all has ended: run, call, and how it went."""
        self._crashes = list(crashes)
        self._crash: Crash | None = None
        self._commits = 0
        """Those of this life."""
        self._begun: dict[str, Start] = {}
        self._completed: set[tuple[str, str]] = set()
        self._reports = 0
        self._app: App

    async def run(self, starts: Sequence[Start]) -> list[History]:
        """Begin the runs and live until every run in the log has ended; return their histories, in the log's order.

        Raises `AssertionError` for anything that must not happen.
        """
        self._begun = {start.run_id: start for start in starts}
        while not await self._live():
            self.crashed += 1
            self.clock.forget()
        histories = await self._histories()
        await self.log.close()
        assert self.faults == [], self.faults
        return histories

    # --- One life ------------------------------------------------------------------------------------------------

    async def _live(self) -> bool:
        """Live until all is done (True) or the process dies (False). Nothing in memory is kept."""
        others = asyncio.all_tasks()
        self._crash = self._crashes.pop(0) if self._crashes else None
        self._commits = 0
        mortal = MortalLog(self.log, self._committed, doomed=self._doomed)
        log = cast("Log", mortal)  # it passes on whatever it does not do itself
        self._app = App(log, clock=self.clock, environment={}, offline=True, work=False, budget_rules=self._kept_rules)
        mine = asyncio.get_running_loop().create_task(self._live_on())
        died = asyncio.get_running_loop().create_task(mortal.died.wait())
        await asyncio.wait({mine, died}, return_when=asyncio.FIRST_COMPLETED)
        done = mine.done()
        ending = [task for task in asyncio.all_tasks() - others if task is not asyncio.current_task()]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        if done:
            mine.result()
            assert self._app.engine.failures == [], self._app.engine.failures
        return done

    async def _live_on(self) -> None:
        app = self._app
        await app.__aenter__()
        asyncio.get_running_loop().create_task(self._work())
        for definition in self.definitions.values():
            await app.engine.definitions.deploy(definition)
        for rule in self._rules:
            if not any(kept.id == rule.id for kept in await self._kept_rules.all()):
                await app.budgets.set(rule)
        for start in self._begun.values():
            await app.engine.start(start)
        runs: list[RunRow] = []
        for _ in range(MOVES_MAX):
            await self._come_to_rest()
            runs = [row for row in await self.log.runs(limit=1_000) if row.head.finished_at is None]
            unsent = await self.log.due(0, 1)
            if runs or unsent:
                await self._go_on([row.id for row in runs])
            elif self._asleep:
                await self._wake_one()
            else:
                return
        raise AssertionError(f"no end after {MOVES_MAX} moves: {[row.id for row in runs]}")

    async def _come_to_rest(self) -> None:
        """Let everything happen that happens by itself while time stands still."""
        quiet = 0
        while quiet < TURNS_OF_REST:
            before = (self._app.engine.appender.commits, self._reports, len(self.starts))
            await asyncio.sleep(0)
            moved = before != (self._app.engine.appender.commits, self._reports, len(self.starts))
            quiet = 0 if moved or not self._app.engine.appender.idle else quiet + 1

    async def _wake_one(self) -> None:
        run_id, call_id, settlement = self._asleep[0]
        await self._app.gate.settle(run_id, call_id=call_id, settlement=settlement)
        self._asleep.pop(0)  # not before: where the process dies meanwhile, it says so again

    async def _go_on(self, runs: list[str]) -> None:
        """Answer one of those that wait for somebody outside, or let time pass."""
        alarm = self.clock.next_alarm
        if alarm is not None and alarm > THE_END:
            alarm = None
        for run_id in sorted(runs):
            run = (await self._app.engine.lane(run_id)).run
            self._check(run)
            command = self._answer(run)
            if command is not None and (alarm is None or self._draw(run_id, run.version).random() < 0.7):
                await self._app.engine.submit(run_id, command)
                return
        assert alarm is not None, f"nothing will ever happen again, and {runs} have not ended"
        self.clock.advance(to=alarm)

    def _answer(self, run: Run) -> c.Command | None:
        for place in run.live_places():
            wait = place.wait
            if wait and wait.kind == "signal":
                return c.Signal(at=self.clock.now(), name=wait.name, key=place.planned.key, data=run.version)
            if wait and wait.kind == "approval":
                return c.DecideApproval(at=self.clock.now(), key=place.path, by="somebody")
        return self._answer_of_people(run)

    def _answer_of_people(self, run: Run) -> c.Command | None:
        call = next((run.calls[call_id] for call_id in run.asking_calls), None)
        if call is None:
            return None
        budget = run.budget_of(call.raises)
        if call.line or budget is None or self._draw(run.id, "asked", run.version).random() < 0.3:
            return c.RefuseCalls(at=self.clock.now(), by="somebody")
        limit = max(budget.limit + 1, call.limit - call.left + call.needed)
        return c.RaiseBudget(at=self.clock.now(), limit=limit, key=call.raises, by="somebody")

    def _check(self, run: Run) -> None:
        self.faults += [f"run {run.id} at {run.version}: {fault}" for fault in faults_of(run)]
        for call in run.calls.values():
            waits = call.call_id in run.waiting_calls
            if (waits or call.state == "admitted") and call.call_id.split("/")[3] != str(self.crashed):
                self.faults.append(f"call {call.call_id} is {call.state}, and the process that made it is dead")

    def _doomed(self) -> bool:
        self._commits += 1
        return self._dies(after=False)

    def _committed(self, events: Sequence[e.Event]) -> bool:
        for event in events:
            if isinstance(event, e.ActivityCompleted | e.ActivityResolved | e.ActivityFailed | e.ActivitySkipped):
                self._completed.add((event.run_id, event.place))
        return self._dies(after=True)

    def _dies(self, *, after: bool) -> bool:
        return self._crash is not None and self._crash.after == after and self._commits >= self._crash.commit

    # --- Workers -------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            tasks = await self._app.protocol.poll(QUEUES, worker_id="scripted", count=100, wait_seconds=3_600)
            for task in tasks:
                asyncio.get_running_loop().create_task(self._perform(task))

    async def _perform(self, task: Assignment) -> None:
        self.starts.append((task.workflow_id, task.place, task.attempt))
        if (task.workflow_id, task.place) in self._completed:
            self.faults.append(f"{task.place} of {task.workflow_id} ran again after its outcome was recorded")
        draw = self._draw(task.workflow_id, task.place, task.attempt)
        try:
            await self._act(task, draw)
        except HeadgateError:
            return  # the attempt is over: a worker whose report is not wanted any more lets go

    async def _act(self, task: Assignment, draw: Random) -> None:
        chance = 0.0 if self._calm else draw.random()
        output = {"yes": draw.random() < 0.5, "no": False, "text": "x", "items": [1, 2]}
        if not self._calm and draw.random() < 0.5:
            await self.clock.sleep(draw.choice([0.5, 3, 40]))
        if self._greedy or draw.random() < 0.5:
            await self._call_models(task, draw)
        report: Completed | Failed = Completed(task.activity_id, output)
        if chance > 0.95:
            return  # it vanishes: only its time limit ends it
        if chance > 0.8:
            report = Failed(task.activity_id, Failure("broken", "it broke", retryable=chance < 0.9))
        elif chance > 0.75:
            await self.clock.sleep(task.timeout_seconds + 1)  # too late: another attempt is under way
        await self._app.protocol.report([report], worker_id="scripted")
        if chance > 0.7:
            await self._app.protocol.report([report], worker_id="scripted")
        self._reports += 1

    async def _call_models(self, task: Assignment, draw: Random) -> None:
        for number in range(draw.randint(1, 2)):
            call_id = f"{task.workflow_id}/{task.place}/{task.attempt}/{self.crashed}/{number}"
            worst = draw.randint(1, 40)
            request = CallRequest("h", (Candidate("m/one", worst, Price(1, 1)),))
            answer = await self._app.protocol.admit(task.activity_id, call_id=call_id, request=request)
            if not isinstance(answer, Admitted):
                continue
            used = Settlement.used(Usage(cost_nano=draw.randint(0, worst)))
            settlement = draw.choice([Settlement("lost"), Settlement("never_sent"), *[used] * 4])
            if self._greedy or (not self._calm and draw.random() < 0.3):
                await self.clock.sleep(2)
            if self._sleepy and draw.random() < 0.5:
                self._asleep.append((task.workflow_id, call_id, settlement))
            else:
                await self._app.protocol.settle(task.activity_id, call_id=call_id, settlement=settlement)

    def _draw(self, *names: object) -> Random:
        return Random(f"{self._seed}/{names}")  # noqa: S311 - chance that can be repeated is the point

    # --- In the end ----------------------------------------------------------------------------------------------

    async def _histories(self) -> list[History]:
        return [await self._history(row.id) for row in reversed(await self.log.runs(limit=1_000))]

    async def _history(self, run_id: str) -> History:
        row = await self.log.run(run_id)
        assert row is not None
        plan = compile_plan(self.definitions[row.workflow])
        stored = await self.log.events(row.key)
        events = [decode(event.data)[0] for event in stored]
        found = await self.log.contents(row.key, [event.version for event in stored])
        contents = {version: content_value(data) for version, data in found.items()}
        divergence = replay(plan, events, contents)
        assert divergence is None, divergence
        run = await fold_run(self.log, row, plan)
        assert faults_of(run) == []
        assert state_of(run) == state_of(await fold_run(self.log, row, plan))
        assert run.reserved == 0, f"{run_id} has ended with {run.reserved} reserved"
        assert {event.trace_id for event in events} == {row.trace_id}
        return History(run_id, row.head.status, events, contents, self.definitions[row.workflow], row.head.cost)
