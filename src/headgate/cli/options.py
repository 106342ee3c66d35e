"""The options that every verb takes, and what they are made into: the output, the database, the log lines."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from headgate.cli.output import Output
from headgate.core.errors import Refused
from headgate.stores.ownership import STATE_FOLDER
from headgate.stores.places import Place, folder_of, place_of

__all__ = ["STATE_FOLDER", "Common", "common", "database_path"]

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


class Common(msgspec.Struct, frozen=True):
    """What the common options came to."""

    output: Output
    database: Place
    named: bool
    """The database was named by `--db` or `HEADGATE_DB`, not found in the state folder."""

    @property
    def folder(self) -> Path:
        """The state folder that belongs to the database."""
        return folder_of(self.database)

    def file(self, instead: str) -> Path:
        """Return the database's file. Raises `Refused` for PostgreSQL, which has none; `instead` says what to do."""
        if isinstance(self.database, Path):
            return self.database
        raise Refused(f"{self.database} is no file of ours. {instead}")

    def say_database(self) -> None:
        """Print the first line: which database is used."""
        self.output.notice(f"database: {self.database}")


def common(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb the common options; it gets them as its first argument, a `Common`."""

    @click.option(
        "--db",
        metavar="PATH",
        envvar="HEADGATE_DB",
        help="The database: a file, or postgresql://… [default: .headgate/headgate.db].",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
    @click.option("-q", "--quiet", is_flag=True, help="Print results and errors only.")
    @click.option("--no-color", is_flag=True, help="No colours (NO_COLOR does the same).")
    @click.option(
        "--log-level",
        type=click.Choice(LEVELS, case_sensitive=False),
        default="WARNING",
        help="Log lines from this level on, on stderr.",
    )
    @click.option("--log-json", is_flag=True, help="Log lines as JSON.")
    @functools.wraps(verb)
    def with_common(
        *arguments: Any,
        db: str | None,
        as_json: bool,
        quiet: bool,
        no_color: bool,
        log_level: str,
        log_json: bool,
        **rest: Any,
    ) -> Any:
        from headgate.engine.logs import log_to_stderr

        log_to_stderr(log_level.upper(), as_json=log_json)
        output = Output(json=as_json, quiet=quiet, colour=not no_color)
        return verb(Common(output, database_path(db), db is not None), *arguments, **rest)

    return with_common


def database_path(named: str | None) -> Place:
    """Return the database that is meant: the one named, else the one in this folder's state folder.

    Raises `Invalid` for an address that is none.
    """
    if not named:
        return Path(STATE_FOLDER) / "headgate.db"
    place = place_of(named)
    return Path(os.path.normpath(place)) if isinstance(place, Path) else place
