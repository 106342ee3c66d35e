"""What time it is where many nodes write one log: what the database says.

Timers, retries, rates, tokens and quotas are moments that one node writes and another reads. So nodes do not go by the
clocks of their machines, which may be apart, but by the one that they share. It is asked when a node begins and every
few seconds; in between its own steady clock counts. Where an answer took long, nobody knows when in between it was
made: of several the quickest counts, and later ones only where the difference is larger than that doubt.
"""

from __future__ import annotations

import asyncio
import logging

from headgate.core.errors import HeadgateError
from headgate.engine.clock import WallClock
from headgate.ports import SharedLog

__all__ = ["AHEAD_SECONDS_MAX", "DatabaseTime", "told_apart"]

EVERY_SECONDS = 10.0
FIRST_ASKED = 3
"""So often a node asks before it begins."""
AHEAD_SECONDS_MAX = 2.0
"""A machine whose clock is further from the database's is worth a look."""

logger = logging.getLogger("headgate.clock")


class DatabaseTime:
    """One per engine on a shared log. `open` before anybody asks the clock, then `run` until it is cancelled."""

    def __init__(self, log: SharedLog, clock: WallClock) -> None:
        self._log = log
        self._clock = clock

    @property
    def ahead_seconds(self) -> float:
        """Return by how much the machine's clock is ahead of the database's, as far as is known; behind: negative."""
        return (self._clock.wall() - self._clock.now()) / 1_000_000

    async def open(self) -> None:
        """Ask what time it is, and go by that. Raises `Unavailable`."""
        answers = [await self._ask() for _ in range(FIRST_ASKED)]
        _, apart = min(answers)
        self._clock.go_by(self._clock.steady() + apart)
        if abs(self.ahead_seconds) > AHEAD_SECONDS_MAX:
            logger.warning(told_apart(self.ahead_seconds))

    async def run(self) -> None:
        """Ask again every few seconds. While the database is away, time goes on."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            try:
                await self.look()
            except HeadgateError as error:
                logger.debug("the database was not heard to say what time it is: %s", error)

    async def look(self) -> None:
        """Ask once, and follow a clock that was set, or has drifted. Raises `Unavailable`."""
        doubt, apart = await self._ask()
        now = self._clock.steady() + apart
        if abs(now - self._clock.now()) > doubt:
            self._clock.go_by(now)

    async def _ask(self) -> tuple[int, int]:
        """Return by how much the answer may be wrong, and how far the database's time is after the steady clock's."""
        asked = self._clock.steady()
        said = await self._log.server_time()
        doubt = (self._clock.steady() - asked) // 2
        return doubt, said - asked - doubt


def told_apart(ahead_seconds: float) -> str:
    """Say, for whoever looks after the machine, that its clock and the database's are apart."""
    way = "ahead of" if ahead_seconds > 0 else "behind"
    return (
        f"The clock of this machine is {abs(ahead_seconds):,.0f} s {way} the database's. Runs go by the database's; "
        "what asks this machine (certificates, signed requests, log lines) does not: set the wrong one right."
    )
