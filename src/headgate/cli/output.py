"""Where the command line prints: data on stdout, everything else on stderr; plain or coloured; text or JSON."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from headgate.cli.words import MARKS, terminal_safe

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Output"]

Found = TypeVar("Found")

COLOURS = {"green": "32", "red": "31", "cyan": "36", "yellow": "33", "dim": "2", "bold": "1"}
WIDTH_DEFAULT = 80
COLOUR_CODE = re.compile(r"\x1b\[\d+m")


class Output:
    """Made once per command from its common options."""

    def __init__(self, *, json: bool = False, quiet: bool = False, colour: bool = True) -> None:
        self.json = json
        self.quiet = quiet or json
        self._encoding = sys.stderr.encoding or "ascii"  # asked now: a live picture replaces the stream
        self._colour = colour and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    @property
    def interactive(self) -> bool:
        """Whether a person sits at both ends, and looks at us: a job in the background must not touch the keys."""
        return not self.quiet and sys.stdin.isatty() and sys.stderr.isatty() and _in_foreground()

    @property
    def draws(self) -> bool:
        """Whether a picture that changes in place can be shown."""
        return not self.quiet and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    # --- stdout --------------------------------------------------------------------------------------------------

    def data(self, value: Any) -> None:
        """Print a result: as it is if it is a text and not `--json`, else as JSON. A terminal gets nothing that it
        would take for a command."""
        if isinstance(value, str) and not self.json:
            text = value
        elif self.json:
            text = msgspec.json.encode(value).decode()
        else:
            text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
        self.text(f"{text}\n")

    def text(self, text: str) -> None:
        """Print a part of a text at once, without a newline of its own."""
        sys.stdout.write(terminal_safe(text) if sys.stdout.isatty() else text)
        sys.stdout.flush()

    def line(self, text: str = "") -> None:
        """Print one line of a listing, as wide as it is."""
        print(text)

    def table(self, rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()) -> None:
        """Print rows in columns; the last one is cut at the terminal's width, and never in a pipe."""
        if not rows:
            return
        widths = [max(_visible(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            cells = [
                _padding(cell, widths[column]) + cell if column in right else cell + _padding(cell, widths[column])
                for column, cell in enumerate(row)
            ]
            self.line(self.fit("  ".join(cells).rstrip()))

    def listing(
        self,
        found: Sequence[Found],
        *,
        form: Callable[[Found], Any],
        row: Callable[[Found], Sequence[str]],
        nothing: str,
    ) -> None:
        """Print what was found: with `--json` a list of its forms, else a table of its rows, or say that there is
        nothing."""
        if self.json:
            self.data([form(one) for one in found])
        elif found:
            self.table([row(one) for one in found])
        else:
            self.notice(nothing)

    def fit(self, text: str) -> str:
        """Return a line cut at the width of the terminal that stdout is; whole where it is none."""
        width = self.width
        if not sys.stdout.isatty() or _visible(text) <= width:
            return text
        # A cut could fall into a colour's code, so the line loses its colours.
        return f"{COLOUR_CODE.sub('', text)[: width - 1]}…"

    @property
    def width(self) -> int:
        for stream in (sys.stdout, sys.stderr):
            try:
                return os.get_terminal_size(stream.fileno()).columns or WIDTH_DEFAULT
            except (OSError, ValueError):
                continue
        return WIDTH_DEFAULT

    # --- stderr --------------------------------------------------------------------------------------------------

    def notice(self, text: str) -> None:
        """Say something beside the result; nothing with `--quiet` or `--json`."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def error(self, text: str) -> None:
        """Say what went wrong, always."""
        print(f"{self.paint('error:', 'red', error=True)} {terminal_safe(text)}", file=sys.stderr, flush=True)

    def mark(self, status: str, *, error: bool = False) -> str:
        symbol, colour = MARKS.get(status, ("?", "dim"))
        return self.paint(self.symbol(symbol), colour, error=error)

    def symbol(self, symbol: str) -> str:
        """Return the symbol, or a letter like it where the encoding cannot hold it."""
        try:
            symbol.encode(self._encoding)
        except (UnicodeEncodeError, LookupError):
            return {"✓": "+", "✗": "x", "●": "*", "◷": "~", "‖": "=", "–": "-", "■": "#", "○": "."}.get(symbol, "?")
        return symbol

    def paint(self, text: str, colour: str, *, error: bool = False) -> str:
        """Return the text in a colour, where the stream is a terminal that wants colours."""
        stream = sys.stderr if error else sys.stdout
        if not self._colour or not stream.isatty():
            return text
        return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m"

    def console(self) -> Console:
        """Return rich's console on stderr; imported here, for only a live picture needs it."""
        from rich.console import Console

        return Console(stderr=True, no_color=not self._colour, highlight=False, soft_wrap=False)


def _in_foreground() -> bool:
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, AttributeError):  # not our terminal, or a system without process groups
        return True


def _visible(text: str) -> int:
    return len(COLOUR_CODE.sub("", text))


def _padding(text: str, width: int) -> str:
    return " " * (width - _visible(text))
