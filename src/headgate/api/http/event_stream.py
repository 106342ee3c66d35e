"""An answer that goes on: what is told, part by part, as an event stream. A comment every `PING_SECONDS` keeps the
connection from looking dead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

__all__ = ["PING_SECONDS", "event_stream"]

PING_SECONDS = 30.0

Part = TypeVar("Part")


async def event_stream(told: AsyncGenerator[Part], frame: Callable[[Part], bytes]) -> AsyncGenerator[bytes]:
    """Yield each part as `frame` writes it, and `end` after the last. Raises what `told` raises, and closes it."""
    upcoming: asyncio.Future[Part | None] = asyncio.ensure_future(anext(told, None))
    try:
        while True:
            done, _ = await asyncio.wait({upcoming}, timeout=PING_SECONDS)
            if not done:
                yield b": ping\n\n"
                continue
            part = upcoming.result()
            if part is None:
                yield b"event: end\ndata: {}\n\n"
                return
            yield frame(part)
            upcoming = asyncio.ensure_future(anext(told, None))
    finally:
        upcoming.cancel()
        await asyncio.gather(upcoming, return_exceptions=True)
        await told.aclose()
