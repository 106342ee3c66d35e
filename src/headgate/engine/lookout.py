"""The lookout: sees what other nodes have changed beside the log, at most a second after they have.

A poll is enough to be right; whoever hears of a change by another way calls `look` at once.
"""

from __future__ import annotations

import asyncio
import logging

from headgate.core.errors import HeadgateError
from headgate.engine.budget_keeper import BudgetKeeper
from headgate.engine.limits import Limits
from headgate.engine.scheduler import Scheduler
from headgate.ports import Clock

__all__ = ["Lookout"]

EVERY_MICROSECONDS = 1_000_000

logger = logging.getLogger("headgate.lookout")


class Lookout:
    """One per engine whose storage is shared. `run` looks until it is cancelled."""

    def __init__(self, clock: Clock, budgets: BudgetKeeper, limits: Limits, scheduler: Scheduler) -> None:
        self._clock = clock
        self._budgets = budgets
        self._limits = limits
        self._scheduler = scheduler

    async def run(self) -> None:
        """Look each second, for ever. While the storage is away what was known last holds."""
        while True:
            await self._clock.wait(self._clock.now() + EVERY_MICROSECONDS, asyncio.Event())
            try:
                await self.look()
            except HeadgateError as error:
                logger.warning("what other nodes have changed was not seen: %s", error)

    async def look(self) -> None:
        """Take up rules of budgets, rates, and schedules as they are now. Raises `Unavailable`."""
        await self._budgets.refresh()
        await self._limits.load()
        self._scheduler.changed()
