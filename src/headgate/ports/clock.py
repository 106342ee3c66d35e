"""What time it is."""

from __future__ import annotations

import asyncio
from typing import Protocol

__all__ = ["Clock"]


class Clock(Protocol):
    """Time. The engine reads no other."""

    def now(self) -> int:
        """Return microseconds since 1970 (UTC); never less than before."""
        ...

    async def wait(self, until: int | None, wake: asyncio.Event) -> None:
        """Return when it is `until`, or `wake` is set (it is cleared), whichever comes first."""
        ...
