"""What clients and users have in common: accounts of tenants, kept as documents, each changed by one at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import msgspec

from headgate.api.auth.acts import AdminActs
from headgate.api.auth.identities import identity
from headgate.core.errors import NotFound, Unavailable
from headgate.ports import Clock, Document, Documents, every_document

__all__ = ["Account", "Accounts"]


class Account(Protocol):
    """One of them, as it is kept; `id` is what it is known by outside."""

    @property
    def tenant(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def id(self) -> str: ...


Kept = TypeVar("Kept", bound=Account)


class Accounts(Generic[Kept]):
    """Every change is recorded as an act of `by`, and told to all nodes by the revision of the kind."""

    _kind: str
    """Of its documents, and what people call one."""
    _of: type[Kept]

    def __init__(
        self, documents: Documents, clock: Clock, acts: AdminActs, on_change: Callable[[], None] = lambda: None
    ) -> None:
        self._documents = documents
        self._clock = clock
        self._acts = acts
        self._on_change = on_change

    async def list(self, tenant: str | None = None) -> list[Kept]:
        """Return those of a tenant, or of all, by tenant and name."""
        return [self._read(document) for document in await every_document(self._documents, self._kind, tenant=tenant)]

    async def get(self, tenant: str, name: str) -> Kept | None:
        document = await self._documents.get(self._kind, tenant, name)
        return self._read(document) if document else None

    async def _standing(self, tenant: str, name: str) -> tuple[Kept, int]:
        """Return an account that is to be changed, and the revision that it stands at. Raises `NotFound`."""
        document = await self._documents.get(self._kind, tenant, name)
        if document is None:
            raise NotFound(f"There is no {self._kind} {identity(tenant, name)!r}.")
        return self._read(document), document.revision

    async def _keep(self, account: Kept, *, expected: int) -> None:
        body, at = msgspec.msgpack.encode(account), self._clock.now()
        if await self._documents.put(self._kind, account.tenant, account.name, body, at=at, expected=expected) is None:
            raise Unavailable(
                f"Somebody else changed the {self._kind} {account.id!r} at the same time; look, and ask again."
            )
        self._on_change()

    def _read(self, document: Document) -> Kept:
        return msgspec.msgpack.decode(document.body, type=self._of)
