"""The input of a run as it is given on the command line: `k=v`, `k=@file`, or a whole JSON document."""

from __future__ import annotations

import sys
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, cast

import msgspec

from headgate.core.definition import Definition
from headgate.core.errors import Invalid
from headgate.core.money import nano

__all__ = ["given_budget", "given_dollars", "given_input", "given_json", "given_labels", "read_text"]

FILE_BYTES_MAX = 50 * 1024 * 1024
AS_TEXT = frozenset({"string", "file"})
DOCUMENTS = frozenset({".pdf", ".docx", ".html", ".htm", ".png", ".jpg", ".jpeg", ".gif", ".webp"})


Keep = Callable[[bytes, str], dict[str, Any]]
"""Keeps a file's bytes under its name and returns the file value."""


def given_input(definition: Definition, pairs: tuple[str, ...], document: str | None, keep: Keep | None = None) -> Any:
    """Return the run's input. A value is JSON if it parses as JSON, else text; where the definition declares a text or
    a file it is text, whatever it looks like. A file that is no plain text (PDF, a picture) is kept by `keep`, and the
    input is its file value. Raises `Invalid` for a pair or a file that cannot be read."""
    types = {declared.name: declared.type for declared in definition.inputs or ()}
    value: Any = {} if document is None else given_json(document, "--input-json")
    if not pairs:
        return value
    if not isinstance(value, dict):
        raise Invalid(f"--input adds to a JSON object; --input-json gave {_kind(value)}.")
    named = cast("dict[str, Any]", value)
    for pair in pairs:
        name, text = _split(pair, "--input", "name=value or name=@file")
        if text.startswith("@"):
            path, what = Path(text[1:]), f"--input {name}"
            if types.get(name) == "file" and keep is not None and not _is_plain_text(path, what=what):
                named[name] = keep(_read_bytes(path, what=what), path.name)
                continue
            text = read_text(path, what=what)
        named[name] = text if types.get(name) in AS_TEXT else _parsed(text)
    return named


def given_json(document: str, option: str) -> Any:
    """Return the JSON of an option: `-` is stdin, a text that begins like JSON is itself, anything else a file."""
    if document == "-":
        text, where = sys.stdin.read(), "stdin"
    elif document.lstrip()[:1] in ("{", "[", '"') or _is_json_word(document):
        text, where = document, option
    else:
        text, where = read_text(Path(document), what=option), document
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise Invalid(f"{where} is not JSON: {error}.") from None


def given_labels(pairs: tuple[str, ...]) -> dict[str, str]:
    """Return `--label name=value` as a map."""
    return dict(_split(pair, "--label", "name=value") for pair in pairs)


def given_budget(text: str | None) -> int | None:
    """Return dollars such as `0.25` in nano-dollars; None stays None."""
    return None if text is None else given_dollars(text, "--budget")


def given_dollars(text: str, what: str) -> int:
    """Return dollars such as `0.25` or `$0.25` in nano-dollars. Raises `Invalid`, naming `what` it was given for."""
    try:
        amount = Decimal(text.removeprefix("$"))
        if not amount.is_finite() or not 0 <= amount < 1_000_000_000:
            raise InvalidOperation
        return nano(amount)
    except InvalidOperation:
        raise Invalid(f"{what}: expected dollars such as 0.25, got {text!r}.") from None


def read_text(path: Path, *, what: str) -> str:
    """Return a file's text. Raises `Invalid` for a file that is missing, too large or not UTF-8."""
    try:
        return _read_bytes(path, what=what).decode()
    except UnicodeDecodeError as error:
        raise Invalid(
            f"{what}: {path} is not UTF-8 text (byte {error.start}); convert it, or extract its text."
        ) from None


def _read_bytes(path: Path, *, what: str) -> bytes:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise Invalid(f"{what}: {path} has {path.stat().st_size} bytes; expected at most {FILE_BYTES_MAX}.")
        return path.read_bytes()
    except OSError as error:
        raise Invalid(f"{what}: {path} cannot be read: {error.strerror or error}.") from None


def _is_plain_text(path: Path, *, what: str) -> bool:
    """Whether the file's text says all of it: a page of HTML is text too, but whoever gives one means the document."""
    if path.suffix.lower() in DOCUMENTS:
        return False
    try:
        _read_bytes(path, what=what).decode()
    except UnicodeDecodeError:
        return False
    return True


def _split(pair: str, option: str, form: str) -> tuple[str, str]:
    name, equals, text = pair.partition("=")
    if not equals or not name.strip():
        raise Invalid(f"{option}: expected {form}, got {pair!r}.")
    return name.strip(), text


def _parsed(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return text


def _is_json_word(text: str) -> bool:
    word = text.strip()
    return word in ("true", "false", "null") or (word.lstrip("-")[:1].isdigit() and not Path(text).exists())


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return "a list" if isinstance(value, list) else f"{value!r}"[:60]
