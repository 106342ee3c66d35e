"""The door to the ledger half of the gate: asks for calls, waits where they must wait, settles them.

What is admitted is decided in the core; here is only the waiting, and the passing on of room in budgets that several
runs share.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from headgate.core import commands as c
from headgate.core import events as e
from headgate.core.decision import Decision
from headgate.core.run import Call, Run
from headgate.core.values import Failure
from headgate.engine.engine import Engine
from headgate.engine.lane import Lane
from headgate.ports import Admission, Admitted, CallRequest, Denied, Settlement

__all__ = ["Ledger"]


class Ledger:
    """One per engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: dict[tuple[str, str], asyncio.Future[Admission]] = {}
        self._sharing: dict[str, set[str]] = {}
        engine.listen(self._committed)

    async def admit(self, run_id: str, place: str, attempt: int, *, call_id: str, request: CallRequest) -> Admission:
        """Return the answer for this call, after waiting if only others' reservations keep it out. Asked again with the
        same `call_id`, the answer is the same. Raises `StaleAttempt`."""
        command = c.AdmitCall(
            at=self._engine.clock.now(),
            actor="policy",
            place=place,
            attempt=attempt,
            call_id=call_id,
            request_hash=request.request_hash,
            candidates=request.candidates,
            passed_over=request.passed_over,
            verdicts=request.verdicts,
        )
        future: asyncio.Future[Admission] = self._engine.loop.create_future()
        self._waiting[run_id, call_id] = future
        try:
            decision = await self._engine.submit(run_id, command)
            # By now the run may hold decisions that are not durable yet; the commit of this one has told the future.
            if not future.done() and not decision.events:  # asked again: what was decided then
                call = decision.run.calls.get(call_id)
                if call is None:
                    return Denied(Failure("attempt_over", f"attempt {attempt} of {place!r} is over", retryable=False))
                if call.state != "waiting":
                    return _answer(call, ())
            return await future
        finally:
            self._waiting.pop((run_id, call_id), None)

    async def settle(self, run_id: str, *, call_id: str, settlement: Settlement) -> None:
        """Record how a call ended; a repeat changes nothing."""
        command = c.SettleCall(
            at=self._engine.clock.now(),
            actor="policy",
            call_id=call_id,
            outcome=settlement.outcome,
            usage=settlement.usage,
            error=settlement.error,
            verdicts=settlement.verdicts,
        )
        await self._engine.insist(run_id, command)

    def _committed(self, lane: Lane, decisions: Sequence[Decision]) -> None:
        run = lane.run
        if not self._waiting and not run.outer:
            return
        moved = False
        for decision in decisions:
            for event in decision.events:
                if isinstance(event, e.CallAdmitted | e.CallRefused):
                    self._tell(run, event.call_id, decision.events)
                    moved = True
                elif isinstance(event, e.CallSettled | e.CallForfeited | e.CallWaiting):
                    moved = True
        if run.outer and (moved or run.finished):
            self._pass_on(run)

    def _tell(self, run: Run, call_id: str, events: list[e.Event]) -> None:
        future = self._waiting.get((run.id, call_id))
        call = run.calls.get(call_id)
        if future is None or future.done():
            return
        if call is None:
            future.set_result(Denied(Failure("attempt_over", "the attempt is over", retryable=False)))
        elif call.state != "waiting":
            future.set_result(_answer(call, _skipped(events, call_id)))

    def _pass_on(self, run: Run) -> None:
        """Room in a shared budget goes to a call that waits in any of the runs that share it."""
        for budget in run.outer:
            sharing = self._sharing.setdefault(budget, set())
            if run.waiting_calls:
                sharing.add(run.id)
            else:
                sharing.discard(run.id)
            for run_id in sorted(sharing):
                lane = self._engine.loaded(run_id)
                if lane is None or lane.run.waiting_calls:
                    command = c.FreeBudget(at=self._engine.clock.now(), actor="engine", budget=budget)
                    self._engine.submit_soon(run_id, command)
            if not sharing:
                del self._sharing[budget]


def _answer(call: Call, skipped: tuple[str, ...]) -> Admission:
    if call.state == "refused":
        return Denied(Failure(call.code, call.reason, retryable=False))
    return Admitted(call.model, call.reservation, skipped)


def _skipped(events: list[e.Event], call_id: str) -> tuple[str, ...]:
    return tuple(event.model for event in events if isinstance(event, e.ModelSkipped) and event.call_id == call_id)
