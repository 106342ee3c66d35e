"""Times, money, ids and statuses as the command line prints them."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from headgate.core.duration import show_seconds
from headgate.core.money import show
from headgate.core.view import PlaceView, RunView

__all__ = [
    "MARKS",
    "SHORT_ID_CHARACTERS",
    "brief_wait",
    "clock",
    "cost_of_run",
    "elapsed",
    "first_line",
    "money",
    "now",
    "place_detail",
    "plural",
    "short",
    "span",
    "terminal_safe",
]

SHORT_ID_CHARACTERS = 8
"""Of an id in a sentence: forty bits, enough for one person's eyes. Lists compute the shortest that is unambiguous."""

MARKS = {
    "completed": ("✓", "green"),
    "failed": ("✗", "red"),
    "running": ("●", "cyan"),
    "waiting": ("◷", "yellow"),
    "paused": ("‖", "yellow"),
    "skipped": ("–", "dim"),
    "cancelled": ("■", "dim"),
    "cancelling": ("■", "yellow"),
    "not_scheduled": ("○", "dim"),
    "created": ("○", "dim"),
}
"""A mark and a colour for each status; the mark alone says it where there is no colour."""


UNSAFE = dict.fromkeys(
    (*range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\ufffd"
)
"""Control characters but tab and newline (C1 as well, which terminals take for escape sequences), and those that
override the direction of writing."""


def now() -> int:
    """Return the time in microseconds since 1970."""
    return time.time_ns() // 1_000


def short(run_id: str) -> str:
    return run_id[:SHORT_ID_CHARACTERS]


def clock(at: int | None) -> str:
    """Return a time as `2026-01-31 09:00:00` in UTC."""
    return datetime.fromtimestamp(at / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S") if at else ""


def span(microseconds: int) -> str:
    """Return how long something took: `0.4 s`, `3 min`."""
    return show_seconds(max(0, microseconds) / 1_000_000)


def elapsed(place: PlaceView, at: int) -> str:
    """Return how long a place has been, or was, under way; nothing if it has not begun."""
    begun = place.scheduled_at or place.started_at
    if not begun:
        return ""
    return span((place.ended_at or at) - begun)


def money(amount: int) -> str:
    return show(amount) if amount else ""


def cost_of_run(view: RunView, *, reserved: bool = True) -> str:
    """Return `$0.01 of $0.25, $0.02 reserved (demo prices)`; the reservations only where they are wanted."""
    limit = f" of {show(view.limit)}" if view.limit is not None else ""
    open_ = f", {show(view.reserved)} reserved" if view.reserved and reserved else ""
    saved = f", saved {show(view.saved)}" if view.saved else ""
    return f"{show(view.cost)}{limit}{open_}{saved}{' (demo prices)' if view.simulated else ''}"


def place_detail(place: PlaceView) -> str:
    """Return what there is to say of a place: its failure, why it waits, or how far its items are."""
    if place.status == "failed":
        return f"{place.error_code}: {first_line(place.error)}" if place.error_code else first_line(place.error)
    if place.waiting_for:
        return first_line(place.waiting_for)
    if place.status == "skipped":
        return first_line(place.error)
    if place.count is not None:
        cached = f" ({place.reused} cached)" if place.reused else ""
        return f"{place.done} of {plural(place.count, 'item')} done{cached}"
    if place.reused and place.status == "completed":
        return "(cached)"
    if place.attempt > 1 and place.status == "running":
        return f"attempt {place.attempt}"
    return ""


def brief_wait(place: PlaceView, sentence: str) -> str:
    """Return why a place waits as it is now: without what stands beside it anyway (its name, today's date), and with
    the time that is left counted down since the sentence was made."""
    left = span(place.until - now())
    if place.waits == "timer":
        return f"for another {left}"
    if place.waits == "retry":
        return f"retries in {left} after: {sentence.partition(' after: ')[2]}"
    if place.waits == "delay":
        return f"starts in {left} (delay)"
    today = datetime.now(UTC).strftime("%Y-%m-%d ")
    return sentence.replace(f" {place.place!r}", "").replace(today, "").replace(" UTC", "Z")


def plural(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def first_line(text: str) -> str:
    lines = terminal_safe(text).strip().splitlines()
    return lines[0] if lines else ""


def terminal_safe(text: str) -> str:
    """Return a text of a model or a program as a terminal may have it: nothing in it moves the cursor, changes colours,
    asks the terminal anything or turns the direction of writing round."""
    return text.replace("\r\n", "\n").translate(UNSAFE)
