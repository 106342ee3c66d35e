"""`headgate run`: start a run of a workflow file, and follow it to its end."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import click
import msgspec

from headgate.cli import exit_codes
from headgate.cli.engine_options import engine_options, make_engine, read_definition
from headgate.cli.interrupts import run_loop
from headgate.cli.options import Common, common
from headgate.cli.outcome import follow_to_end, refuse_options
from headgate.cli.session import Engine, make_state_folder, open_session
from headgate.cli.words import short
from headgate.core.values import Mode
from headgate.ports import StartRequest

if TYPE_CHECKING:
    from headgate.core.definition import Definition

__all__ = ["run"]


@click.command()
@common
@click.argument("flow")
@click.option("--input", "inputs", metavar="K=V", multiple=True, help="An input; k=@path takes a file.")
@click.option("--input-json", metavar="JSON", help="The whole input: a file, - for stdin, or the text itself.")
@click.option("--mode", type=click.Choice(["realtime", "batch"]), default="realtime", show_default=True)
@click.option("--budget", metavar="USD", help="The most that the run may spend.")
@click.option("--label", "labels", metavar="K=V", multiple=True, help="A label to filter and group by.")
@click.option("--unique-key", metavar="KEY", default="", help="Refuse to start while another run holds this key.")
@click.option("--detach", is_flag=True, help="Start the run, print its id, and leave the work to `headgate work`.")
@click.option("--no-wait", is_flag=True, help="Stop following (exit code 3) when only a person or a signal can go on.")
@click.option("--no-cache", is_flag=True, help="Reuse no earlier results; what is made anew is kept.")
@engine_options
def run(
    common: Common,
    flow: str,
    inputs: tuple[str, ...],
    input_json: str | None,
    mode: Mode,
    budget: str | None,
    labels: tuple[str, ...],
    unique_key: str,
    detach: bool,
    no_wait: bool,
    no_cache: bool,
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
    from headgate.cli.kept_files import keep_file

    engine = make_engine(models=models, activities=activities, offline=offline, pace=pace, work=not detach)
    engine = msgspec.structs.replace(engine, reuse=not no_cache)
    file = read_definition(flow, engine)
    request = StartRequest(
        definition=file.text,
        source=flow,
        files=file.files,
        input=given_input(file.definition, inputs, input_json, keep_file(common)),
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
    options += ["--no-cache"] if no_cache else []
    if detach:
        return run_loop(_start_only(common, engine, request, options))
    return run_loop(follow_to_end(common, engine, request, options, until_waiting=no_wait))


def _check_input(definition: Definition, value: Any) -> None:
    """Refuse a wrong input here, before a state folder or a database is made."""
    from headgate.authoring import validate_input

    validate_input(definition, value)


async def _start_only(common: Common, engine: Engine, request: StartRequest, options: list[str]) -> int:
    async with open_session(common.database, engine) as session:
        refuse_options(session, options)
        started = await session.client.start(request)
    if common.output.json:
        from headgate.cli.json_form import run_form

        common.output.data(run_form(started))
    else:
        common.output.data(started.id)
    who = f"process {session.owner_pid} works on it" if session.owner_pid else "`headgate work` works on it"
    common.output.notice(f"Started run {short(started.id)} of {started.workflow}; {who}.")
    return exit_codes.COMPLETED
