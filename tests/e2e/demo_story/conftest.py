"""`headgate demo` as a newcomer runs it, and on texts of ours: once for all tests of this folder."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.demo_story.told import MANUAL, SLOWLY, TICKETS, Guarded, Told


@pytest.fixture(scope="package")
def guarded() -> Iterator[Guarded]:
    # A short path, as a temporary folder has on most systems: a socket's name must fit into a hundred characters.
    with tempfile.TemporaryDirectory(prefix="hg-") as folder:
        yield Guarded(Path(folder))


@pytest.fixture(scope="package")
def told(guarded: Guarded) -> Told:
    """The demo as a newcomer runs it, but for the pauses."""
    began = time.monotonic()
    ended = guarded.demo()
    seconds = time.monotonic() - began
    (folder,) = guarded.temporary.iterdir()
    return Told(ended, folder, seconds)


@pytest.fixture(scope="package")
def swapped(guarded: Guarded) -> Told:
    """The demo on a manual and tickets of ours."""
    folder = guarded.temporary.parent / "mine"
    texts = guarded.temporary.parent
    (texts / "manual.txt").write_text(MANUAL)
    (texts / "tickets.txt").write_text(TICKETS)
    given = ("--manual", str(texts / "manual.txt"), "--tickets", str(texts / "tickets.txt"), *SLOWLY)
    return Told(guarded.demo("--keep", str(folder), *given), folder, 0.0)
