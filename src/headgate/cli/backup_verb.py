"""`headgate backup` and `headgate restore`: a copy of the database while it is written to, and the way back."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from headgate.cli.interrupts import run_loop
from headgate.cli.options import Common, common
from headgate.cli.session import make_state_folder, require_database
from headgate.cli.words import plural
from headgate.core.errors import Refused

__all__ = ["backup", "restore"]

FAULTS_SHOWN_MAX = 5
DUMP = (
    "Copies of PostgreSQL are made by `pg_dump --schema=headgate`, and put back by `pg_restore` while nodes are "
    "stopped; copy the state folder beside."
)


@click.command()
@common
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def backup(common: Common, file: Path) -> None:
    """Copy the database to FILE, and the files that runs keep to FILE-state. An owner may be at work meanwhile."""
    from headgate.stores.backup import back_up, files_beside

    require_database(common)
    database = common.file(DUMP)
    common.say_database()
    began = time.monotonic()
    done = back_up(database, file, common.folder)
    if common.output.json:
        common.output.data({"file": str(file), "bytes": done.bytes, "files": done.files})
        return
    common.output.notice(f"Copied {done.bytes / 1e6:.1f} MB to {file} in {time.monotonic() - began:.1f} s.")
    if done.files:
        common.output.notice(f"Copied {plural(done.files, 'kept file')} to {files_beside(file)}.")


@click.command()
@common
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Also where there is a database; the old one is kept aside.")
def restore(common: Common, file: Path, force: bool) -> None:
    """Put the backup FILE in the place of the database, after it was checked from its first event to its last.

    Refused while a process owns the database.
    """
    from headgate.engine.sealing import FILE, VARIABLE
    from headgate.stores.backup import check_backup, put_in_place
    from headgate.stores.ownership import Ownership

    database = common.file(DUMP)
    if file.resolve() == database.resolve():
        raise Refused(f"{file} is the database itself. Nothing was changed.")
    if database.exists() and not force:
        raise Refused(
            f"There is a database {database} already. --force puts the backup in its place and keeps it aside."
        )
    check_backup(file)
    run_loop(_require_whole(file))
    make_state_folder(common)
    with Ownership.take(database):
        aside, files = put_in_place(file, database)
    if common.output.json:
        common.output.data({"database": str(common.database), "aside": str(aside) if aside else None, "files": files})
        return
    common.output.notice(f"{common.database} is now what {file} was.")
    if files:
        common.output.notice(f"Copied {plural(files, 'kept file')}.")
    if not (common.folder / FILE).exists() and not os.environ.get(VARIABLE):
        common.output.notice(
            f"The key of its secrets is not in a backup: before anything else put it at {common.folder / FILE} (mode "
            f"600), or into {VARIABLE}."
        )
    if aside:
        common.output.notice(f"The database of before is kept as {aside}; remove it when you do not need it.")


async def _require_whole(file: Path) -> None:
    """Raise `Refused` where a chain in the backup does not hold."""
    from headgate.engine.audit import faults, gaps
    from headgate.stores.sqlite import SqliteLog

    log = SqliteLog(file, read_only=True)
    try:
        found = [str(fault) for fault in await gaps(log.keeping(file.parent))]
        async for fault in faults(log):
            found.append(str(fault))
            if len(found) >= FAULTS_SHOWN_MAX:
                break
    finally:
        await log.close()
    if found:
        raise Refused(f"{file} is not what was recorded. {'; '.join(found)}. Nothing was changed.")
