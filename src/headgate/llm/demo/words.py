"""Words as the demo models see them: folded, stemmed lightly, with the common ones set aside.

All sums of floats in this package are `math.fsum` and there are no logarithms: `sum` changed with Python
3.12 and the
last bit of a logarithm differs between machines, while square roots and `fsum` are the same everywhere.
"""

from __future__ import annotations

import re
import unicodedata
from math import sqrt

from headgate.llm.demo.tokens import HAN

__all__ = [
    "common",
    "content_stems",
    "dice",
    "language",
    "name_words",
    "rarity",
    "related",
    "stem",
    "stems",
    "words",
]

_WORD = r"[^\W_]+(?:['’][^\W_]+)*"

_COMMON = {
    "en": "a about above after again all also am an and any are as at be because been before being below "
    "between both but by "
    "can could did do does doing down during each few for from further had has have having he her here "
    "hers him his how i "
    "if in into is it its itself just me more most my no nor not now of off on once only or other our "
    "ours out over own "
    "please same she should so some such than that the their them then there these they this those "
    "through to too under "
    "until up upon very was we were what when where which while who whom whose why will with would you "
    "your yours i'm "
    "it's we're don't doesn't isn't within shall may must per via us",
    "de": "aber alle als am an auch auf aus bei bin bis bitte da damit dann das dass dem den der des die "
    "dies diese dieser "
    "dieses doch dort du durch ein eine einem einen einer eines er es für hat haben hatte hier ich ihr "
    "ihre im in ist ja "
    "jede kann kein keine mehr mein mich mir mit muss nach nicht noch nun nur ob oder ohne sein seine "
    "sich sie sind so "
    "über um und uns unser unter vom von vor war waren was wenn wer werden wie wieder wir wird wo wurde "
    "wurden zu zum zur",
    "fr": "à au aux avec ce ces cette dans de des du elle elles en est et eu il ils je la le les leur leurs "
    "lui ma mais me "
    "mes mon ne nos notre nous on ont ou où par pas plus pour qu que qui sa se ses son sont sur te tu "
    "un une vos votre vous été",
    "es": "al como con cuando de del desde donde el ella ellos en era es esta este esto fue ha han hay "
    "la las le les lo los "
    "más me mi muy no nos o para pero por que se ser si sin sobre son su sus también un una y ya",
    "it": "al alla anche che chi ci come con da dal dalla dei del della delle di dove e è gli ha hanno i il "
    "in io la le lo "
    "ma nel nella non o per più quando questa questo se sono su sua suo un una uno",
    "nl": "aan als bij dan dat de den der deze die dit door een en er het hij hun ik in is je kan maar met "
    "mijn naar niet "
    "nog of om onder ook op over te tot uit van voor was wat we wel werd wij zij zijn",
}
_COMMON_ALL = frozenset(word for line in _COMMON.values() for word in line.split())

_RELATED = (
    "buy purchase acquire",
    "cost price pay paid charge fee",
    "start begin commence beginning",
    "end finish terminate termination expire expiry conclude",
    "tall high height",
    "big large size",
    "long length duration last",
    "deep depth",
    "wide width",
    "old age aged",
    "lead head chair direct run led",
    "build construct built erect",
    "make produce manufacture made",
    "open launch inaugurate",
    "close shut",
    "die death dead died killed",
    "born birth",
    "live reside",
    "employ staff worker workforce hire",
    "cancel revoke withdraw",
    "send ship dispatch deliver sent delivery",
    "phone telephone tel call",
    "email mail",
    "fix repair mend",
    "break broken fail failure failed broke",
    "happen occur take",
    "win won victory",
    "grow growth increase rise rose grew",
    "fall decline decrease drop fell",
    "money fund financing funding fund",
    "firm company business",
    "law govern governing jurisdiction",
    "sign signed signature",
    "deadline due",
    "notice notify",
    "author write written wrote",
    "found founded establish founder",
    "cap limit maximum ceiling exceed",
)


