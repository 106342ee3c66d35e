"""The processes that come from a process, found while it lives, so that they can be ended when it is gone.

A process that leaves its group and session (a daemon) is reached by no signal to the group. Linux tells of each
process its children; elsewhere nothing is found, and only the group is ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import NamedTuple

__all__ = ["Descendant", "descendants_of", "kill"]

DESCENDANTS_MAX = 10_000


class Descendant(NamedTuple):
    """A process, and when it was started: a number that is used again is another process."""

    pid: int
    started: str


def descendants_of(pid: int) -> list[Descendant]:
    """Return the living processes below `pid`, at most `DESCENDANTS_MAX`."""
    found: list[Descendant] = []
    waiting = _children_of(pid)
    while waiting and len(found) < DESCENDANTS_MAX:
        child = waiting.pop()
        found.append(Descendant(child, _start_of(child)))
        waiting.extend(_children_of(child))
    return found


def kill(descendants: list[Descendant]) -> None:
    """Kill those that still live."""
    for pid, started in descendants:
        if started and _start_of(pid) == started:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _children_of(pid: int) -> list[int]:
    try:
        return [
            int(child) for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()
        ]
    except OSError:
        return []


def _start_of(pid: int) -> str:
    """Return the time of the process's start as the kernel counts it, "" if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[19]
