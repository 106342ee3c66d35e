"""How the demo prints: headings, lines folded at 80 columns, commands that can be copied, a question, pauses."""

from __future__ import annotations

import io
import shlex
import sys
import textwrap
import threading
import time
from collections.abc import Sequence

__all__ = ["COLUMNS", "Page"]

COLUMNS = 80
INDENT = "   "
ANSWERS_MAX = 5


class Page:
    """Prints to stdout. `live`: a person looks on at a terminal; `pause_seconds` is what she gets to read a part."""

    def __init__(self, *, pause_seconds: float) -> None:
        self.live = sys.stdout.isatty() and sys.stderr.isatty()
        self.asks = sys.stdin.isatty() and sys.stdout.isatty()
        self._pause_seconds = pause_seconds
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # a terminal that knows no quotation marks is no reason to stop
        self._printing = threading.Lock()  # what a process says is passed on by a thread of its own

    def heading(self, text: str) -> None:
        self._print(f"\n{text}\n")

    def say(self, text: str = "", *, fold: bool = True) -> None:
        """Print a line, indented; what is too long goes on below, unless it is to be copied."""
        indent = INDENT + " " * (len(text) - len(text.lstrip()))
        if not fold:
            self._print(f"{INDENT}{text}".rstrip())
            return
        lines = textwrap.wrap(text.strip(), COLUMNS, initial_indent=indent, subsequent_indent=f"{indent}  ")
        self._print("\n".join(lines))

    def command(self, *arguments: str, program: str = "headgate") -> None:
        """Print a command, broken with backslashes so that it fits and can be copied."""
        line = f"{INDENT}$ {program}"
        for word in (shlex.quote(argument) for argument in arguments):
            if len(line) + len(word) + 3 > COLUMNS:
                self._print(f"{line} \\")
                line = f"{INDENT}   "
            line = f"{line} {word}"
        self._print(line)

    def row(self, text: str) -> None:
        """Print a row of a table, cut where it would not fit."""
        room = COLUMNS - len(INDENT)
        shown = text if len(text) <= room else text[:room] if text[room] == " " else f"{text[: room - 1]}…"
        self._print(f"{INDENT}{shown}".rstrip())

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Print rows in columns."""
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            self.row("  ".join(cells))

    def pause(self) -> None:
        """Leave a person the time to read."""
        if self._pause_seconds:
            time.sleep(self._pause_seconds)

    def answer(self, question: str) -> bool | None:
        """Ask for y or n; return None where nobody can be asked, or nobody answers."""
        if not self.asks:
            return None
        for _ in range(ANSWERS_MAX):
            sys.stdout.write(f"{INDENT}{question}  y or n, then Enter: ")
            sys.stdout.flush()
            said = sys.stdin.readline()
            if not said:
                self._print("")
                return None
            if said.strip().lower() in ("y", "yes", "n", "no"):
                return said.strip().lower().startswith("y")
        return None

    def show_cursor(self) -> None:
        """Give a terminal its cursor back: whoever was killed while drawing could not."""
        if self.live:
            sys.stdout.write("\x1b[?25h\n")
            sys.stdout.flush()

    def _print(self, text: str) -> None:
        with self._printing:
            print(text, flush=True)
