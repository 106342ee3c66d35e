"""Whether what is held in memory is still so: one cheap question for each kind of document, once a second."""

from __future__ import annotations

from collections.abc import Sequence

from headgate.ports import Clock, Documents

__all__ = ["ASK_SECONDS", "Freshness"]

ASK_SECONDS = 1.0
"""A change that another node makes is seen here after at most so long, and the time of a question."""


class Freshness:
    """`await changed()` says whether any document of the kinds has changed since it was asked before.

    While one caller asks, the others go on with what was known: none waits in a queue for an answer that is the same.
    """

    def __init__(self, documents: Documents, clock: Clock, kinds: Sequence[str]) -> None:
        self._documents = documents
        self._clock = clock
        self._kinds = tuple(kinds)
        self._known: tuple[int, ...] = ()
        self.due = 0
        """When to ask again."""

    async def changed(self) -> bool:
        """Whether there is a change. Raises `Unavailable`; then the next caller asks again."""
        now = self._clock.now()
        if now < self.due:
            return False
        self.due = now + int(ASK_SECONDS * 1_000_000)
        try:
            found = tuple([await self._documents.revision(kind) for kind in self._kinds])
        except BaseException:
            self.due = 0
            raise
        changed, self._known = found != self._known, found
        return changed
