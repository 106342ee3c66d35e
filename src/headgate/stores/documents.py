"""`ports.Documents` beside the log in its SQLite file, or in memory where the log is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headgate.ports import Document
from headgate.stores.queries import load_queries

if TYPE_CHECKING:
    import apsw

    from headgate.stores.sqlite import SqliteLog

__all__ = ["MemoryDocuments", "SqliteDocuments"]

SQL = load_queries("documents.sql")


class SqliteDocuments:
    """`ports.Documents` in the log's file."""

    def __init__(self, log: SqliteLog) -> None:
        self._log = log
        self._known = bool(log.read(SQL["known"]))

    async def get(self, kind: str, tenant: str, name: str) -> Document | None:
        rows = self._log.read(SQL["get"], kind, tenant, name) if self._known else []
        return Document(*rows[0]) if rows else None

    async def list(
        self, kind: str, *, tenant: str | None = None, after: tuple[str, str] = ("", ""), limit: int = 1_000
    ) -> list[Document]:
        rows = self._log.read(SQL["list"], kind, tenant, *after, limit) if self._known else []
        return [Document(*row) for row in rows]

    async def put(
        self, kind: str, tenant: str, name: str, body: bytes, *, at: int, expected: int | None = None
    ) -> int | None:
        key = (kind, tenant, name)

        def work(writer: apsw.Connection) -> int | None:
            if expected is not None and _first(writer, "standing", *key) != expected:
                return None
            revision = _first(writer, "count", kind)
            writer.execute(SQL["put"], (*key, body, revision, at))
            return revision

        return await self._log.transact(work)

    async def remove(self, kind: str, tenant: str, name: str, *, expected: int | None = None) -> bool:
        key = (kind, tenant, name)

        def work(writer: apsw.Connection) -> bool:
            standing = _first(writer, "standing", *key)
            if not standing or expected not in (None, standing):
                return False
            writer.execute(SQL["remove"], key)
            _first(writer, "count", kind)
            return True

        return await self._log.transact(work)

    async def revision(self, kind: str) -> int:
        return int(self._log.read(SQL["revision"], kind)[0][0]) if self._known else 0


def _first(writer: apsw.Connection, query: str, *parameters: str) -> int:
    ((value,),) = writer.execute(SQL[query], parameters)
    return int(value)


class MemoryDocuments:
    """`ports.Documents` for as long as the process lives."""

    def __init__(self) -> None:
        self._documents: dict[tuple[str, str, str], Document] = {}
        self._revisions: dict[str, int] = {}

    async def get(self, kind: str, tenant: str, name: str) -> Document | None:
        return self._documents.get((kind, tenant, name))

    async def list(
        self, kind: str, *, tenant: str | None = None, after: tuple[str, str] = ("", ""), limit: int = 1_000
    ) -> list[Document]:
        found = (document for key, document in sorted(self._documents.items()) if key[0] == kind and key[1:] > after)
        return [document for document in found if tenant in (None, document.tenant)][:limit]

    async def put(
        self, kind: str, tenant: str, name: str, body: bytes, *, at: int, expected: int | None = None
    ) -> int | None:
        if expected is not None and expected != self._standing(kind, tenant, name):
            return None
        revision = self._count(kind)
        self._documents[kind, tenant, name] = Document(kind, tenant, name, body, revision, at)
        return revision

    async def remove(self, kind: str, tenant: str, name: str, *, expected: int | None = None) -> bool:
        standing = self._standing(kind, tenant, name)
        if not standing or expected not in (None, standing):
            return False
        del self._documents[kind, tenant, name]
        self._count(kind)
        return True

    async def revision(self, kind: str) -> int:
        return self._revisions.get(kind, 0)

    def _standing(self, kind: str, tenant: str, name: str) -> int:
        known = self._documents.get((kind, tenant, name))
        return known.revision if known else 0

    def _count(self, kind: str) -> int:
        revision = self._revisions[kind] = self._revisions.get(kind, 0) + 1
        return revision
