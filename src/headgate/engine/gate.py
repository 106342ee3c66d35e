"""The gate's half in the engine: what is asked of a call before money is, and what is learnt when it has ended.

Its order: what need not be called, for an equal call was answered; who can be called now (circuits, pauses that a
provider asked for, rates); and last the ledger, which reserves money. A call that must wait for a rate holds no money
meanwhile. A call that is admitted is settled once, whatever happens.

Where nothing is set and nothing has failed of late, the store of limits is idle and nobody looks into it: then a call
passes here in a few microseconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from headgate.core import gate_events as g
from headgate.core.decision import Decision
from headgate.core.errors import NotFound
from headgate.core.values import Candidate
from headgate.engine.breaker import Circuit
from headgate.engine.call_cache import CallCache
from headgate.engine.engine import Engine
from headgate.engine.lane import Lane
from headgate.engine.ledger import Ledger
from headgate.engine.limits import Limits, Take
from headgate.engine.lines import Asked, Lines, Turn
from headgate.engine.own_rates import own_rate
from headgate.ports import Admission, Admitted, CallRequest, Cell, Denied, RateLimit, Settlement

__all__ = ["Gate"]

logger = logging.getLogger("headgate.gate")


class _Open(NamedTuple):
    """A call that was admitted: to whom, and what was taken for it."""

    candidate: Candidate
    takes: tuple[Take, ...] = ()


class Gate:
    """One per engine, in front of its ledger. `open` it when the engine is, `close` it before. `calls` is where the
    answers of equal calls come from."""

    def __init__(self, engine: Engine, ledger: Ledger, limits: Limits, calls: CallCache) -> None:
        self.calls = calls
        self._engine = engine
        self._ledger = ledger
        self._limits = limits
        self._lines = Lines(limits, engine.clock)
        self._open: dict[tuple[str, str], _Open] = {}
        """Calls under way, by run and id. One whose attempt is lost leaves with it."""
        engine.listen(self._committed)

    async def open(self) -> None:
        """Read what was known before."""
        await self._limits.load()
        await self._lines.open()

    async def close(self) -> None:
        await self._lines.close()
        await self._limits.store.close()

    @property
    def waiting(self) -> int:
        """How many calls wait for a rate, a pause or a circuit."""
        return len(self._lines)

    async def waits(self) -> list[Cell]:
        """Return what is written down of calls that wait."""
        return [] if self._limits.store.idle else await self._limits.store.cells("wait ")

    def look_again(self) -> None:
        """Look again at the calls that wait: another process may have changed what they wait for."""
        self._lines.look_again_everywhere()

    # --- Calls -------------------------------------------------------------------------------------------------------

    async def admit(self, run_id: str, place: str, attempt: int, *, call_id: str, request: CallRequest) -> Admission:
        """Return the answer for this call, after waiting where it must. Raises `StaleAttempt`."""
        if not request.reuse:
            return await self._admitted(run_id, place, attempt, call_id, request)
        kept = await self.calls.find(run_id, place, attempt, call_id=call_id, request=request)
        if kept is not None:
            return kept
        with self.calls.asking(run_id, call_id=call_id, request=request):
            admission = await self._admitted(run_id, place, attempt, call_id, request)
            if isinstance(admission, Admitted):
                self.calls.admitted(run_id, place, attempt, call_id=call_id, request=request, model=admission.model)
        return admission

    async def _admitted(self, run_id: str, place: str, attempt: int, call_id: str, request: CallRequest) -> Admission:
        """Return the answer for a call that is to be made."""
        lane = self._engine.loaded(run_id) or await self._engine.lane(run_id)
        own = own_rate(lane.run, place)
        unheld = self._limits.store.idle and not request.pause_seconds and own is None
        call = (run_id, call_id)
        if unheld or call in self._open:
            answer = await self._ledger.admit(run_id, place, attempt, call_id=call_id, request=request)
            if type(answer) is Admitted and call not in self._open:
                self._open[call] = _Open(_named(request.candidates, answer.model))
            return _apart(answer, request)
        return await self._admit_in_turn(Asked(run_id, place, attempt, lane.run.tenant, call_id, request, own))

    async def _admit_in_turn(self, asked: Asked) -> Admission:
        turn = await self._lines.turn(asked)
        if isinstance(turn, Denied):
            return turn
        try:
            answer = await self._ledger.admit(
                asked.run_id, asked.place, asked.attempt, call_id=asked.call_id, request=turn.request
            )
        except BaseException:
            await asyncio.shield(self._give_back(asked, turn))
            raise
        if not isinstance(answer, Admitted):
            await self._give_back(asked, turn)
            return answer
        if answer.model != turn.candidate.model:
            await self._give_back(asked, turn)
            turn = await self._turn_of_another(asked, turn, answer.model)
            if isinstance(turn, Denied):
                return turn
        self._open[asked.run_id, asked.call_id] = _Open(turn.candidate, turn.takes)
        return _apart(answer, turn.request)

    async def _turn_of_another(self, asked: Asked, turn: Turn, model: str) -> Turn | Denied:
        """Wait for the rates of the model that the ledger chose instead: the one whose turn it was is beyond a budget.
        Here, and nowhere else, a call that waits holds money."""
        candidate = msgspec.structs.replace(_named(turn.request.candidates, model), hurries=False)
        alone = msgspec.structs.replace(turn.request, candidates=(candidate,), pause_seconds=0.0)
        try:
            found = await self._lines.turn(asked._replace(request=alone))
        except BaseException:
            await asyncio.shield(self._never_sent(asked))
            raise
        if isinstance(found, Denied):
            await self._never_sent(asked)
            return found
        return found._replace(request=turn.request)

    async def _never_sent(self, asked: Asked) -> None:
        await self._ledger.settle(asked.run_id, call_id=asked.call_id, settlement=Settlement("never_sent"))

    async def _give_back(self, asked: Asked, turn: Turn) -> None:
        await self._limits.give_back(turn.candidate, asked.call_id, turn.takes)
        self._lines.look_again(turn.candidate, turn.takes)

    async def settle(self, run_id: str, *, call_id: str, settlement: Settlement) -> None:
        """Record how a call ended; a repeat changes nothing."""
        with self.calls.settling(run_id, call_id, settlement.answers):
            await self._ledger.settle(run_id, call_id=call_id, settlement=settlement)
        call = self._open.pop((run_id, call_id), None)
        if call is None or (settlement.error is None and settlement.rates is None and self._limits.store.idle):
            return
        opened = await self._limits.learn(call.candidate, call_id, call.takes, settlement)
        if opened is not None:
            _tell_opened(call.candidate, opened)
        self._lines.look_again(call.candidate, call.takes)

    def _committed(self, lane: Lane, decisions: Sequence[Decision]) -> None:
        """Let go of calls whose attempts are over: those that wait are told, those under way are known no more."""
        if self._open:
            for decision in decisions:
                for event in decision.events:
                    if type(event) is not g.CallForfeited:
                        continue
                    if (call := self._open.pop((lane.run.id, event.call_id), None)) is not None:
                        self._engine.spawn(self._forfeited(call, event.call_id), lane.run.trace_id)
        if self._lines:
            self._lines.drop_stale(lane.run)

    async def _forfeited(self, call: _Open, call_id: str) -> None:
        await self._limits.learn(call.candidate, call_id, call.takes, Settlement("lost"))
        self._lines.look_again(call.candidate, call.takes)

    # --- Rates -------------------------------------------------------------------------------------------------------

    async def set_limit(self, limit: RateLimit) -> RateLimit:
        """Keep a rate; one of the same scope is replaced. It holds from the next call on."""
        await self._limits.set(limit)
        self._lines.look_again_everywhere()
        return limit

    async def remove_limit(self, scope: str) -> RateLimit:
        """Take a rate out; return what it was. Raises `NotFound`."""
        limit = self._limits.rates.get(scope)
        if limit is None:
            known = ", ".join(sorted(self._limits.rates)) or "none"
            raise NotFound(f"There is no rate limit for {scope!r}; there are: {known}.")
        await self._limits.remove(scope)
        self._lines.look_again_everywhere()
        return limit


def _named(candidates: Sequence[Candidate], model: str) -> Candidate:
    return next(candidate for candidate in candidates if candidate.model == model)


def _apart(answer: Admission, request: CallRequest) -> Admission:
    """Return the answer with those models alone as skipped that did not fit a budget."""
    if not request.passed_over or not isinstance(answer, Admitted):
        return answer
    over = {one.model for one in request.passed_over}
    return msgspec.structs.replace(answer, skipped=tuple(name for name in answer.skipped if name not in over))


def _tell_opened(candidate: Candidate, circuit: Circuit) -> None:
    seconds = (circuit.until - circuit.since) / 1_000_000
    logger.warning(
        "the circuit of %s has opened: it is not asked for %g s",
        candidate.model,
        seconds,
        extra={"fields": {"failed": circuit.failed, "succeeded": circuit.succeeded, "openings": circuit.openings}},
    )
