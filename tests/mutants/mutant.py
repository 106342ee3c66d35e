"""A fault that is planted, and the test that must find it."""

from __future__ import annotations

from typing import NamedTuple


class Edit(NamedTuple):
    """In `file`, `old` becomes `new`."""

    file: str
    old: str
    new: str


class Mutant(NamedTuple):
    """A fault by name, how it is planted, and the test that must find it."""

    name: str
    edits: tuple[Edit, ...]
    test: str
