"""`headgate doctor`: what Headgate stands on here, and what of it needs attention."""

from __future__ import annotations

import asyncio
import os
import shutil
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
from headgate.cli.options import Common, common
from headgate.core.errors import HeadgateError

__all__ = ["doctor"]

FREE_BYTES_MIN = 200_000_000
FSYNCS = 20
FSYNC_BYTES = 4_096
KEYS = {
    "openai": ("OPENAI_API_KEY",),
    "mistral": ("MISTRAL_API_KEY",),
    "azure": ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY"),
}


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at. `status`: good, note (worth knowing) or bad (nothing will work)."""

    name: str
    status: str
    text: str


@click.command()
@common
def doctor(common: Common) -> int:
    """Look at Python, SQLite, the database and its owner, the disk, and the providers of models."""
    findings = list(_findings(common))
    if common.output.json:
        common.output.data([msgspec.structs.asdict(finding) for finding in findings])
    else:
        marks = {"good": "completed", "note": "waiting", "bad": "failed"}
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            common.output.line(f"{common.output.mark(marks[finding.status])} {finding.name:<{width}}  {finding.text}")
    bad = any(finding.status == "bad" for finding in findings)
    return exit_codes.UNAVAILABLE if bad else exit_codes.COMPLETED


def _findings(common: Common) -> Iterator[Finding]:
    yield Finding("python", "good", f"{sys.version.split()[0]} at {sys.executable}")
    yield _sqlite()
    yield _database(common)
    yield _owner(common)
    yield from _disk(common)
    yield from _providers()


def _sqlite() -> Finding:
    import apsw

    version = apsw.sqlite_lib_version()
    return Finding("sqlite", "good", f"{version} (apsw {apsw.apsw_version()})")


def _database(common: Common) -> Finding:
    from headgate.stores.sqlite import SqliteLog
    from headgate.stores.sqlite_file import SCHEMA_VERSION

    path = common.database
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


def _owner(common: Common) -> Finding:
    from headgate.stores.ownership import Owned, Ownership, owner_of

    if not common.database.parent.exists():
        return Finding("owner", "good", "none")
    try:
        Ownership.take(common.database).release()
    except Owned:
        owner = owner_of(common.database)
        return Finding("owner", "good", f"process {owner.pid if owner else '?'}")
    except HeadgateError as error:
        return Finding("owner", "bad", error.message)
    return Finding("owner", "good", "none; the next `headgate run` or `work` will be")


def _disk(common: Common) -> Iterator[Finding]:
    folder = common.database.parent
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
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


def _providers() -> Iterator[Finding]:
    """Say of each provider whether its key is there, never what it is; nobody is asked over the network."""
    from headgate.llm.registry import NOT_BUILT, build_providers

    try:
        names = sorted(build_providers(os.environ))
    except HeadgateError as error:
        yield Finding("providers", "bad", error.message)
        return
    for name in names:
        missing = [variable for variable in KEYS.get(name, ()) if not os.environ.get(variable, "").strip()]
        if name in NOT_BUILT and f"HEADGATE_PROVIDER_{name.upper()}_BASE_URL" not in os.environ:
            yield Finding(
                name,
                "note",
                f"not built yet; HEADGATE_PROVIDER_{name.upper()}_BASE_URL names one that speaks OpenAI's API",
            )
        elif missing:
            yield Finding(name, "note", f"no key: set {' and '.join(missing)}")
        elif name == "demo":
            yield Finding(name, "good", "offline, simulated prices")
        else:
            yield Finding(name, "good", "configured")
