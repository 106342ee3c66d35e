"""The gate's half in the engine: what is asked of a call before money is, and what is learnt when it has ended.

Its order: what need not be called at all, who can be called now, and last the ledger, which reserves. A call that is
admitted is settled once, whatever happens.
"""

from __future__ import annotations

from headgate.engine.call_cache import CallCache
from headgate.engine.ledger import Ledger
from headgate.ports import Admission, Admitted, CallRequest, Settlement

__all__ = ["Gate"]


class Gate:
    """One per engine, in front of its ledger. `calls` is where the answers of equal calls come from."""

    def __init__(self, ledger: Ledger, calls: CallCache) -> None:
        self._ledger = ledger
        self.calls = calls

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
        return await self._ledger.admit(run_id, place, attempt, call_id=call_id, request=request)

    async def settle(self, run_id: str, *, call_id: str, settlement: Settlement) -> None:
        """Record how a call ended; a repeat changes nothing."""
        with self.calls.settling(run_id, call_id, settlement.answers):
            await self._ledger.settle(run_id, call_id=call_id, settlement=settlement)
