"""`headgate doctor`: what Headgate stands on here, and what of it needs attention."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from statistics import median

import click
import msgspec

from headgate.cli import exit_codes
from headgate.cli.doctor_port import look_at_port
from headgate.cli.doctor_postgres import look_at_postgres
from headgate.cli.doctor_providers import Asked, Finding, look_at_providers
from headgate.cli.doctor_server import look_at_server
from headgate.cli.doctor_settings import look_at_settings
from headgate.cli.options import Common, common
from headgate.cli.session import open_reader
from headgate.cli.words import now, plural, span
from headgate.core.errors import HeadgateError

__all__ = ["doctor"]

FSYNCS = 20
FSYNC_BYTES = 4_096
SECONDS = 10.0
EXTRA = re.compile(r"""(?P<name>[\w.-]+).*;\s*extra == ['"](?P<extra>[\w-]+)['"]""")


@click.command()
@common
@click.option("--offline", is_flag=True, help="Try no provider.")
@click.option("--call", is_flag=True, help="Make the smallest call to a model of each provider; it costs what it says.")
@click.option("--model", "models", metavar="PROVIDER/MODEL", multiple=True, help="A model to look for, or to --call.")
@click.option(
    "--timeout",
    "seconds",
    metavar="SECONDS",
    type=click.FloatRange(0.1, 600),
    default=SECONDS,
    help=f"How long a provider, or the server, may take to answer [default: {SECONDS:g}].",
)
@click.option("--server", metavar="URL", help="Ask the server there how it is, and look at nothing else.")
def doctor(
    common: Common, offline: bool, call: bool, models: tuple[str, ...], seconds: float, server: str | None
) -> int:
    """Look at Python, SQLite, the database, its owner and its key, the port, the settings, the disk, and try the
    providers.

    Each provider that the environment configures is asked for its list of models, which proves its address and key and
    costs nothing. A call is made only with --call. Ends with 75 when something will not work.

    With --server it is a probe: the parts of the server there, and 75 when one of them is failing.
    """
    looked = look_at_server(server, seconds) if server else _findings(common, Asked(offline, call, models, seconds))
    findings = list(looked)
    if common.output.json:
        common.output.data([msgspec.structs.asdict(finding) for finding in findings])
    else:
        marks = {"good": "completed", "note": "waiting", "bad": "failed"}
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            common.output.line(f"{common.output.mark(marks[finding.status])} {finding.name:<{width}}  {finding.text}")
    bad = any(finding.status == "bad" for finding in findings)
    return exit_codes.UNAVAILABLE if bad else exit_codes.COMPLETED


def _findings(common: Common, asked: Asked) -> Iterator[Finding]:
    yield Finding("python", "good", f"{sys.version.split()[0]} at {sys.executable}")
    yield _sqlite()
    yield from _extras()
    if isinstance(common.database, Path):
        yield _database(common.database)
        yield _owner(common.database)
    else:
        yield from look_at_postgres(common.database)
    yield from look_at_port(_owner_pid(common))
    yield _state(common.folder)
    yield from look_at_settings(common)
    yield _retention()
    yield from _beside(common)
    yield from _disk(common)
    yield from look_at_providers(asked, common.folder)


def _sqlite() -> Finding:
    import apsw

    version = apsw.sqlite_lib_version()
    return Finding("sqlite", "good", f"{version} (apsw {apsw.apsw_version()})")


def _extras() -> Iterator[Finding]:
    """Say of each extra of the package which of its distributions are here, by what the package itself asks for."""
    from importlib import metadata

    try:
        required = metadata.requires("headgate") or []
    except metadata.PackageNotFoundError:  # run from its source: nobody says what it asks for
        return
    extras: dict[str, list[str]] = {}
    for requirement in required:
        if match := EXTRA.match(requirement):
            extras.setdefault(match["extra"], []).append(match["name"])
    for extra, names in extras.items():
        here = {name: version for name in names if (version := _version_of(name))}
        absent = [name for name in names if name not in here]
        if absent:
            text = f'not here: {", ".join(absent)}; pip install "headgate[{extra}]"'
            yield Finding(f"extra {extra}", "note", text)
        else:
            yield Finding(f"extra {extra}", "good", ", ".join(f"{name} {version}" for name, version in here.items()))


