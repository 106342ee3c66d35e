"""The clock of a process, made monotonic: the only place in the engine that knows what time it is.

It is the machine's clock, until somebody says what time it is elsewhere (`database_time.py`): from then on it is that
time, and between two sayings it goes on with the machine's steady clock, so that nobody who sets the machine's other
clock sets this one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

__all__ = ["WallClock"]

WAIT_SECONDS_MAX = 3600.0


class WallClock:
    """`ports.Clock` by the system's clock; a step backwards stands still until time has caught up."""

    def __init__(self, wall: Callable[[], int] = time.time_ns, steady: Callable[[], int] = time.monotonic_ns) -> None:
        self._wall = wall
        self._steady = steady
        self._after_steady: int | None = None
        self._last = 0

    def now(self) -> int:
        now = self.wall() if self._after_steady is None else self.steady() + self._after_steady
        if now > self._last:
            self._last = now
        return self._last

    def wall(self) -> int:
        """Return what the machine's clock says, right or wrong."""
        return self._wall() // 1_000

    def steady(self) -> int:
        """Return microseconds since whenever: what nobody sets."""
        return self._steady() // 1_000

    def go_by(self, now: int) -> None:
        """Be told what time it is. The first time, before anybody has gone by it, this may be earlier than before."""
        if self._after_steady is None:
            self._last = 0
        self._after_steady = now - self.steady()

    async def wait(self, until: int | None, wake: asyncio.Event) -> None:
        seconds = WAIT_SECONDS_MAX if until is None else min((until - self.now()) / 1_000_000, WAIT_SECONDS_MAX)
        if seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await wake.wait()
            except TimeoutError:
                return
        wake.clear()
