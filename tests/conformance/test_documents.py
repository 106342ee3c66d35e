"""What every store of documents keeps true."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.stores_beside import KINDS, opener
from tests.postgres_logs import SCHEMA, Proxy, empty_postgres_log, server_url

from headgate.api.socket import SocketServer
from headgate.client.address import choose_address
from headgate.client.socket import SocketClient
from headgate.core.errors import Unavailable
from headgate.ports import Documents
from headgate.stores.postgres import PostgresLog
from headgate.stores.postgres_documents import PostgresDocuments
from headgate.testing.clock import NOON
from headgate.testing.log_conformance import on_a_loop


@pytest.fixture(params=KINDS)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Return a context that opens the store, always of the same place."""
    open_storage = opener(request.param, tmp_path)

    @asynccontextmanager
    async def documents() -> AsyncGenerator[Documents]:
        async with open_storage() as storage:
            if request.param != "socket":
                yield storage.documents
                return
            nobody: Any = None
            address = choose_address(tmp_path / "log.db")
            async with SocketServer(nobody, address, documents=storage.documents) as server:
                yield SocketClient(server.address).documents

    return documents


@on_a_loop
async def test_what_was_kept_is_found_under_its_kind_tenant_and_name(opened: Any):
    async with opened() as documents:
        assert await documents.get("client", "a", "one") is None
        revision = await documents.put("client", "a", "one", b"\x00body", at=NOON)

        found = await documents.get("client", "a", "one")
        assert found == ("client", "a", "one", b"\x00body", revision, NOON)
        for other in (("person", "a", "one"), ("client", "b", "one"), ("client", "a", "two")):
            assert await documents.get(*other) is None


@on_a_loop
async def test_a_list_is_of_one_tenant_or_of_all_in_pages_by_tenant_and_name(opened: Any):
    async with opened() as documents:
        for tenant, name in (("b", "1"), ("a", "2"), ("a", "1"), ("c", "0")):
            await documents.put("client", tenant, name, b"", at=NOON)
        await documents.put("other", "a", "9", b"", at=NOON)

        whole = [(one.tenant, one.name) for one in await documents.list("client")]
        assert whole == [("a", "1"), ("a", "2"), ("b", "1"), ("c", "0")]
        assert [(one.tenant, one.name) for one in await documents.list("client", tenant="a")] == whole[:2]
        paged = await documents.list("client", after=("a", "1"), limit=2)
        assert [(one.tenant, one.name) for one in paged] == whole[1:3]


@on_a_loop
async def test_of_two_changes_that_expect_one_revision_one_is_made(opened: Any):
    async with opened() as documents:
        put = documents.put
        first = await asyncio.gather(*(put("k", "t", "n", b"%d" % n, at=NOON, expected=0) for n in range(8)))
        (revision,) = [one for one in first if one is not None]
        winner = first.index(revision)
        assert (await documents.get("k", "t", "n")).body == b"%d" % winner

        assert await put("k", "t", "n", b"stale", at=NOON, expected=revision + 1) is None
        assert not await documents.remove("k", "t", "n", expected=revision + 1)
        newer = await put("k", "t", "n", b"newer", at=NOON, expected=revision)
        assert newer is not None
        assert newer > revision
        assert await documents.remove("k", "t", "n", expected=newer)
        assert not await documents.remove("k", "t", "n")
        assert await documents.get("k", "t", "n") is None


@on_a_loop
async def test_the_revision_of_a_kind_grows_with_each_change_and_with_no_other(opened: Any):
    async with opened() as documents:
        seen = [await documents.revision("k")]
        assert seen == [0]
        await documents.put("k", "t", "n", b"1", at=NOON)
        seen.append(await documents.revision("k"))
        await documents.put("k", "t", "n", b"2", at=NOON, expected=99)
        await documents.remove("k", "t", "no such")
        await documents.put("other", "t", "n", b"", at=NOON)
        assert await documents.revision("k") == seen[-1]
        await documents.remove("k", "t", "n")
        seen.append(await documents.revision("k"))
        await documents.put("k", "t", "n", b"3", at=NOON)
        seen.append(await documents.revision("k"))
        assert seen == sorted(set(seen))


@on_a_loop
async def test_a_restart_leaves_what_was_answered_and_a_closed_store_says_so(
    opened: Any, request: pytest.FixtureRequest
):
    async with opened() as documents:
        kept = await documents.put("k", "t", "n", b"body", at=NOON)
    async with opened() as documents:
        assert (await documents.get("k", "t", "n")).revision == kept == await documents.revision("k")
    if "memory" not in request.node.name:
        with pytest.raises(Unavailable):
            await documents.put("k", "t", "n", b"later", at=NOON)


@on_a_loop
async def test_a_put_whose_answer_was_lost_is_answered_when_it_is_sent_again():
    empty_postgres_log()
    async with Proxy(server_url()) as proxy:
        log = PostgresLog(proxy.url, schema=SCHEMA)
        documents = PostgresDocuments(log)
        await documents.put("k", "t", "n", b"first", at=NOON, expected=0)
        proxy.cut("after the server has done it")

        revision = await documents.put("k", "t", "n", b"second", at=NOON, expected=1)

        assert (proxy.cuts, revision) == (1, 2)
        assert (await documents.get("k", "t", "n"))[3:5] == (b"second", 2)
        await log.close()
