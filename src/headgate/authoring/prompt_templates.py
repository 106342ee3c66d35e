"""Prompt templates by name and version: `summary@3` is the file `prompts/summary@3` beside the definition.

A version is never changed in place: the text is inlined into the definition, so that a run keeps what it was started
with, and `Activity.prompt` says which text that was: the name, the version and the beginning of the text's SHA-256.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

from headgate.authoring.problems import did_you_mean, one_of

__all__ = ["Read", "UnreadableFile", "prompt_label", "prompt_text"]

FOLDER = "prompts"
ENDINGS = ("", ".md", ".txt")
NAMED = re.compile(r"((?:[\w-][\w.-]*/)*[\w-][\w.-]*)@([\w.+-]+)")
VERSIONS_SHOWN_MAX = 20

Read = Callable[[str], str]
"""Returns the text of a file by its path (with `/`) relative to the definition's folder, or raises
`UnreadableFile`."""


class UnreadableFile(Exception):
    """A file that a definition refers to cannot be had: `str()` says why. `missing`: there is no such file, and
    `neighbours` are the names of those in its folder."""

    def __init__(self, message: str, *, missing: bool = False, neighbours: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.missing = missing
        self.neighbours = neighbours


def prompt_label(template: str, text: str) -> str:
    """Return the version of a prompt as spend rows and events name it: `summary@3#5f0e4c0d9b21`."""
    return f"{template}#{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def prompt_text(template: str, read: Read) -> tuple[str, str]:
    """Return the path and the text of a template `NAME@VERSION`. Raises `UnreadableFile`: the name is none, no file
    is there (then it says which versions are), two are, or the one that is there cannot be read."""
    named = NAMED.fullmatch(template)
    if named is None:
        raise UnreadableFile(
            f"expected template to be NAME@VERSION, such as summary@3 for the file {FOLDER}/summary@3, "
            f'got "{template}".'
        )
    found: dict[str, str] = {}
    neighbours: tuple[str, ...] = ()
    for ending in ENDINGS:
        path = f"{FOLDER}/{template}{ending}"
        try:
            found[path] = read(path)
        except UnreadableFile as error:
            if not error.missing:
                raise
            neighbours = neighbours or error.neighbours
    if len(found) > 1:
        raise UnreadableFile(f"{' and '.join(found)} are both the template {template}; keep one of them.")
    if not found:
        raise UnreadableFile(_missing(named[1], named[2], neighbours), missing=True)
    return next(iter(found.items()))


def _missing(name: str, version: str, neighbours: tuple[str, ...]) -> str:
    folder, _, last = f"{FOLDER}/{name}".rpartition("/")
    names = {_without_ending(neighbour) for neighbour in neighbours}
    versions = sorted(found[len(last) + 1 :] for found in names if found.startswith(f"{last}@"))
    message = f'there is no version "{version}" of the prompt {name} ({FOLDER}/{name}@{version}).'
    if versions:
        return f"{message} There is {one_of(versions[:VERSIONS_SHOWN_MAX])}."
    others = sorted({found.partition("@")[0] for found in names if "@" in found})
    return f"{message}{did_you_mean(last, others)} No version of it is in {folder}."


def _without_ending(name: str) -> str:
    return next((name.removesuffix(ending) for ending in ENDINGS[1:] if name.endswith(ending)), name)
