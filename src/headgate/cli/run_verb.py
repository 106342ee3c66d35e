"""`headgate run`: start a run of a workflow file, and follow it to its end."""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import msgspec

from headgate.cli import exit_codes
from headgate.cli.approval import Asking, Keys, how_to_go_on
from headgate.cli.follow import Display, follow
from headgate.cli.interrupts import run_loop
from headgate.cli.options import Common, common
from headgate.cli.output import Output
from headgate.cli.plain_display import PlainDisplay
from headgate.cli.session import Engine, Session, make_state_folder, open_session
from headgate.cli.words import first_line, plural, short
from headgate.client.frames import OwnerGone
from headgate.core.errors import Invalid, Refused
from headgate.core.view import RunView
from headgate.ports import Changed, Client, StartRequest, Tokens

if TYPE_CHECKING:
    from headgate.core.definition import Definition

__all__ = ["DefinitionFile", "engine_options", "follow_to_end", "make_engine", "read_definition", "run"]


class DefinitionFile(msgspec.Struct, frozen=True):
    """A workflow file: its text, and what it says."""

    source: str
    text: str
    definition: Any


def engine_options(verb: Any) -> Any:
    """Give a verb the options that say what an engine of this process works with."""
    for option in reversed(
        (
            click.option("--models", metavar="FILE", help="Answers of scripted/… models."),
            click.option("--activities", metavar="MODULE", multiple=True, help="A module with activities of your own."),
            click.option(
                "--offline", is_flag=True, help="No provider but demo/… and scripted/…, whatever keys there are."
            ),
            click.option(
                "--pace", metavar="SECONDS", type=float, default=0.0, help="Slow demo models down: seconds a token."
            ),
        )
    ):
        verb = option(verb)
    return verb


def make_engine(
    *, models: str | None, activities: tuple[str, ...], offline: bool, pace: float, work: bool = True
) -> Engine:
    """Return what the options ask for. Raises `Invalid` for files and modules that cannot be read."""
    from headgate.cli.user_activities import load_activities

    scripted = None
    if models:
        from headgate.cli.given_input import read_text
        from headgate.llm.scripted import ScriptedProvider

        try:
            scripted = ScriptedProvider.from_file(read_text(Path(models), what="--models").encode())
        except Invalid as error:
            raise Invalid(f"{models}: {error.message}" if models not in error.message else error.message) from None
    return Engine(
        work=work, activities=load_activities(activities), scripted=scripted, offline=offline, pace_seconds=pace
    )


def read_definition(path: str, engine: Engine) -> DefinitionFile:
    """Return a workflow file, checked. Raises `Invalid` with every problem in it, each with line and column."""
    from headgate.authoring import load_definition
    from headgate.cli.given_input import read_text
    from headgate.llm.registry import build_providers

    text = read_text(Path(path), what="The workflow file")
    providers = build_providers(os.environ, scripted=engine.scripted, offline=engine.offline)
    definition = load_definition(
        text, source=path, providers=frozenset(providers), activities=frozenset(engine.activities)
    )
    return DefinitionFile(path, text, definition)


@click.command()
@common
@click.argument("flow")
@click.option("--input", "inputs", metavar="K=V", multiple=True, help="An input; k=@file takes a file's text.")
@click.option("--input-json", metavar="JSON", help="The whole input: a file, - for stdin, or the text itself.")
@click.option("--mode", type=click.Choice(["realtime", "batch"]), default="realtime", show_default=True)
@click.option("--budget", metavar="USD", help="The most that the run may spend.")
@click.option("--label", "labels", metavar="K=V", multiple=True, help="A label to filter and group by.")
@click.option("--unique-key", metavar="KEY", default="", help="Refuse to start while another run holds this key.")
@click.option("--detach", is_flag=True, help="Start the run, print its id, and leave the work to `headgate work`.")
@click.option("--no-wait", is_flag=True, help="Stop following (exit code 3) when only a person or a signal can go on.")
@engine_options
def run(
    common: Common,
    flow: str,
    inputs: tuple[str, ...],
    input_json: str | None,
    mode: Literal["realtime", "batch"],
    budget: str | None,
    labels: tuple[str, ...],
    unique_key: str,
    detach: bool,
    no_wait: bool,
    models: str | None,
    activities: tuple[str, ...],
    offline: bool,
    pace: float,
) -> int:
    """Start a run of the workflow file FLOW and follow it to its end.

    The run's outputs go to stdout, everything else to stderr. While it waits for an approval, another terminal (or
    this one) can answer. Ctrl-C ends this process and loses nothing: `headgate work` goes on.
    """
    from headgate.cli.given_input import given_budget, given_input, given_labels

    engine = make_engine(models=models, activities=activities, offline=offline, pace=pace, work=not detach)
    file = read_definition(flow, engine)
    request = StartRequest(
        definition=file.text,
        source=flow,
        input=given_input(file.definition, inputs, input_json),
        mode=mode,
        limit=given_budget(budget),
        labels=given_labels(labels),
        unique_key=unique_key,
        command_id=f"run-{secrets.token_hex(12)}",  # so that a start repeated after an owner's end starts once
    )
    _check_input(file.definition, request.input)
    make_state_folder(common)
    common.say_database()
    options = [
        name for name, given in (("--models", models), ("--activities", activities), ("--offline", offline)) if given
    ]
    if detach:
        return run_loop(_start_only(common, engine, request, options))
    return run_loop(follow_to_end(common, engine, request, options, until_waiting=no_wait))


