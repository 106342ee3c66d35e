"""Answers to questions: the passages of the text that fit best, quoted with their place, or "not in the
text"."""

from __future__ import annotations

import itertools
import re
from math import fsum

import msgspec

from headgate.llm.demo.models import Model
from headgate.llm.demo.sentences import Part, Sentence, sentences
from headgate.llm.demo.words import common, content_stems, dice, rarity, related, stem, words

__all__ = ["NOT_FOUND", "Passage", "answer", "passages"]

NOT_FOUND = "not in the text"

_ENOUGH = 0.45
"""The share of the question's telling words that a passage and its surroundings must have."""
_AROUND = 0.7
_FEEDBACK = 0.15

_EMPTY_WORDS = """
text document passage article context say says said mention mentioned tell explain describe answer question
according
find quote cite give information stated state does happen happens exactly many much often name called there
kind list
following based only using author's provide provided explanation whether number policy clause rule rules
section
details provision
"""
_EMPTY = frozenset(stem(word) for word in _EMPTY_WORDS.split())


class Passage(msgspec.Struct, frozen=True):
    """A sentence that answers, and how well: 0 to 1 and a little more."""

    sentence: Sentence
    score: float


def answer(question: str, parts: tuple[Part, ...], model: Model, count: int | None = None) -> str:
    """Return the best passages as quotes with their places, best first, or `NOT_FOUND`."""
    found = passages(question, parts, model)
    if not found:
        return NOT_FOUND
    return "\n".join(
        f"“{passage.sentence.text}” ({passage.sentence.place})" for passage in found[: count or model.passages]
    )


def passages(question: str, parts: tuple[Part, ...], model: Model) -> list[Passage]:
    """Return the passages that answer `question`, best first; empty where the text does not say."""
    every = sentences(parts)
    asked = _asked(question)
    if not every or not asked:
        return []
    scores = _scores(question, asked, every)
    if model.second_pass:
        scores = _read_again(scores, every)
    ranked = sorted(
        (Passage(sentence, score) for sentence, score in zip(every, scores, strict=True) if not sentence.is_heading),
        key=lambda passage: (-passage.score, passage.sentence.part, passage.sentence.number),
    )
    if not ranked or ranked[0].score < _ENOUGH:
        return []
    least = max(_ENOUGH, ranked[0].score * model.passage_share)
    return _distinct([passage for passage in ranked if passage.score >= least])[: model.passages]


def _asked(question: str) -> list[str]:
    told = re.sub(
        r"^\W*(?:please |can you |could you )*(?:answer|tell me|explain|describe|find)\b(?: the question)?:?",
        " ",
        question.strip(),
        flags=re.IGNORECASE,
    )
    found = [word for word in dict.fromkeys(content_stems(told)) if word not in _EMPTY]
    return found or list(dict.fromkeys(content_stems(told)))


def _scores(question: str, asked: list[str], every: list[Sentence]) -> list[float]:
    bags = [frozenset(content_stems(sentence.text)) for sentence in every]
    telling = rarity([sorted(bag) for bag in bags])
    weights = {
        word: min((telling[found] for found in related(word) if found in telling), default=_unseen(word, telling))
        for word in asked
    }
    whole = fsum(weights.values()) or 1.0
    expected = _expected(question)
    scores: list[float] = []
    for index, sentence in enumerate(every):
        has = {word: _has(word, bags[index]) for word in asked}
        near = _surroundings(every, bags, index)
        around = {word: _AROUND * _has(word, near) for word in asked}
        own = fsum(weights[word] * has[word] for word in asked) / whole
        total = fsum(weights[word] * max(has[word], around[word]) for word in asked) / whole
        score = (0.6 * total + 0.4 * own + _in_order(question, sentence.text)) if own else 0.0
        if own and expected:
            fits = re.search(expected, sentence.text)
            score *= (1.25 if score >= _ENOUGH else 1.0) if fits else 0.55
        scores.append(round(score, 9))
    return scores


def _unseen(word: str, telling: dict[str, float]) -> float:
    """A word that the text never has weighs a little more than one that it has once: half the words are
    not enough."""
    return 1.25 * max(telling.values(), default=1.0) if len(word) > 1 else 0.0


def _has(word: str, bag: frozenset[str]) -> float:
    """Return how surely `bag` has `word`: 1 for the stem, less for a related word, or one that begins or
    is spelled alike."""
    if word in bag:
        return 1.0
    if any(other in bag for other in related(word)):
        return 0.85
    if len(word) < 4:
        return 0.0
    alike = max((_alike(word, other) for other in bag), default=0.0)
    return alike if alike >= 0.6 else 0.0


