"""What is personal in a text: cards, accounts and US social security numbers here, the rest from its neighbours.

Each is a pattern and, where there is one, a check: Luhn's for cards, ISO 7064 for accounts, what can have been issued
for the rest. A pattern reads each character a bounded number of times (no repetition within a repetition that could
share characters), so its time is linear in the text's length. `mails`, `machines` and `phones`
have files of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from string import ascii_uppercase

from headgate.policies.machines import machines
from headgate.policies.mails import mails
from headgate.policies.phones import phones
from headgate.policies.scrubber import Detect, Span
from headgate.policies.words import stands_before

__all__ = ["KINDS", "detect_personal"]


def detect_personal(kinds: Iterable[str] | None = None) -> Detect:
    """Return what finds these kinds (see `KINDS`) in a text; without any, all of them."""
    wanted = set(KINDS if kinds is None else kinds)
    anywhere = [find for kind, find in WITH_DIGITS.items() if kind in wanted]
    among_digits = [find for kind, find in AMONG_DIGITS.items() if kind in wanted]

    def detect(text: str) -> list[Span]:
        found = [*mails(text)] if "email" in wanted else []
        if DIGIT.search(text) is None:
            return found
        for find in anywhere:
            found += find(text)
        if among_digits:
            for start, end in _not_within(found, _digits(text)):
                for find in among_digits:
                    found += find(text, start, end)
        return found

    return detect


DIGIT = re.compile(r"[0-9]")
DIGITS = re.compile(r"[0-9](?:[\s().\-/+_·]{0,3}[0-9]){6,}+")
"""What has no seven digits near each other has no number of anybody. Patterns here begin with one plain class of
characters: `re` skips what is not in it many times faster than it fails at each place."""


def _digits(text: str) -> Iterator[tuple[int, int]]:
    """Yield where the runs of digits are that may be numbers, with what may be before their first digit."""
    at = 0
    for run in DIGITS.finditer(text):
        start, end = run.span()
        for _ in range(2):
            start -= start > at and text[start - 1] in "+("
        start -= 2 * (start - 1 > at and text[start - 2 : start] == "+ ")
        yield start, end
        at = end


def _not_within(found: Iterable[Span], runs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the runs that are not a part of what has been found already: an account is no phone number as well."""
    spans = iter(sorted(found))
    span = next(spans, None)
    for start, end in runs:
        while span is not None and span.end < end:
            span = next(spans, None)
        if span is None or start < span.start:
            yield start, end


# --- Cards --------------------------------------------------------------------------------------------------------

CARD_DIGITS = (13, 19)
DIGIT_GROUPS = re.compile(r"(?<![0-9])[0-9]{1,19}+(?:[\s.\-_/+·]{1,3}[0-9]{1,19}+)*+")
GROUP = re.compile(r"[0-9]+")
ISSUERS = re.compile(r"4|5[0-9]|2[2-7]|3[04-9]|6|81|82|9792|1[0-9]{14}\Z")
NO_CARD = re.compile(r"(?:ean|gtin|isbn|upc|imei|barcode|jan)(?:[ -]?1[034])?[ \t:#.=]*\Z", re.IGNORECASE)


def _cards(text: str, start: int, end: int) -> Iterator[Span]:
    if end - start < CARD_DIGITS[0]:
        return
    for run in DIGIT_GROUPS.finditer(text, start, end):
        if sum(map(str.isdigit, run[0])) < CARD_DIGITS[0]:
            continue
        groups = list(GROUP.finditer(text, run.start(), run.end()))
        first = 0
        while first < len(groups):
            last = _card_from(groups, first)
            if last is not None and not _is_no_card(text, groups[first : last + 1]):
                yield Span(groups[first].start(), groups[last].end(), "card")
                first = last
            first += 1


def _is_no_card(text: str, groups: list[re.Match[str]]) -> bool:
    """Return whether digits are another number: the words before them say so, or it is an object identifier."""
    start, end = groups[0].start(), groups[-1].end()
    lengths = {len(group[0]) for group in groups}
    return stands_before(NO_CARD, text, start) or (1 in lengths and len(lengths) > 1 and "." in text[start:end])


def _card_from(groups: list[re.Match[str]], first: int) -> int | None:
    """Return the last group of a card that begins with group `first`, the longest there is, or None."""
    digits, found = "", None
    for number in range(first, len(groups)):
        digits += groups[number][0]
        if len(digits) > CARD_DIGITS[1]:
            break
        if len(digits) >= CARD_DIGITS[0] and ISSUERS.match(digits) and _passes_luhn(digits):
            found = number
    return found


DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def _passes_luhn(digits: str) -> bool:
    total = sum(int(digit) for digit in digits[-1::-2]) + sum(DOUBLED[int(digit)] for digit in digits[-2::-2])
    return total % 10 == 0 and len(set(digits)) > 1


# --- Accounts -----------------------------------------------------------------------------------------------------

IBAN_DIGITS = re.compile(
    r"[0-9](?:(?<=[A-Za-z][A-Za-z][0-9])|(?<=[A-Za-z][A-Za-z] [0-9])|(?<=[A-Za-z] [A-Za-z] [0-9])) ?"
    r"[0-9][ \t\n\r\-._/+,:·]{0,3}[A-Za-z0-9]"
)
IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20,
    "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19,
    "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29,
    "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24,
    "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
    "YE": 30,
}  # a table, read as a block  # fmt: skip
BETWEEN_DIGITS = re.compile(r"[ \t\n\r\-._/+,:·]+")
LETTERS_AS_NUMBERS = {ord(letter): str(number) for number, letter in enumerate(ascii_uppercase, 10)}


def _accounts(text: str) -> Iterator[Span]:
    for digits in IBAN_DIGITS.finditer(text):
        start = digits.start()
        start -= text[start - 1 : start] == " "
        apart = text[start - 2 : start - 1] == " "
        length = IBAN_LENGTHS.get(text[max(0, start - 2 - apart) : start].replace(" ", "").upper())
        if length is None:
            continue
        start -= 2 + apart
        before = text[max(0, start - 4) : start]
        if before[-1:].isascii() and before[-1:].isalnum() and before.upper() != "IBAN":
            continue
        if end := _account_end(text, start, length):
            yield Span(start, end, "iban")


def _account_end(text: str, start: int, length: int) -> int:
    """Return where the account ends that begins at `start`; 0: it is none."""
    found = _of_length(length).match(text, start)
    if found is None:
        return 0
    follows = text[found.end() : found.end() + 1]
    if follows.isascii() and follows.isalnum():
        return 0
    account = BETWEEN_DIGITS.sub("", found[0]).upper()
    return found.end() if int((account[4:] + account[:4]).translate(LETTERS_AS_NUMBERS)) % 97 == 1 else 0


@cache
def _of_length(length: int) -> re.Pattern[str]:
    return re.compile(rf"[A-Za-z0-9](?:[ \t\n\r\-._/+,:·]{{0,3}}[A-Za-z0-9]){{{length - 1}}}")


# --- Social security ----------------------------------------------------------------------------------------------

SSN = re.compile(
    r"(?<![0-9])(?<![0-9][-.])(?!000|666|9)[0-9]{3}([-. /+_]{0,3})"
    r"(?!00)[0-9]{2}([-. /+_]{0,3})(?!0000)[0-9]{4}(?![0-9]|[-.][0-9])"
)
SOCIAL = re.compile(
    r"ssn|social|soc\.? ?sec|s\.s\.n|ss ?#|ss no|\btin\b|taxpayer|tax ?id|itin|seguro social|sécurité sociale|\bnss\b|"
    r"sozialvers|社会保障|社會安全|社会安全|사회보장|соц|الضمان|सामाजिक|previdência|previdenza|w-?[0-9]|1099|1095|"
    # as X12 names what follows: REF*SY*, NM1*…*34*
    r"\bsy\*|\*34\*",
    re.IGNORECASE,
)
SOCIAL_CONTEXT = 48
SOCIAL_AFTER = re.compile(r" ?[(\[,;:=/|-]? ?(?:his |her |my |their |the )?(?:ssn|social sec)", re.IGNORECASE)
"""219456781 (SSN)"""


def _social(text: str, start: int, end: int) -> Iterator[Span]:
    for found in SSN.finditer(text, start, end):
        if (
            (found[1] and found[1] == found[2] != "_")
            or SOCIAL.search(text, max(0, found.start() - SOCIAL_CONTEXT), found.start())
            or SOCIAL_AFTER.match(text, found.end())
        ):
            yield Span(found.start(), found.end(), "ssn")


WITH_DIGITS: dict[str, Callable[[str], Iterable[Span]]] = {"iban": _accounts, "ip": machines}
AMONG_DIGITS: dict[str, Callable[[str, int, int], Iterable[Span]]] = {"phone": phones, "card": _cards, "ssn": _social}
KINDS = ("email", *WITH_DIGITS, *AMONG_DIGITS)
