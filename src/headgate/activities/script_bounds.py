"""The bounds of the process that runs a script, set by itself, for good, before the script's first line.

Linux knows all of them, macOS the time of the processor and the core files, Windows none; what a system does not know
is left out, and the limits that the engine keeps (time, output, printed text) hold all the same.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

__all__ = ["adopt_orphans", "die_with_parent", "end_descendants", "is_readable", "limit"]

SIGKILL = 9
GIBIBYTE = 1024**3
KILLED_FIRST = "500"
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
DESCRIPTORS_MAX = 65_536
ROUNDS_MAX = 1_000
"""How often to look for descendants again: each round ends all that it finds, so the next finds only their children."""


def limit(request: dict[str, Any]) -> None:
    """Bound memory and processor time of this process, and of each that it will start.

    Memory is what may be written (RLIMIT_DATA): libraries reserve much more address space than they use. That too is
    bounded, for shared mappings count only there. A crash writes no core file, which would hold the script's data.
    """
    try:
        import resource
    except ImportError:
        return
    memory, seconds = request["memory_bytes_max"], request["cpu_seconds_max"]
    _set(resource, "RLIMIT_DATA", memory, memory)
    _set(resource, "RLIMIT_AS", 2 * memory + 4 * GIBIBYTE, 2 * memory + 4 * GIBIBYTE)
    _set(resource, "RLIMIT_CPU", seconds, seconds + 5)
    _set(resource, "RLIMIT_CORE", 0, 0)
    with contextlib.suppress(OSError):  # when the machine runs out of memory, the script goes before the engine
        Path("/proc/self/oom_score_adj").write_text(KILLED_FIRST)


def _set(resource: Any, name: str, soft: int, hard: int) -> None:
    with contextlib.suppress(AttributeError, ValueError, OSError):
        number = getattr(resource, name)
        present = resource.getrlimit(number)[1]
        most = hard if present == resource.RLIM_INFINITY else min(hard, present)
        resource.setrlimit(number, (min(soft, most), most))


# --- Nothing outlives ------------------------------------------------------------------------------------------


def die_with_parent(lifeline: int, parent: int) -> None:
    """Have this process group killed when the lifeline ends, and this process also when its parent does.

    A process of its own watches the lifeline, so that nothing that a script does (holding the interpreter's lock,
    closing files, dying first) keeps the rest of its group alive. It is nobody's child here: a script that waits for
    its children does not meet it. Call it before `adopt_orphans`, and before any thread is started.
    """
    _begin_watch(lifeline)
    if sys.platform == "linux":
        _prctl(PR_SET_PDEATHSIG, SIGKILL)
    if is_readable(lifeline) or os.getppid() != parent:  # it had ended before
        os.killpg(0, SIGKILL)


def _begin_watch(lifeline: int) -> None:
    between = os.fork()
    if between:
        os.waitpid(between, 0)
        return
    try:
        if os.fork():
            os._exit(0)
        for first, last in ((0, lifeline), (lifeline + 1, DESCRIPTORS_MAX)):
            os.closerange(first, last)
        os.read(lifeline, 1)
    finally:  # also if anything of this fails: a script is not to run unwatched
        os.killpg(0, SIGKILL)


def is_readable(descriptor: int) -> bool:
    """Whether there is something to read, or the end. Not by `select`, which knows no number above 1,023."""
    import select

    polled = select.poll()
    polled.register(descriptor, select.POLLIN)
    return bool(polled.poll(0))


def adopt_orphans() -> None:
    """Become the parent of descendants that lose theirs, so that `end_descendants` finds them."""
    if sys.platform == "linux":
        _prctl(PR_SET_CHILD_SUBREAPER, 1)


def end_descendants() -> None:
    """Kill every process that comes from this one, also those that have left its group and session. Linux only."""
    for _ in range(ROUNDS_MAX):
        children = _children()
        if not children:
            return
        for child in children:
            with contextlib.suppress(ProcessLookupError, PermissionError, ChildProcessError):
                os.kill(child, SIGKILL)
                os.waitpid(child, 0)


def _children() -> list[int]:
    try:
        files = list(Path("/proc/self/task").glob("*/children"))
        return [int(child) for file in files for child in file.read_text().split()]
    except OSError:
        return []


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
