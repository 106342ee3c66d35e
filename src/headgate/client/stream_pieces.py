"""Streamed text on its way out of a worker: pieces that come close together go together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["StreamPieces"]

STREAM_SECONDS = 0.025
"""Pieces of a stream that come within this time go together."""


class StreamPieces:
    """Text by claim. `send` gets what belongs together, a little later; it must not wait."""

    def __init__(self, send: Callable[[str, str], None]) -> None:
        self._send = send
        self._pieces: dict[str, list[str]] = {}
        self._flushing: asyncio.TimerHandle | None = None

    def add(self, activity_id: str, text: str) -> None:
        self._pieces.setdefault(activity_id, []).append(text)
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(STREAM_SECONDS, self.flush)

    def flush(self) -> None:
        """Send all that waits."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        for activity_id in list(self._pieces):
            self.flush_one(activity_id)

    def flush_one(self, activity_id: str) -> None:
        pieces = self._pieces.pop(activity_id, None)
        if pieces:
            self._send(activity_id, "".join(pieces))
