"""A log whose engine can die at a commit: what simulation and cases put between an engine and its log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from headgate.core import events as e
from headgate.core.codec import decode
from headgate.ports import Append, Log, Outcome

__all__ = ["MortalLog"]


class MortalLog:
    """From its death on nothing is written, and nobody hears of anything. It passes on whatever it does not do itself.

    `doomed` is asked before each commit whether that is the end, so that nothing of it is in the log; `committed` is
    told the events that a commit has brought, and says whether the engine dies of it, before anybody hears.
    """

    def __init__(
        self,
        log: Log,
        committed: Callable[[Sequence[e.Event]], bool],
        *,
        doomed: Callable[[], bool] = lambda: False,
    ) -> None:
        self._log = log
        self._committed = committed
        self._doomed = doomed
        self.died = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def close(self) -> None:
        """The log outlives the engine: whoever looks at it afterwards closes it."""

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        if self.died.is_set() or self._doomed():
            await self._die()
        outcomes = await self._log.commit(batch)
        accepted = [item for item, outcome in zip(batch, outcomes, strict=True) if outcome == "accepted"]
        if self._committed([decode(row[4])[0] for item in accepted for row in item.rows]):
            await self._die()
        return outcomes

    async def _die(self) -> None:
        self.died.set()
        await asyncio.Event().wait()
