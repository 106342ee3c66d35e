"""What `headgate doctor` says of the port that `headgate serve` listens at: whether it can be taken, and who has it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from headgate.cli.doctor_providers import Finding
from headgate.core.errors import Unavailable
from headgate.settings import SETTINGS, problems_in

__all__ = ["look_at_port"]

HOST, PORT = "HEADGATE_HOST", "HEADGATE_PORT"
DEFAULTS = {setting.variable: setting.default for setting in SETTINGS}
PROCESSES = Path("/proc")
LISTENING = "0A"
"""The state in Linux's tables of sockets."""
LOCAL, STATE, INODE = 1, 3, 9
"""Columns of these tables."""


def look_at_port(owner_pid: int) -> Iterator[Finding]:
    """Take the port for a moment, as the server would. `owner_pid`: of the process that owns the database, 0: none."""
    from headgate.api.http.server import take_port

    named = {name: os.environ[name] for name in (HOST, PORT) if os.environ.get(name)}
    if problems_in(named):  # they are told with the settings
        return
    host, port = (named.get(name, DEFAULTS[name]) for name in (HOST, PORT))
    try:
        take_port(host, int(port)).close()
    except Unavailable as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE:
            yield _taken(f"{host}:{port}", int(port), owner_pid)
        else:
            yield Finding("port", "bad" if named else "note", error.message)
    else:
        yield Finding("port", "good", f"{host}:{port} is free for `headgate serve`")


def _taken(place: str, port: int, owner_pid: int) -> Finding:
    pid = _listener(port)
    if pid and pid == owner_pid:
        return Finding("port", "good", f"{place}: process {pid} listens there, which owns the database")
    who = f"process {pid} ({_name(pid)})" if pid else "another process"
    return Finding(
        "port", "note", f"{place}: {who} listens there; `headgate serve` needs another: {PORT}, or end that process"
    )


def _listener(port: int) -> int:
    """Return the process that listens at a port, as far as Linux tells this user; 0: nobody knows."""
    sockets = {f"socket:[{inode}]" for inode in _inodes(port)}
    for folder in PROCESSES.glob("[0-9]*"):
        with suppress(OSError):  # it is another user's, or has ended
            for descriptor in (folder / "fd").iterdir():
                if str(descriptor.readlink()) in sockets:
                    return int(folder.name)
    return 0


def _inodes(port: int) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (PROCESSES / "net" / table).read_text().splitlines()[1:]:
                columns = line.split()
                if columns[STATE] == LISTENING and int(columns[LOCAL].rpartition(":")[2], 16) == port:
                    yield columns[INODE]


def _name(pid: int) -> str:
    try:
        return (PROCESSES / str(pid) / "comm").read_text().strip()
    except OSError:
        return "it has just ended"
