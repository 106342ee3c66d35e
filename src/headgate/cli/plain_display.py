"""A followed run as plain lines on stderr: one for each change, for pipes, logs and terminals that cannot draw."""

from __future__ import annotations

from collections.abc import Iterator

from headgate.cli.output import Output
from headgate.cli.words import cost_of_run, elapsed, first_line, money, now, place_detail, short, span, terminal_safe
from headgate.core.view import PlaceView, RunView
from headgate.ports import Chunk, Ended, Gap, Restarted, Tokens

__all__ = ["PlainDisplay"]

LINE_CHARACTERS_MAX = 160
"""A longer line of streamed text is shown in several."""
FAN_LINES = 10
"""Of a fan-out: about so many lines say how far it is, however many items it has."""


class PlainDisplay:
    """Compares each view with the one before. What happens between two views is shown by what it came to.

    Streamed text is for eyes: only with `texts` it is shown, line by line.
    """

    def __init__(self, output: Output, *, texts: bool = False) -> None:
        self._output = output
        self._texts: dict[str, str] | None = {} if texts else None
        """Of each place the line that is being written."""
        self._created_at = now()
        self._shown: dict[str, tuple[object, ...]] = {}
        self._begun = False
        self._status = ""

    def changed(self, run: RunView) -> None:
        if not self._begun:
            self._begun = True
            self._created_at = run.created_at
            self._say(f"run {short(run.id)} of {run.workflow} (trace {run.trace_id})")
        for activity in run.activities:
            for place in (activity, *_told_items(activity)):
                self._show(run, place)
        if run.status != self._status:
            self._status = run.status
            if run.status in ("paused", "cancelling"):
                self._say(f"run {short(run.id)} {first_line(run.waiting_for)}")
            elif run.finished_at:
                self._say("  ".join(_end_of_run(run)))

    def streamed(self, chunk: Chunk) -> None:
        match chunk:
            case Tokens():
                self._add(chunk.place, chunk.text)
            case Restarted():
                self._end_line(chunk.place)
                mark = self._output.mark("running", error=True)
                parts = (f"{span(now() - self._created_at):>7}", mark, chunk.place, "begins again")
                self._say("  ".join((*parts, "what it said before is void")))
            case Gap():
                self._add(chunk.place, f" … ({chunk.until - chunk.offset} bytes are not kept) … ")
            case Ended():
                self._end_line(chunk.place)

    def _add(self, place: str, text: str) -> None:
        """Show the lines that are whole now; the last one when it is."""
        if self._texts is None:
            return
        text = self._texts.get(place, "") + text
        *lines, rest = text.split("\n")
        while len(rest) > LINE_CHARACTERS_MAX:
            cut = rest.rfind(" ", 1, LINE_CHARACTERS_MAX) + 1 or LINE_CHARACTERS_MAX
            lines.append(rest[:cut])
            rest = rest[cut:]
        for line in lines:
            self._say_line(place, line)
        self._texts[place] = rest

    def _end_line(self, place: str) -> None:
        rest = self._texts.pop(place, "") if self._texts is not None else ""
        if rest:
            self._say_line(place, rest)

    def _say_line(self, place: str, line: str) -> None:
        if line.strip():
            self._say(f"{'':>7}  |  {place}  {terminal_safe(line).rstrip()}")

    def pulse(self) -> None:
        """Nothing moves here."""

    def _show(self, run: RunView, place: PlaceView) -> None:
        state = (place.status, place.attempt, place.iteration, place.waits, _step(place))
        # What has not begun needs no line; nor does what was told already.
        if self._shown.get(place.place, ("not_scheduled", 0, 0, "", 0)) == state:
            return
        self._shown[place.place] = state
        parts = (f"{span(now() - run.created_at):>7}", self._output.mark(place.status, error=True), place.place)
        rest = (place.status, place_detail(place), elapsed(place, now()) if place.ended_at else "", money(place.cost))
        self._say("  ".join((*parts, *(part for part in rest if part))))

    def _say(self, text: str) -> None:
        self._output.notice(text)


def _told_items(activity: PlaceView) -> Iterator[PlaceView]:
    """Of the items of a fan-out only what needs attention: failures, and what waits for a person or a retry."""
    return (item for item in activity.items if item.status == "failed" or item.waits)


def _step(place: PlaceView) -> int:
    return place.done * FAN_LINES // place.count if place.count else 0


def _end_of_run(run: RunView) -> Iterator[str]:
    yield f"run {short(run.id)} {run.status} after {span((run.finished_at or 0) - run.created_at)}"
    if run.cost or run.limit is not None:
        yield cost_of_run(run)
