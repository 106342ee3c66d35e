"""A verb's way to a database: as any program's (`sdk.embedded`), and read-only from the database itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from headgate.cli.options import Common
from headgate.core.errors import NotFound
from headgate.sdk import embedded
from headgate.sdk.embedded import Engine, Session

if TYPE_CHECKING:
    from headgate.engine.reader import Reader
    from headgate.ports import Cell
    from headgate.stores.places import Place
    from headgate.stores.postgres import PostgresLog
    from headgate.stores.sqlite import SqliteLog

__all__ = [
    "Engine",
    "Session",
    "kept",
    "make_state_folder",
    "open_reader",
    "open_session",
    "open_to_change",
    "require_database",
]

Kept = TypeVar("Kept")


@asynccontextmanager
async def open_session(database: Place, engine: Engine) -> AsyncGenerator[Session]:
    """Yield a session, with the process tuned for an engine where it owns one.

    Raises `Unavailable` when an owner neither answers nor leaves, or nothing can be written.
    """
    async with embedded.open_session(database, engine, on_owning=_tune) as session:
        yield session


def _tune() -> None:
    from headgate.process import tune_process

    tune_process()


# --- The log itself --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def open_reader(common: Common) -> AsyncGenerator[tuple[Reader, SqliteLog | PostgresLog]]:
    """Yield a reader of the database itself: it needs no owner, and disturbs none."""
    from headgate.cli.words import now
    from headgate.engine.reader import Reader
    from headgate.stores.places import open_log
    from headgate.stores.storage import cells_beside

    require_database(common)
    log = open_log(common.database, read_only=True)

    async def waits() -> list[Cell]:
        return [cell for cell in await cells_beside(log) if cell.name.startswith("wait ")]

    try:
        yield Reader(log, now, waits=waits), log
    finally:
        await log.close()


async def kept(common: Common, kind: str, of: type[Kept], *, tenant: str) -> list[Kept]:
    """Return what a tenant keeps of a kind beside its runs, read without an owner."""
    from headgate.ports import every_document
    from headgate.stores.storage import documents_beside

    async with open_reader(common) as (_, log):
        documents = await every_document(documents_beside(log), kind, tenant=tenant)
    return [msgspec.json.decode(document.body, type=of) for document in documents]


@asynccontextmanager
async def open_to_change(common: Common) -> AsyncGenerator[SqliteLog | PostgresLog]:
    """Yield the log to be changed without an engine: a file while nobody owns it, PostgreSQL at any time. Raises
    `Owned`."""
    from headgate.stores.ownership import Ownership
    from headgate.stores.places import open_log

    require_database(common)
    common.say_database()
    with Ownership.take(common.database) if isinstance(common.database, Path) else nullcontext():
        log = open_log(common.database)
        try:
            yield log
        finally:
            await log.close()


def require_database(common: Common) -> None:
    """Raise `NotFound` where there is no database yet: looking must not make one. Of PostgreSQL the log says so."""
    if isinstance(common.database, Path) and not common.database.exists():
        how = "Is the path right?" if common.named else "`headgate run` makes one; --db names another."
        raise NotFound(f"There is no database {common.database} here. {how}")


def make_state_folder(common: Common) -> None:
    """Make `./.headgate/` with a `.gitignore` of its own, unless a file was named. Raises `Unavailable`."""
    if common.named and isinstance(common.database, Path):
        return
    embedded.make_state_folder(named_how="--db")
