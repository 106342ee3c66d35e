"""How much the words of a text are those of somebody who gives a model orders: a linear model of words and pairs.

Each word, and each pair of neighbours, has a number of 16 bits and under it a weight, of one byte, in a file beside
this one; the sum of the weights, divided by the root of how many there are, is the score, in log odds. The weights are
learnt from labelled texts of several authors, and judged on the texts of one of whom nothing was learnt, by
`scripts/learn_injection_words.py`. No weight says anything alone; nobody has picked a word.

A long text is read by windows, so that orders amid much else count as they would alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib.resources import files
from itertools import pairwise
from math import inf, sqrt
from zlib import crc32

from headgate.policies.words import ascii_words

__all__ = ["NUMBERS", "WEIGHTS_FILE", "windows", "words_score"]

NUMBERS = 1 << 16
WEIGHTS_FILE = "injection_words.bin"
"""A byte for each number, with its sign; behind them, as text, by how much to multiply, and what to add."""
WINDOW_MAX = 250
"""So many words are read at once; a text that is longer is divided evenly."""
WORDS_KNOWN_MAX = 20_000

NO_SPACES = "぀-ヿ㐀-鿿가-힣"
"""Scripts of which each character counts as a word."""
WORD = re.compile(rf"[{NO_SPACES}]|[^\W{NO_SPACES}]+")
DIGITS_AS_ONE = dict.fromkeys(range(ord("1"), ord("9") + 1), "0")


def words_score(text: str) -> float:
    """Return the log odds that a text in small letters gives orders, by its words; those of the worst window."""
    weights, factor, base = _learnt()
    best = max((sum(map(weights.__getitem__, window)) / sqrt(len(window)) for window in windows(text)), default=-inf)
    return best * factor + base


def windows(text: str) -> Iterator[set[int]]:
    """Yield the numbers that are in each window of a text in small letters: of words, and of pairs of neighbours."""
    words = list(map(_number, ascii_words(text) if text.isascii() else WORD.findall(text)))
    pairs = [(31 * one + other) % NUMBERS for one, other in pairwise(words)]
    length = -(-len(words) // max(1, -(-len(words) // WINDOW_MAX)))
    for begin in range(0, len(words), max(1, length)):
        found = set(words[begin : begin + length])
        found.update(pairs[begin : begin + length])
        yield found


@lru_cache(maxsize=WORDS_KNOWN_MAX)
def _number(word: str) -> int:
    return crc32(word.translate(DIGITS_AS_ONE).encode(errors="surrogatepass")) % NUMBERS


@cache
def _learnt() -> tuple[list[int], float, float]:
    data = (files("headgate.policies") / WEIGHTS_FILE).read_bytes()
    factor, base = map(float, data[NUMBERS:].split())
    return list(memoryview(data)[:NUMBERS].cast("b")), factor, base
