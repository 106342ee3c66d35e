"""A text divided into parts of at most a size, each an exact slice of it.

Parts end where the text itself pauses: the strongest border in the second half of what fits, such as a paragraph's
end, then a weaker one. A part ends inside a word only where the word alone is longer than the size. Sections
(`heading`) and pages (`page`) are never mixed in one part. The same text and settings give the same parts, everywhere.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal

from headgate.activities.text_borders import Borders, borders_of, is_mark

__all__ = ["By", "Span", "parts_of"]

By = Literal["paragraph", "sentence", "heading", "characters", "page"]
Span = tuple[int, int]
"""Start and end of a part in the text, neither of them on whitespace."""
_MARKS_MAX = 32
"""So far a cut inside a word steps back, so as not to part a letter from its accents."""


def parts_of(text: str, *, size: int, overlap: int, by: By) -> tuple[list[Span], Borders]:
    """Return where the parts are, in order, and the borders they were chosen from.

    `size` and `overlap` count characters; `overlap` is at most half of `size`. A part begins up to `overlap` characters
    before the end of the one before it, at a word; sections and pages do not overlap.
    """
    borders = borders_of(text)
    cutting = _Cutting(text, borders, size, overlap, by)
    edges = [0, *_edges(borders, by), len(text)]
    return [span for start, end in pairwise(edges) for span in cutting.spans(start, end)], borders


def _edges(borders: Borders, by: By) -> list[int]:
    """Return the borders that no part may cross."""
    if by == "page":
        return borders.pages
    return [heading.start for heading in borders.headings] if by == "heading" else []


class _Cutting:
    def __init__(self, text: str, borders: Borders, size: int, overlap: int, by: By) -> None:
        self.text = text
        self.words = borders.words
        self.size = size
        self.overlap = overlap
        self.levels = _levels(borders, by)

    def spans(self, start: int, end: int) -> Iterator[Span]:
        """Yield the parts between two edges."""
        start, end = self._trimmed(start, end)
        last = start
        while last < end:
            cut = end if end - start <= self.size else self._border(start, last)
            if cut is None and start < last:  # behind the overlap the next word does not fit any more
                start = last
                continue
            if cut is None:
                cut = self._inside_word(last, start + self.size)
            yield self._trimmed(start, cut)
            last = self._trimmed(cut, end)[0]
            start = self._begin(start, last)

    def _border(self, start: int, last: int) -> int | None:
        """Return where the part from `start` ends, behind `last` and at most `size` on, or None: only inside a word."""
        limit = start + self.size
        at_least = max(start + self.size // 2, last + 1)
        for level, floor in ((level, floor) for floor in (at_least, last + 1) for level in self.levels):
            border = _last_border(level, floor, self._with_space(limit))
            if border is not None:
                return border
        return None

    def _with_space(self, limit: int) -> int:
        """Return `limit` moved over the whitespace behind it, which is not counted: parts are trimmed."""
        while limit < len(self.text) and self.text[limit].isspace():
            limit += 1
        return limit

    def _inside_word(self, last: int, limit: int) -> int:
        cut = limit
        while cut > max(last + 1, limit - _MARKS_MAX) and is_mark(self.text[cut]):
            cut -= 1
        return limit if is_mark(self.text[cut]) else cut

    def _begin(self, start: int, after: int) -> int:
        """Return where the next part begins: at `after`, or at a word at most `overlap` before it."""
        if not self.overlap:
            return after
        index = bisect_left(self.words, max(after - self.overlap, start + 1))
        return self.words[index] if index < len(self.words) and self.words[index] < after else after

    def _trimmed(self, start: int, end: int) -> Span:
        while start < end and self.text[start].isspace():
            start += 1
        while end > start and self.text[end - 1].isspace():
            end -= 1
        return start, end


def _levels(borders: Borders, by: By) -> list[list[int]]:
    """Return the borders to end a part at, the strongest first."""
    if by == "characters":
        return [borders.words]
    if by == "sentence":
        return [borders.sentences, borders.words]
    headings = [heading.start for heading in borders.headings]
    paragraphs = sorted({*borders.paragraphs, *borders.pages, *headings})
    return [headings, paragraphs, borders.sentences, borders.lines, borders.words]


def _last_border(borders: list[int], at_least: int, at_most: int) -> int | None:
    index = bisect_right(borders, at_most) - 1
    return borders[index] if index >= 0 and borders[index] >= at_least else None
