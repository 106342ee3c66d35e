"""A run followed to its outcome: what is shown meanwhile, printed at its end, and said where it is left."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

from headgate.cli import exit_codes
from headgate.cli.approval import Asking, Keys, how_to_go_on
from headgate.cli.follow import Display, Reading, follow
from headgate.cli.options import Common
from headgate.cli.output import Output
from headgate.cli.plain_display import PlainDisplay
from headgate.cli.session import Engine, Session, open_session
from headgate.cli.words import first_line, plural, short
from headgate.client.frames import OwnerGone
from headgate.core.view import RunView
from headgate.ports import Chunk, Client, StartRequest
from headgate.sdk.embedded import finish_handed, refuse_handing_over

__all__ = ["Telling", "follow_to_end", "print_end", "refuse_options"]


async def follow_to_end(
    common: Common, engine: Engine, request: StartRequest | str, options: list[str], *, until_waiting: bool
) -> int:
    """Start a run (or take up the one of this id), follow it, print what it came to; return the exit code.

    When the owner that works on it ends, this process takes its place: the run goes on from its log.
    """
    run_id = request if isinstance(request, str) else ""
    reading: Reading | None = None
    while True:
        try:
            async with open_session(common.database, engine) as session:
                refuse_options(session, options)
                if not isinstance(request, str):
                    run_id = (await session.client.start(request)).id
                try:
                    reading = reading or Reading(run_id)
                    view = await _show(common, session, run_id, reading, until_waiting=until_waiting)
                except asyncio.CancelledError:
                    common.output.notice(_where_it_goes_on(session, run_id))
                    raise
                await print_end(common, session.client, view)
                await _finish_handed(common, session)
                return exit_codes.code_of_run(view)
        except OwnerGone:
            common.output.notice("The process that owned the database has ended; going on here.")


async def _show(common: Common, session: Session, run_id: str, reading: Reading, *, until_waiting: bool) -> RunView:
    output = common.output
    if session.owner_pid:
        output.notice(
            f"Process {session.owner_pid} owns the database and works on run {short(run_id)}; following it there."
        )
    option = f" --db {common.database}" if common.named else ""
    with ExitStack() as stack:
        if not output.draws:
            display: Display = Telling(PlainDisplay(output), output, option, silent=until_waiting)
            return await follow(session.client, run_id, display, until_waiting=until_waiting, reading=reading)
        from headgate.cli.live_display import LiveDisplay

        asking = Asking(session.client, option, lambda: live.redraw())
        live = stack.enter_context(LiveDisplay(output, lambda: asking.footer() if output.interactive else []))
        if output.interactive and not until_waiting:
            stack.enter_context(Keys(asking.key))
        try:
            both = _Both(live, asking)
            return await follow(session.client, run_id, both, until_waiting=until_waiting, reading=reading)
        finally:
            await asking.close()


class _Both:
    """The picture and the question below it, told of the same news."""

    def __init__(self, live: Display, asking: Asking) -> None:
        self._live = live
        self._asking = asking
        self.streamed = live.streamed
        self.pulse = live.pulse

    def changed(self, run: RunView) -> None:
        self._asking.changed(run)
        self._live.changed(run)


class Telling:
    """Plain lines, and once for each wait the command that ends it."""

    def __init__(self, plain: PlainDisplay, output: Output, option: str, *, silent: bool) -> None:
        self._plain = plain
        self._output = output
        self._option = option
        self._silent = silent
        self._told: set[str] = set()

    def changed(self, run: RunView) -> None:
        self._plain.changed(run)
        if run.status == "waiting" and not self._silent:
            for line in how_to_go_on(run, self._option):
                if line not in self._told:
                    self._told.add(line)
                    self._output.notice(f"         To go on, elsewhere: {line}")

    def streamed(self, chunk: Chunk) -> None:
        self._plain.streamed(chunk)

    def pulse(self) -> None:
        self._plain.pulse()


async def print_end(common: Common, client: Client, view: RunView) -> None:
    """Print what a run came to, or why it is left."""
    output = common.output
    if output.json:
        from headgate.cli.json_form import run_form

        output.data(run_form(view if view.finished_at else await client.show(view.id)))
    elif view.status == "completed":
        output.data(view.outputs)
    elif view.finished_at:
        code = f"{view.error_code}: " if view.error_code else ""
        output.error(
            f"run {short(view.id)} {view.status}: {code}{view.error or 'no reason given'} (trace {view.trace_id})"
        )
    else:
        output.notice(f"run {short(view.id)} {first_line(view.waiting_for)}")


def _where_it_goes_on(session: Session, run_id: str) -> str:
    if session.owner_pid:
        return f"Stopped following; process {session.owner_pid} goes on with run {short(run_id)}."
    if not run_id:
        return "Stopped before the run had started."
    return f"Stopped; nothing is lost. `headgate work` goes on with run {short(run_id)}."


async def _finish_handed(common: Common, session: Session) -> None:
    """Go on until the runs that other processes handed over have nothing to do now.

    What they are in the middle of would otherwise be done, and paid for, twice.
    """
    handed = list(session.server.handed) if session.server else []
    busy = [run_id for run_id in handed if (await session.client.show(run_id, contents=False)).status == "running"]
    if not busy:
        return
    common.output.notice(
        f"Going on for {plural(len(busy), 'run')} that another process handed over; Ctrl-C leaves it to that one."
    )
    await finish_handed(session)


def refuse_options(session: Session, options: list[str]) -> None:
    """Raise `Refused` where another process owns the database, for these options of ours would mean nothing to it."""
    refuse_handing_over(session, options, instead="another --db")
