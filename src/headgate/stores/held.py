"""The documents of one kind, held in memory for as long as nobody has changed one of them.

Each question asks the store for the kind's revision first, which is one cheap read; what has changed is then read anew,
page by page. What this process changes itself it knows without reading.
"""

from __future__ import annotations

from headgate.ports import Document, Documents, every_document

__all__ = ["HeldDocuments"]


class HeldDocuments:
    """What `documents` has of one kind, as of the last question."""

    def __init__(self, documents: Documents, kind: str) -> None:
        self._documents = documents
        self._kind = kind
        self._held: dict[tuple[str, str], Document] = {}
        self._revision = 0

    async def all(self) -> list[Document]:
        """Return all documents by tenant and name. Raises `Unavailable`."""
        revision = await self._documents.revision(self._kind)
        if revision != self._revision:
            self._held = {(one.tenant, one.name): one for one in await every_document(self._documents, self._kind)}
            # What was changed while this was read may be missing: then the revision has grown, and all is read again.
            self._revision = revision
        return [self._held[key] for key in sorted(self._held)]

    async def put(self, tenant: str, name: str, body: bytes, *, at: int, expected: int | None = None) -> bool:
        """Keep a document, as `Documents.put` does; return whether it was kept. Raises `Unavailable`."""
        revision = await self._documents.put(self._kind, tenant, name, body, at=at, expected=expected)
        if revision is None:
            return False
        if revision == self._revision + 1:
            self._held[tenant, name] = Document(self._kind, tenant, name, body, revision, at)
            self._revision = revision
        return True

    async def remove(self, tenant: str, name: str) -> bool:
        """Remove a document; return whether it was there. Raises `Unavailable`."""
        return await self._documents.remove(self._kind, tenant, name)
