"""The policy `injection`: how much a text from elsewhere looks like orders for the model that is to read it.

A signal, not a wall: it sees signs, not intentions, and whoever knows the signs can do without them. What keeps harm
away is that effects behind an untrusted read wait for a person (`side_effects`).

Only untrusted text is scored: what comes from the web, documents, files, databases, conversations, and inputs that are
declared so (`core.taint`). A text is read as a model might read it: in small letters, look-alikes of other scripts and
digits for letters as what they look like, without invisible characters, spaced letters joined, base64 decoded, and
backwards. What its words say, which is learnt (`injection_words`), and the signs of different families, which are
written (`injection_signs`), add up as log odds.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from itertools import filterfalse
from math import exp
from typing import Any, Literal

from headgate.policies.forms import encoded_runs, forms_of
from headgate.policies.injection_signs import ABOUT, SIGN_WORDS
from headgate.policies.injection_words import words_score
from headgate.policies.words import places_of, words_of
from headgate.ports.policy import Allow, Decision, Deny, PolicyCall

__all__ = ["THRESHOLD", "Injection", "as_read", "injection_score", "signs_score"]

THRESHOLD = 0.5
"""Of benign texts that use the attackers' words on purpose, by authors of whom nothing was learnt, about one in a
hundred scores as high."""
HIDDEN = 0.4
"""What it adds that signs showed only when a text was decoded."""
NEVER_ALONE = frozenset({"override"})
"""Families that people show to each other as often as to models ("ignore my previous mail"): they count where another
shows too, or that the text was in disguise."""
ODDS_MAX = 50.0
TAGS = 0.8
MIXED = 0.45
SAME_FAMILY = 0.5
"""How much a second sign of the same family counts, beside the first."""
BACKWARDS_MAX = 4_000

LOOKALIKES = str.maketrans(
    "аеорсухіјѕԁһӏԛԝьвкмнтзАВЕКМНОРСТУХІЈЅ" + "αβγεικνορτυχΑΒΕΖΗΙΚΜΝΟΡΤΥΧ" + "ıɑɡ",
    "aeopcyxijsdhlqwbbkmhtзABEKMHOPCTYXIJS" + "abyeiknoptuxABEZHIKMNOPTYX" + "iag",
)
DIGITS_FOR_LETTERS = str.maketrans("01345789@$!|", "oieastbgasil")
LEET_LENGTH_MAX = 24
LEET_SIGNS = ("@", "$", "!")
LAST_TOKEN = re.compile(r"\S*\Z")
LEET_STEMS = (
    "ignore", "disregard", "forget", "override", "bypass", "instruct", "previous", "reveal", "system", "prompt",
    "rules", "secret", "password", "guideline", "restrict", "unfilter", "jailbreak", "forward", "approve",
)  # a list of words, read as a block  # fmt: skip
SPACED_BEGUN = re.compile(r"[ .\-_*](?<=\w.)(?<!\w\w.)\w[ .\-_*]\w[ .\-_*]\w(?!\w)")
"""From the first space on: of these there are fewer than of letters to begin at."""
GREEK_OR_STYLED = re.compile("[Ͱ-ϿЀ-ӿ𝐀-𝟿]")
SPACED = re.compile(r"(?<!\w)(?:\w[ .\-_*]){3,40}\w(?!\w)")
SPACES = re.compile(r"[ .\-_*]")
MIXED_WORD = re.compile(r"(?<!\w)(?=\w*[a-z])(?=\w*[Ѐ-ӿ])[a-zЀ-ӿ]{3,24}(?!\w)", re.IGNORECASE)
TAG_CHARACTERS = re.compile("[\U000e0020-\U000e007e]{4,}")
TALK = 0.65
TALK_MIN = 0.3
"""A text about attacks quotes them. Each of its words that says so makes signs count for less, down to this; not for
nothing, for whoever attacks can write so too."""
QUOTED = 0.65
"""How much a sign counts within quotation marks."""
QUOTATION_MAX = 300
HINTS_OF_ROT13 = ("vtaber", "sbetrg", "vafgehpgvba", "cebzcg", "flfgrz", "eriryr", "sbejneq")
HINTS_BACKWARDS = ("snoitcurtsni", "tpmorp", "erongi", "drager", "metsys", "tegrof")


class Injection:
    """A score at or above the `threshold`: the call is denied, recorded, or a person is asked (`approve`)."""

    name = "injection"

    def __init__(self, threshold: float = THRESHOLD, action: Literal["deny", "record", "approve"] = "deny") -> None:
        self._threshold = threshold
        self._action = action

    def on_request(self, call: PolicyCall) -> Decision:
        if not call.untrusted:
            return Allow({"score": 0.0, "texts": 0})
        score, families = injection_score("\n".join(call.untrusted))
        details: dict[str, Any] = {"score": round(score, 2), "families": families, "texts": len(call.untrusted)}
        if score < self._threshold or self._action == "record" or (self._action == "approve" and call.approved):
            return Allow(details)
        reason = f"its untrusted text looks like orders to the model (score {score:.2f}: {', '.join(families)})"
        return Deny(reason, details, ask=self._action == "approve")


def injection_score(text: str) -> tuple[float, list[str]]:
    """Return how much a text looks like orders to a model, from 0 to 1, and the families of signs that it shows."""
    weight, families = signs_score(text)
    odds = words_score(as_read(text)) + weight
    return 1 / (1 + exp(-max(-ODDS_MAX, odds))), families


def signs_score(text: str) -> tuple[float, list[str]]:
    """Return what the signs of a text say, from 0 to 1 on the scale of log odds, and their families."""
    shown = as_read(text)
    words = words_of(shown)
    found = _signs(shown, words)
    sure = {family: weight for family, weight in found.items() if family not in NEVER_ALONE}
    for hidden in _hidden(text, shown, words):
        for family, weight in _signs(hidden, words_of(hidden)).items():
            if weight > found.get(family, 0.0):
                found[family] = sure[family] = weight
                sure["obfuscation"] = HIDDEN
    if not text.isascii():
        if TAG_CHARACTERS.search(text):
            sure["hidden_text"] = TAGS
        if MIXED_WORD.search(text):
            sure["lookalikes"] = MIXED
    if not sure:
        return 0.0, []
    sure = found | sure
    talk = max(TALK_MIN, TALK ** len(set(ABOUT.findall(shown))))
    kept = 1.0
    for weight in sure.values():
        kept *= 1 - weight * talk
    return 1 - kept, sorted(sure)


def _signs(text: str, words: frozenset[str]) -> dict[str, float]:
    """Return the weight of each family that shows."""
    found: dict[str, float] = {}
    for sign, its_words in SIGN_WORDS.signs_begun(text, words):
        place = sign.place(text, its_words)
        if place is None:
            continue
        weight = sign.weight * (QUOTED if _is_quoted(text, place) else 1)
        before = found.get(sign.family, 0.0)
        more, less = max(before, weight), min(before, weight)
        found[sign.family] = 1 - (1 - more) * (1 - less * SAME_FAMILY)
    return found


def _is_quoted(text: str, at: int) -> bool:
    """Return whether a place stands within quotation marks."""
    begin = text.rfind('"', max(0, at - QUOTATION_MAX), at)
    if begin < 0 or text.find('"', at, at + QUOTATION_MAX) < 0:
        return False
    before = text[max(0, begin - 3) : begin]
    in_json = before.endswith(('":', '": '))
    return not in_json and (not before or before[-1] in " \n(-*>'") and not text[begin + 1 : begin + 2].isspace()


# --- Readings -----------------------------------------------------------------------------------------------------


def as_read(text: str) -> str:
    plain = text if text.isascii() else forms_of(text)[0].text
    return plain.lower().replace("\u2019", "'")


def _hidden(text: str, shown: str, words: frozenset[str]) -> Iterator[str]:
    """Yield what else the text may be read as, where something in it says that it may."""
    if not text.isascii():
        if MIXED_WORD.search(text) or GREEK_OR_STYLED.search(text):
            yield as_read(text.translate(LOOKALIKES))
        if tags := TAG_CHARACTERS.findall(text):
            yield "".join(chr(ord(character) - 0xE0000) for run in tags for character in run).lower()
    if _holds_leet(shown, words):
        yield shown.translate(DIGITS_FOR_LETTERS)
    if len([word for word in words if len(word) == 1]) > 1 and SPACED_BEGUN.search(shown):
        joined = SPACED.sub(lambda run: SPACES.sub("", run[0]), shown)
        if joined != shown:
            yield joined
    for _, _, said in encoded_runs(text):
        yield from (one.lower() for one in said if " " in one or "_" in one)
    if any(hint in shown for hint in HINTS_OF_ROT13):
        yield codecs.decode(shown, "rot13")
    if any(hint in shown for hint in HINTS_BACKWARDS):
        yield shown[:BACKWARDS_MAX][::-1]


def _holds_leet(shown: str, words: frozenset[str]) -> bool:
    return any(map(_is_leet, filterfalse(str.isalpha, words))) or any(
        _is_leet(_around(shown, at)) for sign in LEET_SIGNS for at in places_of(sign, shown)
    )


def _around(text: str, at: int) -> str:
    """Return what stands around a place up to the next spaces, not much more than may be one word."""
    begun = LAST_TOKEN.search(text, max(0, at - LEET_LENGTH_MAX), at)
    assert begun is not None
    return begun[0] + text[at : at + LEET_LENGTH_MAX].split(None, 1)[0]


def _is_leet(token: str) -> bool:
    """Return whether a word of letters and digits is, with the digits as letters, one that orders are made of."""
    if token.isalpha() or token.isdigit() or not 4 <= len(token) <= LEET_LENGTH_MAX:
        return False
    return token.translate(DIGITS_FOR_LETTERS).strip(".,:;?'\"()").startswith(LEET_STEMS)
