"""`headgate gc`: delete what has ended long ago, now instead of within the hour."""

from __future__ import annotations

import click
import msgspec

from headgate.cli.interrupts import run_loop
from headgate.cli.options import Common, common
from headgate.cli.session import Engine, open_session, require_database
from headgate.cli.words import plural
from headgate.ports import Collected

__all__ = ["gc"]


@click.command()
@common
@click.option(
    "--older", metavar="AGE", default="", help="What ended longer ago, such as 7d [default: HEADGATE_RETENTION]."
)
@click.option("--dry-run", is_flag=True, help="Say what would go, at most, and delete nothing.")
def gc(common: Common, older: str, dry_run: bool) -> None:
    """Delete runs that ended long ago, with all that belongs to them. What is left behind says that they were here."""
    from headgate.cli.approval import user_name

    require_database(common)
    common.say_database()
    done = run_loop(_collect(common, older, dry_run=dry_run, by=user_name()))
    if common.output.json:
        common.output.data({name: getattr(done, name) for name in done.__struct_fields__} | {"dry_run": dry_run})
        return
    for line in _lines(done, dry_run=dry_run):
        common.output.line(line)


async def _collect(common: Common, older: str, *, dry_run: bool, by: str) -> Collected:
    async with open_session(common.database, Engine(work=False)) as session:
        done = await session.client.collect(older=older, dry_run=dry_run, by=by)
        while done.more and not dry_run:
            again = await session.client.collect(older=older, by=by)
            done = msgspec.structs.replace(done + again, more=again.more)
        return done


def _lines(done: Collected, *, dry_run: bool) -> list[str]:
    if dry_run:
        return [f"At most {plural(done.runs, 'run')} with {plural(done.events, 'event')} would be deleted."]
    lines = [f"Deleted {plural(done.runs, 'run')} with {plural(done.events, 'event')}."]
    if done.spend or done.cached or done.files:
        lines.append(
            f"Deleted {plural(done.spend, 'spend row')}, {plural(done.cached, 'expired result')} and "
            f"{plural(done.files, 'file')} that no run names."
        )
    return lines
