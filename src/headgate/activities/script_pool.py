"""Interpreters that are started ahead, so that a script need not wait for one.

Each runs one script and ends with it: nothing that a script leaves in its process is there for the next. There are
none before the first script, then at most `warm_max`, and each that is taken is replaced. They end when the engine
does, however it ends: by `close`, or because their lifeline ends with its process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque

from headgate.activities.script_process import ScriptProcess
from headgate.activities.script_settings import ScriptSettings

__all__ = ["Interpreters"]

REFILL_SECONDS = 0.05
"""How long to wait before a process is replaced: the script that has just begun has the processor first."""

logger = logging.getLogger("headgate.script")


class Interpreters:
    """Belongs to the loop that it is used on."""

    def __init__(self, settings: ScriptSettings) -> None:
        self._settings = settings
        self._warm: deque[ScriptProcess] = deque()
        self._refilling: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    @property
    def warm(self) -> int:
        """How many wait."""
        return len(self._warm)

    async def refilled(self) -> None:
        """Wait until those that were taken are replaced."""
        if self._refilling is not None:
            await self._refilling

    async def take(self) -> ScriptProcess:
        """Return a process for one script: one that waits, else a new one. Raises `OSError` where none starts."""
        process = await self._waiting() or await ScriptProcess.start(self._settings)
        if self._refilling is None and not self._closing.is_set():
            self._refilling = asyncio.create_task(self._refill(), name="headgate-interpreters")
        return process

    async def close(self) -> None:
        """End those that wait. What is taken afterwards is started for its script."""
        self._closing.set()
        cancelled: asyncio.CancelledError | None = None
        try:
            await self.refilled()
        except asyncio.CancelledError as error:
            cancelled = error
        while self._warm:
            try:
                await self._warm.popleft().close()
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:  # whoever cancels the closing gets his way when all have ended
            raise cancelled

    async def _waiting(self) -> ScriptProcess | None:
        while self._warm:
            process = self._warm.popleft()
            if process.ready:
                return process
            await process.close()
        return None

    async def _refill(self) -> None:
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), REFILL_SECONDS)
            while len(self._warm) < self._settings.warm_max and not self._closing.is_set():
                self._warm.append(await ScriptProcess.start(self._settings))
        except OSError as error:
            logger.warning("no interpreter can be started ahead of its script: %s", error)
        finally:
            self._refilling = None
