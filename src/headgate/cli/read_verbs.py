"""The verbs that read: they open the file itself, read-only, whoever owns it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from headgate.cli.interrupts import run_loop
from headgate.cli.json_form import event_form, run_form
from headgate.cli.options import Common, common
from headgate.cli.output import Output
from headgate.cli.session import open_reader
from headgate.cli.words import clock, first_line, money, now, plural, span
from headgate.core.view import RunSummary
from headgate.ports import EventView

if TYPE_CHECKING:
    from headgate.ports import Log

__all__ = ["events", "runs", "show", "state"]

ID_CHARACTERS_MIN = 6
PAGE_EVENTS = 1_000
FOLLOW_SECONDS = 0.2
FOR_PROGRAMS = frozenset({"call_id", "decider", "input_hash", "request_hash", "price", "started_at"})
"""Fields of events that only `--json` prints."""
STATUSES = ("created", "running", "waiting", "paused", "cancelling", "completed", "failed", "cancelled")


@click.command()
@common
@click.option("--status", type=click.Choice(STATUSES), help="Only runs of this status.")
@click.option("--workflow", metavar="NAME", help="Only runs of this workflow.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=50, show_default=True, help="The newest so many.")
def runs(common: Common, status: str | None, workflow: str | None, limit: int) -> None:
    """List runs, the newest first."""
    run_loop(_runs(common, status, workflow, limit))


async def _runs(common: Common, status: str | None, workflow: str | None, limit: int) -> None:
    output = common.output
    async with open_reader(common) as (reader, log):
        found = await reader.runs(status=status, workflow=workflow, limit=limit)
        if output.json:
            output.data([run_form(summary) for summary in found])
            return
        ids = [await _shortest(log, summary.id) for summary in found]
    common.say_database()
    if not found:
        output.notice("No runs.")
        return
    output.table(
        [_line(output, id_, summary) for id_, summary in zip(ids, found, strict=True)], right=frozenset({4, 5})
    )


async def _shortest(log: Log, run_id: str) -> str:
    """Return the shortest beginning of an id that no other run's has."""
    for length in range(ID_CHARACTERS_MIN, len(run_id)):
        if len(await log.matching(run_id[:length], 2)) < 2:
            return run_id[:length]
    return run_id


def _line(output: Output, id_: str, run: RunSummary) -> list[str]:
    took = span((run.finished_at or now()) - run.created_at)
    cost = money(run.cost) + (" (demo)" if run.simulated and run.cost else "")
    mark = f"{output.mark(run.status)} {run.status}"
    return [id_, mark, run.workflow, clock(run.created_at), took, cost, first_line(run.error)]


@click.command()
@common
@click.argument("run")
@click.option("--outputs", is_flag=True, help="Print only what the run came to.")
def show(common: Common, run: str, outputs: bool) -> None:
    """Show RUN: its activities with timeline, waits and cost, and what it came to."""
    run_loop(_show(common, run, None, outputs=outputs))


@click.command()
@common
@click.argument("run")
@click.option("--at", type=click.IntRange(min=1), required=True, metavar="N", help="After event N.")
def state(common: Common, run: str, at: int) -> None:
    """Print RUN as it was after its event N."""
    run_loop(_show(common, run, at, outputs=False))


async def _show(common: Common, run: str, at: int | None, *, outputs: bool) -> None:
    from headgate.cli.timeline import run_lines

    async with open_reader(common) as (reader, _):
        view = await reader.show(run, at=at)
    if outputs:
        common.output.data(view.outputs)
    elif common.output.json:
        common.output.data(run_form(view))
    else:
        common.say_database()
        if view.erased:
            common.output.line("erased: its contents are gone for good")
        for line in run_lines(common.output, view, at=at):
            common.output.line(line)


@click.command()
@common
@click.argument("run")
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="N", help="Only events after event N.")
@click.option(
    "--type", "types", metavar="TYPE", multiple=True, help="Only events of this type, such as activity_failed."
)
@click.option("-f", "--follow", is_flag=True, help="Go on with new events until the run has ended.")
def events(common: Common, run: str, after: int, types: tuple[str, ...], follow: bool) -> None:
    """Print the events of RUN, one a line; with --json as JSON lines."""
    _require_types(types)
    run_loop(_events(common, run, after, frozenset(types), follow=follow))


def _require_types(types: tuple[str, ...]) -> None:
    import difflib

    from headgate.core.codec import TYPE_NAMES
    from headgate.core.errors import Invalid

    known = sorted(TYPE_NAMES.values())
    for name in types:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f' Did you mean "{near[0]}"?' if near else f" There are {', '.join(known)}."
            raise Invalid(f'There is no event type "{name}".{hint}')


async def _events(common: Common, run: str, after: int, types: frozenset[str], *, follow: bool) -> None:
    async with open_reader(common) as (reader, _):
        row = await reader.find(run)
        common.say_database()
        while True:
            # Asked before the page is read: a run that had ended by then has no event that the pages do not hold.
            ended = (await reader.find(row.id)).head.finished_at is not None
            while page := await reader.events(row.id, after=after, limit=PAGE_EVENTS, contents=common.output.json):
                for event in page:
                    if not types or event.type in types:
                        _print_event(common.output, event)
                after = page[-1].version
            if ended or not follow:
                return
            # The file belongs to another process, which tells nobody that it has written.
            await asyncio.sleep(FOLLOW_SECONDS)


def _print_event(output: Output, event: EventView) -> None:
    form = event_form(event)
    if output.json:
        output.data(form)
        return
    where = event.place + (f" #{event.attempt}" if event.attempt > 1 else "")
    shown = {name: value for name, value in form["fields"].items() if name not in FOR_PROGRAMS}
    fields = "  ".join(f"{name}={_brief(value)}" for name, value in shown.items() if value not in (None, "", {}))
    at = f"{clock(event.at)[11:]}.{event.at // 1_000 % 1_000:03d}"
    output.line(output.fit(f"{event.version:>5}  {at}  {event.type:<20}  {where:<16}  {fields}".rstrip()))


def _brief(value: Any) -> str:
    if isinstance(value, dict) and "message" in value:
        return first_line(str(value["message"]))
    if isinstance(value, list | tuple):
        return plural(len(value), "entry").replace("entrys", "entries")
    if isinstance(value, dict) and "output_tokens" in value:
        return f"{value.get('input_tokens', 0)}+{value['output_tokens']} tokens"
    if isinstance(value, dict):
        return "{…}"
    return first_line(str(value))
