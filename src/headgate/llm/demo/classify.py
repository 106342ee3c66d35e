"""A classifier over labels that the prompt or the schema names.

A label gains by words of the text that are, or are spelled like, its own words or its description's, and
by a small
general vocabulary of moods, urgencies and subjects. Where nothing speaks for any label, the one for the rest
("other", "neutral") is right; without such a label the question is refused rather than guessed.
"""

from __future__ import annotations

import re
from math import fsum, sqrt

import msgspec

from headgate.llm.demo.models import Model
from headgate.llm.demo.refusal import cannot
from headgate.llm.demo.seeds import MILD, NEGATIONS, seeds_for
from headgate.llm.demo.words import common, dice, name_words, rarity, stem, words

__all__ = ["Label", "Verdict", "classify", "inline_labels", "labels_in", "ranked"]


class Label(msgspec.Struct, frozen=True):
    """A label as it is to be answered, with what the prompt says that it means."""

    name: str
    description: str = ""


class Verdict(msgspec.Struct, frozen=True):
    """A label and what speaks for it; `share` is its part of all evidence, below 1, and low where there is
    little."""

    label: Label
    score: float
    share: float


def classify(text: str, labels: list[Label], model: Model) -> Verdict:
    """Return the best label. Raises `demo_cannot` where nothing in the text speaks for any."""
    order = ranked(text, labels, model)
    if order[0].score > 0:
        return order[0]
    if rest := next((label for label in labels if _is_rest(label)), None):
        return Verdict(rest, 0.0, 0.0)
    named = ", ".join(label.name for label in labels[:12])
    raise cannot(
        f"choose among the labels {named}: no word of the text speaks for any of them (a label such "
        f"as “other” would be chosen then)"
    )


def ranked(text: str, labels: list[Label], model: Model) -> list[Verdict]:
    """Return every label with its score, the best first, in the order given where equal."""
    evidence = _evidence(text, model)
    vocabularies = [_vocabulary(label) for label in labels]
    telling = rarity([list(vocabulary) for vocabulary in vocabularies])
    scores = [
        _score(label, vocabulary, evidence, telling) for label, vocabulary in zip(labels, vocabularies, strict=True)
    ]
    scores = _negated(labels, scores)
    whole = fsum(scores)
    verdicts = [
        Verdict(label, score, round(score / (whole + 1), 4)) for label, score in zip(labels, scores, strict=True)
    ]
    return sorted(verdicts, key=lambda verdict: -verdict.score)


def _is_rest(label: Label) -> bool:
    found = name_words(label.name)
    return any(word in MILD for word in found) or bool(found and found[0] in ("not", "no", "non"))


def _evidence(text: str, model: Model) -> dict[str, float]:
    """Return the weight of each stem in the text; negated ones weigh against. The large model trusts the
    first line more."""
    counts: dict[str, float] = {}
    for number, line in enumerate(line for line in text.split("\n") if line.strip()):
        weight = 1.5 if model.second_pass and not number else 1.0
        negated = 0
        for word in words(line):
            if word in NEGATIONS:
                negated = 4
                counts[stem(word)] = counts.get(stem(word), 0.0) + 0.3
                continue
            if not common(word) or word in ("how", "what", "now"):
                key = f"not {stem(word)}" if negated else stem(word)
                counts[key] = counts.get(key, 0.0) + (0.3 if common(word) else weight)
            negated = max(0, negated - 1)
    return {word: sqrt(count) for word, count in counts.items()}


def _vocabulary(label: Label) -> dict[str, float]:
    """Return the stems that speak for `label`: seeds lightly, the description's more, its own name's most."""
    own = name_words(label.name)
    found = seeds_for(own)
    for mood, opposite in (("negative", "positive"), ("positive", "negative")):
        if seeds_for([mood]) == found:
            found = {**found, **{f"not {word}": 0.6 for word in seeds_for([opposite])}}
    for word in words(label.description):
        if not common(word) and len(word) > 2:
            found[stem(word)] = max(found.get(stem(word), 0.0), 1.2)
    for word in name_words(label.name):
        if not common(word) and word not in MILD:
            found[stem(word)] = 2.0
    return found


def _score(label: Label, vocabulary: dict[str, float], evidence: dict[str, float], telling: dict[str, float]) -> float:
    own = {stem(word) for word in name_words(label.name)}
    denial = -0.6 if seeds_for([*own]) and any(seeds_for([mood]) == seeds_for([*own]) for mood in _MOODS) else 1.0
    gains: list[float] = []
    for word, count in evidence.items():
        bare = word.removeprefix("not ")
        if word != bare and word in vocabulary:
            gains.append(vocabulary[word] * count)
            continue
        weight, sureness = _weight(bare, vocabulary, own)
        if weight:
            gains.append(weight * sureness * count * telling.get(bare, 1.0) * (denial if bare != word else 1.0))
    return round(max(0.0, fsum(gains)), 6)


