"""The tokens of a text: Jinja's, with what its language lacks rewritten in its own words (`&&`, `null`,
`[*]`, names with hyphens), and conditions written as text around templates read as one expression.

A token's line number holds its offset in the text: so every error and every reference knows its place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Generator, Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from jinja2 import Environment
from jinja2.exceptions import TemplateSyntaxError
from jinja2.lexer import Lexer, Token

from headgate.core.scope import EVERY
from headgate.core.template_sandbox import HYPHEN

__all__ = ["Piece", "normal", "read_condition", "read_template", "rewrite"]


class Piece(NamedTuple):
    """A raw token of the text."""

    offset: int
    kind: str
    text: str


def normal(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_template(text: str) -> Iterator[Piece]:
    """Yield the raw tokens of a text with templates, each with its offset."""
    offset = 0
    try:
        for _, kind, value in _LEXER.tokeniter(text, None):
            # `{{-` swallows the white space before it: look for where the token really stands.
            offset = text.index(value, offset)
            yield Piece(offset, kind, value)
            offset += len(value)
    except TemplateSyntaxError as error:
        message, _, place = (error.message or "").partition(" at ")
        raise TemplateSyntaxError(message, int(place) if place.isdigit() else offset) from None


def read_condition(text: str) -> Iterator[Piece]:
    """Yield the raw tokens of a condition: `{{ }}` is a pair of parentheses, the text around it is code as
    well.

    A template between quotes joins that text: `'{{ a.b }}-x'` is `('' ~ (a.b) ~ '-x')`.
    """
    quote = ""
    offset = 0
    for piece in read_template(text):
        offset, kind, value = piece
        if kind == "variable_begin":
            yield from (Piece(offset, "operator", sign) for sign in ("~(" if quote else "("))
        elif kind == "variable_end":
            yield from (Piece(offset, "operator", sign) for sign in (")~" if quote else ")"))
        elif kind in {"block_begin", "raw_begin"}:
            raise TemplateSyntaxError("a condition is one expression: {% … %} has no place in it", offset)
        elif kind == "data":
            quote = yield from _read_around(text, offset, offset + len(value), quote)
        elif not kind.startswith("comment"):
            yield piece
    if quote:
        raise TemplateSyntaxError(f"a text is not closed: expected {quote} at the end", offset)


def _read_around(text: str, start: int, end: int, quote: str) -> Generator[Piece, None, str]:
    """Yield the tokens of the text around templates; return the quote that is open at its end."""
    if quote:
        closing = re.compile(rf"(?:\\.|[^\\{quote}])*").match(text, start, end)
        stop = closing.end() if closing else end
        yield Piece(start, "string", f"{quote}{text[start:stop]}{quote}")
        if stop >= end:
            return quote
        yield Piece(stop, "operator", ")")
        start = stop + 1
    complete = _COMPLETE.match(text, start, end)
    stop = complete.end() if complete else end
    yield from _read_code(text, start, stop)
    if stop >= end:
        return ""
    yield Piece(stop, "operator", "(")
    if text.find("{{", end) != end:
        raise TemplateSyntaxError(f"a text is not closed: expected another {text[stop]}", stop)
    yield Piece(stop, "string", f"{text[stop]}{text[stop + 1 : end]}{text[stop]}")
    return text[stop]


_COMPLETE = re.compile(r"""(?:[^'"]|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")*""", re.DOTALL)


def _read_code(text: str, start: int, end: int) -> Iterator[Piece]:
    while start < end:
        for pattern, kind, _ in _LEXER.rules["variable_begin"][1:]:
            if match := pattern.match(text, start, end):
                yield Piece(start, str(kind), match.group())
                start = match.end()
                break
        else:
            raise TemplateSyntaxError(f"unexpected char {text[start]!r}", start)


# --- Rewriting ----------------------------------------------------------------------------------------------

_SIGNS = {"&&": ("name", "and"), "||": ("name", "or"), "!": ("bang", "!")}
_WORDS = {"AND": "and", "OR": "or", "NOT": "not", "null": "none"}


def rewrite(pieces: Iterable[Piece], names: frozenset[str]) -> Iterator[Token]:
    for token in _LEXER.wrap(_rewritten(list(pieces), names), None, None):
        value: object = token.value  # text, or the number of a numeric token
        if isinstance(value, float) and not math.isfinite(value):
            raise TemplateSyntaxError("the number is too large", token.lineno)
        if token.type == "string" and not token.value.isascii():
            _expect_unicode(token)
        yield token


def _expect_unicode(token: Token) -> None:
    try:
        token.value.encode()
    except UnicodeEncodeError:
        raise TemplateSyntaxError("the text holds half a character (a lone surrogate)", token.lineno) from None


def _rewritten(pieces: list[Piece], names: frozenset[str]) -> Iterator[Piece]:
    """Yield the pieces with our additions said in Jinja's words."""
    hyphenated = _hyphenated(names)
    number = 0
    before: list[str] = []
    while number < len(pieces):
        piece = pieces[number]
        number += 1
        is_field = bool(before) and before[-1] == "."
        if piece.kind == "sign":
            piece = Piece(piece.offset, *_SIGNS[piece.text])
        elif piece.kind in {"name", "integer"} and (not is_field or before[-2:] == ["FILE", "."]):
            last = _hyphenated_end(pieces, number - 1, hyphenated)
            if last:
                piece = Piece(
                    piece.offset,
                    "name",
                    _identifier("".join(part.text for part in pieces[number - 1 : last])),
                )
                number = last
            elif piece.kind == "name":
                piece = piece._replace(text=_WORDS.get(piece.text, piece.text))
        elif piece.text == "*" and before[-1:] == ["["] and _next_text(pieces, number) == "]":
            piece = Piece(piece.offset, "string", repr(EVERY))
        if piece.kind != "whitespace":
            before = [*before[-1:], piece.text]
        yield piece


@lru_cache(maxsize=64)
def _hyphenated(names: frozenset[str]) -> frozenset[str]:
    """Return the names that need our reading; looked for once per workflow, not once per template."""
    return frozenset(name for name in names if not name.isidentifier() and not name.isdigit())


def _hyphenated_end(pieces: list[Piece], start: int, hyphenated: frozenset[str]) -> int:
    """Return where the longest known name with hyphens ends that starts here; 0 if none does."""
    found, name = 0, ""
    if hyphenated:
        for end in range(start, len(pieces)):
            if pieces[end].kind not in {"name", "integer"} and pieces[end].text != "-":
                break
            name += pieces[end].text
            found = end + 1 if name in hyphenated else found
    return found


def _next_text(pieces: list[Piece], number: int) -> str:
    return next((piece.text for piece in pieces[number:] if piece.kind != "whitespace"), "")


def _identifier(name: str) -> str:
    """Return an identifier that stands for a name with hyphens; `show_name` undoes it."""
    return ("" if name[0].isalpha() or name[0] == "_" else 2 * HYPHEN) + name.replace("-", HYPHEN)


_LEXER = Lexer(Environment(keep_trailing_newline=True))  # noqa: S701  # only its delimiters matter
for _state in ("variable_begin", "block_begin"):
    # Before the operators, for `||` is not two pipes. A rule is (pattern, kind of token, next state).
    _LEXER.rules[_state].insert(1, (re.compile(r"&&|\|\||!(?!=)"), "sign", None))  # pyright: ignore[reportArgumentType]  # Jinja unpacks it
