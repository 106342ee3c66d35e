"""Activities of users, at a worker."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

QUICK = "name: quick\nactivities: {a: {use: echo, with: {n: 1}}, b: {use: echo, after: [a]}}"


def hanging() -> tuple[Any, threading.Event, threading.Event]:
    """Return an activity that hangs, and what says that it has begun and that it was cancelled."""
    begun, cancelled = threading.Event(), threading.Event()

    async def hangs(parameters: Any, context: Any) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    return hangs, begun, cancelled
