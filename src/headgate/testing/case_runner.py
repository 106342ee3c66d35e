"""Cases run through the real engine: a whole App over a log in memory, under a clock that only goes on when it must.

Nothing is short-circuited but the outside world: definitions are checked, commands decided, events committed, budgets
kept, models admitted and settled as in earnest. Time stands still while anything happens; when nothing does, it leaps
to the next moment for which somebody waits, so that weeks pass at once. A crash takes the engine away right after a
commit, with all its memory; another engine is opened on the same log, and goes on.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from headgate.app import App
from headgate.core import events as e
from headgate.core.errors import HeadgateError, Refused
from headgate.core.place import Place
from headgate.core.run import Run
from headgate.engine.reader import Reader
from headgate.engine.start import Start
from headgate.ports import ActivityFunction, Log
from headgate.stores.memory import MemoryLog
from headgate.testing.case_definition import definition_of, load_for
from headgate.testing.case_script import Answers, CaseProviders
from headgate.testing.case_worklist import Worklist
from headgate.testing.cases import Case, CaseResult, CaseSignal, Crash, Mismatch, Moment
from headgate.testing.clock import VirtualClock
from headgate.testing.expectations import mismatches_of
from headgate.testing.mortal_log import MortalLog

__all__ = ["run_case"]

TURNS_OF_REST = 60
"""So many turns of the loop without a commit or a move, and nothing happens by itself any more."""
MOVES_MAX = 100_000
"""So many leaps of the clock, and the case is given up."""
REAL_SECONDS_MAX = 60.0
"""What a case may take by the real clock (scripts run in earnest)."""
AGE_MAX = 200 * 365 * 86_400_000_000
EVENTS_MAX = 100_000


def run_case(case: Case, *, functions: Mapping[str, ActivityFunction] | None = None) -> CaseResult:
    """Run a case and return what came of it; it never fails for what the workflow does.

    `functions` are activities of your own, by name, which run in earnest unless the case answers for them. Each call
    is a world of its own: the same case gives the same result. It has a loop of its own; in async code call it by
    `asyncio.to_thread`. Raises `Invalid` for a definition that cannot work.
    """
    return asyncio.run(_Performance(case, dict(functions or {})).result())


class _Performance:
    def __init__(self, case: Case, functions: dict[str, ActivityFunction]) -> None:
        self._case = case
        self._functions = functions
        self._definition = definition_of(case, functions)
        self._clock = VirtualClock(case.clock)
        self._log = MemoryLog()
        self._folder = Path(tempfile.gettempdir()) / f"headgate-case-{id(self):x}"
        self._work = Worklist(Answers(case.activities), self._clock)
        self._providers = CaseProviders(case, self._work.sleep)
        self._work.kept.append(self._providers.answers)
        self._crash = case.crash
        self._crashes = 0
        self._signals = list(case.signals)
        self._run_id = ""
        self._completed_at: dict[str, int] = {}
        self._opened_at: dict[str, int] = {}
        self._mismatches: list[Mismatch] = []

    async def result(self) -> CaseResult:
        self._folder.mkdir()
        try:
            async with asyncio.timeout(REAL_SECONDS_MAX):
                while not await self._live():
                    self._crashes += 1
                    self._clock.forget()
                    self._providers.answers.give_back()
                    self._work.answers.give_back()
        except HeadgateError as error:
            self._mismatches.append(Mismatch("run", error.message))
        except TimeoutError:
            self._mismatches.append(Mismatch("run", f"no end after {REAL_SECONDS_MAX:g} s of the real clock"))
        finally:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        return await self._looked_at()

    # --- One life of the engine --------------------------------------------------------------------------------------

    async def _live(self) -> bool:
        """Live until nothing happens any more (True) or the engine is dropped (False)."""
        others = asyncio.all_tasks()
        log = MortalLog(self._log, self._committed)
        app = self._app(cast("Log", log))  # it passes on whatever it does not do itself
        loop = asyncio.get_running_loop()
        mine, died = loop.create_task(self._live_on(app)), loop.create_task(log.died.wait())
        try:
            await asyncio.wait({mine, died}, return_when=asyncio.FIRST_COMPLETED)
            ended = mine.done()
            if ended:
                await app.__aexit__(None, None, None)
        finally:
            await _end_all(others)
        if not ended:
            await app.worker.close()  # what is left of it: the thread of its user loop
        if ended:
            mine.result()
            self._mismatches += [Mismatch("engine", repr(failure)) for failure in app.engine.failures]
        return ended

    def _app(self, log: Log) -> App:
        app = App(
            log,
            clock=self._clock,
            activities=self._functions,
            providers=self._providers,
            environment={f"HEADGATE_SECRET_{name}": value for name, value in self._case.secrets.items()},
            offline=True,
            folder=self._folder,
        )
        self._work.stand_between(app.protocol)
        return app

    async def _live_on(self, app: App) -> None:
        await app.__aenter__()
        for source, text in self._case.children.items():
            await app.engine.definitions.deploy(load_for(self._case, text, source, self._functions))
        version, _ = await app.engine.definitions.deploy(self._definition)
        # The same `command_id` starts once: after a crash this gives the run that is there.
        row = await app.engine.start(
            Start(
                workflow=self._definition.name,
                version=version,
                input=self._case.input,
                limit=self._case.limit,
                command_id="case",
            )
        )
        run_id = row.id
        for _ in range(MOVES_MAX):
            await self._come_to_rest(app)
            run = (await app.engine.lane(run_id)).run
            if run.finished and not await app.engine.log.due(self._clock.now(), 1):
                return
            if not await self._send_next(app, run) and not await self._let_time_pass(run):
                return
        self._mismatches.append(Mismatch("run", f"no end after {MOVES_MAX} leaps of the clock"))

    async def _come_to_rest(self, app: App) -> None:
        """Let everything happen that happens while time stands still."""
        quiet, appender = 0, app.engine.appender
        while quiet < TURNS_OF_REST:
            self._work.moved.clear()
            if self._work.busy:
                await self._work.moved.wait()
            before = (appender.commits, self._work.moves)
            await asyncio.sleep(0)
            moved = before != (appender.commits, self._work.moves)
            quiet = 0 if moved or not appender.idle else quiet + 1

    async def _let_time_pass(self, run: Run) -> bool:
        """Leap to the next moment for which somebody waits; return whether there is one."""
        now = self._clock.now()
        moments = [at for signal in self._signals if (at := self._due(signal, run)) is not None and at > now]
        if (alarm := self._clock.next_alarm) is not None and alarm < self._case.clock + AGE_MAX:
            moments.append(alarm)
        if not moments:
            return False
        self._clock.advance(to=max(min(moments), now))
        return True

    def _committed(self, events: Sequence[e.Event]) -> bool:
        """Note what is in the log now; return whether this was the last that the engine did."""
        dies = False
        for event in events:
            self._work.committed(event)
            if not self._run_id and isinstance(event, e.RunStarted):
                self._run_id = event.run_id
            if event.run_id == self._run_id:
                self._note(event)
                dies = dies or self._is_the_crash(event)
        if dies:
            self._crash = None
        return dies

    def _note(self, event: e.Event) -> None:
        if isinstance(event, e.ActivityCompleted | e.ActivityResolved) and not event.place.endswith("]"):
            self._completed_at[event.place.partition("@")[0]] = event.at
        elif isinstance(event, e.ActivitySuspended) and event.kind == "approval":
            self._opened_at[event.place] = event.at

    def _is_the_crash(self, event: e.Event) -> bool:
        match self._crash:
            case Crash(after=int() as count):
                return event.version >= count
            case Crash(after=str() as key):
                completed = isinstance(event, e.ActivityCompleted | e.ActivityResolved)
                return completed and event.place.partition("@")[0] == key
            case _:
                return False

    # --- From outside ------------------------------------------------------------------------------------------------

    async def _send_next(self, app: App, run: Run) -> bool:
        """Send the first signal whose time has come; return whether there was one."""
        for signal in self._signals:
            at = self._due(signal, run)
            if at is not None and at <= self._clock.now():
                self._signals.remove(signal)
                await self._send(app, signal, run)
                return True
        return False

    async def _send(self, app: App, signal: CaseSignal, run: Run) -> None:
        try:
            if signal.kind == "signal":
                await app.desk.signal(run.id, signal.name, key=signal.activity, data=signal.data)
            else:
                place = self._open_approval(signal, run)
                assert place is not None
                await app.desk.decide(
                    run.id,
                    key=place.path,
                    approved=signal.kind == "approve",
                    by=signal.by,
                    comment=signal.comment,
                    data=signal.data,
                )
        except (Refused, HeadgateError) as error:
            self._mismatches.append(Mismatch("signals", f"{signal} was not taken: {error.message}"))

    def _due(self, signal: CaseSignal, run: Run) -> int | None:
        """Return when a signal is sent; None: that is not known yet."""
        if run.finished:
            return None
        base = self._base(signal.after)
        if signal.kind != "signal":
            place = self._open_approval(signal, run)
            opened = None if place is None else self._opened_at.get(place.path)
            base = None if base is None or opened is None else max(base, opened)
        return None if base is None else base + signal.after.delay

    def _base(self, after: Moment) -> int | None:
        return self._completed_at.get(after.activity) if after.activity else self._case.clock

    def _open_approval(self, signal: CaseSignal, run: Run) -> Place | None:
        for place in run.live_places():
            if place.wait and place.wait.kind == "approval" and signal.activity in ("", place.planned.key, place.path):
                return place
        return None

    # --- In the end --------------------------------------------------------------------------------------------------

    async def _looked_at(self) -> CaseResult:
        case, view, events = self._case, None, []
        found = [*self._providers.mismatches, *self._work.mismatches]
        if self._run_id:
            reader = Reader(self._log, self._clock.now)
            view = await reader.show(self._run_id)
            events = await reader.events(self._run_id, limit=EVENTS_MAX)
            found += self._mismatches + mismatches_of(case.expect, view, events)
            found += [
                Mismatch("signals", f"{signal} was never sent: the time for it never came") for signal in self._signals
            ]
            if self._crash is not None:
                found.append(Mismatch("crash", f"the crash after {self._crash.after} never came"))
            if case.unused == "error":
                found += [*self._providers.answers.left_over("models"), *self._work.answers.left_over("activities")]
        else:
            found += self._mismatches
        await self._log.close()
        return CaseResult(
            case=case,
            mismatches=tuple(found),
            view=view,
            events=tuple(events),
            requests=tuple(self._providers.requests),
            crashes=self._crashes,
        )


async def _end_all(others: set[asyncio.Task[Any]]) -> None:
    """Cancel every task but `others`, again until it has ended: one that is cancelled may still want to tell the log,
    or begin another, and the log of a dead engine answers nobody."""
    ended: set[asyncio.Task[Any]] = set()
    while ending := asyncio.all_tasks() - others - {asyncio.current_task()}:
        ended |= ending
        for task in ending:
            task.cancel()
        await asyncio.sleep(0)
    await asyncio.gather(*ended, return_exceptions=True)
