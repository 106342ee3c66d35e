"""A guard for processes: connections and look-ups that lead outside are refused, and written down.

It stands in a `sitecustomize.py` that every Python process loads which gets `environment()`. Loopback and Unix sockets
are let through; what else may be reached is named. Processes that ignore their environment (`python -I`, in which
scripts run) are not guarded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["PROVIDER_KEYS", "SocketGuard"]

PROVIDER_KEYS = (
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "GOOGLE_API_KEY",
    "GEMINI_API_KEY",
    "MISTRAL_API_KEY",
    "AZURE_OPENAI_API_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "HEADGATE_PROVIDER_LAB_API_KEY",
)

GUARD = """
import ipaddress, os, socket

ALLOWED = set(os.environ["GUARD_ALLOWED"].split())

def note(what):
    with open(os.environ["GUARD_RECORD"], "a") as file:
        file.write(f"{os.getpid()} {what}\\n")

def local(host):
    if host in ALLOWED:
        return True
    if os.environ["GUARD_LOOPBACK"] == "refused":
        return False
    if host in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False

def must_be_local(host, what):
    host = host.decode() if isinstance(host, bytes) else host
    if not local(host):
        note(f"{what} {host}")
        raise OSError(f"nothing here leads outside, not even to {host}")

class Guarded(socket.socket):
    def _look_at(self, address):
        if self.family != socket.AF_UNIX:
            must_be_local(address[0], "connection to")
    def connect(self, address):
        self._look_at(address)
        return super().connect(address)
    def connect_ex(self, address):
        self._look_at(address)
        return super().connect_ex(address)
    def sendto(self, *arguments):
        self._look_at(arguments[-1])
        return super().sendto(*arguments)

def guarded(name):
    look_up = getattr(socket, name)
    def looked_up(host, *rest, **more):
        must_be_local(host, "look-up of")
        return look_up(host, *rest, **more)
    return looked_up

for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr"):
    setattr(socket, name, guarded(name))
socket.socket = Guarded
note("guarded")
"""


class SocketGuard:
    """A guard over the processes that are started with its environment; `allowed` are hosts beside loopback, which may
    be refused too (Unix sockets never are)."""

    def __init__(self, folder: Path, *, allowed: Sequence[str] = (), loopback: bool = True) -> None:
        self._site = folder / "guard"
        self._record = folder / "guard.txt"
        self._allowed = allowed
        self._loopback = loopback
        self._site.mkdir()
        (self._site / "sitecustomize.py").write_text(GUARD)
        self._record.touch()

    def environment(self, given: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return an environment with the guard, and a key for every provider: whoever could be asked, would be."""
        environment = dict(os.environ if given is None else given) | dict.fromkeys(PROVIDER_KEYS, "sk-not-a-real-key")
        return environment | {
            "PYTHONPATH": str(self._site),
            "GUARD_RECORD": str(self._record),
            "GUARD_ALLOWED": " ".join(self._allowed),
            "GUARD_LOOPBACK": "allowed" if self._loopback else "refused",
            "HEADGATE_PROVIDER_LAB_BASE_URL": "http://models.example/v1",
        }

    def outside(self) -> list[str]:
        """Return what led outside, in order."""
        return [line.partition(" ")[2] for line in self._lines() if not line.endswith(" guarded")]

    def processes(self) -> set[int]:
        """Return the processes that were guarded."""
        return {int(line.partition(" ")[0]) for line in self._lines()}

    def _lines(self) -> list[str]:
        return self._record.read_text().splitlines()
