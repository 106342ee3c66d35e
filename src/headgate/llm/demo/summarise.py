"""A summary made of the text's own sentences: those that share most with the others, in their order."""

from __future__ import annotations

import re
from math import fsum, sqrt

from headgate.llm.demo.intent import Amount
from headgate.llm.demo.models import Model
from headgate.llm.demo.refusal import cannot
from headgate.llm.demo.sentences import Part, Sentence, sentences
from headgate.llm.demo.tokens import count_text
from headgate.llm.demo.words import content_stems, rarity

__all__ = ["best_sentences", "summarise"]

_SENTENCES_MAX = 400
_ROUNDS = 20
_DAMPING = 0.85
_ALIKE = 0.6


def summarise(
    parts: tuple[Part, ...], amount: Amount, model: Model, max_tokens: int | None, *, combine: bool = False
) -> str:
    """Return a summary of `parts` within `amount` and, where one sentence fits, within `max_tokens`."""
    candidates = _tellings(parts)
    if not candidates:
        raise cannot("summarise: there is no text in the prompt to summarise")
    fresh, repeats = best_sentences(candidates, model)
    ranked = _in_turn(fresh, candidates) if combine and len(parts) > 1 else fresh + repeats
    chosen = _choose(
        candidates,
        ranked,
        _count(len(candidates), amount, model, len(parts) if combine else 1),
        amount,
        max_tokens,
    )
    return _layout([candidates[index].text for index in sorted(chosen)], amount)


def _tellings(parts: tuple[Part, ...]) -> list[Sentence]:
    """Leave out headings, greetings and sign-offs, unless there is nothing else."""
    every = sentences(parts)
    told: list[Sentence] = []
    signed = -1
    for sentence in every:
        courtesy = re.match(_COURTESY, sentence.text.casefold())
        if courtesy and re.match(_SIGN_OFF, sentence.text.casefold()):
            signed = sentence.part
        fragment = len(sentence.text.split()) < 4 and signed == sentence.part
        if not (sentence.is_heading or courtesy or fragment):
            told.append(sentence)
    return told or every


_SIGN_OFF = (
    r"(?:best|kind|warm|regards|sincerely|cheers|yours|thanks|many thanks|mit freundlichen|viele grüße|"
    r"cordialement)"
)


_COURTESY = (
    r"(?:dear\b.{0,60}|hi\b.{0,30}|hello\b.{0,40}|hey\b.{0,30}|good (?:morning|afternoon|"
    r"evening)\b.{0,30}|thanks\W*$|thank you\W*$|many thanks.{0,30}|"
    r"(?:best|kind|warm)?\s*regards\b.{0,40}|sincerely.{0,30}|cheers.{0,20}|yours\b.{0,40}|best,?|sehr "
    r"geehrte.{0,60}|hallo\b.{0,30}|"
    r"mit freundlichen grüßen.{0,40}|viele grüße.{0,40}|bonjour.{0,30}|cordialement.{0,30})$"
)


