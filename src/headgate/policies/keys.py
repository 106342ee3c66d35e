"""Secrets in a text: keys and tokens by the shapes that their issuers give them, and what stands after `password=`.

A value that is a placeholder already (`$TOKEN`, `<your key>`, `***`) is left alone. Patterns are only tried where a
cheaper look has found something: a long run without spaces, a separator, a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from headgate.policies.key_names import (
    CONNECTING,
    NAMES_OF_TWO,
    SPOKEN_NAMES,
    SURE_NAMES,
    USERS,
    is_name,
    is_weak_name,
    name_parts,
)
from headgate.policies.key_places import PLACE_WORDS, placed_keys
from headgate.policies.key_shapes import shaped_keys
from headgate.policies.key_tables import keys_in_tables
from headgate.policies.key_values import KIND, STOPS, is_no_secret, is_odd, is_placed, key_span
from headgate.policies.scrubber import Span
from headgate.policies.words import Words

__all__ = ["detect_keys"]

SPOKEN = frozenset(SPOKEN_NAMES)
STEMS = (
    *tuple(
        "@ $ ( = : / q z j pass cred token secret paro contras esl hasl api shared acces wd pw word rase oord kode eno wifi login auth anmeld lyk".split()
    ),
    " key",
)
WORDS = Words((*SPOKEN_NAMES, *PLACE_WORDS), STEMS)
SEPARATED = re.compile(
    # Each alternative begins with a character of its own: `re` looks for these alone, and tries the rest only there.
    r"(?::[:=]?>?|=[:=]?>?|->|>|\||,(?:(?<=[\"'],)|(?<=[\"'] ,))(?=[ ]?[\"'])|\((?=[\"'])|は|が|是|为|為)\s{0,16}(?=\\?"
    r"(?:\"((?:[^\"\\\n]|\\.){3,200}?)\\?\"|'((?:[^'\\\n]|\\.){3,200}?)\\?'|`([^`\n]{3,200})`|"
    r"([^\s\"'`,;<>(){}\[\]|。、][^\s\"'`<>。、]{2,400})))"
)
QUOTED = 3
"""So many groups of it are values within quotation marks."""
NAME_LENGTH_MAX = 48
NAME_BACKWARDS = re.compile(r"[\w '.&-]*")
WORDS_AFTER = re.compile(r"[^\s\"'`,;<>(){}\[\]|。、=]+")
WORDS_AFTER_MAX = 10
LENGTH_AFTER_MAX = 160
WORD_BEFORE = re.compile(
    r"([^\s\"'`,;<>(){}\[\]|]{6,100})[\"'`]?,? (?:is|are|was|ist|sind|war|est|sont|es|son|è|é|as|als|comme|como|come|for|für) (?:\w{1,8} ){0,3}\Z"
)
PHRASE_MIN = 3
"""So many quoted words are a secret, whatever the first of them is."""
ORDINARY = re.compile(r"[0-9]{1,2}[.,]?\Z")
AMOUNT = re.compile(r"[0-9]{1,3} ?(?:文字|桁|字符|字元|位|个|個|字|日|回|자|일)")
QUOTATION = r"(?<=[\"'])([^\"'\n]{4,120})(?=[\"'])"
"""All of what is quoted: a secret may be of several words."""
COPULA = re.compile(
    r"(?:\s{1,3}(?:is|was|are|ist|lautet|war|est|es|è|é|era|jest|to|är|er|on|blir|zijn|je|este|là|adalah|-|=|será|now|set|reset|changed|updated|being|namely|still|nun|jetzt)){1,3}"
    rf"[\s:=\"'(]{{1,30}}(?:{QUOTATION}|([^\s\"'`,;<>(){{}}\[\]|。、]{{4,200}}))",
    re.IGNORECASE,
)
COPULA_LATER = re.compile(
    r"\s(?:for|of|to|on|in|at|für|von|zum|zur|pour|du|de|del|para|di|do|da|voor|van|för|till|til|для|от|к|na|do|pro)"
    r"(?:\s[\w'.&-]{1,24}){1,5}?\s(?:is|was|lautet|ist|war|est|es|è|é|jest|je|är|er|on|este|será|now is)"
    rf"[\s:=\"'(]{{1,8}}(?:{QUOTATION}|([^\s\"'`,;<>(){{}}\[\]|。、]{{5,200}}))",
    re.IGNORECASE,
)
"""the password for the box in the hall is …"""
DECORATED = re.compile(
    r"(?:[ \t]?\([^()\n]{1,40}\))?(?:</?\w{1,10}>|[*_`\])]){0,4}[ \t]{0,4}"
    r"(?:[:=]{1,2}>?|[-=]>|[→➜➔⇒»▶]|\.{3,60}|\t|(?=[\[<*`]))(?:</?\w{1,10}>|[*_`\[(<«\"' \t]|!secret ){0,8}"
    r"([^\s\"'`,;<>(){}\[\]|。、*]{4,200})"
)
"""**Password:** …, password (mind the case): …, Password......…"""
CODE = re.compile(r"[A-Za-z_][A-Za-z_.]*(?:\((?![0-9])|<[A-Z][\w., ]{0,40}>)")
"""What is called, or a kind of something: hash(password), Readonly<Secret>."""
PAIR_LENGTH_MAX = 60
USER = re.compile(rf"(?<!\w)(?:{'|'.join(USERS)})\w{{0,8}}[ :=,][^\n]{{1,40}}\Z")
NEXT_WORD = re.compile(r"[ \t]{1,4}([^\s\"'`,;<>(){}\[\]|。、]{4,200})")
COMPLEX = re.compile(
    r"(?<![^\s\"'(])(?=[^\s]{0,40}[0-9])(?=[^\s]{0,40}[A-Za-z])[A-Za-z0-9!#$%^&*?_-]{3,40}[!#$%^&*][A-Za-z0-9!#$%^&*?_-]{2,40}(?![^\s\"'),.;:])"
)
"""Letters, digits and signs in one word, as passwords are wanted."""
COPULA_BEFORE = re.compile(
    r" (?:is|are|was|ist|sind|war|est|sont|es|son|è|é|as|als|comme|como|come|for|für) (?:\w{1,8} ){0,3}\Z"
)
COPULA_LENGTH_MAX = 34
TEMPLATE_MAX = 100
IN_VARIABLE = re.compile(r"\$\{\w*\Z")
NEXT_FIELD = re.compile(r"&(?:amp;)?[\w.-]{1,40}=")
GOES_ON = re.compile(r"[ \t]+[^\W\d_]{2}")
BETWEEN = frozenset("de d del der des do da di von för of l la le el the".split())


def detect_keys(text: str) -> list[Span]:
    """Return the secrets that stand in a text."""
    lowered = text.replace("İ", "i").lower()  # the one letter whose small form is two: places would not agree
    words = frozenset(WORDS.within(lowered))
    found = [*shaped_keys(text), *_separated(text), *placed_keys(text, lowered, words)]
    if named := words & SPOKEN:
        found += _spoken(text, lowered, named)
        found += keys_in_tables(text, lowered)
    return found


def _separated(text: str) -> Iterator[Span]:
    """Yield what stands after a name and a separator: `password=…`, `"api_key": "…"`, `password is: …`."""
    known: dict[str, int] = {}
    for one in SEPARATED.finditer(text):
        group = one.lastindex or 0
        value = one[group]
        name = _name_before(text, one.start())
        strength = known.get(name)
        if strength is None:
            strength = known[name] = _strength(name)
        if not strength or is_placed(value) or (strength == 1 and not is_odd(value)):
            continue
        start, end = one.span(group)
        if group <= QUOTED:
            yield Span(start, end, KIND)
        elif not (
            ORDINARY.match(value)
            or AMOUNT.match(value)
            or CODE.match(text, start)
            or (GOES_ON.match(text, end) and is_no_secret(value))
        ):
            more = NEXT_FIELD.search(text, start, end)
            yield key_span(text, start, end if more is None else more.start())


def _name_before(text: str, at: int) -> str:
    """Return what stands before a separator and may be a name."""
    end = at
    while end > 0 and text[end - 1] in " \t\"'`])":
        end -= 1
    backwards = NAME_BACKWARDS.match(text[max(0, end - NAME_LENGTH_MAX) : end][::-1])
    assert backwards is not None
    return backwards[0][::-1]


def _strength(name: str) -> int:
    """Return how surely this is the name of a secret: 2, 1 (perhaps), 0."""
    words = name_parts(name)[-6:]
    words = [word for word in words if word not in BETWEEN]
    while words and words[-1] in CONNECTING:
        words.pop()
    if not words:
        return 0
    if is_name(words[-1]) or " ".join(words[-2:]) in NAMES_OF_TWO or " ".join(words[-3:]) in NAMES_OF_TWO:
        return 2
    return 1 if is_weak_name(words[-1]) or any(map(is_name, words)) else 0


def _spoken(text: str, lowered: str, named: Iterable[str]) -> Iterator[Span]:
    """Yield what stands after a name in a sentence, if it looks like a secret: `the password for it is …`."""
    for name in named:
        at = lowered.find(name)
        while at >= 0:
            if _is_amid_letters(text, at, at + len(name)) or IN_VARIABLE.search(text, max(0, at - NAME_LENGTH_MAX), at):
                at = lowered.find(name, at + len(name))
                continue
            if name in SURE_NAMES:
                yield from _behind_a_sure_name(text, lowered, at, at + len(name))
            yield from _said_near(text, at, at + len(name), sure=name in SURE_NAMES)
            at = lowered.find(name, at + len(name))


def _behind_a_sure_name(text: str, lowered: str, start: int, end: int) -> Iterator[Span]:
    """Yield what a sentence, a form, or a pair of user and password has behind a name, whatever it looks like; and what
    stands before it, if it looks like nothing but a password."""
    one = COPULA.match(text, end) or COPULA_LATER.match(text, end) or DECORATED.match(text, end)
    if one is None and USER.search(lowered, max(0, start - PAIR_LENGTH_MAX), start):
        one = NEXT_WORD.match(text, end)
    if one is not None:
        begin, finish = one.span(one.lastindex or 0)
        words = text[begin:finish].split()
        goes_on = len(words) < PHRASE_MIN and any(map(is_no_secret, words[:1]))
        if not goes_on and not is_placed(text[begin:finish]) and not CODE.match(text, begin):
            yield key_span(text, begin, finish)
    for complex_one in COMPLEX.finditer(text, max(0, start - PAIR_LENGTH_MAX), start):
        yield key_span(text, *complex_one.span())


def _is_amid_letters(text: str, start: int, end: int) -> bool:
    """Return whether a name has letters or digits on both sides: in what is encoded, most names stand by chance."""
    before, after = text[start - 1 : start], text[end : end + 1]
    return before.isascii() and before.isalnum() and after.isascii() and after.isalnum()


def _is_in_template(text: str, at: int) -> bool:
    """Return whether a place is within `${…}` or `{{…}}`, where a name stands for a value."""
    begin = max(0, at - TEMPLATE_MAX)
    opened = max(text.rfind("${", begin, at), text.rfind("{{", begin, at))
    return opened > text.rfind("}", begin, at)


def _said_near(text: str, start: int, end: int, *, sure: bool) -> Iterator[Span]:
    """Yield the first odd word behind a name, and one before it that is said to be what it names."""
    for number, one in enumerate(WORDS_AFTER.finditer(text, end, end + LENGTH_AFTER_MAX)):
        if number >= WORDS_AFTER_MAX:
            break
        if (
            len(one[0].rstrip(STOPS)) > 4
            and not (one.start() == end and one[0][0].isascii() and one[0][0].isalpha())
            and not _is_in_template(text, one.start())
            and not is_placed(one[0])
            and not AMOUNT.search(one[0])
            and is_odd(one[0], sure=sure)
        ):
            yield key_span(text, *one.span())
            break
    if COPULA_BEFORE.search(text, max(0, start - COPULA_LENGTH_MAX), start) is None:
        return
    before = WORD_BEFORE.search(text, max(0, start - LENGTH_AFTER_MAX), start)
    if before is not None and is_odd(before[1], sure=sure):
        yield key_span(text, *before.span(1))
