"""A followed run as a picture that changes in place: one line an activity, never more lines than the screen has.

It shows for each activity its status, why it waits, the last line of what a model is saying, how long it takes and
what it costs. What does not fit is counted: what has ended folds away first, then what is still to come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from headgate.cli.output import Output
from headgate.cli.words import MARKS, brief_wait, cost_of_run, elapsed, money, now, place_detail, plural, short, span
from headgate.core.view import PlaceView, RunView
from headgate.ports import Chunk, Ended, Gap, Restarted, Tokens

__all__ = ["LiveDisplay"]

ENDED = frozenset({"completed", "skipped", "cancelled"})
ITEMS_SHOWN_MAX = 3
KEY_CHARACTERS_MAX = 24
TOKENS_KEPT = 400
LOW_SCREEN_LINES = 10
COUNTS = 3
"""What has ended, is under way and is to come: each of the three may take a line to be counted in."""
FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class LiveDisplay:
    """`with LiveDisplay(output) as display:` draws until the block ends; the last picture stays on the screen.

    `footer` gives the lines at the bottom: what the person may do now.
    """

    def __init__(self, output: Output, footer: Callable[[], list[str]]) -> None:
        self._output = output
        self._footer = footer
        self._console = output.console()
        self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop", redirect_stdout=False)
        self._run: RunView | None = None
        self._texts: dict[str, tuple[int, str]] = {}
        """The end of what each place's newest attempt has said."""
        self._dirty = False
        self._pulses = 0

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._draw(last=True)
        self._live.stop()

    def changed(self, run: RunView) -> None:
        self._run = run
        self._dirty = True
        if run.finished_at:
            self._draw()

    def streamed(self, chunk: Chunk) -> None:
        _, text = self._texts.get(chunk.place, (0, ""))
        match chunk:
            case Tokens():
                text = chunk.text if chunk.offset == 0 else text + chunk.text
                self._texts[chunk.place] = (chunk.attempt, text[-TOKENS_KEPT:])
            case Restarted():
                self._texts[chunk.place] = (chunk.attempt, "")
            case Gap():
                self._texts[chunk.place] = (chunk.attempt, f"{text} … ")
            case Ended():
                self._texts.pop(chunk.place, None)
        self._dirty = True

    def pulse(self) -> None:
        self._pulses += 1
        if self._dirty or self._pulses % 5 == 0:
            self._draw()

    def redraw(self) -> None:
        """Draw at once: a key was pressed."""
        self._draw()

    # --- Drawing -------------------------------------------------------------------------------------------------

    def _draw(self, *, last: bool = False) -> None:
        if self._run is None:
            return
        self._dirty = False
        self._live.update(self._picture(self._run, last=last), refresh=True)

    def _picture(self, run: RunView, *, last: bool) -> Group:
        console = self._console
        footer = [] if last else self._footer()
        if console.height < LOW_SCREEN_LINES:
            footer = [line for line in footer if line][:1]
        room = max(1, console.height - 2 - len(footer))
        rows = Table.grid(padding=(0, 1), expand=True)
        rows.add_column(width=2, no_wrap=True)
        rows.add_column(no_wrap=True, overflow="ellipsis", max_width=min(KEY_CHARACTERS_MAX, console.width // 3))
        rows.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        rows.add_column(justify="right", no_wrap=True)
        rows.add_column(justify="right", no_wrap=True)
        for row in _fitted(list(self._rows(run)), room):
            rows.add_row(*row)
        lines = [Text(line, no_wrap=True, overflow="ellipsis", style="bold") for line in footer]
        return Group(self._header(run), rows, *lines)

    def _header(self, run: RunView) -> Table:
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        grid.add_column(justify="right", no_wrap=True)
        spent = span((run.finished_at or now()) - run.created_at)
        title = Text.assemble(
            (run.workflow, "bold"), f" {short(run.id)} ", self._mark(run.status), f" {run.status} {spent}"
        )
        grid.add_row(title, Text(cost_of_run(run, reserved=False)))
        return grid

    def _rows(self, run: RunView) -> Iterator[_Row]:
        at = run.finished_at or now()
        for activity in run.activities:
            yield _Row(activity.status, self._cells(activity, activity.key, at))
            shown = [item for item in activity.items if item.status != "waiting"] or list(activity.items)
            for item in shown[:ITEMS_SHOWN_MAX]:
                name = f"  {item.place.removeprefix(activity.key)}"
                yield _Row(item.status, self._cells(item, name, at), item=True)

    def _cells(self, place: PlaceView, name: str, at: int) -> tuple[Text, Text, Text, Text, Text]:
        colour = MARKS.get(place.status, ("", "dim"))[1]
        dim = "dim" if place.status in ("not_scheduled", "skipped", "cancelled") else ""
        detail = Text(self._detail(place), style="red" if place.status == "failed" else "dim")
        time = elapsed(place, at) if place.status != "not_scheduled" else ""
        return (
            Text(" ").append(self._mark(place.status, spins=True)),
            Text(name, style=dim or (colour if place.status == "failed" else "")),
            detail,
            Text(time, style="dim"),
            Text(money(place.cost)),
        )

    def _detail(self, place: PlaceView) -> str:
        if place.status == "running" and place.place in self._texts and not place.waiting_for:
            attempt, text = self._texts[place.place]
            if attempt == place.attempt:
                return _last_line(text, self._console) if text else "begins again"
        if place.count is not None and place.status == "running":
            return f"{place.done} of {plural(place.count, 'item')} done, {len(place.items)} under way"
        return brief_wait(place, place_detail(place)) if place.waits else place_detail(place)

    def _mark(self, status: str, *, spins: bool = False) -> Text:
        symbol, colour = MARKS.get(status, ("?", "dim"))
        symbol = self._output.symbol(symbol)
        if spins and status == "running" and symbol == MARKS["running"][0]:
            symbol = FRAMES[self._pulses % len(FRAMES)]
        return Text(symbol, style=colour)


class _Row:
    __slots__ = ("cells", "item", "status")

    def __init__(self, status: str, cells: tuple[Text, Text, Text, Text, Text], *, item: bool = False) -> None:
        self.status = status
        self.cells = cells
        self.item = item


def _fitted(rows: list[_Row], room: int) -> Iterator[tuple[Text, Text, Text, Text, Text]]:
    """Yield at most `room` rows: all, else without items, else with what ended and what is to come counted."""
    if len(rows) > room:
        rows = [row for row in rows if not row.item]
    if len(rows) <= room:
        yield from (row.cells for row in rows)
        return
    ended = [row for row in rows if row.status in ENDED]
    coming = [row for row in rows if row.status == "not_scheduled"]
    live = [row for row in rows if row.status not in ENDED and row.status != "not_scheduled"]
    if room <= COUNTS:
        yield _counted(f"{len(ended)} ended, {len(live)} under way, {len(coming)} to come")
        return
    room -= COUNTS
    live_shown = live[:room]
    ended_shown = ended[max(0, len(ended) - (room - len(live_shown))) :] if room > len(live_shown) else []
    coming_shown = coming[: max(0, room - len(live_shown) - len(ended_shown))]
    shown = {id(row) for row in (*live_shown, *ended_shown, *coming_shown)}
    if hidden := len(ended) - len(ended_shown):
        yield _counted(f"{hidden} more have ended")
    yield from (row.cells for row in rows if id(row) in shown)
    if hidden := len(live) - len(live_shown):
        yield _counted(f"{hidden} more are under way")
    if hidden := len(coming) - len(coming_shown):
        yield _counted(f"{hidden} more to come")


def _counted(text: str) -> tuple[Text, Text, Text, Text, Text]:
    return (Text(""), Text("…", style="dim"), Text(text, style="dim"), Text(""), Text(""))


def _last_line(text: str, console: Console) -> str:
    """Return the end of what was streamed, as much of its last line as can stand in a row."""
    lines = [line for line in text.splitlines() if line.strip()]
    last = "".join(character if character.isprintable() else " " for character in lines[-1]) if lines else ""
    room = max(16, console.width - KEY_CHARACTERS_MAX - 24)
    return last if len(last) <= room else f"…{last[-room:]}"
