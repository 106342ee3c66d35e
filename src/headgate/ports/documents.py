"""What is kept beside the runs as small documents: clients, people, secrets, webhooks, quotas, rules.

A document is bytes of its owner's making under (kind, tenant, name). Writers who were not told of each other meet at
its revision: one of them wins, the other is told to look again. The revision of a kind says whether anything of it has
changed, so what is held in memory is known to be fresh by one cheap question.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

__all__ = ["Document", "Documents", "every_document"]

PAGE = 1_000


class Document(NamedTuple):
    """A document as it is kept. `revision` grows with each change; `at` is when it was last changed (microseconds)."""

    kind: str
    tenant: str
    name: str
    body: bytes
    revision: int
    at: int


class Documents(Protocol):
    """What every store of documents keeps true, tested by tests/conformance/test_documents.py:

    1. A change is durable before it is answered, and is seen by everybody who asks after that.
    2. Of two changes that expect the same revision, one is made and the other is refused.
    3. The revision of a kind grows with every change of that kind, removals included, and never goes back.
    """

    async def get(self, kind: str, tenant: str, name: str) -> Document | None: ...

    async def list(
        self, kind: str, *, tenant: str | None = None, after: tuple[str, str] = ("", ""), limit: int = 1_000
    ) -> list[Document]:
        """Return documents of a kind by (tenant, name), behind `after`; `tenant` None: those of all tenants."""
        ...

    async def put(
        self, kind: str, tenant: str, name: str, body: bytes, *, at: int, expected: int | None = None
    ) -> int | None:
        """Keep a document; return its revision, or None where it is not at the revision `expected` (0: there is none).
        Raises `Unavailable`: nothing was changed."""
        ...

    async def remove(self, kind: str, tenant: str, name: str, *, expected: int | None = None) -> bool:
        """Remove a document; return whether it was there, at the revision `expected` if one is given."""
        ...

    async def revision(self, kind: str) -> int:
        """Return the newest revision of a kind; 0: nothing of it was ever kept."""
        ...


async def every_document(documents: Documents, kind: str, *, tenant: str | None = None) -> list[Document]:
    """Return all documents of a kind, page by page, by (tenant, name); `tenant` None: those of all tenants."""
    found: list[Document] = []
    after = (tenant or "", "")
    while page := await documents.list(kind, tenant=tenant, after=after, limit=PAGE):
        found += page
        after = (page[-1].tenant, page[-1].name)
    return found
