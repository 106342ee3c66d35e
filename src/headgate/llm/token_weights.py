"""How many tokens a text comes to at most, by what it is written in: no vocabulary needed, and measured against many.

A vocabulary spends one token on a common English word and up to one on each byte of a script that it has hardly seen:
one rate for all bytes is either three times too much for English or a third too little for Arabic. So each kind of
character has a weight, in tokens, with a column for two groups of vocabularies: `newer` ones (o200k, cl100k, those of
Llama 3, Qwen 3, DeepSeek 3, Gemini and Mistral's tekken), and `any` (also p50k, r50k, Claude 2's, Llama 2's and
Mistral's first ones, some of which spell most of the world's scripts byte by byte). Words in Latin letters are told
apart by whether the text around them is English, in which the vocabularies were brought up.

tests/llm/tokens holds the estimate against fourteen vocabularies.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

__all__ = ["NEWER", "PROSE", "Vocabulary", "count_upper", "kind_of", "vocabulary_of"]

Vocabulary = int
"""The column of `WEIGHTS` that holds for a model."""
NEWER: Vocabulary = 0
ANY: Vocabulary = 1
NEWER_NAMES = re.compile(
    r"(^|/)(gpt-(3\.5|4|5|6|oss)|chatgpt-|o[1-9](-|$)|text-embedding-3|gemini-|gemma-?[3-9]|deepseek-|qwen-?[23]|llama-?[34])",
    re.IGNORECASE,
)
"""Models whose vocabularies were measured, or are those of models that were."""

WEIGHTS: tuple[tuple[int, float, float], ...] = (
    (0x00A0, 1.0, 1.0),
    (0x0370, 1.8, 2.0),  # Latin with marks
    (0x0400, 1.4, 1.8),  # Greek
    (0x0530, 1.0, 1.8),  # Cyrillic
    (0x0590, 2.0, 2.0),  # Armenian
    (0x0600, 1.4, 1.8),  # Hebrew
    (0x0700, 1.3, 1.8),  # Arabic
    (0x0800, 2.0, 2.0),
    (0x0900, 3.0, 3.0),
    (0x0980, 1.5, 2.2),  # Devanagari
    (0x0A00, 1.8, 2.7),  # Bengali
    (0x0E00, 2.0, 3.1),  # other scripts of India
    (0x0E80, 1.2, 2.2),  # Thai
    (0x1000, 3.0, 3.4),  # Lao, Tibetan
    (0x1100, 2.4, 3.0),  # Burmese, Georgian
    (0x1E00, 3.0, 3.0),
    (0x2000, 2.0, 3.0),  # Latin with two marks, as in Vietnamese
    (0x3000, 3.0, 3.0),  # signs, arrows, boxes
    (0x3040, 2.0, 2.4),  # signs of Chinese and Japanese
    (0x3100, 1.4, 1.7),  # kana
    (0x4E00, 3.0, 3.0),
    (0xA000, 2.2, 2.9),  # Chinese characters
    (0xAC00, 3.0, 3.0),
    (0xD7B0, 1.7, 3.0),  # Hangul
    (0x10000, 3.0, 3.0),
    (0x110000, 4.0, 4.0),  # emoji, rare scripts, rare characters
)
"""Before which code point which weights hold: tokens a character."""
ENGLISH_SHARE = 0.1
"""Of the words of English running text far more than this are among `ENGLISH`; of other texts, fewer."""
_COMMON = (
    "the of and to that it was is with for by had not which from this but they were his her been have are be its their "
    "than then there when who you we your our has does at would could should will what where into about"
)
ENGLISH = frozenset(_COMMON.split())
DENSE = 0.9
"""Tokens a letter of what capitals and small letters are mixed in without any sense."""
WINDOW_WORDS = 40
WORDS_KEPT_MAX = 20_000
CHARACTERS_KEPT_MAX = 20_000

_WORD = re.compile(r"[A-Za-z]+")
_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_RUN = re.compile(r"([!-/:-@\[-`{-~])\1{3,}")
_GAP = re.compile(r"[ \t]{2,}|\t| (?=[^A-Za-z])")


def vocabulary_of(model: str) -> Vocabulary:
    """Return the group of vocabularies that a model's is of, by its name."""
    return NEWER if NEWER_NAMES.search(model) else ANY


