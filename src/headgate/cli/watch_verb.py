"""`headgate watch`: follow a run from any terminal, with what models write; it changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
import msgspec

from headgate.cli import exit_codes
from headgate.cli.follow import Display, Reading, Watched, follow
from headgate.cli.interrupts import run_loop
from headgate.cli.options import Common, common
from headgate.cli.outcome import Telling, print_end
from headgate.cli.output import Output
from headgate.cli.plain_display import PlainDisplay
from headgate.cli.session import open_reader
from headgate.cli.words import short
from headgate.client.frames import OwnerGone
from headgate.core.errors import Invalid
from headgate.core.place import key_of_place
from headgate.core.view import RunView
from headgate.ports import Changed, Chunk, Client, Ended, Gap, Restarted, Tokens, Update
from headgate.sdk.embedded import connect

if TYPE_CHECKING:
    from headgate.engine.reader import Reader

__all__ = ["watch"]

LOOK_SECONDS = 0.2
"""So often it is looked whether a process works on a run that none works on."""


@click.command()
@common
@click.argument("run")
@click.argument("activity", default="")
def watch(common: Common, run: str, activity: str) -> int:
    """Follow RUN live from any terminal: its activities, and what models write. With ACTIVITY: print what it writes.

    Who comes late gets all of it; of what has ended, from the results. Ctrl-C ends the watching and leaves the run
    alone. With --json as JSON lines: `event`, `tokens`, `restarted`, `gap`, `ended`, and at last `run`. The exit code
    is that of the run, as of `headgate run`.
    """
    return run_loop(_watch(common, run, activity))


async def _watch(common: Common, run: str, activity: str) -> int:
    async with open_reader(common) as (reader, _):
        begun = await reader.show(run, contents=False)
        _require_activity(begun, activity)
        common.say_database()
        watching = _Watching(common, reader, begun, activity)
        try:
            view = await (watching.lines() if common.output.json else watching.shown())
        except asyncio.CancelledError:
            common.output.notice(f"Stopped watching run {short(begun.id)}; it goes on without us.")
            raise
        if not activity and not common.output.json:
            await print_end(common, cast("Client", reader), view)
    return exit_codes.code_of_run(view)


def _require_activity(run: RunView, activity: str) -> None:
    import difflib

    known = [place.key for place in run.activities]
    key = key_of_place(activity)
    if activity and key not in known:
        near = difflib.get_close_matches(key, known, n=1)
        hint = f' Did you mean "{near[0]}"?' if near else f" There are {', '.join(known)}."
        raise Invalid(f'Run {short(run.id)} has no activity "{key}".{hint}')


class _Watching:
    """A run that is watched through whichever process works on it, one after the other, to its end."""

    def __init__(self, common: Common, reader: Reader, begun: RunView, activity: str) -> None:
        self._common = common
        self._reader = reader
        self._id = begun.id
        self._activity = activity
        self._reading = Reading(begun.id, activity)
        self._alone_said = False

    async def shown(self) -> RunView:
        """Show the run until it has ended; return it."""
        with ExitStack() as stack:
            display = self._display(stack)
            while True:
                source = await self._source(display)
                try:
                    return await follow(source, self._id, display, reading=self._reading)
                except OwnerGone:
                    continue

    def _display(self, stack: ExitStack) -> Display:
        output = self._common.output
        if self._activity:
            return _Text(output)
        if not output.draws:
            option = f" --db {self._common.database}" if self._common.named else ""
            return Telling(PlainDisplay(output, texts=True), output, option, silent=False)
        from headgate.cli.live_display import LiveDisplay

        return stack.enter_context(LiveDisplay(output, list))

    async def lines(self) -> RunView:
        """Print the run's events and chunks as JSON lines until it has ended; return it."""
        version = 0
        while True:
            source = await self._source(None)
            try:
                async with aclosing(cast("AsyncGenerator[Update]", self._reading.updates(source))) as updates:
                    async for update in updates:
                        if not isinstance(update, Changed):
                            self._line(msgspec.to_builtins(update))
                            continue
                        version = await self._print_events(version, update.run.version)
                        if update.run.finished_at:
                            return await self._print_run()
            except OwnerGone:
                continue

    async def _print_events(self, after: int, until: int) -> int:
        from headgate.cli.json_form import event_form

        while after < until:
            for event in await self._reader.events(self._id, after=after, limit=until - after):
                self._line({"type": "event", "event": event_form(event)})
                after = event.version
        return after

    async def _print_run(self) -> RunView:
        from headgate.cli.json_form import run_form

        view = await self._reader.show(self._id)
        self._line({"type": "run", "run": run_form(view)})
        return view

    def _line(self, value: Any) -> None:
        self._common.output.data(value)

    async def _source(self, display: Display | None) -> Watched:
        """Return who can tell of the run: the process that works on it, or the file when it has ended; wait for that
        where neither is so."""
        while True:
            if (client := await connect(self._common.database)) is not None:
                return client
            view = await self._reader.show(self._id, contents=False)
            if view.finished_at:
                return self._reader
            if not self._alone_said:
                self._alone_said = True
                if display is not None:
                    display.changed(view)
                self._common.output.notice(self._nobody_tells())
            await asyncio.sleep(LOOK_SECONDS)

    def _nobody_tells(self) -> str:
        if isinstance(self._common.database, Path):
            return f"No process works on run {short(self._id)}; `headgate work` goes on with it. Watching for one."
        return f"Nodes on PostgreSQL tell only who asks them over HTTP; waiting for the end of run {short(self._id)}."


class _Text:
    """What one activity writes, on stdout as it comes; all else on stderr. Several items take turns, under their
    names."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._place = ""
        self._in_line = False

    def changed(self, run: RunView) -> None:
        """The text is what is wanted."""

    def pulse(self) -> None:
        """Nothing moves here."""

    def streamed(self, chunk: Chunk) -> None:
        match chunk:
            case Tokens():
                if chunk.place != self._place:
                    self._turn_to(chunk.place)
                self._output.text(chunk.text)
                self._in_line = not chunk.text.endswith("\n")
            case Restarted():
                self._end_line()
                self._output.notice(f"{chunk.place} begins again: what it said before is void")
            case Gap():
                self._output.notice(f"{chunk.place}: {chunk.until - chunk.offset} bytes are not kept any more")
            case Ended():
                self._end_line()
                self._output.notice(f"{chunk.place} {chunk.status}")

    def _turn_to(self, place: str) -> None:
        self._end_line()
        if self._place or place.endswith("]"):
            self._output.text(f"==> {place} <==\n")
        self._place = place

    def _end_line(self) -> None:
        if self._in_line:
            self._output.text("\n")
            self._in_line = False
