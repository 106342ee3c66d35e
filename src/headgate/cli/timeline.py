"""A run as text: what it is, its activities with bars on a common time axis, what waits, what it cost."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from headgate.cli.output import Output
from headgate.cli.words import clock, cost_of_run, elapsed, money, now, place_detail, span, terminal_safe
from headgate.core.view import PlaceView, RunView

__all__ = ["run_lines"]

KEY_CHARACTERS_MAX = 24
BAR_CHARACTERS_MIN = 10
OUTPUT_LINES_MAX = 40
NUMBERS_CHARACTERS = 24
"""What status mark, elapsed time, cost and the gaps between columns take."""


def run_lines(output: Output, run: RunView, *, at: int | None = None) -> Iterator[str]:
    """Yield the lines of a run, as it is or, with `at`, as it was after that event."""
    end = run.finished_at or (run.updated_at if at is not None else now())
    yield f"run {run.id}  {output.mark(run.status)} {run.status}"
    yield f"  workflow  {run.workflow} ({run.definition})"
    so_far = "took" if run.finished_at else "for"
    yield f"  started   {clock(run.created_at)} UTC, {so_far} {span(end - run.created_at)}"
    yield f"  cost      {cost_of_run(run)}"
    yield f"  trace     {run.trace_id}"
    if at is not None:
        yield f"  event     {run.version}, {clock(run.updated_at)} UTC"
    if run.labels:
        yield f"  labels    {', '.join(f'{name}={value}' for name, value in run.labels.items())}"
    if run.parent:
        yield f"  parent    {run.parent}"
    if run.waiting_for:
        yield f"  waits     {run.waiting_for}"
    if run.error:
        yield f"  error     {run.error_code}: {run.error}"
    yield ""
    yield from _activities(output, run, end)
    if run.outputs is not None:
        yield ""
        yield from _outputs(run)


def _activities(output: Output, run: RunView, end: int) -> Iterator[str]:
    width = min(KEY_CHARACTERS_MAX, max((len(place.key) for place in run.activities), default=0))
    bar_width = max(BAR_CHARACTERS_MIN, min(40, output.width - width - NUMBERS_CHARACTERS))
    for place in run.activities:
        key = place.key if len(place.key) <= width else f"{place.key[: width - 1]}…"
        bar = _bar(output, run, place, end, bar_width)
        line = f"{output.mark(place.status)} {key:<{width}}  {bar}  {elapsed(place, end):>7}  {money(place.cost):>9}"
        yield line.rstrip()
        if detail := _detail(place):
            yield output.fit(f"  {'':<{width}}  {detail}")
        for item in place.items:
            if item.status == "failed" or item.waits:
                yield output.fit(f"    {item.place}  {place_detail(item)}")


def _detail(place: PlaceView) -> str:
    parts = [place_detail(place)]
    if place.attempt > 1:
        parts.append(f"{place.attempt} attempts")
    if place.iteration:
        parts.append(f"iteration {place.iteration + 1}")
    if place.child_run:
        parts.append(f"run {place.child_run}")
    return ", ".join(part for part in parts if part)


def _bar(output: Output, run: RunView, place: PlaceView, end: int, width: int) -> str:
    """Return the bar of a place: where it began and ended between the run's start and `end`."""
    begun = place.scheduled_at or place.started_at
    if not begun or place.status == "not_scheduled":
        return " " * width
    whole = max(1, end - run.created_at)
    first = min(width - 1, max(0, (begun - run.created_at) * width // whole))
    last = min(width, max(first + 1, -(-((place.ended_at or end) - run.created_at) * width // whole)))
    full, line = (output.symbol("█"), output.symbol("·"))
    if full == "?":
        full, line = "#", "."
    return line * first + full * (last - first) + line * (width - last)


def _outputs(run: RunView) -> Iterator[str]:
    yield "outputs:"
    if isinstance(run.outputs, str):
        lines = terminal_safe(run.outputs).splitlines()
    else:
        lines = msgspec.json.format(msgspec.json.encode(run.outputs), indent=2).decode().splitlines()
    for line in lines[:OUTPUT_LINES_MAX]:
        yield f"  {line}"
    if len(lines) > OUTPUT_LINES_MAX:
        yield f"  … {len(lines) - OUTPUT_LINES_MAX} more lines: headgate show {run.id} --outputs"