def _alike(word: str, other: str) -> float:
    if len(other) >= 5 and len(word) >= 5 and (other.startswith(word) or word.startswith(other)):
        return 0.8
    if len(other) >= 6 and len(word) >= 6 and (word in other or other in word):
        return 0.7
    return dice(word, other) if abs(len(word) - len(other)) <= 4 and word[:2] == other[:2] else 0.0


def _surroundings(every: list[Sentence], bags: list[frozenset[str]], index: int) -> frozenset[str]:
    """Return the words of the heading and of the sentences beside it in its paragraph (all of a short
    part's)."""
    here = every[index]
    near = frozenset(content_stems(f"{here.heading} {here.source}"))
    for other in range(max(0, index - 2), min(len(every), index + 2)):
        if (
            other != index
            and every[other].part == here.part
            and (every[other].paragraph == here.paragraph or every[other].is_heading)
        ):
            near |= bags[other]
    return near


def _in_order(question: str, text: str) -> float:
    """Add a little for pairs of words that the question has too, side by side."""
    asked, found = words(question), words(text)
    pairs = {(stem(a), stem(b)) for a, b in itertools.pairwise(asked) if not (common(a) or common(b))}
    same = sum(1 for a, b in itertools.pairwise(found) if (stem(a), stem(b)) in pairs)
    return min(0.2, 0.1 * same)


_NAME = r"(?:^|[\s(\"“])[A-ZÄÖÜÉ][\w’'-]+"
_MONTHS = r"(?:Jan|Feb|M[aä]r|Apr|Ma[iy]|Jun|Jul|Aug|Sep|O[ck]t|Nov|De[cz])[a-z]*"
_EXPECTED = (
    (
        (
            r"\bwhen\b|\bwhat (?:date|day|year|time)\b|\bwhich (?:date|day|year|month)\b|\bdeadline\b|"
            r"\buntil when\b|^wann\b"
        ),
        (
            rf"(?<![\d.,$€£])(?:\b\d{{4}}\b|\d{{1,2}}[:/.-]\d{{1,2}}\b|\d{{1,2}}\s?(?:[ap]\.?m|h\b|Uhr))|"
            rf"\b{_MONTHS}\b|\b(?i:mon|tues|wednes|thurs|fri|satur|sun)day\b|\b(?i:today|tomorrow|"
            rf"yesterday|days?|weeks?|months?|years?|hours?|minutes?|noon|midnight|spring|summer|autumn|"
            rf"winter|immediately|after|before)"
        ),
    ),
    (
        (
            r"\bhow (?:much|many|long|old|tall|high|deep|wide|far|big|large|often|heavy|fast)\b|\bwhat "
            r"(?:percentage|price|amount|number)\b|^wie viel"
        ),
        (
            r"\d|\b(?i:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|fifty|"
            r"hundred|thousand|million|billion|"
            r"dozen|half|once|twice|daily|weekly|monthly|yearly|annually|eins|zwei|drei|vier|fünf|zehn)\b"
        ),
    ),
    (
        r"^\W*who(?:m|se)?\b|\bby whom\b|^wer\b",
        rf"{_NAME}|\b(?i:he|she|they|we|team|committee|owner|party|tenant|landlord|customer|supplier)\b",
    ),
    (r"\be-?mail address\b", r"@"),
    (r"\b(?:tele)?phone\b", r"\+?\d[\d\s()/-]{6,}"),
)


def _expected(question: str) -> str:
    """Return the pattern of what an answer must show: a time for "when", a number for "how much"."""
    folded = question.strip().casefold()
    return next((shown for asked, shown in _EXPECTED if re.search(asked, folded)), "")


def _read_again(scores: list[float], every: list[Sentence]) -> list[float]:
    """Read a second time for the words of the best passage: what goes on about the same gains a little."""
    best = max(range(len(scores)), key=lambda index: (scores[index], -index))
    if scores[best] < _ENOUGH:
        return scores
    theme = frozenset(content_stems(every[best].text))
    again: list[float] = []
    for index, score in enumerate(scores):
        bag = frozenset(content_stems(every[index].text))
        shared = len(theme & bag) / (len(bag) or 1)
        again.append(score if index == best or not score else round(score + _FEEDBACK * shared * scores[best], 9))
    return again


def _distinct(found: list[Passage]) -> list[Passage]:
    seen: set[str] = set()
    return [p for p in found if not (p.sentence.text in seen or seen.add(p.sentence.text))]
