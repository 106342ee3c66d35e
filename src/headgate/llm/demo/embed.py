"""Vectors of texts: hashed words, word pairs and character trigrams, 256 numbers of length 1 together.

Texts that share words lie near one another, and nearer still the more telling the words; nothing is known
of meaning.
"""

from __future__ import annotations

import hashlib
import itertools
from math import fsum, sqrt

from headgate.llm.demo.models import DIMENSIONS
from headgate.llm.demo.words import common, stem, words

__all__ = ["vector"]

_WORD, _PAIR, _TRIGRAM, _COMMON = 1.0, 0.4, 0.25, 0.1


def vector(text: str) -> tuple[float, ...]:
    """Return the vector of `text`; a text without words has the vector of its emptiness, of length 1 as
    well."""
    weights: dict[str, float] = {}
    stemmed = [(stem(word), common(word)) for word in words(text)]
    for word, is_common in stemmed:
        _add(weights, f"w:{word}", _COMMON if is_common else _WORD)
        if not is_common:
            for start in range(len(word)):
                _add(weights, f"c:{f'^{word}$'[start : start + 3]}", _TRIGRAM)
    for (left, left_common), (right, right_common) in itertools.pairwise(stemmed):
        if not (left_common or right_common):
            _add(weights, f"p:{left} {right}", _PAIR)
    return _folded(weights or {"empty": 1.0})


def _add(weights: dict[str, float], feature: str, weight: float) -> None:
    weights[feature] = weights.get(feature, 0.0) + weight


def _folded(weights: dict[str, float]) -> tuple[float, ...]:
    """Put each feature, dampened, at two places with a sign each; both follow from its digest."""
    sums = [0.0] * DIMENSIONS
    for feature, weight in weights.items():
        digest = hashlib.blake2b(feature.encode(), digest_size=8).digest()
        for place, sign in ((digest[0], digest[1]), (digest[2], digest[3])):
            sums[place] += sqrt(weight) * weight_of(feature) * (1.0 if sign & 1 else -1.0)
    length = sqrt(fsum(value * value for value in sums))
    return tuple(round(value / length, 8) for value in sums) if length else (1.0, *([0.0] * (DIMENSIONS - 1)))


def weight_of(feature: str) -> float:
    """Return how much a feature of this sort counts."""
    return {"w": 1.0, "p": 0.6, "c": 0.35}.get(feature[0], 1.0)
