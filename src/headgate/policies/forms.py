"""The forms in which a text may hide what it says, each with the way back to the characters that it was made of.

A *form* is a text that means the same to a reader: with full-width letters and digits as plain ones and without
characters of no width; with URL escapes, HTML entities and `\\u0040` taken apart; decoded, where a run of characters is
base64 or hexadecimal. Whatever is found in a form is found in the original: `Form.span` says where.

Every form is made in one pass over the text, so that the time is linear in its length, whatever it holds.
"""

from __future__ import annotations

import binascii
import re
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

from headgate.policies.placeholders import is_within_placeholder

__all__ = ["ENCODED_LEVELS_MAX", "Form", "encoded_runs", "forms_of", "readable"]

ESCAPES_LEVELS_MAX = 3
"""So often escapes are taken apart: `%2540` is `%40` is `@`."""
ENCODED_LEVELS_MAX = 2
"""So often base64 is looked for in what was base64."""
LOOKED_AT_MAX = 4
"""Of so many texts it is known where they may hold base64, each of at most so many characters."""
LOOKED_AT_LENGTH_MAX = 65_536
RUN_LENGTH_MIN = 8
"""A shorter run of base64 holds nothing that is looked for."""
NO_WIDTH = frozenset(
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u3164\ufeff\uffa0" + "".join(map(chr, range(0xFE00, 0xFE10)))
)
DOUBLE_QUOTES = "“”„‟«»「」『』〝〞"
QUOTES = frozenset(DOUBLE_QUOTES + "‘’‚‛‹›")
NOT_ASCII = re.compile(r"[^\x00-\x7f]")
ESCAPE = re.compile(
    r"((?:%[0-9A-Fa-f]{2})+)|(&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z]{2,10});)|"
    r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|x[0-9A-Fa-f]{2}|[nrt/\"'\\])|=\r?\n"
)
ESCAPE_MARKS = ("%", "&", "\\", "=\n", "=\r\n")
WRITTEN = {"n": "\n", "r": "\r", "t": "\t"}
RUN = re.compile(r"[A-Za-z0-9+/_-]{8,}(?:\r?\n[A-Za-z0-9+/_-]{8,})*={0,2}")
LETTER = re.compile(r"[A-Z]")
HEXADECIMAL = re.compile(r"(?:[0-9a-fA-F]{2})+")
OF_URLS = str.maketrans("-_", "+/")
CONTROLS = bytes(range(ord(" ")))
LINE_BREAKS = re.compile(r"[\r\n]+")


class Form:
    """A text, and for each of its characters where the original begins that it was made of."""

    __slots__ = ("starts", "text")

    def __init__(self, text: str, starts: Sequence[int] | None = None) -> None:
        self.text = text
        self.starts = range(len(text) + 1) if starts is None else starts
        """One more than there are characters: the last is the original's length."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the part of the original that this part of the form was made of."""
        return self.starts[start], self.starts[end]

    def same_places(self, text: str) -> Form:
        """Return a form whose characters stand for those of this one, each for one."""
        return self if text == self.text else Form(text, self.starts)


def forms_of(text: str) -> list[Form]:
    """Return the forms of a text, itself (as it is read) first."""
    form = readable(Form(text))
    forms = [form]
    for _ in range(ESCAPES_LEVELS_MAX):
        if not any(mark in form.text for mark in ESCAPE_MARKS):
            break
        taken_apart = _without_escapes(form)
        if taken_apart is form:
            break
        form = readable(taken_apart)
        forms.append(form)
    return forms


# --- As it is read ------------------------------------------------------------------------------------------------


def readable(form: Form) -> Form:
    """Return a form with what looks like a plain character as one, and nothing that cannot be seen."""
    text = form.text
    if text.isascii():
        return form
    plain = {character: character if character < "\u0080" else _plain(character) for character in set(text)}
    if all(len(other) == 1 and (other.isascii() or not marks(other)) for other in plain.values()):
        return form.same_places("".join(map(plain.__getitem__, text)))
    pieces: list[str] = []
    starts: list[int] = []
    at = 0
    for found in NOT_ASCII.finditer(text):
        index, character = found.start(), found[0]
        if at < index:
            pieces.append(text[at:index])
            starts.extend(form.starts[at:index])
        at = index + 1
        shown = plain[character]
        if shown == character and marks(shown) and pieces and pieces[-1].isascii():
            shown = ""  # a stroke or an accent put upon a plain character
        pieces.append(shown)
        starts.extend([form.starts[index]] * len(shown))
    pieces.append(text[at:])
    starts.extend(form.starts[at:])
    return Form("".join(pieces), starts)


@lru_cache(maxsize=4_096)
def marks(character: str) -> bool:
    """Return whether a character is one that is put upon the one before it."""
    return unicodedata.category(character) == "Mn"


@lru_cache(maxsize=4_096)
def _plain(character: str) -> str:
    if character in QUOTES:
        return '"' if character in DOUBLE_QUOTES else "'"
    category = unicodedata.category(character)
    if character in NO_WIDTH or category in ("Cf", "Me"):
        return ""
    if category == "Nd":
        return str(unicodedata.digit(character))
    if category == "Pd":
        return "-"
    if category == "Zs":
        return " "
    return unicodedata.normalize("NFKC", character)


# --- Escapes ------------------------------------------------------------------------------------------------------


def _without_escapes(form: Form) -> Form:
    text = form.text
    pieces: list[str] = []
    starts: list[int] = []
    at = 0
    for found in ESCAPE.finditer(text):
        plain = _unescaped(found)
        if plain is None:
            continue
        starts.extend(form.starts[at : found.start()])
        pieces += [text[at : found.start()], plain]
        starts.extend([form.starts[found.start()]] * len(plain))
        at = found.end()
    if not at:
        return form
    pieces.append(text[at:])
    starts.extend(form.starts[at:])
    return Form("".join(pieces), starts)


def _unescaped(found: re.Match[str]) -> str | None:
    if found[1]:
        return bytes.fromhex(found[1].replace("%", "")).decode(errors="replace")
    if found[2]:
        import html

        plain = html.unescape(found[2])
        return None if plain == found[2] else plain
    escape = found[3]
    if escape is None:
        return ""  # a line that was broken for the mail
    if len(escape) == 1:
        return WRITTEN.get(escape, escape)
    code = int(escape[1:], 16)
    return chr(code) if code <= sys.maxunicode else None


# --- Base64 -------------------------------------------------------------------------------------------------------


def encoded_runs(text: str) -> Iterator[tuple[int, int, list[str]]]:
    """Yield each run of characters that may be base64 or hexadecimal, as start, end, and what it may say."""
    for start, end in _runs(text) if len(text) <= LOOKED_AT_LENGTH_MAX else _runs.__wrapped__(text):
        yield start, end, decoded(text[start:end])


@lru_cache(maxsize=LOOKED_AT_MAX)
def _runs(text: str) -> tuple[tuple[int, int], ...]:
    """Return where they are. The policies of a chain ask this one after the other, mostly of one text."""
    return tuple(found.span() for found in RUN.finditer(text) if _may_be_encoded(found))


def _may_be_encoded(found: re.Match[str]) -> bool:
    run = found[0]
    if (run.islower() or run.istitle() or not LETTER.search(run)) and not _is_hexadecimal(run):
        return False  # a word, or a number: base64 of a text has capital letters and small ones
    return not is_within_placeholder(found.string, *found.span())


def _is_hexadecimal(run: str) -> bool:
    return len(run) >= 2 * RUN_LENGTH_MIN and HEXADECIMAL.fullmatch(run) is not None


def decoded(run: str) -> list[str]:
    """Return what a run may say: decoded from each of the places where a group of four may begin."""
    run = LINE_BREAKS.sub("", run).rstrip("=")
    plain = run.translate(OF_URLS)
    said = [text for shift in range(4) if (text := _from_base64(plain[shift:])) is not None]
    if HEXADECIMAL.fullmatch(run):
        said.append(bytes.fromhex(run).decode("latin-1"))
    return said


def _from_base64(run: str) -> str | None:
    """Return the text, or None where hardly any of it is one."""
    whole = len(run) - (len(run) % 4 == 1)
    if whole < RUN_LENGTH_MIN - 1:
        return None
    try:
        data = binascii.a2b_base64(run[:whole] + "=" * (-whole % 4))
    except (binascii.Error, ValueError):
        return None
    if data.count(0) * 3 > len(data):  # each second byte: UTF-16, as some shells encode commands
        return data.replace(b"\0", b"").decode("latin-1")
    text = data.decode(errors="replace")
    unreadable = len(data) - len(data.translate(None, CONTROLS)) + text.count("\ufffd")
    return text if unreadable * 4 <= len(text) else None
