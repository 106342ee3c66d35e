"""Texts that come in pieces, scrubbed or restored all the same: what a border might cut in two waits for what follows.

`Restoring` holds back no more than the beginning of a placeholder. `Scrubbing` cannot know what a number will turn out
to be before it has ended, so it holds back the end of what it has: at least `KEPT_MIN` characters, from there to the
last place where nothing goes on, and never more than `KEPT_MAX` characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from headgate.policies.placeholders import PLACEHOLDER_BEGUN, PLACEHOLDER_LENGTH_MAX
from headgate.policies.scrubber import Scrubber, Span

__all__ = ["KEPT_MAX", "Restoring", "Scrubbing"]

KEPT_MIN = 96
"""Longer than anything with spaces in it that is looked for."""
CONTEXT = 64
"""So far before a number stand the words that say what it is."""
KEPT_MAX = 16_384
"""So much of an unbroken run (base64, say) is looked at together; what goes on beyond it is looked at by parts."""
UNBROKEN = re.compile(r"[^\s,;\"'()\[\]{}|]+\Z")


class Restoring:
    """Puts the originals back where placeholders come by."""

    def __init__(self, restored: Callable[[str], str]) -> None:
        self._restored = restored
        self._text = ""

    def add(self, piece: str) -> str:
        text = self._text + piece
        tail = text[-PLACEHOLDER_LENGTH_MAX:]
        begun = PLACEHOLDER_BEGUN.search(tail)
        cut = len(text) if begun is None else len(text) - len(tail) + begun.start()
        said, self._text = text[:cut], text[cut:]
        return self._restored(said)

    def rest(self) -> str:
        said, self._text = self._text, ""
        return self._restored(said)


class Scrubbing:
    """Cuts out what is found in the text so far, and lets go of what can no longer become a part of anything."""

    def __init__(self, scrubber: Scrubber) -> None:
        self._scrubber = scrubber
        self._text = ""
        self._said = 0
        """So much at the beginning of the text is said already, and kept for what it says about what follows."""
        self._look_at = KEPT_MIN

    def add(self, piece: str) -> str:
        self._text += piece
        if len(self._text) - self._said < self._look_at:
            return ""
        spans = self._scrubber.find(self._text)
        cut = self._safe_cut(spans)
        # What could not be let go of is looked at again when it is twice as long: the work stays linear in the text.
        self._look_at = KEPT_MIN if cut > self._said else min(2 * self._look_at, KEPT_MAX)
        return self._let_go(spans, cut)

    def rest(self) -> str:
        return self._let_go(self._scrubber.find(self._text), len(self._text))

    def _safe_cut(self, spans: list[Span]) -> int:
        text, said = self._text, self._said
        cut = len(text) - KEPT_MIN
        run = UNBROKEN.search(text, max(said, cut - KEPT_MAX), max(said, cut))
        if run is not None:
            cut -= len(run[0])
        for span in spans:
            if span.start < cut < span.end:
                cut = span.start
        if cut <= said and len(text) - said > KEPT_MAX:
            return len(text) - KEPT_MIN
        return max(said, cut)

    def _let_go(self, spans: list[Span], cut: int) -> str:
        said = self._scrubber.rendered(self._text, spans, self._said, cut)
        kept_from = max(0, cut - CONTEXT)
        self._text, self._said = self._text[kept_from:], cut - kept_from
        return said
