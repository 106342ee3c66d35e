"""Row-level security: a role that reads sees one tenant's rows, and without a tenant none."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from tests.postgres_logs import SCHEMA, empty_postgres_log, server_url

from headgate.engine.lane import INLINE_BYTES_MAX
from headgate.ports import Move
from headgate.testing.log_conformance import NOON, HandmadeRun

READER, BOUND = "headgate_test_reader", "headgate_test_bound"
READABLE = {"runs", "events", "blobs", "spend", "definitions"}

Scene = Callable[["Roles"], Awaitable[None]]


class Roles:
    """A log with runs of two tenants, and ways to ask its server."""

    def __init__(self, owner: asyncpg.Connection[Any]) -> None:
        self.owner = owner

    @asynccontextmanager
    async def reader(self, role: str = READER) -> AsyncGenerator[asyncpg.Connection[Any]]:
        url = re.sub(r"//[^@]*@", f"//{role}@", server_url())
        connection = await asyncpg.connect(url, server_settings={"search_path": SCHEMA})
        try:
            yield connection
        finally:
            await connection.close()

    async def tables(self) -> list[str]:
        rows = await self.owner.fetch(
            "select relname from pg_class where relnamespace = to_regnamespace($1) and relkind in ('r', 'p', 'v')",
            SCHEMA,
        )
        return sorted(row["relname"] for row in rows)


@pytest.fixture
def play() -> Callable[[Scene], None]:
    def run(scene: Scene) -> None:
        async def whole() -> None:
            log = empty_postgres_log()
            try:
                for tenant in ("acme", "bolt"):
                    run = HandmadeRun(log, f"run-of-{tenant}", tenant=tenant)
                    big = "x" * (INLINE_BYTES_MAX + 1)
                    await run.commit(
                        [{"of": tenant}, big], moves=[Move(f"{tenant}/tenant/day/1", limit=5)], commands=["c"]
                    )
                    await run.commit(spend=[run.spent(7)])
                    await log.save_definition("v1", "letters", b"{}", NOON, tenant=tenant)
                owner = await asyncpg.connect(server_url(), server_settings={"search_path": SCHEMA})
                try:
                    for role, tenant in ((READER, None), (BOUND, "acme")):
                        known = await owner.fetchval("select 1 from pg_roles where rolname = $1", role)
                        if not known:
                            await owner.execute(f"create role {role} login")
                        await owner.execute("select let_read($1, $2)", role, tenant)
                    await scene(Roles(owner))
                finally:
                    await owner.close()
            finally:
                await log.close()

        asyncio.run(asyncio.wait_for(whole(), 60))

    return run


async def seen(connection: asyncpg.Connection[Any]) -> dict[str, int]:
    return {name: await connection.fetchval(f"select count(*) from {name}") for name in sorted(READABLE)}


NOTHING = dict.fromkeys(sorted(READABLE), 0)
OWN = {"blobs": 1, "definitions": 1, "events": 3, "runs": 1, "spend": 1}


def test_a_role_without_a_tenant_sees_no_row_of_any_table(play: Any):
    async def scene(roles: Roles) -> None:
        async with roles.reader() as reader:
            assert await seen(reader) == NOTHING
            await reader.execute("set headgate.tenant = ''")
            assert await seen(reader) == NOTHING
            await reader.execute("set headgate.tenant = 'nobody'")
            assert await seen(reader) == NOTHING
        assert await seen(roles.owner) == {name: 2 * count for name, count in OWN.items()}

    play(scene)


def test_a_role_sees_the_rows_of_the_tenant_that_is_set_and_no_others(play: Any):
    async def scene(roles: Roles) -> None:
        async with roles.reader() as reader:
            for tenant, other in (("acme", "bolt"), ("bolt", "acme")):
                await reader.execute(f"set headgate.tenant = '{tenant}'")

                assert await seen(reader) == OWN
                assert await reader.fetchval("select id from runs") == f"run-of-{tenant}"
                contents = await reader.fetch("select content from events where content is not null")
                assert [row["content"] for row in contents] == [f'{{"of":"{tenant}"}}'.encode()]
                assert await reader.fetchval("select count(*) from runs where id = $1", f"run-of-{other}") == 0
                assert await reader.fetchval("select count(*) from runs where tenant = $1", other) == 0

    play(scene)


def test_a_role_that_is_bound_to_a_tenant_cannot_choose_another(play: Any):
    async def scene(roles: Roles) -> None:
        async with roles.reader(BOUND) as reader:
            assert await seen(reader) == OWN
            await reader.execute("set headgate.tenant = 'bolt'")
            assert await reader.fetchval("select id from runs") == "run-of-acme"

    play(scene)


def test_every_other_table_is_closed_to_readers_and_all_are_closed_to_their_writing(play: Any):
    async def scene(roles: Roles) -> None:
        tables = await roles.tables()
        assert set(tables) > READABLE
        async with roles.reader() as reader:
            await reader.execute("set headgate.tenant = 'acme'")
            for name in tables:
                if name not in READABLE:
                    with pytest.raises(asyncpg.InsufficientPrivilegeError):
                        await reader.fetch(f"select * from {name}")
                for statement in (f"delete from {name}", f"truncate {name}", f"insert into {name} default values"):
                    with pytest.raises(asyncpg.InsufficientPrivilegeError):
                        await reader.execute(statement)
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await reader.execute("select let_read($1, 'bolt')", READER)

    play(scene)
