"""Where calls wait for a provider: a line for each account, in which tenants take turns; and for the rate of their own
definition: a line for each of these, in which runs do.

A call is looked at when it comes, and again whenever something may have changed: the time of its rate has come, a call
has ended, a rate was set. It goes to the first model of its list that can be called now. One that must wait waits for
the first of them (unless the list says that it hurries, or its rate opens late): it keeps its place among the calls of
its tenant, and tenants take turns. While the first of a model must wait, nobody behind it passes it; while the rate is
the account's, nobody of the account does.

Each line has one task while somebody is in it. What waits is written down in the store (`wait RUN PLACE`), so that
`headgate show` can say why, from another process too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from headgate.core.attempts import stale_attempt
from headgate.core.run import Run
from headgate.core.values import Candidate, Failure, PassedOver
from headgate.engine.limit_view import Wait
from headgate.engine.limits import Limits, State, Take, account_of, model_of
from headgate.engine.model_choice import choose, narrowed, none_left, too_late
from headgate.engine.own_rates import OwnRate
from headgate.engine.turns import Turns
from headgate.engine.turns_of_nodes import FIRST_LOOKS_EVERY, HEAD_START, SEEN_EVERY, Place, TurnsOfNodes
from headgate.ports import CallRequest, Cell, Clock, Denied, Swap

__all__ = ["WAITING_MAX", "WAIT_SECONDS_MAX", "Asked", "Lines", "Turn"]

WAITING_MAX = 10_000
"""Calls that wait here at a time; a further one is denied, and its attempt may come again."""
WAIT_SECONDS_MAX = 3_600
"""A call that has waited so long for a provider is denied, and its attempt may come again."""
FULL_RETRY_SECONDS = 30.0
LOOKS_MAX = 100
"""So often a call looks again at once when another was faster; then it waits a moment."""
CROWDED_MICROSECONDS = 10_000
MICROSECONDS = 1_000_000
NEVER = 1 << 62


class Asked(NamedTuple):
    """A call as it was asked for, and by whom."""

    run_id: str
    place: str
    attempt: int
    tenant: str
    call_id: str
    request: CallRequest
    own: OwnRate | None = None
    """The rate of its definition."""


class Turn(NamedTuple):
    """A call may go: what to ask the ledger, the model that it is to go to, and what was taken for that."""

    request: CallRequest
    candidate: Candidate
    takes: tuple[Take, ...]


class _Must(NamedTuple):
    """A call must wait for a model until then."""

    state: State
    passed_over: tuple[PassedOver, ...]


class _Waiter:
    """A call in a line. `answer` is its turn, or why it has none."""

    __slots__ = ("answer", "asked", "line", "model", "noted", "party", "since")

    def __init__(self, asked: Asked, since: int, answer: asyncio.Future[Turn | Denied]) -> None:
        self.asked = asked
        self.since = since
        self.answer = answer
        self.line: _Line | None = None
        self.party = ""
        """With whom it takes turns there: its tenant, or its run."""
        self.model = ""
        self.noted: str | None = None


class _Line:
    """Those who wait for one account, or one rate of a definition, and what looks after them."""

    __slots__ = ("given", "task", "turns", "wake")

    def __init__(self) -> None:
        self.turns: Turns[_Waiter] = Turns()
        self.given = 0
        """How many turns it has given."""
        self.wake = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class Lines:
    """One per gate."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._nodes = TurnsOfNodes(limits.store)
        self._lines: dict[str, _Line] = {}
        self._waiters: dict[str, set[_Waiter]] = {}
        """Who waits, by run."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    async def open(self) -> None:
        """Nobody waits any more who waited in the process before; in a shared store, who has waited for as long as one
        may."""
        store = self._limits.store
        for cell in await store.cells("wait "):
            if not store.shared or _is_over(cell, store.now()):
                await store.swap([Swap(cell.name, cell.body, None)])
        await self._nodes.forget_the_gone()

    async def close(self) -> None:
        tasks = [line.task for line in self._lines.values() if line.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- One call ----------------------------------------------------------------------------------------------------

    async def turn(self, asked: Asked) -> Turn | Denied:
        """Return when it is the call's turn. Raises `StaleAttempt` when its attempt ends meanwhile."""
        waiter = _Waiter(asked, self._limits.store.now(), asyncio.get_running_loop().create_future())
        if asked.request.pause_seconds:
            if self._count >= WAITING_MAX:
                return _full()
            await self._pause(waiter)
        found = await self._look(asked)
        if isinstance(found, Denied):
            return found
        if isinstance(found, Turn):
            ahead = self._behind_its_own(asked, found.candidate) or self._behind_others(found.candidate)
            if ahead is None:
                return found
            await self._limits.give_back(found.candidate, asked.call_id, found.takes)
            found = _Must(ahead, ())
        if self._count >= WAITING_MAX:
            return _full()
        return await self._wait_in_line(waiter, found)

    def _behind_its_own(self, asked: Asked, candidate: Candidate) -> State | None:
        """Return what to wait for where others wait already for the rate of the call's definition."""
        line = self._lines.get(asked.own.line) if asked.own is not None else None
        return State(candidate, 0, line=asked.own.line) if line is not None and line.turns and asked.own else None

    def _behind_others(self, candidate: Candidate) -> State | None:
        """Return what to wait for where others wait already for what the call would take of the provider."""
        line = self._lines.get(account_of(candidate))
        if line is None:
            return None
        of_account = candidate.model.partition("/")[0] in self._limits.rates
        behind = len(line.turns) > 0 if of_account else line.turns.waits_for(model_of(candidate))
        return State(candidate, 0) if behind else None

    async def _look(self, asked: Asked) -> Turn | Denied | _Must:
        """Take a turn for the first model that can be called now; else say which to wait for."""
        for _ in range(LOOKS_MAX):
            states = [
                await self._limits.state(candidate, asked.call_id, asked.own) for candidate in asked.request.candidates
            ]
            now = self._limits.store.now()
            chosen, passed = choose(states, now)
            if chosen is None:
                return none_left(states, passed, now)
            if chosen.opens_at > now:
                if chosen.opens_at > now + WAIT_SECONDS_MAX * MICROSECONDS and not chosen.line:
                    return too_late(chosen, now)
                return _Must(chosen, passed)
            takes = await self._limits.take(chosen.candidate, asked.call_id, asked.own)
            if takes is not None:
                return Turn(narrowed(asked.request, passed), chosen.candidate, takes)
            await asyncio.sleep(0)  # somebody else was faster
        return _Must(State(asked.request.candidates[0], self._limits.store.now() + CROWDED_MICROSECONDS), ())

    # --- Waiting -----------------------------------------------------------------------------------------------------

    async def _pause(self, waiter: _Waiter) -> None:
        """Wait before another try of what has just failed."""
        request = waiter.asked.request
        until = waiter.since + int(request.pause_seconds * MICROSECONDS)
        why = f"a pause before {request.candidates[0].model} is asked again"
        self._enter(waiter)
        try:
            await self._note(waiter, Wait(why, until, waiter.since, request.candidates[0].model, waiter.asked.tenant))
            alarm = asyncio.Event()
            waiter.answer.add_done_callback(lambda _: alarm.set())
            while self._clock.now() < until and not waiter.answer.done():
                await self._clock.wait(until, alarm)
            if waiter.answer.done():
                waiter.answer.result()
        finally:
            self._leave(waiter)
            await asyncio.shield(self._note(waiter, None))

    async def _wait_in_line(self, waiter: _Waiter, must: _Must) -> Turn | Denied:
        self._enter(waiter)
        try:
            self._join(waiter, must.state)
            await self._note(waiter, _wait_of(waiter, must.state))
            return await waiter.answer
        except BaseException:
            if waiter.answer.done() and not waiter.answer.cancelled() and not waiter.answer.exception():
                turn = waiter.answer.result()  # its turn came as it was being cancelled
                if isinstance(turn, Turn):
                    await asyncio.shield(self._limits.give_back(turn.candidate, waiter.asked.call_id, turn.takes))
            raise
        finally:
            waiter.answer.cancel()
            if waiter.line is not None and waiter.line.turns.remove(waiter.party, waiter.model, waiter):
                waiter.line.wake.set()
            self._leave(waiter)
            await asyncio.shield(self._note(waiter, None))

    def _enter(self, waiter: _Waiter) -> None:
        self._waiters.setdefault(waiter.asked.run_id, set()).add(waiter)
        self._count += 1

    def _leave(self, waiter: _Waiter) -> None:
        waiting = self._waiters[waiter.asked.run_id]
        waiting.discard(waiter)
        if not waiting:
            del self._waiters[waiter.asked.run_id]
        self._count -= 1

    def _join(self, waiter: _Waiter, state: State) -> None:
        waiter.party = waiter.asked.run_id if state.line else waiter.asked.tenant
        waiter.model = state.line or model_of(state.candidate)
        name = _line_of(state)
        line = waiter.line = self._lines.setdefault(name, _Line())
        line.turns.add(waiter.party, waiter.model, waiter)
        line.wake.set()
        if line.task is None:
            line.task = asyncio.get_running_loop().create_task(self._look_after(name, line))

    async def _note(self, waiter: _Waiter, wait: Wait | None) -> None:
        """Write down that the call waits, and for what; None: no more."""
        after = None if wait is None else msgspec.json.encode(wait).decode()
        if after != waiter.noted:
            before, waiter.noted = waiter.noted, after
            name = f"wait {waiter.asked.run_id} {waiter.asked.place} {waiter.asked.call_id}"
            await self._limits.store.swap([Swap(name, before, after)])

    # --- A line ------------------------------------------------------------------------------------------------------

    async def _look_after(self, name: str, line: _Line) -> None:
        try:
            while line.turns:
                line.wake.clear()
                place, given = await self._nodes.enter(name), line.given
                if not place.first:
                    await self._clock.wait(self._clock.now() + HEAD_START, asyncio.Event())
                until = await self._give_turns(name, line)
                if line.given > given:
                    await self._nodes.go_last(name)
                if line.turns:
                    await self._clock.wait(self._at_the_latest(until, place), line.wake)
                else:
                    await self._nodes.leave(name)
        except Exception as error:  # noqa: BLE001 - the store cannot be read: those who wait are told, each its own
            for waiter in line.turns:
                if not waiter.answer.done():
                    waiter.answer.set_exception(error)
        finally:
            line.task = None
            if self._lines.get(name) is line:
                del self._lines[name]

    def _at_the_latest(self, until: int | None, place: Place) -> int | None:
        """Return when to look again: sooner than needs be while calls of other nodes wait for the same."""
        if place.alone:
            return until
        soon = self._clock.now() + (FIRST_LOOKS_EVERY if place.first else SEEN_EVERY)
        return soon if until is None else min(until, soon)

    async def _give_turns(self, name: str, line: _Line) -> int | None:
        """Let everybody go who can; return when to look again."""
        blocked: set[str] = set()
        until: int | None = None
        while (first := line.turns.next(blocked)) is not None:
            party, model, waiter = first
            found = await self._look(waiter.asked)
            now = self._limits.store.now()
            if waiter.answer.done():  # it has gone meanwhile
                if isinstance(found, Turn):
                    await self._limits.give_back(found.candidate, waiter.asked.call_id, found.takes)
                line.turns.remove(party, model, waiter)
                continue
            in_its_own = waiter.asked.own is not None and name == waiter.asked.own.line
            if isinstance(found, Turn) and in_its_own:
                found = await self._in_line_for_its_provider(waiter, found)
            if isinstance(found, _Must) and _line_of(found.state) != name:
                line.turns.remove(party, model, waiter)
                waiter.since = now if in_its_own else waiter.since
                self._join(waiter, found.state)
                await self._note(waiter, _wait_of(waiter, found.state))
            elif isinstance(found, _Must) and now < (given_up := _given_up_at(waiter, found.state)):
                look_at = min(found.state.opens_at, given_up)
                until = look_at if until is None else min(until, look_at)
                blocked.add(model)
                await self._note(waiter, _wait_of(waiter, found.state))
                if found.state.scope == name:
                    break
            else:
                line.turns.served(party, model)
                line.given += 1
                waiter.answer.set_result(too_late(found.state, now) if isinstance(found, _Must) else found)
        return until

    async def _in_line_for_its_provider(self, waiter: _Waiter, turn: Turn) -> Turn | _Must:
        """Return the turn of a call that has waited for its definition's rate, unless others wait for its model."""
        ahead = self._behind_others(turn.candidate)
        if ahead is None:
            return turn
        await self._limits.give_back(turn.candidate, waiter.asked.call_id, turn.takes)
        return _Must(ahead, ())

    def look_again(self, candidate: Candidate, takes: Sequence[Take] = ()) -> None:
        """Something of the candidate's account has changed, or of the rates that were taken from."""
        for name in {account_of(candidate), *(take.line for take in takes)}:
            line = self._lines.get(name)
            if line is not None:
                line.wake.set()

    def look_again_everywhere(self) -> None:
        """Something of all accounts has changed."""
        for line in self._lines.values():
            line.wake.set()

    def drop_stale(self, run: Run) -> None:
        """Send away the calls of the run whose attempts are over."""
        for waiter in list(self._waiters.get(run.id, ())):
            place = run.tasks.get(waiter.asked.place)
            over = place is None or place.attempt != waiter.asked.attempt
            if over and not waiter.answer.done():
                waiter.answer.set_exception(stale_attempt(run, waiter.asked.place, waiter.asked.attempt))


def _line_of(state: State) -> str:
    return state.line or account_of(state.candidate)


def _given_up_at(waiter: _Waiter, state: State) -> int:
    """Return when a call that waits has waited too long: never for the rate of its own definition."""
    return NEVER if state.line else waiter.since + WAIT_SECONDS_MAX * MICROSECONDS


def _is_over(cell: Cell, now: int) -> bool:
    return msgspec.json.decode(cell.body, type=Wait).since + WAIT_SECONDS_MAX * MICROSECONDS < now


def _wait_of(waiter: _Waiter, state: State) -> Wait:
    why = state.why or f"its turn with {state.candidate.model}"
    return Wait(why, state.opens_at, waiter.since, state.candidate.model, waiter.asked.tenant)


def _full() -> Denied:
    message = f"The call was not made: {WAITING_MAX:,} calls wait for a provider already."
    return Denied(Failure("rate_limited", message, retry_after_seconds=FULL_RETRY_SECONDS))
