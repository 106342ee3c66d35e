"""The key words and phrases of a text: runs of telling words, the frequent and the proper ones first."""

from __future__ import annotations

import re
from math import sqrt

from headgate.llm.demo.intent import Amount
from headgate.llm.demo.refusal import cannot
from headgate.llm.demo.sentences import Part
from headgate.llm.demo.words import common, stem

__all__ = ["key_phrases", "keywords"]

_COUNT = 6


def keywords(parts: tuple[Part, ...], amount: Amount) -> str:
    """Return the key phrases of `parts`, by commas or as a list, as many as asked for."""
    found = key_phrases("\n".join(part.text for part in parts), amount.items or _COUNT)
    if not found:
        raise cannot("find keywords: there is no text in the prompt")
    if amount.json:
        return "[" + ", ".join('"' + phrase.replace("\\", "").replace('"', "") + '"' for phrase in found) + "]"
    return "\n".join(f"- {phrase}" for phrase in found) if amount.bullets else ", ".join(found)


def key_phrases(text: str, count: int) -> list[str]:
    """Return at most `count` phrases of `text` as it writes them, the most telling first."""
    phrases = _phrases(text)
    frequency: dict[str, int] = {}
    for phrase in phrases:
        for word in phrase:
            key = stem(word.casefold())
            frequency[key] = frequency.get(key, 0) + 1
    times: dict[tuple[str, ...], int] = {}
    first: dict[tuple[str, ...], str] = {}
    for phrase in phrases:
        for cut in _cuts(phrase, frequency):
            key = tuple(stem(word.casefold()) for word in cut)
            times[key] = times.get(key, 0) + 1
            first.setdefault(key, " ".join(cut))
    order = list(times)
    scores = {key: _score(key, times[key], frequency, first[key]) for key in order}
    ranked = sorted(order, key=lambda key: (-scores[key], order.index(key)))
    return [first[key] for key in _without_parts(ranked)[:count]]


def _phrases(text: str) -> list[list[str]]:
    phrases: list[list[str]] = []
    text = re.sub(r"\S+@\S+|https?://\S+", " | ", text)
    for clause in re.split(r"[.,;:!?()\[\]{}\"“”„«»|\n\t/]+|\s[-–—]\s", text):
        run: list[str] = []
        for word in re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", clause):
            if common(word.casefold()) or len(word) < 3 or word[0].isdigit():
                phrases.append(run)
                run = []
            else:
                run.append(word)
        phrases.append(run)
    return [phrase for phrase in phrases if phrase]


def _cuts(phrase: list[str], frequency: dict[str, int]) -> list[list[str]]:
    """Return a phrase of up to three words whole, and a longer one word by word where the words come
    again."""
    if len(phrase) <= 3:
        return [
            phrase,
            *([word] for word in phrase if len(phrase) > 1 and frequency[stem(word.casefold())] > 2),
        ]
    return [[word] for word in phrase if frequency[stem(word.casefold())] > 1 or word[0].isupper()]


def _score(key: tuple[str, ...], times: int, frequency: dict[str, int], shown: str) -> float:
    weight = sum(frequency[word] for word in key) / len(key)
    proper = 1.2 if all(word[0].isupper() for word in shown.split()) else 1.0
    return round(times * sqrt(weight) * sqrt(len(key)) * proper * (0.8 if len(shown) < 4 else 1.0), 9)


def _without_parts(ranked: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    kept: list[tuple[str, ...]] = []
    for key in ranked:
        if not any(frozenset(key) <= frozenset(other) or frozenset(other) < frozenset(key) for other in kept):
            kept.append(key)
    return kept
