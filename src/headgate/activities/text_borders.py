"""Where a text may be divided: after its words, sentences, lines and paragraphs, and before its headings and pages.

One pass over the runs of whitespace finds all but headings and pages; so the time is linear in the text, whatever is in
it. A border is an offset at which the next part may begin.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right

import msgspec

__all__ = ["PAGE_BREAK", "Borders", "Heading", "borders_of", "is_mark"]

PAGE_BREAK = "\f"
_SPACE = re.compile(r"\s+")
_ATX = re.compile(r" {0,3}#{1,6}(?=[ \t]+\S)")
_FENCE = re.compile(r" {0,3}(```|~~~)")
_UNDERLINE = re.compile(r"={3,}[ \t]*")
_HEADING_CHARACTERS_MAX = 200
"""A longer line is a paragraph, whatever it begins with."""
_ENDINGS = frozenset(".!?…")
_CLOSERS = frozenset("\"'”’)]»›")
_CLOSERS_MAX = 3
_WIDE_ENDINGS = re.compile(r"[。！？｡][」』）”’]?")
"""Sentence ends of scripts that put no space behind them."""


class Heading(msgspec.Struct, frozen=True):
    """A heading: where its line begins, and its text without marks."""

    start: int
    text: str


class Borders(msgspec.Struct):
    """The offsets of a text at which a part may begin, ascending, by what ends before them."""

    words: list[int]
    sentences: list[int]
    lines: list[int]
    paragraphs: list[int]
    headings: list[Heading]
    pages: list[int]

    def heading_at(self, offset: int) -> str:
        """Return the text of the last heading that begins at or before `offset`; "" before the first."""
        index = bisect_right(self.headings, offset, key=lambda heading: heading.start)
        return self.headings[index - 1].text if index else ""

    def page_at(self, offset: int) -> int:
        """Return the number of the page, from 1, on which `offset` lies."""
        return bisect_right(self.pages, offset) + 1


def borders_of(text: str) -> Borders:
    """Return the borders of `text`. A heading's own paragraph ends with what follows it, not with the heading."""
    found = Borders([], [], [], [], _headings(text), [])
    for space in _SPACE.finditer(text):
        _take_space(text, space, found)
    wide = [match.end() for match in _WIDE_ENDINGS.finditer(text) if match.end() < len(text)]
    if wide:
        found.sentences = sorted({*found.sentences, *wide})
    _keep_headings_with_text(text, found)
    return found


def _take_space(text: str, space: re.Match[str], found: Borders) -> None:
    end, blank = space.end(), space.group()
    if PAGE_BREAK in blank:
        start = space.start()
        found.pages += [start + index + 1 for index, character in enumerate(blank) if character == PAGE_BREAK]
    if end == len(text) or space.start() == 0:
        return
    found.words.append(end)
    newlines = blank.count("\n") or blank.count("\r")
    if newlines > 1 or PAGE_BREAK in blank or "\u2029" in blank:
        found.paragraphs.append(end)
    if newlines:
        found.lines.append(end)
    if newlines > 1 or _ends_sentence(text, space.start(), end):
        found.sentences.append(end)


def _ends_sentence(text: str, before: int, after: int) -> bool:
    """Return whether the whitespace follows a full stop, and no small letter follows, as after an abbreviation."""
    if text[after].islower():
        return False
    last = before - 1
    for _ in range(_CLOSERS_MAX):
        if last > 0 and text[last] in _CLOSERS:
            last -= 1
    return text[last] in _ENDINGS


def _headings(text: str) -> list[Heading]:
    """Return Markdown's headings: `#` lines outside fenced code, and lines that are underlined with `===`."""
    found: list[Heading] = []
    fence, offset, before, before_at = "", 0, "", 0
    for line in text.splitlines(keepends=True):
        bare = line.rstrip()
        if mark := _FENCE.match(bare):
            fence = "" if fence == mark.group(1) else fence or mark.group(1)
        elif not fence and len(bare) <= _HEADING_CHARACTERS_MAX:
            if mark := _ATX.match(bare):
                found.append(Heading(offset, bare[mark.end() :].strip().rstrip("#").rstrip()))
            elif before and _UNDERLINE.fullmatch(bare):
                found.append(Heading(before_at, before))
        before, before_at = (bare.strip() if len(bare) <= _HEADING_CHARACTERS_MAX else ""), offset
        offset += len(line)
    return [heading for heading in found if heading.text]


def _keep_headings_with_text(text: str, found: Borders) -> None:
    """Take out the borders between a heading's line and what it is the heading of."""
    glued: set[int] = set()
    for heading in found.headings:
        below = _next_line(text, heading.start)
        if text.startswith("===", below):
            glued.add(below)
            below = _next_line(text, below)
        glued.add(below)
    if glued:
        found.lines = [offset for offset in found.lines if offset not in glued]
        found.paragraphs = [offset for offset in found.paragraphs if offset not in glued]
        found.sentences = [offset for offset in found.sentences if offset not in glued]


def _next_line(text: str, offset: int) -> int:
    """Return where the next line that is not blank begins, its indent left out."""
    end = text.find("\n", offset)
    space = _SPACE.match(text, end) if end >= 0 else None
    return space.end() if space else len(text)


def is_mark(character: str) -> bool:
    """Return whether the character belongs to the one before it (accents, joiners, variation marks)."""
    return bool(unicodedata.combining(character)) or unicodedata.category(character) in ("Mn", "Me", "Cf")
