"""`headgate erase`: the contents of ended runs go for good; that they were here, and what they did, stays."""

from __future__ import annotations

from pathlib import Path

import click

from headgate.cli.interrupts import run_loop
from headgate.cli.options import Common, common
from headgate.cli.session import Engine, open_session, require_database
from headgate.cli.words import plural
from headgate.core.errors import Invalid
from headgate.ports import Erased
from headgate.stores.places import Place

__all__ = ["erase"]

COPIES = ("*.schema-*", "*.before-*")


@click.command()
@common
@click.argument("runs", nargs=-1, metavar="RUN...")
@click.option("--label", metavar="NAME=VALUE", default="", help="All runs that carry this label.")
@click.option("--tenant", metavar="NAME", default="", help="All runs of this tenant, 10,000 at a time.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def erase(common: Common, runs: tuple[str, ...], label: str, tenant: str, yes: bool) -> None:
    """Erase inputs, outputs, parameters and messages of each RUN that has ended, and of the runs below it.

    It cannot be undone. Events, labels, error messages and what it cost stay, and `audit verify` still holds.
    """
    from headgate.cli.approval import user_name

    require_database(common)
    common.say_database()
    if tenant and (runs or label):
        raise Invalid("--tenant erases all runs of a tenant: name neither runs nor a label with it.")
    if not yes:
        _ask(common, runs, label, tenant)
    done = run_loop(_erase(common, runs, label, tenant, by=user_name()))
    copies = _copies(common.database)
    if common.output.json:
        form = {name: getattr(done, name) for name in done.__struct_fields__}
        common.output.data(form | {"copies": [str(copy) for copy in copies]})
        return
    for line in _lines(done, copies):
        common.output.line(line)


def _ask(common: Common, runs: tuple[str, ...], label: str, tenant: str) -> None:
    all_ = f"all runs of the tenant {tenant}" if tenant else f"all runs labelled {label}"
    what = plural(len(runs), "run") if runs else all_
    if not common.output.interactive:
        raise Invalid(f"Erasing {what} cannot be undone. Say --yes where nobody can be asked.")
    click.confirm(f"Erase the contents of {what}? It cannot be undone.", abort=True, err=True)


async def _erase(common: Common, runs: tuple[str, ...], label: str, tenant: str, *, by: str) -> Erased:
    async with open_session(common.database, Engine(work=False)) as session:
        return await session.client.erase(runs, label=label, tenant=tenant, by=by)


def _copies(database: Place) -> list[Path]:
    if not isinstance(database, Path):
        return []
    return sorted(copy for pattern in COPIES for copy in database.parent.glob(f"{database.name}{pattern[1:]}"))


def _lines(done: Erased, copies: list[Path]) -> list[str]:
    lines = [f"Erased {plural(done.contents, 'content')} of {plural(len(done.runs), 'run')}."]
    if done.before:
        lines.append(f"{plural(len(done.before), 'run')} had been erased before.")
    if done.files:
        lines.append(f"Removed {plural(done.files, 'file')} that only they named.")
    if done.texts:
        kinds = ", ".join(f"{count} {name}" for name, count in done.texts.items())
        lines.append(f"These events hold words that stay (messages, reasons, names): {kinds}.")
    if done.wal_left:
        lines.append("A reader was in the way: old pages stand in the WAL until it has gone. Then erase again.")
    if copies:
        lines.append(f"These copies still hold what was erased: {', '.join(map(str, copies))}. Backups do, too.")
    return lines
