"""Answers to requests that no log knows, kept for a week by their `Idempotency-Key`: a client made, a webhook added.

A request is written down before it is done, and its answer after. So its repeat gets the answer; one that comes while
there is none yet (it is under way, or the server was killed in the middle) is refused rather than done twice. What was
refused did nothing, and is forgotten. Answers that hold secrets are sealed, as the secrets are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

import msgspec

from headgate.core.errors import HeadgateError, Refused
from headgate.engine.command_ids import CommandIdReused
from headgate.engine.sealing import Sealer
from headgate.ports import Clock, Document, Documents, every_document

__all__ = ["Given", "KeptAnswers"]

KIND = "answer"
KEPT_SECONDS = 7 * 86_400
ANSWERS_MAX = 10_000
"""Of a tenant; beyond it those of long ago go."""
PRUNE_EVERY = 100


class Given(msgspec.Struct, frozen=True):
    """An answer as it was given: its status, and its JSON."""

    status: int
    data: bytes


class _Kept(msgspec.Struct, frozen=True):
    """Of a request under a key; without a status it has been begun, and no more is known."""

    fingerprint: str
    status: int = 0
    data: bytes = b""
    sealed: bool = False


class KeptAnswers:
    """One per process; those of all nodes lie in the same documents."""

    def __init__(self, documents: Documents, clock: Clock, sealer: Callable[[], Sealer]) -> None:
        self._documents = documents
        self._clock = clock
        self._sealer = sealer
        self._kept = 0

    async def once(
        self, tenant: str, key: str, fingerprint: str, ask: Callable[[], Awaitable[Given]], *, secret: bool
    ) -> Given:
        """Return what `ask` does, or did when the same was asked under this key. Raises what `ask` raises,
        `CommandIdReused`, and `Refused` where it is not known (yet) how the first time ended."""
        name, now = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest(), self._clock.now()
        known = await self._documents.get(KIND, tenant, name)
        if known is not None and known.at > now - KEPT_SECONDS * 1_000_000:
            return self._given(known, key, fingerprint)
        begun = await self._put(tenant, name, _Kept(fingerprint), expected=known.revision if known else 0)
        if begun is None:
            raise _under_way()
        try:
            given = await ask()
        except HeadgateError:
            await self._documents.remove(KIND, tenant, name, expected=begun)
            raise
        data = self._sealer().seal(given.data, _context(tenant, name)) if secret else given.data
        await self._put(tenant, name, _Kept(fingerprint, given.status, data, secret), expected=begun)
        self._kept += 1
        if self._kept % PRUNE_EVERY == 0:
            await self.prune(tenant)
        return given

    def _given(self, known: Document, key: str, fingerprint: str) -> Given:
        kept = msgspec.msgpack.decode(known.body, type=_Kept)
        if kept.fingerprint != fingerprint:
            raise CommandIdReused(key)
        if not kept.status:
            raise _under_way()
        data = self._sealer().open(kept.data, _context(known.tenant, known.name)) if kept.sealed else kept.data
        return Given(kept.status, data)

    async def _put(self, tenant: str, name: str, kept: _Kept, *, expected: int) -> int | None:
        body = msgspec.msgpack.encode(kept)
        return await self._documents.put(KIND, tenant, name, body, at=self._clock.now(), expected=expected)

    async def prune(self, tenant: str) -> None:
        """Remove what is older than `KEPT_SECONDS`, or more than `ANSWERS_MAX`."""
        eldest = self._clock.now() - KEPT_SECONDS * 1_000_000
        found = sorted(await every_document(self._documents, KIND, tenant=tenant), key=lambda one: -one.at)
        for number, document in enumerate(found):
            if number >= ANSWERS_MAX or document.at < eldest:
                await self._documents.remove(KIND, tenant, document.name, expected=document.revision)


def _context(tenant: str, name: str) -> str:
    return f"answer {name} of tenant {tenant}"


def _under_way() -> Refused:
    return Refused(
        "A request under this Idempotency-Key was begun, and how it ended is not known: it is under way, or its server "
        "was killed. Ask again a little later; if it stays so, look whether it was done, and take a new key."
    )
