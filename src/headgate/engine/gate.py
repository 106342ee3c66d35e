"""The gate's half in the engine: what is asked of a call before money is, and what is learnt when it has ended.

Its order: what need not be called at all, who can be called now, and last the ledger, which reserves. A call that is
admitted is settled once, whatever happens.
"""

from __future__ import annotations

from headgate.engine.ledger import Ledger
from headgate.ports import Admission, CallRequest, Settlement

__all__ = ["Gate"]


class Gate:
    """One per engine, in front of its ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def admit(self, run_id: str, place: str, attempt: int, *, call_id: str, request: CallRequest) -> Admission:
        """Return the answer for this call, after waiting where it must. Raises `StaleAttempt`."""
        return await self._ledger.admit(run_id, place, attempt, call_id=call_id, request=request)

    async def settle(self, run_id: str, *, call_id: str, settlement: Settlement) -> None:
        """Record how a call ended; a repeat changes nothing."""
        await self._ledger.settle(run_id, call_id=call_id, settlement=settlement)
