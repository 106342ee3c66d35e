"""How many tasks a worker has in hand, and how one that waits lends its place to others."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

__all__ = ["Slots"]


class Slots:
    """So many tasks at a time. One that waits for money or for a person gives its slot back meanwhile, lest it keep
    from working who would make room for it; when it goes on it takes one without waiting, for it holds money by then.
    """

    def __init__(self, count: int, on_free: Callable[[], None] = lambda: None) -> None:
        self.free = count
        """Below zero: more work than there are slots, after waits that ended at once."""
        self._on_free = on_free
        self._waiting: deque[asyncio.Future[None]] = deque()

    def take(self) -> None:
        self.free -= 1

    def give_back(self) -> None:
        self.free += 1
        self._on_free()
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self.free > 0:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
                return

    async def __aenter__(self) -> None:
        while self.free <= 0:
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            try:
                await waiting
            except asyncio.CancelledError:
                if not waiting.cancelled():  # it was this one's turn, which another must have now
                    self._wake()
                raise
        self.take()

    async def __aexit__(self, *_: object) -> None:
        self.give_back()
