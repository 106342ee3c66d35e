"""`headgate demo` before a person at a terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections import Counter

import pytest
from tests.e2e.demo_story.told import SECONDS_MAX, Ended, Guarded, Told

pytestmark = pytest.mark.slow


def at_a_terminal(guarded: Guarded, answer: str, *arguments: str) -> tuple[int, str]:
    """Run the demo at a terminal of 80 columns, answer its question, and return its code and all that was drawn."""
    ours, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (40, 80))
    process = subprocess.Popen(
        [sys.executable, "-m", "headgate", "demo", "--fast", *arguments],
        cwd=guarded.temporary,
        env=guarded.environment | {"TERM": "xterm"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    drawn, answered = b"", False
    until = time.monotonic() + SECONDS_MAX
    while time.monotonic() < until:
        if not select.select([ours], [], [], 1)[0]:
            continue
        try:
            drawn += os.read(ours, 65_536)
        except OSError:
            break  # the other side has closed
        if not answered and b"then Enter:" in drawn:
            answered = True
            os.write(ours, f"{answer}\n".encode())
    os.close(ours)
    return process.wait(SECONDS_MAX), drawn.decode()


def test_at_a_terminal_the_tree_is_drawn_and_a_person_is_asked(guarded: Guarded):
    folder = guarded.temporary.parent / "terminal"

    code, drawn = at_a_terminal(guarded, "n", "--keep", str(folder))

    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn)
    told = Told(Ended([], code, plain.replace("\r", "")), folder, 0.0)
    first = told.runs()[0]
    (decided,) = [event for event in told.events(first.id) if event.type == "approval_decided"]
    assert code == 0
    # The words of an answer as they came, and the cost on its way to the budget.
    streamed = set(re.findall(r" \[(\d+)\] +([“…][^\n]*?)  ", told.section(2)))
    assert max(Counter(item for item, _ in streamed).values()) > 2
    assert len(set(re.findall(r"\$([\d.]+) of \$0\.04", told.section(2)))) > 3
    assert "Pay?  y or n, then Enter:" in told.section(5)
    assert "answers y itself" not in plain
    assert (decided.fields["approved"], first.outputs["refunded"]) == (False, False)
    assert "refunded: no" in told.section(5)
    assert "What to try next" in plain


def test_no_color_is_respected_at_a_terminal(guarded: Guarded):
    guarded.environment["NO_COLOR"] = "1"
    try:
        code, drawn = at_a_terminal(guarded, "y", "--pace", "0.005")
    finally:
        del guarded.environment["NO_COLOR"]

    assert code == 0
    assert not re.search(r"\x1b\[(?:3[0-7]|9[0-7]|4[0-7])", drawn)
    assert "refunded: yes" in drawn
