"""`headgate db`: what is done with whole databases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from headgate.cli import exit_codes
from headgate.cli.interrupts import run_loop
from headgate.cli.options import Common, common, database_path
from headgate.cli.words import plural
from headgate.core.errors import Invalid, NotFound

if TYPE_CHECKING:
    from headgate.engine.audit import Fault
    from headgate.stores.places import Address

__all__ = ["db"]

FAULTS_SHOWN_MAX = 20


@click.group()
def db() -> None:
    """Move an installation from a file to PostgreSQL (copy)."""


@db.command()
@common
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--no-cache", is_flag=True, help="Leave out the results that are kept for reuse.")
def copy(common: Common, source: str, target: str, *, no_cache: bool) -> int:
    """Copy the database file FROM, with all that belongs to it, to the PostgreSQL database TO, and verify it there.

    TO (postgresql://…, ?schema=NAME for another than headgate) must be empty. All is copied, or nothing; where it was
    cut off, call it again. FROM must have no owner meanwhile, and stays as it is; whoever works on it afterwards works
    on another installation.
    """
    file, place = _file(source), _address(target)
    counts, files, found = run_loop(_copy(file, place, cache=not no_cache))
    if common.output.json:
        faults = [str(fault) for fault in found]
        common.output.data({"from": str(file), "to": str(place), "rows": counts, "files": files, "faults": faults})
    else:
        for name, count in counts.items():
            common.output.line(f"{count:>12,}  {name}")
        common.output.line(f"{files:>12,}  kept files")
        for fault in found[:FAULTS_SHOWN_MAX]:
            common.output.line(f"{common.output.mark('failed')} {fault}")
        mark = common.output.mark("failed" if found else "completed")
        common.output.line(f"{mark} {plural(counts['runs'], 'run')} copied and checked, {plural(len(found), 'fault')}.")
        if not found:
            common.output.notice(f"Go on with it: HEADGATE_DB or --db names {place}. {file} is as it was.")
            _say_key(common, file)
    return exit_codes.FAILED if found else exit_codes.COMPLETED


def _say_key(common: Common, file: Path) -> None:
    """The key lies in a file beside a database; of one that is shared it must be given, and be the same."""
    from headgate.engine.sealing import FILE, VARIABLE
    from headgate.stores.ownership import state_folder

    key = state_folder(file) / FILE
    if key.exists():
        common.output.notice(f'Each node needs the key that its secrets are sealed with: {VARIABLE}="$(cat {key})".')


async def _copy(file: Path, place: Address, *, cache: bool) -> tuple[dict[str, int], int, list[Fault]]:
    from headgate.stores.backup import copy_state
    from headgate.stores.moving import copied_before, move
    from headgate.stores.ownership import Ownership, state_folder
    from headgate.stores.places import folder_of
    from headgate.stores.postgres import PostgresLog
    from headgate.stores.sqlite import SqliteLog

    with Ownership.take(file):
        source, target = SqliteLog(file), PostgresLog(place.url, schema=place.schema)
        here, there = state_folder(file), folder_of(place)
        try:
            known = await copied_before(source, target, schema=place.schema)
            files = 0 if here.resolve() == there.resolve() else copy_state(here, there)
            counts = known or await move(source, target, schema=place.schema, cache=cache)
        finally:
            await target.close()
            await source.close()
    return counts, files, await _verify(place)


async def _verify(place: Address) -> list[Fault]:
    """Return what is not as it was recorded, in the database as it is now."""
    from headgate.engine.audit import faults, gaps
    from headgate.stores.places import folder_of, open_log

    log = open_log(place, read_only=True)
    try:
        return await gaps(log.keeping(folder_of(place))) + [fault async for fault in faults(log)]
    finally:
        await log.close()


def _file(named: str) -> Path:
    place = database_path(named)
    if not isinstance(place, Path):
        raise Invalid(f"FROM: expected a database file, got {place}. Copies of PostgreSQL are made by pg_dump.")
    if not place.exists():
        raise NotFound(f"There is no database {place} to copy.")
    return place


def _address(named: str) -> Address:
    place = database_path(named)
    if isinstance(place, Path):
        raise Invalid(f"TO: expected postgresql://…, got {place}. Copies of a file are made by `headgate backup`.")
    return place
