"""`headgate audit`: whether the log is what was recorded, and the log for those who would rather see for themselves."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from headgate.cli import exit_codes
from headgate.cli.interrupts import run_loop
from headgate.cli.options import Common, common
from headgate.cli.session import open_reader
from headgate.cli.words import clock, plural
from headgate.core.errors import Invalid, NotFound, Unavailable

if TYPE_CHECKING:
    from headgate.engine.audit import Fault
    from headgate.engine.reader import Reader
    from headgate.ports import Deletion, KeptLog, Log, RunRow

__all__ = ["audit"]

ACTS_SHOWN_MAX = 10_000
DELETIONS_SHOWN_MAX = 1_000
RUNS_PAGE = 500


@click.group()
def audit() -> None:
    """Check that the log is what was recorded (verify), print it so that others can (export), or list what admins have
    done (acts)."""


# --- verify ----------------------------------------------------------------------------------------------------------


@audit.command()
@common
@click.argument("runs", nargs=-1, metavar="RUN...")
def verify(common: Common, runs: tuple[str, ...]) -> int:
    """Compute every hash of the log, or of each RUN, again. Ends with 1 where something is not as it was recorded."""
    return run_loop(_verify(common, runs))


async def _verify(common: Common, names: tuple[str, ...]) -> int:
    from headgate.engine.audit import faults, gaps, verify_run

    found: list[Fault] = []
    deleted: list[Deletion] = []
    async with open_reader(common) as (reader, log):
        keeping = log.keeping(common.folder)
        common.say_database()
        if names:
            for name in names:
                deletion = await keeping.deletion(name)
                if deletion is not None:
                    deleted.append(deletion)
                elif (fault := await verify_run(log, await reader.find(name))) is not None:
                    found.append(fault)
        else:
            deleted = await keeping.deletions(DELETIONS_SHOWN_MAX)
            found = await gaps(keeping) + [fault async for fault in faults(log)]
        checked = len(names) - len(deleted) if names else await _count(log)
    _print(common, checked, found, deleted)
    return exit_codes.FAILED if found else exit_codes.COMPLETED


async def _count(log: Log) -> int:
    count, before = 0, None
    while rows := await log.runs(limit=RUNS_PAGE, before=before):
        count, before = count + len(rows), rows[-1].key
    return count


def _print(common: Common, checked: int, found: list[Fault], deleted: list[Deletion]) -> None:
    output = common.output
    if output.json:
        output.data(
            {
                "checked": checked,
                "faults": [
                    {"run": f.run_id, "version": f.version, "position": f.position, "kind": f.kind, "what": f.what}
                    for f in found
                ],
                "deletions": [msgspec.structs.asdict(deletion) for deletion in deleted],
            }
        )
        return
    for fault in found:
        output.line(f"{output.mark('failed')} {fault}")
    for deletion in deleted:
        output.line(
            f"{output.mark('skipped')} Run {deletion.run_id} ({plural(deletion.version, 'event')}) was deleted at "
            f"{clock(deletion.at)} by {deletion.actor}: {deletion.why}."
        )
    mark = output.mark("failed" if found else "completed")
    output.line(f"{mark} {plural(checked, 'run')} checked, {plural(len(found), 'fault')}.")


# --- export ----------------------------------------------------------------------------------------------------------


@audit.command()
@common
@click.argument("runs", nargs=-1, metavar="RUN...")
@click.option("--since", metavar="WHEN", default="", help="Only events since then: 2030-01-31T09:00:00Z, or 7d ago.")
@click.option(
    "--out", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write there, not to stdout."
)
@click.option("--no-content", is_flag=True, help="Leave out contents, and the keys of their digests.")
def export(common: Common, runs: tuple[str, ...], since: str, out: Path | None, no_content: bool) -> None:
    """Print every event, or those of each RUN, as JSON lines with all that is needed to check them."""
    count = run_loop(_export(common, runs, _since(since), out, contents=not no_content))
    common.output.notice(f"{plural(count, 'event')} exported.")


async def _export(common: Common, names: tuple[str, ...], since: int, out: Path | None, *, contents: bool) -> int:
    from headgate.engine.audit import export as lines

    async with open_reader(common) as (reader, log):
        common.say_database()
        rows = [await _find(reader, log, name) for name in names] if names else None
        return await _write(lines(log, rows, since=since, contents=contents), out)


async def _find(reader: Reader, log: KeptLog, name: str) -> RunRow:
    deletion = await log.keeping(Path()).deletion(name)
    if deletion is not None:
        raise NotFound(f"Run {name} was deleted at {clock(deletion.at)}: {deletion.why}. There is nothing to export.")
    return await reader.find(name)


async def _write(lines: AsyncIterator[dict[str, Any]], out: Path | None) -> int:
    count = 0
    with ExitStack() as stack:
        try:
            file = stack.enter_context(out.open("wb")) if out else sys.stdout.buffer
            async for line in lines:
                file.write(msgspec.json.encode(line) + b"\n")
                count += 1
            file.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise Unavailable(f"{out or 'The output'} cannot be written: {error.strerror or error}.") from error
    return count


def _since(text: str) -> int:
    from headgate.cli.words import now
    from headgate.core.duration import parse_instant, parse_microseconds

    if not text:
        return 0
    try:
        return now() - parse_microseconds(text)
    except Invalid:
        pass
    try:
        return parse_instant(text)
    except Invalid:
        raise Invalid(
            f"--since: expected a time such as 2030-01-31T09:00:00Z or an age such as 7d, got {text!r}"
        ) from None


# --- acts ------------------------------------------------------------------------------------------------------------


@audit.command()
@common
@click.option("--tenant", metavar="NAME", default="default", show_default=True, help="Whose admins.")
@click.option("--limit", type=click.IntRange(1, ACTS_SHOWN_MAX), default=50, show_default=True, help="At most so many.")
def acts(common: Common, tenant: str, limit: int) -> int:
    """List what admins have done: about clients, users, keys, tenants, secrets, rules; newest first."""
    return run_loop(_acts(common, tenant, limit))


async def _acts(common: Common, tenant: str, limit: int) -> int:
    from headgate.cli.access import read_access
    from headgate.cli.json_form import iso

    async with read_access(common) as auth:
        found, _ = await auth.acts.list(tenant, limit=limit)
    if common.output.json:
        common.output.data([msgspec.structs.asdict(act) | {"at": iso(act.at)} for act in found])
    else:
        common.output.table([(clock(act.at), act.actor, act.act, act.on) for act in found])
    return exit_codes.COMPLETED
