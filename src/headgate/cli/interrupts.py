"""How a verb's coroutine is run, and what ends it early: Ctrl-C, or a request to terminate.

Either cancels the coroutine, so that everything is closed in order; what was acknowledged is in the log, and goes on
with the next process.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from headgate.cli.exit_codes import TERMINATED

__all__ = ["run_loop"]

T = TypeVar("T")


def run_loop(work: Coroutine[Any, Any, T], *, serving: bool = False) -> T:
    """Return what the coroutine returns. Ctrl-C raises KeyboardInterrupt after everything is closed; SIGTERM and
    SIGHUP end the process with their code, likewise. `serving`: it lasts, and has many connections."""
    if serving:
        from headgate.process import run_serving

        return run_serving(_terminable(work))
    return asyncio.run(_terminable(work))


async def _terminable(work: Coroutine[Any, Any, T]) -> T:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    received: list[int] = []

    def stop(number: int) -> None:
        if not received:
            task.cancel()
        received.append(number)

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None:
            with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows, or a test's own thread
                loop.add_signal_handler(number, stop, number)
    try:
        return await work
    except asyncio.CancelledError:
        if received:
            raise SystemExit(TERMINATED if received[0] == signal.SIGTERM else 128 + received[0]) from None
        raise