def _check_input(definition: Definition, value: Any) -> None:
    """Refuse a wrong input here, before a state folder or a database is made."""
    from headgate.authoring import validate_input

    validate_input(definition, value)


async def _start_only(common: Common, engine: Engine, request: StartRequest, options: list[str]) -> int:
    async with open_session(common.database, engine) as session:
        _refuse_options(session, options)
        started = await session.client.start(request)
    if common.output.json:
        from headgate.cli.json_form import run_form

        common.output.data(run_form(started))
    else:
        common.output.data(started.id)
    who = f"process {session.owner_pid} works on it" if session.owner_pid else "`headgate work` works on it"
    common.output.notice(f"Started run {short(started.id)} of {started.workflow}; {who}.")
    return exit_codes.COMPLETED


def _refuse_options(session: Session, options: list[str]) -> None:
    if options and session.app is None:
        verb = "is" if len(options) == 1 else "are"
        raise Refused(
            f"Process {session.owner_pid} owns the database and would work on this run with its own models and "
            f"activities; {' and '.join(options)} {verb} of this process and cannot be handed over. Leave that out, "
            "wait for that process to end, or use another --db."
        )


# --- Following -----------------------------------------------------------------------------------------------------


async def follow_to_end(
    common: Common, engine: Engine, request: StartRequest | str, options: list[str], *, until_waiting: bool
) -> int:
    """Start a run (or take up the one of this id), follow it, print what it came to; return the exit code.

    When the owner that works on it ends, this process takes its place: the run goes on from its log.
    """
    run_id = request if isinstance(request, str) else ""
    while True:
        try:
            async with open_session(common.database, engine) as session:
                _refuse_options(session, options)
                if not isinstance(request, str):
                    run_id = (await session.client.start(request)).id
                try:
                    view = await _show(common, session, run_id, until_waiting=until_waiting)
                except asyncio.CancelledError:
                    common.output.notice(_where_it_goes_on(session, run_id))
                    raise
                await _print_end(common, session.client, view)
                await _finish_handed(common, session)
                return exit_codes.code_of_run(view)
        except OwnerGone:
            common.output.notice("The process that owned the database has ended; going on here.")


async def _show(common: Common, session: Session, run_id: str, *, until_waiting: bool) -> RunView:
    output = common.output
    if session.owner_pid:
        output.notice(
            f"Process {session.owner_pid} owns the database and works on run {short(run_id)}; following it there."
        )
    option = f" --db {common.database}" if common.named else ""
    with ExitStack() as stack:
        if not output.draws:
            display: Display = _Telling(PlainDisplay(output), output, option, silent=until_waiting)
            return await follow(session.client, run_id, display, until_waiting=until_waiting)
        from headgate.cli.live_display import LiveDisplay

        asking = Asking(session.client, option, lambda: live.redraw())
        live = stack.enter_context(LiveDisplay(output, lambda: asking.footer() if output.interactive else []))
        if output.interactive and not until_waiting:
            stack.enter_context(Keys(asking.key))
        try:
            return await follow(session.client, run_id, _Both(live, asking), until_waiting=until_waiting)
        finally:
            await asking.close()


class _Both:
    """The picture and the question below it, told of the same news."""

    def __init__(self, live: Display, asking: Asking) -> None:
        self._live = live
        self._asking = asking
        self.tokens = live.tokens
        self.pulse = live.pulse

    def changed(self, run: RunView) -> None:
        self._asking.changed(run)
        self._live.changed(run)


class _Telling:
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

    def tokens(self, tokens: Tokens) -> None:
        self._plain.tokens(tokens)

    def pulse(self) -> None:
        self._plain.pulse()


async def _print_end(common: Common, client: Client, view: RunView) -> None:
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
    for run_id in busy:
        await _until_idle(session.client, run_id)


async def _until_idle(client: Client, run_id: str) -> None:
    async for update in client.watch(run_id):
        if isinstance(update, Changed) and update.run.status != "running":
            return