def _version_of(distribution: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _database(path: Path) -> Finding:
    from headgate.stores.sqlite import SqliteLog
    from headgate.stores.sqlite_file import SCHEMA_VERSION

    if not path.exists():
        return Finding("database", "note", f"{path} is not there yet; the first `headgate run` makes it")
    try:
        asyncio.run(SqliteLog(path, read_only=True).close())
    except HeadgateError as error:
        return Finding("database", "bad", error.message)
    synchronous = _synchronous_of_writers()
    status = "good" if synchronous == "FULL" else "bad"
    size = path.stat().st_size / 1_000_000
    return Finding(
        "database", status, f"{path}: opens, schema {SCHEMA_VERSION}, {size:.1f} MB, synchronous {synchronous}"
    )


def _synchronous_of_writers() -> str:
    """Return how a writer of this build syncs: it is a setting of the connection, so a connection is made and asked."""
    from headgate.stores.sqlite import SqliteLog

    with tempfile.TemporaryDirectory() as folder:
        log = SqliteLog(Path(folder) / "probe.db")
        try:
            return log.synchronous
        finally:
            asyncio.run(log.close())


def _owner(database: Path) -> Finding:
    from headgate.stores.ownership import Owned, Ownership, owner_of

    if not database.parent.exists():
        return Finding("owner", "good", "none")
    try:
        Ownership.take(database).release()
    except Owned:
        owner = owner_of(database)
        return Finding("owner", "good", f"process {owner.pid if owner else '?'}")
    except HeadgateError as error:
        return Finding("owner", "bad", error.message)
    return Finding("owner", "good", "none; the next `headgate run` or `work` will be")


def _owner_pid(common: Common) -> int:
    from headgate.stores.ownership import owner_of

    owner = owner_of(common.database) if isinstance(common.database, Path) else None
    return owner.pid if owner else 0


def _state(folder: Path) -> Finding:
    if not folder.exists():
        return Finding("state", "note", f"{folder} is not there yet; prices, files and indexes will lie in it")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return Finding("state", "bad", f"{folder} cannot be read and written by this process")
    return Finding("state", "good", str(folder))


def _retention() -> Finding:
    from headgate.engine.retention import retention_of

    try:
        kept = retention_of(os.environ)
    except HeadgateError as error:
        return Finding("retention", "bad", error.message)
    text = "for ever" if kept is None else f"for {span(kept)}"
    return Finding("retention", "good", f"runs that have ended are kept {text} (HEADGATE_RETENTION)")


def _beside(common: Common) -> Iterator[Finding]:
    """Say what lies beside the log; nothing where there is no database, or one without room for it."""
    if isinstance(common.database, Path) and not common.database.exists():
        return
    import apsw

    with suppress(HeadgateError, apsw.Error):
        yield from asyncio.run(_found_beside(common))


async def _found_beside(common: Common) -> list[Finding]:
    """Count the schedules and the rates, and name the models that are not asked now."""
    from headgate.engine.limit_view import view_limits
    from headgate.stores.schedules import KeptSchedules
    from headgate.stores.storage import cells_beside, documents_beside

    async with open_reader(common) as (_, log):
        schedules = await KeptSchedules(documents_beside(log)).all()
        view = view_limits(await cells_beside(log), now())
    paused = sum(not schedule.enabled for schedule in schedules)
    text = f"{len(schedules)}" + (f", {paused} of them paused" if paused else "")
    rates = f"{len(view.limits)} set, {plural(len(view.waits), 'call')} waiting"
    found = [Finding("schedules", "good", text), Finding("rates", "good", rates)]
    for circuit in view.circuits:
        if circuit.state != "closed":
            text = f"{circuit.model}: {circuit.state} after {plural(circuit.failed, 'failure')}; `headgate limit`"
            found.append(Finding("circuit", "note", text))
    return found


def _disk(common: Common) -> Iterator[Finding]:
    from headgate.engine.health import FREE_BYTES_MIN, free_bytes

    folder = common.database.parent if isinstance(common.database, Path) else common.folder
    while not folder.exists():
        folder = folder.parent
    free = free_bytes(folder)
    yield Finding(
        "disk", "good" if free > FREE_BYTES_MIN else "note", f"{free / 1e9:.1f} GB free in {folder.resolve()}"
    )
    try:
        yield Finding("fsync", "good", f"{_fsync_seconds(folder) * 1_000:.2f} ms (median of {FSYNCS})")
    except OSError as error:
        yield Finding("fsync", "bad", f"nothing can be written to {folder.resolve()}: {error.strerror or error}")


def _fsync_seconds(folder: Path) -> float:
    descriptor, name = tempfile.mkstemp(prefix=".headgate-fsync-", dir=folder)
    try:
        return median(
            _timed(lambda: (os.write(descriptor, bytes(FSYNC_BYTES)), os.fsync(descriptor))) for _ in range(FSYNCS)
        )
    finally:
        os.close(descriptor)
        with suppress(OSError):
            Path(name).unlink()


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
