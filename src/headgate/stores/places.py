"""Where a log is, as people name it: a file, or the address of a PostgreSQL server; and how it is opened."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from headgate.core.errors import Invalid
from headgate.stores.ownership import STATE_FOLDER, state_folder
from headgate.stores.postgres_errors import SCHEMES, Address

if TYPE_CHECKING:
    from headgate.stores.postgres import PostgresLog
    from headgate.stores.sqlite import SqliteLog

__all__ = ["Address", "Place", "folder_of", "open_log", "place_of"]

Place = Path | Address

OTHER_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def place_of(named: str | Path) -> Place:
    """Return the place that is meant. Raises `Invalid` for an address that is none."""
    text = str(named)
    if text.startswith(SCHEMES):
        return Address(text)
    if isinstance(named, str) and (other := OTHER_SCHEME.match(named)):
        raise Invalid(
            f"Expected a file, or postgresql://name:password@host/database; {other[0]} is no database of ours."
        )
    return Path(named)


def open_log(place: Place, *, read_only: bool = False) -> SqliteLog | PostgresLog:
    """Open the log there. A file is made where there is none, and the tables in PostgreSQL, unless it is `read_only`.

    Raises `Unavailable`, `Refused` for what is not ours; of PostgreSQL whoever asks first hears that.
    """
    if isinstance(place, Path):
        from headgate.stores.sqlite import SqliteLog

        return SqliteLog(place, read_only=read_only)
    from headgate.stores.postgres import PostgresLog

    return PostgresLog(place.url, schema=place.schema, read_only=read_only)


def folder_of(place: Place) -> Path:
    """Return the state folder: where files, indexes and prices lie that belong to the place's runs. Of PostgreSQL it is
    this folder's; nodes on several machines need one that they share."""
    return state_folder(place) if isinstance(place, Path) else Path(STATE_FOLDER).absolute()