def _count(available: int, amount: Amount, model: Model, parts: int) -> int:
    asked = amount.items if amount.bullets or amount.items else amount.sentences
    if asked:
        return asked
    if amount.words or amount.characters:
        return available
    return max(1, min(model.summary_sentences, -(-available // 3)), min(parts, 12))


def best_sentences(candidates: list[Sentence], model: Model) -> tuple[list[int], list[int]]:
    """Return the indexes of `candidates`, the most telling first, and those of near repeats."""
    bags = [content_stems(f"{s.heading} {s.text}" if model.second_pass else s.text) for s in candidates]
    scores = _frequency_scores(bags)
    if model.second_pass:
        kept = sorted(range(len(bags)), key=lambda index: (-scores[index], index))[:_SENTENCES_MAX]
        central = _central([bags[index] for index in sorted(kept)])
        mean = fsum(scores) / len(scores) or 1.0
        scores = [score / mean for score in scores]
        for place, index in enumerate(sorted(kept)):
            scores[index] += central[place]
    scores = [round(score * _standing(candidates, index), 9) for index, score in enumerate(scores)]
    order = sorted(range(len(bags)), key=lambda index: (-scores[index], index))
    return _without_repeats(order, bags)


def _frequency_scores(bags: list[list[str]]) -> list[float]:
    """Score each sentence by how often the whole text uses its words; long sentences do not win by length
    alone."""
    frequency: dict[str, int] = {}
    for bag in bags:
        for word in bag:
            frequency[word] = frequency.get(word, 0) + 1
    most = max(frequency.values(), default=1)
    return [fsum(frequency[word] / most for word in dict.fromkeys(bag)) / sqrt(len(bag) + 3) for bag in bags]


def _central(bags: list[list[str]]) -> list[float]:
    """Return each sentence's weight in the graph of shared words (TextRank), the mean being 1."""
    telling = rarity(bags)
    sets = [frozenset(bag) for bag in bags]
    sizes = [sqrt(len(bag) + 1) for bag in bags]
    links: list[list[tuple[int, float]]] = [[] for _ in bags]
    for left in range(len(bags)):
        for right in range(left):
            if shared := sets[left] & sets[right]:
                weight = fsum(sqrt(telling[word]) for word in shared) / (sizes[left] * sizes[right])
                links[left].append((right, weight))
                links[right].append((left, weight))
    out = [fsum(weight for _, weight in link) for link in links]
    scores = [1.0] * len(bags)
    for _ in range(_ROUNDS):
        scores = [
            (1 - _DAMPING) + _DAMPING * fsum(scores[other] * weight / out[other] for other, weight in link)
            for link in links
        ]
    return scores


def _standing(candidates: list[Sentence], index: int) -> float:
    """Prefer what opens the text or a paragraph; distrust questions, fragments and very long lines."""
    sentence = candidates[index]
    length = len(sentence.text.split())
    factor = 1.4 if index == 0 else 1.0
    if index and candidates[index - 1].paragraph != sentence.paragraph:
        factor *= 1.1
    if length < 5:
        factor *= 0.5
    if re.match(r"[^\W\d][^.!?:]{0,40}:\s", sentence.text):
        factor *= 0.6
    if sentence.text.endswith("?"):
        factor *= 0.6
    return factor * (0.7 if length > 60 else 1.0)


def _without_repeats(order: list[int], bags: list[list[str]]) -> tuple[list[int], list[int]]:
    kept: list[int] = []
    repeats: list[int] = []
    for index in order:
        mine = frozenset(bags[index])
        alike = any(
            mine and len(mine & frozenset(bags[other])) >= _ALIKE * min(len(mine), len(frozenset(bags[other])) or 1)
            for other in kept[:40]
        )
        (repeats if alike else kept).append(index)
    return kept, repeats


def _in_turn(ranked: list[int], candidates: list[Sentence]) -> list[int]:
    """Take the best of each part, then the second of each, so that no part of several is left out."""
    seen: dict[int, int] = {}
    turns: list[tuple[int, int, int]] = []
    for place, index in enumerate(ranked):
        part = candidates[index].part
        turns.append((seen.get(part, 0), place, index))
        seen[part] = seen.get(part, 0) + 1
    return [index for _, _, index in sorted(turns)]


def _choose(
    candidates: list[Sentence], ranked: list[int], count: int, amount: Amount, max_tokens: int | None
) -> list[int]:
    chosen: list[int] = []
    words = characters = tokens = 0
    for index in ranked:
        if len(chosen) == count:
            break
        text = candidates[index].text
        more = (words + len(text.split()), characters + len(text) + 1, tokens + count_text(text) + 2)
        too_much = _over(more[0], amount.words) or _over(more[1], amount.characters) or _over(more[2], max_tokens)
        if too_much and (chosen or index != ranked[-1]):
            continue
        chosen.append(index)
        words, characters, tokens = more
    return chosen or [min(ranked, key=lambda index: (len(candidates[index].text), index))]


def _over(value: int, limit: int | None) -> bool:
    return limit is not None and value > limit


def _layout(texts: list[str], amount: Amount) -> str:
    if amount.numbered:
        return "\n".join(f"{number}. {text}" for number, text in enumerate(texts, 1))
    if amount.bullets or amount.items:
        return "\n".join(f"- {text}" for text in texts)
    text = " ".join(item if item[-1:] in '.!?…:;”"' else f"{item}." for item in texts)
    if amount.words and len(text.split()) > amount.words:
        text = " ".join(text.split()[: amount.words]) + " …"
    if amount.characters and len(text) > amount.characters:
        text = text[: max(1, amount.characters - 1)].rstrip() + "…"
    return text
