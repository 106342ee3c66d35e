"""What a script prints, on its way to the attempt's log: by lines, and not without end."""

from __future__ import annotations

import asyncio
import codecs
from collections import deque
from collections.abc import Callable
from typing import IO

from headgate.activities.script_settings import ScriptSettings
from headgate.ports import ActivityContext

__all__ = ["CHUNK_BYTES", "Print"]

CHUNK_BYTES = 1 << 16
LAST_LINES_MAX = 20


class Print:
    """Both streams of one script. Lines beyond the settings' bounds are dropped; `stop` is called at the last bound."""

    def __init__(self, settings: ScriptSettings, ctx: ActivityContext, stop: Callable[[], None]) -> None:
        self._settings = settings
        self._ctx = ctx
        self._stop = stop
        self._lines = 0
        self._bytes = 0
        self._last_lines: deque[str] = deque(maxlen=LAST_LINES_MAX)

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The last of what went to standard error."""
        return tuple(self._last_lines)

    async def read(self, pipe: IO[bytes], stream: str) -> None:
        """Log what comes through `pipe` until it ends, or the script has printed more than it may."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        rest = ""
        try:
            while chunk := await reader.read(CHUNK_BYTES):
                self._bytes += len(chunk)
                if self._bytes > self._settings.printed_bytes_max:
                    self._stop()
                    return
                *lines, rest = (rest + decoder.decode(chunk)).split("\n")
                for line in lines:
                    self._log(line, stream)
                rest = rest[: self._settings.log_line_characters_max + 1]
        finally:
            transport.close()
            if rest:
                self._log(rest, stream)

    def _log(self, line: str, stream: str) -> None:
        most = self._settings.log_line_characters_max
        short = line if len(line) <= most else line[:most] + " … (the rest of the line is dropped)"
        if stream == "stderr":
            self._last_lines.append(short)
        self._lines += 1
        if self._lines <= self._settings.log_lines_max:
            self._ctx.log(short, stream=stream)
        elif self._lines == self._settings.log_lines_max + 1:
            said = f"The script has printed more than {self._settings.log_lines_max} lines; the rest is dropped."
            self._ctx.log(said, stream=stream)