def words(text: str) -> list[str]:
    """Return the words of `text`, folded; scripts without spaces give pairs of characters."""
    found: list[str] = []
    for match in re.finditer(_WORD, unicodedata.normalize("NFKC", text)):
        word = match.group().casefold().replace("’", "'")
        if re.search(f"[{HAN}]", word):
            found.extend(word[i : i + 2] for i in range(max(1, len(word) - 1)))
        else:
            found.append(word)
    return found


def common(word: str) -> bool:
    """Tell whether `word` says nothing about a text's subject (in six languages)."""
    return word in _COMMON_ALL


def stem(word: str) -> str:
    """Return `word` without its commonest English or German ending; never shorter than three letters."""
    word = word.removesuffix("'s")
    if not word.isalpha() or len(word) < 4:
        return word
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) + len(instead) >= 3:
            word = word[: len(word) - len(ending)] + instead
            break
    if len(word) > 4 and word[-1] == word[-2] and word[-1] not in "sl":
        word = word[:-1]
    return word.removesuffix("e") if len(word) > 4 else word


_ENDINGS = (
    ("ations", "at"),
    ("ation", "at"),
    ("ements", ""),
    ("ement", ""),
    ("ments", ""),
    ("ment", ""),
    ("ities", "ity"),
    ("ings", ""),
    ("sses", "ss"),
    ("ies", "y"),
    ("ied", "y"),
    ("ing", ""),
    ("ers", ""),
    ("ed", ""),
    ("ly", ""),
    ("en", ""),
    ("er", ""),
    ("es", ""),
    ("ss", "ss"),
    ("us", "us"),
    ("is", "is"),
    ("s", ""),
)


def stems(text: str) -> list[str]:
    """Return the stem of every word of `text`, in order."""
    return [stem(word) for word in words(text)]


def content_stems(text: str) -> list[str]:
    """Return the stems of the words that say something, in order, repeats kept."""
    return [stem(word) for word in words(text) if not common(word)]


def related(word: str) -> tuple[str, ...]:
    """Return the stems that mean about the same as the stem `word`, itself first."""
    others = _related_stems().get(word, ())
    return (word, *(other for other in others if other != word))


_related_cache: dict[str, tuple[str, ...]] = {}


def _related_stems() -> dict[str, tuple[str, ...]]:
    if not _related_cache:
        for line in _RELATED:
            group = tuple(dict.fromkeys(stem(word) for word in line.split()))
            for word in group:
                _related_cache[word] = (*_related_cache.get(word, ()), *group)
    return _related_cache


def name_words(name: str) -> list[str]:
    """Return the folded words of an identifier: `dueDate`, `due_date` and `due-date` are `due`, `date`."""
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    return words(spaced.replace("_", " ").replace("-", " "))


def dice(left: str, right: str) -> float:
    """Return how alike two words are spelled, 0 to 1: the share of common character trigrams."""
    mine, theirs = _trigrams(left), _trigrams(right)
    if not mine or not theirs:
        return 0.0
    return 2 * len(mine & theirs) / (len(mine) + len(theirs))


def _trigrams(word: str) -> set[str]:
    padded = f"^{word}$"
    return {padded[i : i + 3] for i in range(len(padded) - 2)}


def rarity(documents: list[list[str]]) -> dict[str, float]:
    """Return for each word how telling it is among `documents`: the square root of documents per document
    with it."""
    frequency: dict[str, int] = {}
    for document in documents:
        for word in dict.fromkeys(document):
            frequency[word] = frequency.get(word, 0) + 1
    return {word: sqrt(len(documents) / count) for word, count in frequency.items()}


def language(text: str) -> str | None:
    """Return the ISO 639-1 code of the language of `text` by its common words (six languages), or None."""
    found = words(text)
    scores = [(sum(1 for word in found if word in line.split()), code) for code, line in _COMMON.items() if found]
    best = max(scores, key=lambda score: score[0], default=(0, ""))
    return best[1] if best[0] >= max(2, len(found) // 20) else None
