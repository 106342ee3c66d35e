"""The words of a text; and many words that are looked for in one: not one by one, but by what several have in common.

Where a stem is not in the text, none of its words is; nor is a word in other letters where one of these is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

__all__ = ["Words", "ascii_words", "places_of", "stands_before", "words_of"]

WORD = re.compile(r"\w+")
SPACE_FOR_SIGNS = {code: " " for code in range(128) if not WORD.match(chr(code))}
TEXTS_KNOWN_MAX = 2
"""Of so many texts the words are known, each of at most so many characters: who needs them twice does so at once."""
TEXT_KNOWN_LENGTH_MAX = 65_536


def words_of(text: str) -> frozenset[str]:
    """Return the words of a text: what is of letters, digits and `_`."""
    return frozenset(ascii_words(text) if text.isascii() else WORD.findall(text))


def ascii_words(text: str) -> tuple[str, ...]:
    """Return the words of a text of ASCII as they come, in half the time that a pattern takes."""
    return _words(text) if len(text) <= TEXT_KNOWN_LENGTH_MAX else _words.__wrapped__(text)


@lru_cache(maxsize=TEXTS_KNOWN_MAX)
def _words(text: str) -> tuple[str, ...]:
    return tuple(text.translate(SPACE_FOR_SIGNS).split())


def places_of(word: str, text: str) -> Iterator[int]:
    """Yield where a word stands in a text."""
    at = text.find(word)
    while at >= 0:
        yield at
        at = text.find(word, at + len(word))


CONTEXT = 24
"""So far before a number stand the words that say what it is."""


def stands_before(words: re.Pattern[str], text: str, at: int) -> bool:
    """Return whether one of the words stands before a place."""
    return words.search(text, max(0, at - CONTEXT), at) is not None


class Words:
    """The words, each under the first of the `stems` that is in it, or of the words themselves.

    Stems are best rare and long, or one character: of these one is found many times faster.
    """

    def __init__(self, words: Iterable[str], stems: Sequence[str] = ()) -> None:
        groups: dict[str, list[str]] = {}
        known = sorted(dict.fromkeys(words), key=len)
        plain = [word for word in known if word.isascii()]
        for word in plain:
            groups.setdefault(next(stem for stem in (*stems, *plain) if stem in word), []).append(word)
        self._groups = list(groups.items())
        self._others = [(word, frozenset(word)) for word in known if not word.isascii()]

    def within(self, lowered: str) -> list[str]:
        """Return those that are in a text, which is in small letters if the words are."""
        found = [word for stem, words in self._groups if stem in lowered for word in words if word in lowered]
        if not lowered.isascii():
            characters = frozenset(lowered)
            found += [word for word, needed in self._others if needed <= characters and word in lowered]
        return found
