"""Streamed text on its way out of a worker: pieces that come close together go together, each with its place.

The place of a piece is how many bytes were streamed of the attempt before it, where each time that the text began again
counts for one. By that the other end knows a piece that comes again, and sees where one is missing.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

__all__ = ["StreamPieces"]

STREAM_SECONDS = 0.025
"""Pieces of a stream that come within this time go together."""
CLAIMS_MAX = 10_000
"""Claims of which it is remembered how far their texts are: more than a worker ever has at a time."""


class StreamPieces:
    """Text by claim. `send` gets what belongs together and where it begins, a little later; it must not wait."""

    def __init__(self, send: Callable[[str, str, int], None]) -> None:
        self._send = send
        self._pieces: dict[str, list[str]] = {}
        self._sent: OrderedDict[str, int] = OrderedDict()
        """How far each claim's text is, without the pieces that wait."""
        self._flushing: asyncio.TimerHandle | None = None

    def add(self, activity_id: str, text: str) -> None:
        self._pieces.setdefault(activity_id, []).append(text)
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(STREAM_SECONDS, self.flush)

    def drop(self, activity_id: str, text: str) -> None:
        """Let this one go, which is then missing."""
        self.flush_one(activity_id)
        self._go_on(activity_id, len(text.encode("utf-8", "replace")))

    def restart(self, activity_id: str) -> int:
        """The text begins again: send what belongs to the one before. Return where that ends."""
        self.flush_one(activity_id)
        return self._go_on(activity_id, 1)

    def flush(self) -> None:
        """Send all that waits."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        for activity_id in list(self._pieces):
            self.flush_one(activity_id)

    def flush_one(self, activity_id: str) -> None:
        if pieces := self._pieces.pop(activity_id, None):
            text = "".join(pieces)
            self._send(activity_id, text, self._go_on(activity_id, len(text.encode("utf-8", "replace"))))

    def end(self, activity_id: str) -> None:
        """Send what waits of a claim of which nothing more will come."""
        self.flush_one(activity_id)
        self._sent.pop(activity_id, None)

    def _go_on(self, activity_id: str, size: int) -> int:
        """Count on; return where it was."""
        before = self._sent.get(activity_id, 0)
        self._sent[activity_id] = before + size
        self._sent.move_to_end(activity_id)
        if len(self._sent) > CLAIMS_MAX:
            self._sent.popitem(last=False)
        return before
