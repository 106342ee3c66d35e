"""How far workers have told their texts: so that what comes again is known, and what is missing is seen.

A worker that may be cut off says with each piece where it begins: how many bytes it has told of the attempt before,
each time that the text began again counting for one. A text that lacks something (it was dropped on the way, or told to
a process that is gone) must not pass for the text that it is a part of.
"""

from __future__ import annotations

from collections import OrderedDict

__all__ = ["ToldTexts"]

CLAIMS_MAX = 10_000
"""Claims of which it is remembered how far their texts are; of others something is missing."""


class ToldTexts:
    """One per node: what was told to another is missing here."""

    def __init__(self) -> None:
        self._told: OrderedDict[str, int] = OrderedDict()

    def add(self, activity_id: str, text: str, offset: int) -> str | None:
        """Return what is new of a piece; None where something is missing before it."""
        data, known = text.encode("utf-8", "replace"), self._told.get(activity_id, 0)
        if offset > known:
            return None
        self._remember(activity_id, max(known, offset + len(data)))
        return text if offset == known else data[known - offset :].decode("utf-8", "ignore")

    def restart(self, activity_id: str, offset: int) -> bool:
        """Note that the text begins again, whatever was missing of it. Return False where that is known already."""
        if offset < self._told.get(activity_id, 0):
            return False
        self._remember(activity_id, offset + 1)
        return True

    def forget(self, activity_id: str) -> None:
        self._told.pop(activity_id, None)

    def _remember(self, activity_id: str, told: int) -> None:
        self._told[activity_id] = told
        self._told.move_to_end(activity_id)
        if len(self._told) > CLAIMS_MAX:
            self._told.popitem(last=False)
