"""The processes of the demo: each is this command line, started in its folder, with nothing of the person's own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from headgate.cli.demo_page import Page

__all__ = ["DemoFailed", "Ended", "Processes", "must"]

SECONDS_MAX = 60.0
LOOK_SECONDS = 0.02
PROGRESS = re.compile(r"\s*\d[\d.]* \S+  ")
"""A line about one activity, as `headgate run` prints them where it cannot draw."""

Ended = subprocess.CompletedProcess[str]


class DemoFailed(Exception):
    """Something did not happen as it must."""


def must(holds: bool, otherwise: str) -> None:
    """Raise `DemoFailed` with what happened `otherwise`."""
    if not holds:
        raise DemoFailed(otherwise)


class Processes:
    """Starts processes and ends them. What they say is printed as it comes, or drawn by themselves at a terminal."""

    def __init__(self, folder: Path, page: Page) -> None:
        self._folder = folder
        self._page = page
        self._started: list[subprocess.Popen[str]] = []
        self._relays: list[threading.Thread] = []
        # Whatever the person has set for Headgate (a database, providers, prices) is not meant for the demo.
        self._environment = {name: text for name, text in os.environ.items() if not name.startswith("HEADGATE_")}
        self._environment |= {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}
        if not page.live:
            self._environment["NO_COLOR"] = "1"

    def call(
        self, *arguments: str, shows: Callable[[str], bool] = lambda _: True, rows: bool = False, results: bool = True
    ) -> Ended:
        """Run a command to its end and print the lines of it that `shows` says; `rows`: they make up a table.

        Without `results` what it prints on stdout is left out.
        """
        self._page.command(*arguments)
        ended = subprocess.run(  # noqa: S603 - it is ourselves
            self._line(arguments),
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=SECONDS_MAX,
            check=False,
        )
        for line in ((ended.stdout if results else "") + ended.stderr).splitlines():
            if shows(line) and not line.startswith("database: "):
                (self._page.row if rows else self._page.say)(line)
        return ended

    def run_to_end(self, *arguments: str) -> int:
        """Run a command that follows a run, drawn at a terminal, else without the lines of its progress. What the run
        comes to is in the database."""
        if not self._page.live:
            return self.call(*arguments, shows=_is_news, results=False).returncode
        return self.wait(self.start(*arguments, held=[]))

    def start(self, *arguments: str, held: list[str] | None = None, draws: bool = True) -> subprocess.Popen[str]:
        """Start a command in the background; at a terminal it may draw. What else it says is printed or `held`."""
        self._page.command(*arguments)
        process = subprocess.Popen(  # noqa: S603 - it is ourselves
            self._line(arguments),
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if draws and self._page.live else subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
        self._started.append(process)
        assert process.stdout is not None, "it was asked for"
        tell = self._page.say if held is None else held.append
        self._relays.append(threading.Thread(target=relay, args=(process.stdout, tell), daemon=True))
        self._relays[-1].start()
        return process

    def kill(self, process: subprocess.Popen[str]) -> None:
        """Send SIGKILL, and see that it was this that ended the process."""
        process.kill()
        code = process.wait(SECONDS_MAX)
        self._join()
        self._page.show_cursor()
        must(code == -signal.SIGKILL, f"process {process.pid} ended by itself, with {code}")

    def wait_for(self, what: str, happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
        """Look again and again whether something happened, while the process runs."""
        until = time.monotonic() + SECONDS_MAX
        while not happened():
            ended = process.poll() is not None
            must(not ended, f"process {process.pid} ended with {process.returncode} before {what}")
            must(time.monotonic() < until, f"{what} did not come within {SECONDS_MAX:g} s")
            time.sleep(LOOK_SECONDS)

    def watch(self, process: subprocess.Popen[str], look: Callable[[], None]) -> int:
        """Look again and again until the process has ended, and once more; return its exit code."""
        until = time.monotonic() + SECONDS_MAX
        while process.poll() is None:
            must(time.monotonic() < until, f"process {process.pid} did not end within {SECONDS_MAX:g} s")
            look()
            time.sleep(LOOK_SECONDS)
        look()
        return self.wait(process)

    def wait(self, process: subprocess.Popen[str]) -> int:
        """Return the process's exit code when everything that it said is printed."""
        code = process.wait(SECONDS_MAX)
        self._join()
        return code

    def end_all(self) -> None:
        """End what still runs, however the demo ended."""
        for process in self._started:
            if process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(SECONDS_MAX)
                process.kill()
        self._join()

    def _line(self, arguments: Sequence[str]) -> list[str]:
        return [sys.executable, "-m", "headgate", *arguments]

    def _join(self) -> None:
        for thread in self._relays:
            thread.join(SECONDS_MAX)
        self._relays.clear()


def _is_news(line: str) -> bool:
    """Whether a line of `headgate run` says more than how far it is; its error is read from the log."""
    return not line.startswith("error: ") and not PROGRESS.match(line)


def relay(lines: IO[str], tell: Callable[[str], None]) -> None:
    """Pass lines on until their process ends; which database is used was said at the beginning."""
    with contextlib.suppress(BrokenPipeError):  # nobody reads us any more: the main thread will notice it too
        for line in lines:
            if not line.startswith("database: "):
                tell(line.rstrip("\n"))
