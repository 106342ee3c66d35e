"""`ports.Documents` beside the log in PostgreSQL; a change is one call of a function that decides it there."""

from __future__ import annotations

from headgate.ports import Document
from headgate.stores.postgres_reading import PostgresReader
from headgate.stores.postgres_rows import clean
from headgate.stores.queries import load_queries

__all__ = ["PostgresDocuments"]

SQL = load_queries("postgres_beside.sql")


class PostgresDocuments:
    """`ports.Documents` of all nodes on one database. A put that was sent twice, for a connection broke, is one."""

    def __init__(self, log: PostgresReader) -> None:
        self._log = log

    async def get(self, kind: str, tenant: str, name: str) -> Document | None:
        rows = await self._log.fetch(SQL["get_document"], kind, clean(tenant), clean(name))
        return Document(*rows[0]) if rows else None

    async def list(
        self, kind: str, *, tenant: str | None = None, after: tuple[str, str] = ("", ""), limit: int = 1_000
    ) -> list[Document]:
        wanted = tenant if tenant is None else clean(tenant)
        rows = await self._log.fetch(SQL["list_documents"], kind, wanted, *map(clean, after), limit)
        return [Document(*row) for row in rows]

    async def put(
        self, kind: str, tenant: str, name: str, body: bytes, *, at: int, expected: int | None = None
    ) -> int | None:
        rows = await self._log.fetch(SQL["put_document"], kind, clean(tenant), clean(name), body, at, expected)
        return rows[0][0]

    async def remove(self, kind: str, tenant: str, name: str, *, expected: int | None = None) -> bool:
        return (await self._log.fetch(SQL["remove_document"], kind, clean(tenant), clean(name), expected))[0][0]

    async def revision(self, kind: str) -> int:
        return (await self._log.fetch(SQL["document_revision"], kind))[0][0]
