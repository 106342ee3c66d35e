"""Signs of something in texts, and which of many a text can show: told by the words that stand in it.

A sign is looked for only where one of its words stands in the text. Nor are all words looked for: most are ruled out by
how the words of the text begin, the others by marks that they have in common.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import NamedTuple

from headgate.policies.words import Words, places_of

__all__ = ["Sign", "SignWords"]

WORD = re.compile(r"\w+")
BEGUN_MIN, BEGUN_MAX = 3, 4
FIRST_THREE, FIRST_FOUR = itemgetter(slice(BEGUN_MIN)), itemgetter(slice(BEGUN_MAX))
MARKS = ("<", "{", "[", "|", "]", "`", "=", ">", "*", "/", ":", "#", "?", "(")
"""One of these stands in every text that shows a sign by what is no word."""


class Sign(NamedTuple):
    """A family of attempts, how much one of them says (0 to 1), words of which one must be there (where one begins as a
    word does, so must a word of the text), whether a model must be spoken of, and the pattern. Where that `begins` with
    one of the words, it is tried only where these stand."""

    family: str
    weight: float
    words: tuple[str, ...]
    about_ai: bool
    pattern: re.Pattern[str]
    begins: bool = False

    def place(self, text: str, words: Iterable[str]) -> int | None:
        """Return where a text in small letters shows it, of which these of its words stand there."""
        if not self.begins:
            shown = self.pattern.search(text)
            return None if shown is None else shown.start()
        places = sorted(place for word in words for place in places_of(word, text))
        return next((place for place in places if self.pattern.match(text, place)), None)


class SignWords:
    """The words of some signs. `ai_words` are those that speak of a model."""

    def __init__(self, signs: Sequence[Sign], ai_words: Iterable[str]) -> None:
        self._signs = signs
        self._ai_words = frozenset(ai_words)
        self._numbers: dict[str, list[int]] = {}
        for number, sign in enumerate(signs):
            for word in sign.words:
                self._numbers.setdefault(word, []).append(number)
        self._begun: dict[str, list[tuple[str, list[str]]]] = {}
        others: list[str] = []
        for word in self._numbers:
            if WORD.match(word) and word.isascii():
                first, *more = [one[:BEGUN_MAX] for one in WORD.findall(word)]
                self._begun.setdefault(first, []).append((word, [one for one in more if len(one) >= BEGUN_MIN]))
            else:
                others.append(word)
        self._marked = Words(filter(str.isascii, others), MARKS)
        self._foreign = Words(word for word in others if not word.isascii())

    def signs_begun(self, text: str, words: frozenset[str]) -> list[tuple[Sign, list[str]]]:
        """Return the signs of which words stand in a text in small letters, whose own words are given; and these."""
        begun = {*map(FIRST_THREE, words), *map(FIRST_FOUR, words)}
        found = [
            word
            for first in begun & self._begun.keys()
            for word, more in self._begun[first]
            if word == first or (begun.issuperset(more) and word in text)
        ]
        if any(mark in text for mark in MARKS):
            found += self._marked.within(text)
        if not text.isascii():
            found += self._foreign.within(text)
        about_ai = not words.isdisjoint(self._ai_words)
        words_of_sign: dict[int, list[str]] = {}
        for word in found:
            for number in self._numbers[word]:
                words_of_sign.setdefault(number, []).append(word)
        shown = [(self._signs[number], words_of_sign[number]) for number in sorted(words_of_sign)]
        return [(sign, its_words) for sign, its_words in shown if about_ai or not sign.about_ai]
