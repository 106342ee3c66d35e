"""How long an answer is held back: until there is something to say, the time is over, or the server closes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

__all__ = ["Patience"]


class Patience:
    """What long polls wait in. `close` ends all of them as if their time were over: each is answered, none is cut."""

    def __init__(self) -> None:
        self._waits: set[asyncio.Timeout] = set()
        self._closed = False

    @asynccontextmanager
    async def wait(self, seconds: float | None = None) -> AsyncGenerator[None]:
        """Let the block wait for so long; it is left early, without an error, when that is over."""
        try:
            async with asyncio.timeout(0 if self._closed else seconds) as wait:
                self._waits.add(wait)
                try:
                    yield
                finally:
                    self._waits.discard(wait)
        except TimeoutError:
            return

    def close(self) -> None:
        """End every wait, and all that come after."""
        self._closed = True
        now = asyncio.get_running_loop().time()
        for wait in self._waits:
            if not wait.expired():
                wait.reschedule(now)
