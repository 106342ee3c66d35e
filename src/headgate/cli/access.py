"""A verb's way to what is kept of clients, users and keys: as the owner of the database, through it, or by reading."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headgate.cli.options import Common
from headgate.cli.session import Engine, Session, make_state_folder, open_reader, open_session
from headgate.core.errors import NotFound
from headgate.ports import DEFAULT_TENANT

if TYPE_CHECKING:
    from headgate.api.auth import Auth
    from headgate.engine.sealing import Sealer
    from headgate.ports import Clock, Documents

__all__ = ["acting_user", "change_access", "read_access", "record_act", "require_tenant", "sealer_here"]

NAMED_MAX = 10
"""Tenants that a refusal names."""
IN_USE = ("client", "user", "secret")
"""What a tenant has that was in use before tenants had to be made."""


@asynccontextmanager
async def change_access(common: Common, *, new_in: str = DEFAULT_TENANT) -> AsyncGenerator[Auth]:
    """Yield what changes clients, users and keys; the database is made where there is none. `new_in`: the tenant that
    is about to get one. Raises `NotFound` where there is no such tenant."""
    make_state_folder(common)
    async with open_session(common.database, Engine(work=False)) as session:
        await require_tenant(session, new_in)
        yield _auth(common, session.documents, _clock(session))


@asynccontextmanager
async def read_access(common: Common) -> AsyncGenerator[Auth]:
    """Yield what shows them, from the file itself. Raises `NotFound` where there is none."""
    from headgate.engine.clock import WallClock
    from headgate.stores.storage import documents_beside

    async with open_reader(common) as (_, log):
        yield _auth(common, documents_beside(log), WallClock())


def _auth(common: Common, documents: Documents, clock: Clock) -> Auth:
    from headgate.api.auth import Auth
    from headgate.engine.sealing import sealer_of

    return Auth(documents, clock, partial(sealer_of, os.environ, _folder_of_key(common)))


def sealer_here(common: Common) -> Sealer:
    """Return the sealer of the key that is here. Raises `NotFound` where there is none: looking makes none."""
    from headgate.engine.sealing import FILE, VARIABLE, sealer_of

    folder = _folder_of_key(common)
    if not os.environ.get(VARIABLE, "").strip() and (folder is None or not (folder / FILE).exists()):
        makes = f"{VARIABLE} must be set for them" if folder is None else "the first of them makes it"
        raise NotFound(f"there is none here; `headgate serve` and secrets need one: {makes}")
    return sealer_of(os.environ, folder)


def _clock(session: Session) -> Clock:
    """Return the clock of this process: of a node of PostgreSQL it is the database's."""
    from headgate.engine.clock import WallClock

    return session.app.clock if session.app is not None else WallClock()


def _folder_of_key(common: Common) -> Path | None:
    """Return where the key may lie: beside a file; with PostgreSQL, which others share, it must be given."""
    return common.folder if isinstance(common.database, Path) else None


async def require_tenant(session: Session, name: str) -> None:
    """Raise `NotFound` for a tenant that nobody has made: a slip of the finger shall not make one without quotas."""
    if name == DEFAULT_TENANT:
        return
    made = [one.name for one in await session.client.tenants()]
    if name in made:
        return
    for kind in IN_USE:
        if await session.documents.list(kind, tenant=name, after=(name, ""), limit=1):
            return
    near = get_close_matches(name, made, 1)
    meant = f" Is {near[0]!r} meant?" if near else ""
    known = f" Made so far: {', '.join(made[:NAMED_MAX])}{', …' if made[NAMED_MAX:] else ''}." if made else ""
    raise NotFound(f"There is no tenant {name!r}.{meant}{known} `headgate tenant create {name}` makes it.")


async def record_act(session: Session, act: str, on: str, *, tenant: str = DEFAULT_TENANT, **details: Any) -> None:
    """Write down, durably, what is about to be done at this machine. Raises `Unavailable`: then it must not be done."""
    from headgate.api.auth.acts import AdminActs

    await AdminActs(session.documents, _clock(session)).record(tenant, acting_user(), act, on, **details)


def acting_user() -> str:
    """Return whom an act is recorded of: whoever sits at this machine."""
    from headgate.cli.approval import user_name

    return f"user:{user_name() or 'unknown'}@here"
