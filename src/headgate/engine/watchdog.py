"""The watchdog: a thread that asks a loop to turn, and says where it stands when it does not.

User code that blocks its loop starves the other user code on it, and looks like work that takes long. Only another
thread can see it. It looks at the stack of the loop's thread, takes the innermost frame that is neither the standard
library's nor an installed package's, and says so once for each blockage.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

__all__ = ["Watchdog"]

BLOCKED_SECONDS = 5.0
"""A loop that has not turned for so long is blocked."""
LOOK_SECONDS = 1.0

logger = logging.getLogger("headgate.worker")


class Watchdog:
    """Of one loop, which runs in `thread`. Tasks on it bear the names of what they work on."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        thread: threading.Thread,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loop = loop
        self._thread = thread
        self._now = now
        self._asked_at = 0.0
        self._turned = True
        self._told = False
        self._ended = threading.Event()

    def start(self) -> None:
        """Look every second from now on."""
        threading.Thread(target=self._watch, name="headgate-watchdog", daemon=True).start()

    def stop(self) -> None:
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            try:
                self.look()
            except RuntimeError:  # the loop is closed
                return

    def look(self) -> None:
        """Ask the loop to turn, if it has since it was asked last; else say so, once, when it is too long ago."""
        if self._turned:
            self._turned, self._told, self._asked_at = False, False, self._now()
            self._loop.call_soon_threadsafe(self._turn)
        elif not self._told and self._now() - self._asked_at >= BLOCKED_SECONDS:
            self._told = True
            self._tell()

    def _turn(self) -> None:
        self._turned = True

    def _tell(self) -> None:
        working = asyncio.current_task(self._loop)
        # Its underscore says that it is CPython's; there is no other way to see another thread's stack.
        frames = sys._current_frames()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # documented, whatever its name
        frame = _frame_to_blame(frames.get(self._thread.ident or 0))
        if frame is None:
            return  # it has ended meanwhile
        logger.warning(
            "%s blocks the loop of your activities at %s:%d, in %s, and with it all others that are async. "
            "Await there, or make it a plain function (def): those have threads of their own.",
            working.get_name() if working is not None else "a callback",
            frame.f_code.co_filename,
            frame.f_lineno,
            frame.f_code.co_name,
        )


def _frame_to_blame(innermost: FrameType | None) -> FrameType | None:
    """Return the innermost frame of the user's own code, or the innermost of all where there is none."""
    installed = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    own = (frame for frame in _outwards(innermost) if not frame.f_code.co_filename.startswith(tuple(installed)))
    return next(own, innermost)


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
