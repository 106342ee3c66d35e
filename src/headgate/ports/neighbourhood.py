"""Nodes on one database that tell each other what streams: how they speak, and where what they hear is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from headgate.ports.streams import Chunk, Streams

__all__ = ["MESSAGE_BYTES_MAX", "MirrorStreams", "Neighbourhood"]

MESSAGE_BYTES_MAX = 7_500
"""Of what one node says to others; PostgreSQL takes less than 8,000."""


class MirrorStreams(Streams, Protocol):
    """Streams that hold, besides their own, texts that other nodes stream, as those count them."""

    def mirror(self, run_id: str, chunk: Chunk) -> bool | None:
        """Add what another node has streamed; what is here already is let be. Return False where something is missing
        before it: then it is not added; None for one of a text that is not read here, as it is void or another one is.
        An `Ended` ends nothing: it asks whether the text is whole."""
        ...

    def mirrored(self, run_id: str, place: str) -> int:
        """Return the attempt whose text here is another node's; 0: none is."""
        ...

    def forget_mirrored(self, run_id: str) -> None:
        """Forget other nodes' texts of the run."""
        ...


class Neighbourhood(Protocol):
    """Short messages between the nodes on one database. Nothing is kept of them: whoever does not hear misses them."""

    async def say(self, messages: Sequence[tuple[str, str]]) -> bool:
        """Send each to the node that is named, or to all ("", this one among them), in their order, at most
        `MESSAGE_BYTES_MAX` bytes each. Return False where they, or some before them, may have got lost."""
        ...

    async def hear(self, node: str, heard: Callable[[str], None], began: Callable[[], None]) -> None:
        """Call `heard` with what is said to this node or to all, and `began` whenever hearing begins: what was said
        before is lost. For ever."""
        ...
