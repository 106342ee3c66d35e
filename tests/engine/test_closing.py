"""Closing a tenant: nobody comes in for it, nothing goes on for it, and others do not feel it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headgate.api.caller import Forbidden, Unauthorized
from headgate.authoring import load_definition
from headgate.core.errors import NotFound, OverQuota, Refused
from headgate.engine.start import Start
from headgate.ports import Closed, Hook, RunsWanted, Schedule, Tenant, Webhook
from headgate.stores.sqlite import SqliteLog

WAITS = "name: waits\nactivities:\n  say: {use: echo, with: {text: planted-word}}\n  ask: {use: approval}\n"
ABOVE = "name: above\nactivities:\n  call: {workflow: waits}\n"
KEY = {"HEADGATE_KEY": f"{'A' * 43}="}
ALL = Closed(tenant="acme", clients=1, users=1, hooks=1, schedules=1, runs=2, webhooks=1, secrets=1)


@pytest.fixture
def log(tmp_path: Path) -> SqliteLog:
    return SqliteLog(tmp_path / "log.db")


async def settle(bench: Any, tenant: str) -> Any:
    """Give a tenant one of everything, and runs that wait; return a token of its client."""
    app, desk = bench.app, bench.app.desk.of(tenant, "client:robot")
    await app.desk.set_tenant(Tenant(name=tenant, runs_max=50))
    for text in (WAITS, ABOVE):
        await app.engine.definitions.deploy(load_definition(text), tenant=tenant)
    await desk.schedule(Schedule(id="", name="nightly", workflow="", every_seconds=3600), definition=WAITS, files={})
    await desk.set_secret("TOKEN", "s3cret-of-a-tenant")
    await desk.add_webhook(Webhook(id="", url="https://example.org/news"))
    await desk.add_hook(Hook(name="orders", workflow="waits", scheme="token", secret="a secret of theirs"))
    await app.auth.users.create(tenant, "ada", "viewer", "a secret of hers", by="user:ann")
    for workflow in ("waits", "above"):  # which begins a third
        await app.engine.start(Start(workflow=workflow, tenant=tenant))
    await bench.rest()
    made = await app.auth.clients.create(tenant, "robot", ["admin"], by="user:ann")
    return (await app.auth.token_for_client(made.client.id, made.secret)).access_token


async def open_runs(bench: Any, tenant: str) -> int:
    return await bench.log.count_runs(RunsWanted(tenant=tenant, unfinished=True))


def test_a_tenant_that_is_closed_has_nothing_that_comes_in_or_goes_on_and_others_keep_all(play: Any, log: SqliteLog):
    async def scene(bench: Any) -> None:
        app = bench.app
        theirs, others = await settle(bench, "acme"), await settle(bench, "bolt")
        assert (await open_runs(bench, "acme"), await open_runs(bench, "bolt")) == (3, 3)

        done = await app.desk.close_tenant("acme", by="ann")
        await bench.rest()

        assert done == ALL
        with pytest.raises(Unauthorized):
            await app.auth.identify_token(theirs)
        assert await app.auth.users.find("acme/ada", "a secret of hers") is None
        acme = app.desk.of("acme", "client:robot")
        assert (await app.hooks.all("acme"), await app.telling.webhooks.all("acme"), await acme.secrets()) == (
            [],
            [],
            [],
        )
        assert [one.enabled for one in await acme.schedules()] == [False]
        statuses = {row.head.status for row in await bench.log.runs(RunsWanted(tenant="acme"))}
        assert (statuses, await open_runs(bench, "acme")) == ({"cancelled"}, 0)
        with pytest.raises(OverQuota):
            await app.engine.start(Start(workflow="waits", tenant="acme"))

        bolt = app.desk.of("bolt", "client:robot")
        assert (await app.auth.identify_token(others)).tenant == "bolt"
        assert [len(await app.hooks.all("bolt")), len(await app.telling.webhooks.all("bolt"))] == [1, 1]
        assert [len(await bolt.secrets()), len(await bolt.schedules())] == [1, 1]
        assert await open_runs(bench, "bolt") == 3

        again = await app.desk.close_tenant("acme", by="ann")
        assert again == Closed(tenant="acme")

    play(scene, log, environment=KEY)


def test_all_runs_of_a_tenant_that_was_closed_can_be_erased_and_none_of_another(
    play: Any, log: SqliteLog, tmp_path: Path
):
    async def scene(bench: Any) -> None:
        await settle(bench, "acme")
        await settle(bench, "bolt")
        with pytest.raises(Refused, match="have not ended"):
            await bench.app.desk.erase(tenant="acme")
        await bench.app.desk.close_tenant("acme", by="ann")
        await bench.rest()

        done = await bench.app.desk.erase(tenant="acme", by="ann")

        assert len(done.runs) == 3
        rows = await bench.log.runs(limit=100)
        assert {row.erased for row in rows if row.tenant == "acme"} == {True}
        assert {row.erased for row in rows if row.tenant == "bolt"} == {False}
        assert (await bench.app.desk.erase(tenant="acme")).runs == ()
        with pytest.raises(Forbidden, match="only the tenant 'default' may"):
            await bench.app.desk.of("bolt", "client:robot").erase(tenant="acme")

    play(scene, log, environment=KEY)


def test_who_was_not_made_or_has_the_machine_is_not_closed(play: Any, log: SqliteLog):
    async def scene(bench: Any) -> None:
        with pytest.raises(NotFound, match="There is no tenant 'amce'"):
            await bench.app.desk.close_tenant("amce")
        await bench.app.desk.set_tenant(Tenant(name="default", runs_max=1_000))
        with pytest.raises(Refused, match="cannot be closed"):
            await bench.app.desk.close_tenant("default")
        with pytest.raises(Forbidden, match="only the tenant 'default' may"):
            await bench.app.desk.of("bolt", "client:robot").close_tenant("acme")

    play(scene, log, environment=KEY)
