"""How a process that owns an engine, or works for one, is set up: its event loop and its garbage collector."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["new_loop", "run_serving", "tune_process"]

Result = TypeVar("Result")


def new_loop() -> asyncio.AbstractEventLoop:
    """Return a loop for a process that has many connections: uvloop's where that is installed, else asyncio's own.

    It takes 18 ms to import, so who only asks something does not.
    """
    try:
        import uvloop
    except ImportError:  # Windows, and 32-bit ARM
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def run_serving(work: Coroutine[Any, Any, Result]) -> Result:
    """Do as `asyncio.run` does, on such a loop."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(work)


def tune_process() -> None:
    """Set the garbage collector for a process that owns an engine; called once, after the imports.

    What is imported stays for good, so it is frozen out of every collection; runs make many small values that reference
    counting frees, so the young generation is looked at less often.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