def count_upper(text: str, vocabulary: Vocabulary = ANY) -> int:
    """Return how many tokens `text` comes to at most."""
    if not text:
        return 0
    signs = _RUN.sub(r"\1\1", text)  # a rule of dashes is a token or two for every sixteen
    ruled = (len(text) - len(signs)) / 5
    letters = _letters(signs) if text.isascii() or _WORD.search(signs) else 0.0
    return math.ceil(2 + ruled + letters + _gaps(signs, vocabulary) + _characters(signs, vocabulary))


def _characters(text: str, vocabulary: Vocabulary) -> float:
    """Return what all but letters and blanks come to."""
    return sum(_weight(character, vocabulary) * number for character, number in Counter(text).items())


@lru_cache(CHARACTERS_KEPT_MAX)
def _weight(character: str, vocabulary: Vocabulary) -> float:
    if character.isascii():
        if character.isalpha() or character in " \t":
            return 0.0
        return 1.0 if character.isdigit() or not character.isprintable() else 0.95
    weight = next(weights[1 + vocabulary] for weights in WEIGHTS if ord(character) < weights[0])
    # Some vocabularies take characters apart that stand for several: a sign for a whole sentence among them.
    unfolded = unicodedata.normalize("NFKC", character)
    return weight if len(unfolded) == 1 else max(weight, float(len(unfolded.encode("utf-8", "surrogatepass"))))


def _gaps(text: str, vocabulary: Vocabulary) -> float:
    """Return what blanks come to: one before a letter is part of the word, the older ones count each of many."""
    return sum(1.0 if len(gap) == 1 or vocabulary == NEWER else float(len(gap)) for gap in _GAP.findall(text))


def _letters(text: str) -> float:
    """Return what words come to, window by window: in English text they are cheap."""
    words = _WORD.findall(text)
    costs = {word: _word(word) for word in set(words)}
    total = 0.0
    for start in range(0, len(words), WINDOW_WORDS):
        window = [costs[word] for word in words[start : start + WINDOW_WORDS]]
        english = sum([known for _, _, known in window]) >= ENGLISH_SHARE * len(window)
        total += sum([cheap if english else dear for cheap, dear, _ in window])
    return total


@lru_cache(WORDS_KEPT_MAX)
def _word(word: str) -> tuple[float, float, bool]:
    """Return what a word costs in English text and elsewhere, and whether it is one of the commonest English ones."""
    parts = _PART.findall(word)
    if len(parts) > 3 and len(word) < 3 * len(parts):  # no camel has so many humps: base64, or something like it
        return DENSE * len(word), DENSE * len(word), False
    return sum(map(_english, parts)), sum(map(_foreign, parts)), word.lower() in ENGLISH


def _english(part: str) -> float:
    """A name is rarer than a word, and capitals are rarer still."""
    if part.islower():
        return 1 + 0.25 * max(0, len(part) - 3)
    return max(1.0, (0.55 if part[1:].islower() else 0.7) * len(part))


def _foreign(part: str) -> float:
    return max(1.0, (0.72 if part.isupper() else 0.66) * len(part))


# --- Kinds of texts -----------------------------------------------------------------------------------------------

CLASSES_KEPT_MAX = 10_000
SAMPLE_CHARACTERS = 6_000
SAMPLE_WORDS = 300
STEPS = 5
"""Shares are told in fifths."""
PROSE = "english"
"""How the names of kinds begin that are mostly English sentences."""


def kind_of(texts: Sequence[str]) -> str:
    """Return a name that texts of the same make-up share: English or not, and how much is digits, signs, and so on."""
    text = "\n".join(texts)
    signs = Counter(text[:: len(text) // SAMPLE_CHARACTERS + 1])
    found = [0, 0, 0, 0]
    for character, number in signs.items():
        found[_class(character)] += number
    words = _WORD.findall(text)
    sample = words[:: len(words) // SAMPLE_WORDS + 1]
    english = sum(word.lower() in ENGLISH for word in sample) >= ENGLISH_SHARE * max(1, len(sample))
    total = max(1, sum(found))
    shares = "".join(str(round(STEPS * part / total)) for part in found)
    return f"{PROSE if english else 'other'} {shares}"


@lru_cache(maxsize=CLASSES_KEPT_MAX)
def _class(character: str) -> int:
    """Return 0: a Latin letter or a blank; 1: a digit or an ASCII sign; 2: another alphabet; 3: the scripts beyond."""
    if character.isascii():
        return 0 if character.isalpha() or character.isspace() else 1
    return 2 if ord(character) < 0x0900 else 3
