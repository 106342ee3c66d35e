"""What a person at the terminal can do about a run that waits: read what is asked, and answer by key."""

from __future__ import annotations

import asyncio
import getpass
import sys
from collections.abc import Callable
from typing import Any, Self

import msgspec

from headgate.cli.words import first_line, short
from headgate.core.budget_levels import scope_of
from headgate.core.errors import HeadgateError
from headgate.core.explain import how_to_raise
from headgate.core.money import show
from headgate.core.view import PlaceView, RunView
from headgate.ports import Client

__all__ = ["Asking", "Keys", "how_to_go_on", "open_waits", "user_name"]

PAGE_EVENTS = 500


def open_waits(run: RunView) -> list[PlaceView]:
    """Return the places of a run that wait for a person or a signal."""
    places = [place for activity in run.activities for place in (activity, *activity.items)]
    return [place for place in places if place.waits in ("approval", "signal", "budget")]


def how_to_go_on(run: RunView, database: str) -> list[str]:
    """Return the commands by which another terminal goes on with the run; `database` is their --db, if needed."""
    waits = open_waits(run)
    lines: list[str] = []
    for place in waits[:2]:
        which = f" {place.place}" if len(waits) > 1 else ""
        if place.waits == "approval":
            lines.append(f"headgate approve {short(run.id)}{which}{database}   (or: headgate reject …)")
        elif place.waits == "budget":
            how = how_to_raise(short(run.id), place.line, place.raises, place.needed_limit)
            lines.append(f"{how}{database}   (or: headgate budget refuse {short(run.id)})")
        else:
            name = place.waiting_for.partition("'")[2].partition("'")[0] or "NAME"
            lines.append(f"headgate signal {short(run.id)} {name} --activity {place.key}{database}")
    return lines


def _is_asked_here(place: PlaceView) -> bool:
    """Whether y or n is an answer: a budget that many runs share is raised by its name only."""
    shared = bool(place.line) and scope_of(place.line)[1] != "tree"
    return place.waits == "approval" or (place.waits == "budget" and not shared)


def user_name() -> str:
    """Return who sits here, as far as the system knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


class Asking:
    """The question at the bottom of the picture: y or n, then Enter, decides the first open approval, or whether the
    limit that a call asks about is raised to what it needs.

    Keys count only from the moment the question stands there, and only with Enter, so that nobody approves by chance.
    """

    def __init__(self, client: Client, database: str, redraw: Callable[[], None]) -> None:
        self._client = client
        self._database = database
        self._redraw = redraw
        self._run: RunView | None = None
        self._asked: PlaceView | None = None
        self._place = ""
        self._title = ""
        self._typed = ""
        self._said = ""
        self._tasks: set[asyncio.Task[None]] = set()

    def changed(self, run: RunView) -> None:
        self._run = run
        asked = next((place for place in open_waits(run) if _is_asked_here(place)), None)
        place = asked.place if asked else ""
        self._asked = asked
        if place != self._place:
            self._place, self._title, self._typed, self._said = place, "", "", ""
            if asked and asked.waits == "approval":
                self._spawn(self._read_title(run, place))

    def footer(self) -> list[str]:
        """Return the lines at the bottom; none while nothing waits for a person."""
        if self._run is None or self._run.finished_at:
            return []
        if not self._place:
            return [f"  To go on, elsewhere: {line}" for line in how_to_go_on(self._run, self._database)]
        question = f"  {self._question()}?  y or n, then Enter: {self._typed}"
        other = how_to_go_on(self._run, self._database)[0]
        return ["", question, self._said or f"  or elsewhere: {other}"]

    def _question(self) -> str:
        asked = self._asked
        if asked is None or asked.waits == "approval":
            return f"Approve {self._place}{self._title}"
        whose = f"the budget of {asked.raises}" if asked.raises else "the run's budget"
        return f"Raise {whose} to {show(asked.needed_limit)} for {self._place}"

    def key(self, character: str) -> None:
        """Take one key."""
        if not self._place or self._run is None:
            return
        if character in ("\r", "\n"):
            if self._typed in ("y", "n"):
                self._spawn(self._decide(self._run, self._place, approved=self._typed == "y"))
            self._typed = ""
        elif character in ("\x7f", "\b"):
            self._typed = ""
        elif character.lower() in ("y", "n"):
            self._typed = character.lower()
        self._redraw()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _answer(self, run: RunView, place: str, *, approved: bool) -> None:
        asked, by = self._asked, user_name()
        if asked is None or asked.waits == "approval":
            await self._client.decide(run.id, key=place, approved=approved, by=by)
        elif approved:
            _, scope, root, _ = scope_of(asked.line)
            raised = root if scope == "tree" and asked.line else run.id
            await self._client.raise_budget(raised, to=asked.needed_limit, key=asked.raises, by=by)
        else:
            await self._client.refuse_calls(run.id, key=asked.key, by=by)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _decide(self, run: RunView, place: str, *, approved: bool) -> None:
        try:
            await self._answer(run, place, approved=approved)
        except HeadgateError as error:
            self._said = f"  {first_line(error.message)}"
            self._redraw()

    async def _read_title(self, run: RunView, place: str) -> None:
        try:
            asked = await what_is_asked(self._client, run, place)
        except HeadgateError:
            return  # the question stands without it
        if asked.get("title") and place == self._place:
            self._title = f": {first_line(str(asked['title'])).rstrip('?')}"
            self._redraw()


async def what_is_asked(client: Client, run: RunView, place: str) -> dict[str, Any]:
    """Return an approval's parameters (`title`, `body`, `show`, …), from the newest event that holds them."""
    before = run.version
    while before > 0:
        after = max(0, before - PAGE_EVENTS)
        page = await client.events(run.id, after=after, limit=before - after, contents=False)
        for event in reversed(page):
            if event.type == "activity_suspended" and event.place == place:
                (whole,) = await client.events(run.id, after=event.version - 1, limit=1)
                return msgspec.convert(whole.content or {}, dict[str, Any])
            if event.type == "activity_waiting" and event.place == place:  # a policy asks
                return {"title": event.fields.get("name", "")}
        before = after
    return {}


class Keys:
    """Single keys from the terminal while the block lasts, without echo; Ctrl-C still interrupts."""

    def __init__(self, pressed: Callable[[str], None]) -> None:
        self._pressed = pressed
        self._saved: list[Any] | None = None

    def __enter__(self) -> Self:
        try:
            import termios
            import tty
        except ImportError:  # a system without terminals of this kind: the other terminal remains
            return self
        descriptor = sys.stdin.fileno()
        try:
            self._saved = termios.tcgetattr(descriptor)
            tty.setcbreak(descriptor, termios.TCSANOW)
        except termios.error:
            self._saved = None
            return self
        asyncio.get_running_loop().add_reader(descriptor, self._read, descriptor)
        return self

    def __exit__(self, *_: object) -> None:
        if self._saved is None:
            return
        import termios

        descriptor = sys.stdin.fileno()
        asyncio.get_running_loop().remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, self._saved)

    def _read(self, descriptor: int) -> None:
        import os

        data = os.read(descriptor, 64)
        if not data:
            asyncio.get_running_loop().remove_reader(descriptor)
        for character in data.decode(errors="ignore"):
            self._pressed(character)
