"""Where an owner answers: a Unix socket beside its database, or, where there are none, a loopback port with a token."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import tempfile
from pathlib import Path

import msgspec

from headgate.client.frames import LINE_BYTES_MAX, OwnerGone

__all__ = ["Address", "choose_address", "open_address", "parse_address"]

PATH_BYTES_MAX = 100
"""The system's limit is 104 or 108 bytes, its end included."""


class Address(msgspec.Struct, frozen=True, omit_defaults=True):
    """Either `path`, or `port` of the loopback interface and the `token` that every request must name."""

    path: str = ""
    port: int = 0
    token: str = ""

    def __str__(self) -> str:
        return msgspec.json.encode(self).decode()


def choose_address(database: Path) -> Address:
    """Return a free address for the owner of `database`; a port of 0 is to be chosen by the system.

    A path too long for a socket gets one in a new folder of its own, which only this user may enter.
    """
    if sys.platform == "win32":
        return Address(token=secrets.token_urlsafe(24))
    resolved = database.resolve()
    path = resolved.with_name(f"{resolved.name}.sock")
    if len(os.fsencode(path)) > PATH_BYTES_MAX:
        path = Path(tempfile.mkdtemp(prefix="headgate-")) / "headgate.sock"
    return Address(path=str(path))


def parse_address(text: str) -> Address | None:
    """Return the address that a lock file names; None where it names none."""
    try:
        return msgspec.json.decode(text, type=Address)
    except msgspec.MsgspecError:
        return None


async def open_address(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection to whoever answers there. Raises `OwnerGone`."""
    try:
        if address.path:
            return await asyncio.open_unix_connection(address.path, limit=LINE_BYTES_MAX)
        return await asyncio.open_connection("127.0.0.1", address.port, limit=LINE_BYTES_MAX)
    except OSError as error:
        raise OwnerGone(f"Nobody answers at {address.path or address.port}: {error.strerror or error}.") from error
