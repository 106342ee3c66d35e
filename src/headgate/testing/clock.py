"""A clock that stands still until it is told to go on: weeks pass in no time, and the same way every time."""

from __future__ import annotations

import asyncio

__all__ = ["NOON", "VirtualClock"]

NOON = 1_800_000_000_000_000
"""The time at which every virtual clock begins (microseconds)."""


class VirtualClock:
    """`ports.Clock` by hand. Whoever waits is woken by `advance`; nothing else moves the time (microseconds)."""

    def __init__(self, at: int = NOON) -> None:
        self._now = at
        self._waiting: dict[object, tuple[int, asyncio.Event]] = {}

    def now(self) -> int:
        return self._now

    async def wait(self, until: int | None, wake: asyncio.Event) -> None:
        if until is not None and until <= self._now:
            wake.clear()
            return
        waiter = object()
        if until is not None:
            self._waiting[waiter] = (until, wake)
        try:
            await wake.wait()
            wake.clear()
        finally:
            self._waiting.pop(waiter, None)

    async def sleep(self, seconds: float) -> None:
        """Return when so much time has passed."""
        await self.wait(self._now + int(seconds * 1_000_000), asyncio.Event())

    @property
    def next_alarm(self) -> int | None:
        """The earliest time that anybody waits for; None: nobody waits for a time."""
        return min((until for until, _ in self._waiting.values()), default=None)

    def advance(self, *, to: int | None = None, seconds: float = 0.0) -> None:
        """Let time pass, to `to` or by `seconds`, and wake whoever has waited for a time until then."""
        self._now = max(self._now, self._now + int(seconds * 1_000_000) if to is None else to)
        for until, wake in self._waiting.values():
            if until <= self._now:
                wake.set()

    def forget(self) -> None:
        """Nobody waits any more: the process that did is gone."""
        self._waiting.clear()