_MOODS = ("positive", "negative", "urgent")
"""A denied word speaks against these; "not delivered" still speaks of deliveries."""


def _weight(word: str, vocabulary: dict[str, float], own: set[str]) -> tuple[float, float]:
    if word in vocabulary:
        return vocabulary[word], 1.0
    if len(word) < 5:
        return 0.0, 0.0
    for known in vocabulary:  # in the order of building, which is the same everywhere
        if len(known) >= 5 and (word.startswith(known) or known.startswith(word)):
            return vocabulary[known], 0.8
    alike = max((dice(word, known) for known in sorted(own) if len(known) >= 5), default=0.0)
    return (2.0, alike * 0.5) if alike >= 0.65 else (0.0, 0.0)


def _negated(labels: list[Label], scores: list[float]) -> list[float]:
    """A label "not X" gains nothing by X: it is right where X has no evidence."""
    return [
        0.0 if label.name.casefold().startswith(("not ", "not_", "no ", "non-", "non_")) else score
        for label, score in zip(labels, scores, strict=True)
    ]


# --- Labels in a prompt --------------------------------------------------------------------------------

_LISTED = (
    (
        r"\b(?:one of(?: (?:these|the following|the))?(?: (?:\w+ )?(?:categories|labels|classes|options|"
        r"values|topics|departments|teams|queues))?"
        r"|(?:categories|labels|classes|options|topics|departments|teams|queues|possible values|choices)(?: "
        r"are| is)?)\s*[:(=\[]?\s*"
    ),
    r"\b(?:as|into|between|among|from|either|to|with|is it|is this|are)\s+(?:either\s+|one of\s+)?[:(\[]?\s*",
    r"\(",
    r":\s*",
)


def labels_in(instruction: str) -> list[Label]:
    """Return the labels that an instruction names: a list after "one of", after "as" or "into", bullets,
    or `a/b/c`."""
    return _bullets(instruction) or inline_labels(instruction) or _slashed(instruction) or _usual(instruction)


def _bullets(instruction: str) -> list[Label]:
    found = re.findall(r"^\s*(?:[-*•–]|\d{1,2}[.)])\s+(.+)$", instruction, re.MULTILINE)
    return [_label(item) for item in found] if len(found) > 1 else []


def _label(item: str) -> Label:
    name, _, description = ([*re.split(r"\s*(?::|\s[-–—]\s|\s=\s)\s*", item, maxsplit=1), "", ""])[:3]
    match = re.fullmatch(r"(.+?)\s*\((.+)\)", item) if not description and not _ else None
    if match:
        return Label(_bare(match.group(1)), match.group(2))
    return Label(_bare(name), _ or description)


def inline_labels(instruction: str) -> list[Label]:
    """Return the labels of a list that stands within a sentence."""
    for start in _LISTED:
        for match in re.finditer(start, instruction, re.IGNORECASE):
            listed = re.split(
                (
                    r"[.?!;\n)\]]|:\s|\s[-–—]\s|,?\s+(?:based|depending|according|for the|and (?:reply|"
                    r"answer|return|explain|respond))\b"
                ),
                instruction[match.end() :],
                maxsplit=1,
            )[0]
            names = [
                _bare(name)
                for name in re.split(r",\s*(?:or\s+|and\s+)?|\s+or\s+|\s+and\s+|\s*\|\s*|\s+vs\.?\s+", listed)
            ]
            names = [re.sub(r"^(?:either|an?)\s+", "", name) for name in names if name]
            if len(names) > 1 and all(len(name.split()) <= 4 and len(name) <= 40 for name in names):
                return [Label(name) for name in dict.fromkeys(_without_subject(names, match.group()))]
    return []


def _without_subject(names: list[str], start: str) -> list[str]:
    """Of "is this review positive or negative?" the first label is "positive"."""
    length = max(len(name.split()) for name in names[1:])
    if re.match(r"(?:is|are)\b", start.casefold()) and len(names[0].split()) > length:
        return [" ".join(names[0].split()[-length:]), *names[1:]]
    return names


def _slashed(instruction: str) -> list[Label]:
    match = re.search(r"[\w-]+(?:\s?[/|]\s?[\w-]+)+", instruction)
    return [Label(name.strip()) for name in re.split(r"[/|]", match.group())] if match else []


def _usual(instruction: str) -> list[Label]:
    """A sentiment without labels is positive, negative or neutral, as everywhere."""
    if "sentiment" in instruction.casefold():
        return [Label(name) for name in ("positive", "negative", "neutral")]
    return []


def _bare(name: str) -> str:
    return name.strip().strip("\"'`“”‘’*[]{}().:;,").strip()
