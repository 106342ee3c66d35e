"""What those who may do all have done: who, when, what, and to what; newest first, for a while.

An act is written down before it is done, so none is done unseen: one that stands here was at least begun.
"""

from __future__ import annotations

import secrets
from typing import Any

import msgspec

from headgate.ports import Clock, Documents

__all__ = ["ACTS_MAX", "Act", "AdminActs"]

KIND = "admin_act"
ACTS_MAX = 10_000
"""Of a tenant; older ones go."""
ACTS_KEPT_DAYS = 400
PRUNE_EVERY = 100
_PAGE = 1_000
_LATEST = 10**17
"""Names count down from here, so that the list of a store, which is by name, is newest first."""


class Act(msgspec.Struct, frozen=True):
    """`act` names what was done, `client.create`; `on` to whom or what; `details` holds no secret."""

    at: int
    actor: str
    act: str
    on: str
    details: dict[str, Any] = {}


class AdminActs:
    """`record` before an act is done; `list` for whoever asks later."""

    def __init__(self, documents: Documents, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock
        self._recorded = 0

    async def record(self, tenant: str, actor: str, act: str, on: str, **details: Any) -> None:
        """Keep an act, durably. Raises `Unavailable`: then it must not be done."""
        at = self._clock.now()
        body = msgspec.msgpack.encode(Act(at, actor, act, on, details))
        await self._documents.put(KIND, tenant, f"{_LATEST - at:017d}-{secrets.token_hex(4)}", body, at=at)
        self._recorded += 1
        if self._recorded % PRUNE_EVERY == 1:
            await self.prune(tenant)

    async def list(self, tenant: str, *, after: str = "", limit: int = 100) -> tuple[list[Act], str]:
        """Return acts, newest first, and what to give as `after` for the next ones ("": there are no more)."""
        found = await self._documents.list(KIND, tenant=tenant, after=(tenant, after), limit=limit)
        acts = [msgspec.msgpack.decode(document.body, type=Act) for document in found]
        return acts, found[-1].name if len(found) == limit else ""

    async def prune(self, tenant: str) -> None:
        """Remove what is older than `ACTS_KEPT_DAYS`, or more than `ACTS_MAX`."""
        eldest = self._clock.now() - ACTS_KEPT_DAYS * 86_400 * 1_000_000
        after, kept = (tenant, ""), 0
        while page := await self._documents.list(KIND, tenant=tenant, after=after, limit=_PAGE):
            after = (tenant, page[-1].name)
            for document in page:
                kept += 1
                if kept > ACTS_MAX or document.at < eldest:
                    await self._documents.remove(KIND, tenant, document.name)
