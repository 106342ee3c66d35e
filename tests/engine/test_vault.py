"""Secrets of tenants: kept sealed, read by their own runs, seen by nobody."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from headgate.app import App
from headgate.authoring import load_definition
from headgate.core.definition import Definition
from headgate.core.errors import Invalid, NotFound, Refused, Unavailable
from headgate.engine import vault as vault_module
from headgate.engine.logs import PlainFormatter
from headgate.engine.sealing import Sealer
from headgate.engine.start import Start
from headgate.engine.vault import Vault
from headgate.ports import SecretLine
from headgate.stores.documents import MemoryDocuments
from headgate.stores.sqlite import SqliteLog
from headgate.testing.clock import VirtualClock

SECRET = "gh0st-of-a-token-7719"
OTHER = "an0ther-token-2846-x"
ASKS = """
name: asks
activities:
  call: {use: reach, with: {token: "{{ SECRET.api_token }}"}}
  keep: {use: transform, after: [call], with: {said: "{{ call.said }}"}}
"""


def new_vault(documents: Any = None, clock: Any = None, key: bytes = b"k" * 32, **own: str) -> Vault:
    return Vault(documents or MemoryDocuments(), clock or VirtualClock(), lambda: Sealer(key), own=own)


def played(scene: Any) -> None:
    asyncio.run(asyncio.wait_for(scene(), 30))


def test_a_secret_is_its_tenants_alone():
    async def scene() -> None:
        vault = new_vault()

        await vault.set("acme", "api_token", SECRET)

        assert await vault.of("acme") == {"API_TOKEN": SECRET}
        assert await vault.of("bolt") == {}
        assert await vault.of("default") == {}
        assert (vault.values("acme"), vault.values("bolt"), vault.values(None)) == ((SECRET,), (), (SECRET,))

    played(scene)


def test_secrets_of_the_environment_are_the_default_tenants_and_one_that_was_set_wins_over_them():
    async def scene() -> None:
        vault = new_vault(API_TOKEN="from outside", OTHER="too")

        await vault.set("default", "API_TOKEN", SECRET)

        assert await vault.of("default") == {"API_TOKEN": SECRET, "OTHER": "too"}
        assert await vault.of("acme") == {}
        assert [line.name for line in await vault.lines("default")] == ["API_TOKEN", "OTHER"]
        assert [line.at > 0 for line in await vault.lines("default")] == [True, False]
        await vault.remove("default", "api_token")
        assert (await vault.of("default"))["API_TOKEN"] == "from outside"

    played(scene)


def test_what_is_kept_is_sealed_and_stands_for_nothing_elsewhere(caplog: pytest.LogCaptureFixture):
    async def scene() -> None:
        documents = MemoryDocuments()
        await new_vault(documents).set("acme", "API_TOKEN", SECRET)
        await new_vault(documents).set("bolt", "API_TOKEN", OTHER)

        kept = [one.body for one in await documents.list("secret")]
        assert not any(SECRET.encode() in body or OTHER.encode() in body for body in kept)
        await documents.put("secret", "bolt", "API_TOKEN", kept[0], at=1)
        moved = new_vault(documents)

        assert await moved.of("bolt") == {}
        assert await moved.of("acme") == {"API_TOKEN": SECRET}
        assert "secret API_TOKEN of the tenant bolt" in caplog.text
        with pytest.raises(Unavailable, match="was sealed with the key"):
            await new_vault(documents, key=b"x" * 32).of("acme")

    played(scene)


def test_a_change_is_seen_by_another_node_within_a_second():
    async def scene() -> None:
        documents, clock = MemoryDocuments(), VirtualClock()
        here, there = new_vault(documents, clock), new_vault(documents, clock)
        assert await there.of("acme") == {}

        await here.set("acme", "API_TOKEN", SECRET)
        clock.advance(to=clock.now() + 1_000_000)

        assert await there.of("acme") == {"API_TOKEN": SECRET}
        await here.remove("acme", "API_TOKEN")
        clock.advance(to=clock.now() + 1_000_000)
        assert await there.of("acme") == {}

    played(scene)


@pytest.mark.parametrize("name", ["", "with space", "1st", "a" * 101, "provider:", "a/b", "other:x"])
def test_a_name_that_is_none_is_refused(name: str):
    async def scene() -> None:
        with pytest.raises(Invalid, match="Expected a secret's name"):
            await new_vault().set("acme", name, SECRET)

    played(scene)


def test_there_are_as_many_secrets_as_there_may_be_and_none_is_empty_or_huge(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(vault_module, "SECRETS_MAX", 2)

    async def scene() -> None:
        vault = new_vault()
        await vault.set("acme", "A", "1")
        await vault.set("bolt", "B", "2")

        with pytest.raises(Refused, match="There are 2 secrets already"):
            await vault.set("acme", "C", "3")
        await vault.set("acme", "A", "another")
        for value in ("", "x" * (vault_module.SECRET_BYTES_MAX + 1)):
            with pytest.raises(Invalid, match="to have 1 to 65,536 bytes"):
                await vault.set("acme", "A", value)
        with pytest.raises(NotFound, match="There is no secret 'NONE'"):
            await vault.remove("acme", "NONE")

    played(scene)


def test_runs_read_their_own_tenants_secrets_and_nothing_that_is_kept_or_logged_holds_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    got: list[tuple[str, str]] = []

    async def reach(parameters: dict[str, Any], ctx: Any) -> Any:
        got.append((ctx.task.tenant, parameters["token"]))
        logging.getLogger("test").warning("asking with %s", parameters["token"])
        return {"said": f"hello {parameters['token']}"}

    definition = load_definition(ASKS, activities=frozenset({"reach"}))

    async def scene() -> None:
        log = SqliteLog(tmp_path / "log.db")
        async with App(log, environment={}, folder=tmp_path, activities={"reach": reach}) as app:
            line = await app.desk.set_secret("API_TOKEN", SECRET, tenant="acme")
            await app.desk.set_secret("API_TOKEN", OTHER, tenant="bolt")
            assert SECRET not in repr((line, await app.desk.secrets(tenant="acme")))
            for tenant in ("acme", "bolt"):
                assert (await run_of(app, definition, tenant)).head.status == "completed"
            failed = await run_of(app, definition, "nobody")
            assert (failed.head.status, "api_token" in failed.head.error) == ("failed", True)

    played(scene)

    assert sorted(got) == [("acme", SECRET), ("bolt", OTHER)]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    for path in files:
        held = path.read_bytes()
        assert SECRET.encode() not in held, path
        assert OTHER.encode() not in held, path
    lines = [PlainFormatter().format(record) for record in caplog.records]
    assert any("asking with [secret]" in line for line in lines)
    assert not any(SECRET in line or OTHER in line for line in lines)


async def run_of(app: App, definition: Definition, tenant: str) -> Any:
    await app.engine.definitions.deploy(definition, tenant=tenant)
    started = await app.engine.start(Start(workflow=definition.name, tenant=tenant))
    return await app.engine.finished(started.id)


def test_a_report_of_a_claim_that_another_process_gave_is_searched_for_its_tenants_secrets(tmp_path: Path):
    definition = load_definition(
        "name: outside\nactivities:\n  work: {use: count, queue: outside}\n", activities=frozenset({"count"})
    )
    open_log = partial(SqliteLog, tmp_path / "log.db")

    async def scene() -> None:
        async with App(open_log(), environment={}, folder=tmp_path) as app:
            await app.desk.set_secret("API_TOKEN", SECRET, tenant="acme")
            await app.engine.definitions.deploy(definition, tenant="acme")
            run = await app.engine.start(Start(workflow="outside", tenant="acme"))
            (task,) = await app.protocol.poll(["outside"], worker_id="w", count=1, wait_seconds=20)
        async with App(open_log(), environment={}, folder=tmp_path) as app:
            from headgate.ports import Completed

            await app.protocol.report([Completed(task.activity_id, {"said": SECRET})], worker_id="w")
            shown = await app.desk.show(run.id)

        assert shown.activities[0].output == {"said": "[secret]"}

    played(scene)


def test_the_lines_of_secrets_have_no_room_for_values():
    assert SecretLine.__struct_fields__ == ("name", "at")
