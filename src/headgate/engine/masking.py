"""Secrets cut out of what is stored, logged and streamed: as they are, and in the forms in which programs write texts.

A program that takes a secret apart, or writes it in a way of its own, is not seen through.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, cast
from urllib.parse import quote, quote_plus

__all__ = ["MaskedStream", "forms_of", "masked"]

MASK = "[secret]"
SECRET_LENGTH_MIN = 4
"""Shorter values are not masked: they would blank out half of every text that holds them by chance."""
FORM_LENGTH_MIN = 8
"""Shorter values, and shorter lines of long ones, are masked only as they are, for the same reason."""
JSON_LEVELS_MAX = 3
FORMS_KEPT_MAX = 1_000
ESCAPED = re.compile("%[0-9A-F]{2}")


def masked(value: Any, secrets: tuple[str, ...]) -> Any:
    """Return `value` with every secret in its texts replaced, so that none reaches the log."""
    if not secrets:
        return value
    if isinstance(value, str):
        return _masked_text(value, _forms_of_all(secrets))
    if isinstance(value, Mapping):
        fields = cast("Mapping[Any, Any]", value)
        return {masked(key, secrets): masked(part, secrets) for key, part in fields.items()}
    if isinstance(value, list | tuple):
        return [masked(part, secrets) for part in cast("Iterable[Any]", value)]
    return value


def _masked_text(text: str, forms: tuple[str, ...]) -> str:
    for form in forms:
        if form in text:
            text = text.replace(form, MASK)
    return text


@lru_cache(maxsize=FORMS_KEPT_MAX)
def _forms_of_all(secrets: tuple[str, ...]) -> tuple[str, ...]:
    """Return the forms of all of them, the longest first: one that is part of another must not cut it in two."""
    return tuple(sorted({form for secret in secrets for form in forms_of(secret)}, key=len, reverse=True))


def forms_of(secret: str) -> frozenset[str]:
    """Return what stands for a secret in a text: itself, its lines, and itself as JSON, Python, HTML, URLs, base64
    (wherever in the encoded bytes it begins) and hexadecimal write it."""
    import html  # with the name of every character; for whoever has secrets

    if len(secret) < SECRET_LENGTH_MIN:
        return frozenset()
    if len(secret) < FORM_LENGTH_MIN:
        return frozenset({secret})
    data = secret.encode(errors="surrogateescape")
    urls = {quote(data, safe=""), quote(data), quote_plus(data)}
    return frozenset(
        {secret, *(line for line in secret.splitlines() if len(line) >= FORM_LENGTH_MIN)}
        | {repr(secret)[1:-1], *_json_of(secret, ascii_only=True), *_json_of(secret, ascii_only=False)}
        | {html.escape(secret), data.hex(), data.hex().upper()}
        | urls
        | {ESCAPED.sub(lambda found: found[0].lower(), url) for url in urls}
        | {form for shift in range(3) for form in _base64_of(data, shift)}
    )


def _json_of(text: str, *, ascii_only: bool) -> Iterator[str]:
    """Yield the text as JSON has it, and as JSON has that: answers often hold JSON in a text."""
    for _ in range(JSON_LEVELS_MAX):
        text = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield text


def _base64_of(data: bytes, shift: int) -> set[str]:
    """Return the characters that are the same whatever stands around `data`, `shift` bytes after a group's begin."""
    whole = base64.b64encode(bytes(shift) + data).decode()
    certain = whole[(shift * 8 + 5) // 6 : (shift + len(data)) * 8 // 6]
    return {certain, certain.replace("+", "-").replace("/", "_")}


class MaskedStream:
    """A text that comes in pieces: what might be the beginning of a secret waits for the next piece."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._forms = _forms_of_all(secrets)
        self._kept = max((len(form) for form in self._forms), default=1) - 1
        self._text = ""

    def add(self, piece: str) -> str:
        """Return what is certain now."""
        self._text = _masked_text(self._text + piece, self._forms)
        certain = max(0, len(self._text) - self._kept)
        said, self._text = self._text[:certain], self._text[certain:]
        return said

    def rest(self) -> str:
        """Return what has waited to the end."""
        said, self._text = self._text, ""
        return said
