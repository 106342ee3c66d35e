"""What a secret looks like once it is known where it would stand, and what looks like one and is none."""

from __future__ import annotations

import re
from itertools import pairwise

from headgate.policies.key_names import GO_ON_WITH
from headgate.policies.scrubber import Span

__all__ = ["KIND", "STOPS", "is_no_secret", "is_odd", "is_placed", "is_random", "key_span"]

KIND = "key"
PLACED = re.compile(
    r"(?:authorization: ?)?(?:bearer|basic|digest|negotiate) |\$(?:[({]|[A-Za-z_]\w*[\"';,.]*\Z)|<|\{|%\(|%[A-Z_]+%|\*{3}|•{3}|\.\.\.|…|_{3,}|"
    r"your[ _-]|os\.\w|process\.\w|env[.\[(]|getenv|getpass|input\(|config[.\[]|settings\.[a-z]|self\.[a-z]|args\.[a-z]|"
    r"\$[A-Z_]+\b|secrets?\.[a-z_.]+\Z|sys\.|exit\(|\[|[a-z_.]+\((?![0-9])|"
    r"(?:bearer|basic|token|x{4,}|your|vault|none|null|nil|undefined|true|false|string|str|required|optional|redacted|masked|"
    r"hidden|changeme|placeholder|unset|empty)[.,;:!?)\"']*\Z",
    re.IGNORECASE,
)
HEXADECIMAL = re.compile(r"[0-9a-f-]+|[0-9A-F-]+")
CONSTANT = re.compile(r"[A-Z]{2,}(?:_[A-Z]{2,})*_(?:[A-Z]{2,}|[0-9]{1,2})")
"""The name of a variable, as DB_PASSWORD, or what somebody has put in the place of a value, as CARD_2."""
PUBLIC = re.compile(
    r"sha(?:1|224|256|384|512)[-:]|BEGIN [A-Z ]*(?:CERTIFICATE|PUBLIC KEY)|ssh-(?:rsa|ed25519)|ecdsa-", re.IGNORECASE
)
BLOCK_BEGUN, BLOCK_ENDS = "BEGIN ", "-----END"
PUBLIC_BLOCK_MAX = 8_000
DIGITS_MIN = 6
MIXED_LENGTH_MIN = 16
"""Letters alone, capital ones among the small, are no word when they are so many."""
STOPS = ".,;:!?)'\"`"


def key_span(text: str, start: int, end: int) -> Span:
    """Return a span without the stops at its end."""
    while end > start + 1 and text[end - 1] in STOPS:
        end -= 1
    return Span(start, end, KIND)


def is_no_secret(value: str) -> bool:
    """Return whether a word is one that sentences about secrets go on with."""
    return value.rstrip(STOPS).lower() in GO_ON_WITH


def is_placed(value: str) -> bool:
    """Return whether a value only says where the secret comes from, or that there is one."""
    return PLACED.match(value) is not None


def is_odd(value: str, *, sure: bool = False) -> bool:
    """Return whether a value looks like a secret rather than a word: letters, and digits or signs among them.
    `sure`: what stands before it says so."""
    value = value.rstrip(STOPS)
    middle = value[1:-1]
    signs = middle != "" and not middle.isalnum()
    digits = any(map(str.isdigit, value))
    upper = any(map(str.isupper, value[1:]))
    letters = any(map(str.isalpha, value))
    if CONSTANT.fullmatch(value):
        return False
    if sure and value.isdigit():
        return len(value) >= DIGITS_MIN
    if len(value) >= MIXED_LENGTH_MIN and upper and value.isalpha() and not value.isupper():
        return True
    return letters and ((digits and (sure or signs or upper or len(value) >= 8)) or (signs and upper))


def is_random(value: str, text: str, start: int) -> bool:
    """Return whether a long run of letters and digits is a token: mixed as no word, no name and no digest is."""
    letters = any(map(str.isalpha, value))
    digits = sum(map(str.isdigit, value))
    if "--" in value or digits < 2 or not letters or HEXADECIMAL.fullmatch(value):
        return False
    runs = value.split("-") if value.islower() else [value]  # the name of a machine has its words between dashes
    turns = sum(_sort(one) != _sort(other) for run in runs for one, other in pairwise(run))
    return turns * 3 >= len(value) and not _is_public(text, start)


def _is_public(text: str, at: int) -> bool:
    """Return whether a place is behind what says that all may read it, or within a block of this kind."""
    if PUBLIC.search(text, max(0, at - 80), at):
        return True
    begun = text.rfind(BLOCK_BEGUN, max(0, at - PUBLIC_BLOCK_MAX), at)
    return begun >= 0 and PUBLIC.match(text, begun) is not None and text.find(BLOCK_ENDS, begun, at) < 0


def _sort(character: str) -> int:
    return 0 if character.isdigit() else 1 if character.islower() else 2 if character.isupper() else 3
