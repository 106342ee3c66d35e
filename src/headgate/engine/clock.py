"""The wall clock, made monotonic: the only place in the engine that knows what time it is."""

from __future__ import annotations

import asyncio
import time

__all__ = ["WallClock"]

WAIT_SECONDS_MAX = 3600.0


class WallClock:
    """`ports.Clock` by the system's clock; a step backwards stands still until time has caught up."""

    def __init__(self) -> None:
        self._last = 0

    def now(self) -> int:
        now = time.time_ns() // 1_000
        if now > self._last:
            self._last = now
        return self._last

    async def wait(self, until: int | None, wake: asyncio.Event) -> None:
        seconds = WAIT_SECONDS_MAX if until is None else min((until - self.now()) / 1_000_000, WAIT_SECONDS_MAX)
        if seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await wake.wait()
            except TimeoutError:
                return
        wake.clear()
