"""`headgate schedule`: workflows that start by the clock, while `headgate work --forever` (or another owner) runs."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import click

from headgate.cli import exit_codes
from headgate.cli.engine_options import engine_options, make_engine, read_definition
from headgate.cli.interrupts import run_loop
from headgate.cli.json_form import iso
from headgate.cli.options import Common, common
from headgate.cli.session import Engine, make_state_folder, open_session, require_database
from headgate.cli.words import short
from headgate.core.duration import parse_microseconds
from headgate.core.errors import Invalid
from headgate.ports import Schedule

__all__ = ["schedule"]

CHANGES = {"pause": "paused", "resume": "resumed", "rm": "removed", "trigger": "triggered"}
ACTIONS = ("add", "list", "backfill", *CHANGES)


@click.command()
@common
@click.argument("action", type=click.Choice(ACTIONS), default="list")
@click.argument("name", required=False)
@click.argument("flow", required=False)
@click.option(
    "--cron", metavar="FIELDS", default="", help='For add: minute, hour, day, month, weekday: "30 7 * * mon-fri".'
)
@click.option("--every", metavar="DURATION", help="For add: an interval such as 15m.")
@click.option("--timezone", metavar="ZONE", default="UTC", show_default=True, help="For add: whose clock cron reads.")
@click.option(
    "--overlap",
    type=click.Choice(["skip", "allow"]),
    default="skip",
    show_default=True,
    help="For add: what happens while the last run is still under way.",
)
@click.option(
    "--misfire",
    type=click.Choice(["skip", "run_once", "run_all"]),
    default="run_once",
    show_default=True,
    help="For add: what becomes of times that pass while nobody works (run_all needs --overlap allow).",
)
@click.option(
    "--from", "since", metavar="TIME", help="For backfill: such as 2026-01-31T09:00Z; UTC where it says no zone."
)
@click.option("--until", metavar="TIME", help="For backfill: before this time.  [default: now]")
@click.option("--input", "inputs", metavar="K=V", multiple=True, help="For add: an input of each run.")
@click.option("--input-json", metavar="JSON", help="For add: the whole input.")
@click.option("--budget", metavar="USD", help="For add: the most that each run may spend.")
@click.option("--label", "labels", metavar="K=V", multiple=True, help="For add: a label of each run.")
@engine_options
def schedule(
    common: Common, action: str, name: str | None, flow: str | None, since: str | None, until: str | None, **rest: Any
) -> int:
    """Look after schedules. Times that pass while nobody works are made up for as --misfire says.

    \b
    list                what there is, and when each is next due
    add NAME FLOW       keep a schedule of a workflow file, --cron or --every; one of the same name is replaced
    pause, resume NAME  leave its times out for a while
    rm NAME             take it out; its runs stay
    trigger NAME        start a run of it now
    backfill NAME       start a run for each time --from … --until … that has had none
    """
    if action == "list":
        require_database(common)
        return _list(common)
    if name is None or (action == "add") != (flow is not None):
        raise Invalid(
            f"`headgate schedule {action}` takes NAME{' and FLOW, a workflow file' if action == 'add' else ''}."
        )
    if action == "add":
        assert flow is not None
        return run_loop(_add(common, name, flow, **rest))
    require_database(common)
    if action == "backfill":
        return run_loop(_backfill(common, name, since, until))
    return run_loop(_change(common, action, name))


async def _add(
    common: Common,
    name: str,
    flow: str,
    *,
    cron: str,
    every: str | None,
    timezone: str,
    overlap: Any,
    misfire: Any,
    inputs: tuple[str, ...],
    input_json: str | None,
    budget: str | None,
    labels: tuple[str, ...],
    **rest: Any,
) -> int:
    from headgate.cli.given_input import given_budget, given_input, given_labels
    from headgate.cli.kept_files import keep_file

    engine = make_engine(**rest)
    file = read_definition(flow, engine)
    wanted = Schedule(
        id="",
        name=name,
        workflow=file.definition.name,
        input=given_input(file.definition, inputs, input_json, keep_file(common)),
        cron=cron,
        every_seconds=parse_microseconds(every) / 1_000_000 if every else 0.0,
        timezone=timezone,
        overlap=overlap,
        misfire=misfire,
        limit=given_budget(budget),
        labels=given_labels(labels),
    )
    make_state_folder(common)
    async with open_session(common.database, Engine(work=False, activities=engine.activities)) as session:
        made = await session.client.schedule(wanted, definition=file.text, files=file.files)
    _say(common, made, "kept")
    return exit_codes.COMPLETED


async def _backfill(common: Common, name: str, since: str | None, until: str | None) -> int:
    from headgate.cli.words import now

    if since is None:
        raise Invalid("`headgate schedule backfill NAME` needs --from, the first time that is to have its run.")
    end = now() if until is None else _moment(until, "--until")
    async with open_session(common.database, Engine(work=False)) as session:
        runs = await session.client.backfill_schedule(name, _moment(since, "--from"), end)
    if common.output.json:
        common.output.data(runs)
    else:
        common.output.line(f"schedule {name}: {len(runs)} times have their runs")
    return exit_codes.COMPLETED


def _moment(text: str, option: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(f"expected {option} to be a time such as 2026-01-31T09:00Z, got {text!r}") from None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1_000_000)


async def _change(common: Common, action: str, name: str) -> int:
    change: Any = "remove" if action == "rm" else action
    async with open_session(common.database, Engine(work=False)) as session:
        changed = await session.client.change_schedule(name, change)
    _say(common, changed, CHANGES[action])
    return exit_codes.COMPLETED


def _say(common: Common, schedule: Schedule, what: str) -> None:
    if common.output.json:
        common.output.data(_form(schedule))
        return
    then = f"run {short(schedule.last_run)}" if what == "triggered" else _next(schedule)
    common.output.line(f"schedule {schedule.name} {what}" + (f"; {then}" if what != "removed" else ""))


def _list(common: Common) -> int:
    found = asyncio.run(_all(common))
    common.output.listing(
        found,
        form=_form,
        row=lambda each: (each.name, each.workflow, _times(each), _next(each), each.note or _last(each)),
        nothing="There is no schedule. `headgate schedule add NAME FLOW --cron …` makes one.",
    )
    return exit_codes.COMPLETED


async def _all(common: Common) -> list[Schedule]:
    from headgate.cli.session import open_reader
    from headgate.stores.schedules import KeptSchedules
    from headgate.stores.storage import documents_beside

    async with open_reader(common) as (_, log):
        return await KeptSchedules(documents_beside(log)).all()


def _times(schedule: Schedule) -> str:
    if schedule.every_seconds:
        return f"every {schedule.every_seconds:g} s"
    return f"{schedule.cron} ({schedule.timezone})"


def _next(schedule: Schedule) -> str:
    if not schedule.enabled:
        return "paused"
    return f"next {iso(schedule.next_at)}" if schedule.next_at is not None else "no time to come"


def _last(schedule: Schedule) -> str:
    return f"last {iso(schedule.last_at)} run {short(schedule.last_run)}" if schedule.last_at is not None else "not yet"


def _form(schedule: Schedule) -> dict[str, Any]:
    return {
        "name": schedule.name,
        "workflow": schedule.workflow,
        "version": schedule.version,
        "cron": schedule.cron or None,
        "every_seconds": schedule.every_seconds or None,
        "timezone": schedule.timezone,
        "overlap": schedule.overlap,
        "misfire": schedule.misfire,
        "enabled": schedule.enabled,
        "next_at": iso(schedule.next_at) if schedule.enabled and schedule.next_at is not None else None,
        "last_at": iso(schedule.last_at) if schedule.last_at is not None else None,
        "last_run": schedule.last_run or None,
        "note": schedule.note or None,
    }
