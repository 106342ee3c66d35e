"""Placeholders: what stands in the place of a value that must not leave, such as `<EMAIL_3f9a1c02b7d4>`.

The first eight digits are a digest of the value under the run's key: the same value has the same placeholder all
through the run, and no other run's can be told to be the same. The last four are a checksum that needs no key, by
which a placeholder is known as one wherever it turns up (in a later call, a child run, a cached result): it is left
as it is then, and its digits are not taken for anybody's number.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from functools import lru_cache

__all__ = [
    "PLACEHOLDER",
    "PLACEHOLDER_BEGUN",
    "PLACEHOLDER_LENGTH_MAX",
    "Vault",
    "is_placeholder",
    "is_within_placeholder",
]

PLACEHOLDER = re.compile(r"<([A-Z]{2,8})_([0-9a-f]{8})([0-9a-f]{4})>")
PLACEHOLDER_LENGTH_MAX = 8 + 12 + 3
PLACEHOLDER_BEGUN = re.compile(r"<(?:[A-Z]{1,8}(?:_[0-9a-f]{0,12})?)?$")
"""What stands at the end of a text and may become a placeholder with what follows."""
VALUES_MAX = 200
"""So many values are looked for in later texts, whatever stands around them."""
CHECKED_MAX = 10_000


class Vault:
    """The values that were taken out of one attempt's calls, and their placeholders."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._placeholders: dict[tuple[str, str], str] = {}
        self._originals: dict[str, str] = {}
        self.values: dict[str, str] = {}
        """The newest values that were taken out, and their kinds."""

    def placeholder(self, kind: str, value: str) -> str:
        """Return what stands for the value from now on; no two values share one."""
        known = self._placeholders.get((kind, value))
        if known is not None:
            return known
        number = 0
        while self._originals.get(made := self._made(kind, value, number), value) != value:
            number += 1
        self._placeholders[kind, value] = made
        if len(self.values) >= VALUES_MAX:
            del self.values[next(iter(self.values))]
        self.values[value] = kind
        self._originals[made] = value
        return made

    def _made(self, kind: str, value: str, number: int) -> str:
        message = f"{kind}\0{number}\0{value}".encode(errors="surrogatepass")
        digest = hmac.digest(self._key, message, hashlib.sha256)[:4].hex()
        return f"<{kind.upper()}_{digest}{_check(kind.upper(), digest)}>"

    def restored(self, text: str) -> str:
        """Return the text with the values back where their placeholders stand."""
        if not self._originals or "<" not in text:
            return text
        return PLACEHOLDER.sub(lambda found: self._originals.get(found[0], found[0]), text)

    @property
    def empty(self) -> bool:
        return not self._originals


def is_placeholder(text: str) -> bool:
    """Return whether a text is a placeholder, whosever it is."""
    found = PLACEHOLDER.fullmatch(text)
    return found is not None and _check(found[1], found[2]) == found[3]


def is_within_placeholder(text: str, start: int, end: int) -> bool:
    """Return whether a part of a text is all that stands between the brackets of a placeholder."""
    return text[start - 1 : start] == "<" and is_placeholder(text[start - 1 : end + 1])


@lru_cache(maxsize=CHECKED_MAX)
def _check(kind: str, digest: str) -> str:
    return hashlib.sha256(f"{kind}_{digest}".encode()).digest()[:2].hex()
