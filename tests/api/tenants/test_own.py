"""What a tenant has of its own over HTTP: secrets and quotas."""

from __future__ import annotations

from typing import Any

from tests.api.conftest import Desk
from tests.api.tenants.routes import ASKING, HELLO, STREAM, furnish

from headgate.ports import Tenant


def test_a_secret_goes_in_and_never_comes_back(stage: Any):
    async def scene(acme: Desk, bolt: Desk) -> None:
        answers = [
            await acme.post("/secrets", {"name": "api_token", "value": "s3cret-of-acme"}),
            await acme.get("/secrets"),
            await acme.post("/secrets", {"name": "not a name", "value": "s3cret-of-acme"}),
            await bolt.get("/secrets"),
            await acme.client.delete("/secrets/API_TOKEN"),
            await acme.client.delete("/secrets/API_TOKEN"),
        ]

        assert [answer.status_code for answer in answers] == [200, 200, 422, 200, 200, 404]
        assert not any("s3cret" in answer.text for answer in answers)
        assert [one["name"] for one in answers[1].json()["secrets"]] == ["API_TOKEN"]
        assert answers[3].json() == {"secrets": [], "count": 0, "next_cursor": None}

    stage(scene)


def test_what_admins_do_to_secrets_and_tenants_is_written_down_without_values(stage: Any):
    async def scene(acme: Desk, bolt: Desk) -> None:
        await acme.post("/secrets", {"name": "api_token", "value": "s3cret-of-acme"})
        await acme.client.delete("/secrets/API_TOKEN")
        await acme.post("/tenants", {"name": "own"})
        await acme.post("/tenants", {"name": "acme", "runs_max": 5}, headers={"x-tenant": "default"})

        own = await acme.get("/admin/acts")
        servers = await acme.get("/admin/acts", headers={"x-tenant": "default"})

        assert [act["act"] for act in own.json()["acts"]] == ["secret.remove", "secret.set"]
        assert [(act["act"], act["on"], act["details"]) for act in servers.json()["acts"]] == [
            ("tenant.create", "acme", {"runs_max": 5})
        ]
        assert "s3cret" not in own.text

    stage(scene)


def test_only_the_servers_own_tenant_administers_tenants(stage: Any):
    async def scene(acme: Desk, bolt: Desk) -> None:
        own = {"x-tenant": "default"}
        quotas = {"runs_max": 1, "spend_per_month_usd": 2.5}
        made = await acme.post("/tenants", {"name": "acme", **quotas}, headers=own)
        again = await acme.post("/tenants", {"name": "acme"}, headers=own)
        changed = await acme.post("/tenants/acme", {"runs_max": 2}, headers=own)
        unknown = await acme.post("/tenants/nobody", {"runs_max": 2}, headers=own)
        shown = await acme.get("/tenants/acme", headers=own)

        codes = [answer.status_code for answer in (made, again, changed, unknown, shown)]
        assert codes == [201, 409, 200, 404, 200]
        assert made.json().items() >= quotas.items()
        assert (shown.json()["runs_max"], shown.json()["spend_per_month_usd"]) == (2, None)
        assert shown.json()["used"]["runs"] == 0
        assert (await bolt.get("/tenants")).status_code == 403

    stage(scene)


def test_a_tenant_is_closed_by_the_servers_admins_and_what_it_had_is_ended_once(stage: Any):
    async def scene(acme: Desk, bolt: Desk) -> None:
        await furnish(acme)
        await bolt.deploy(ASKING)
        others = await bolt.start("asking")
        own = {"x-tenant": "default"}
        others_admin = await bolt.post("/tenants/acme/close")
        no_admin = await acme.post("/tenants/acme/close", headers=own | {"x-scopes": "runs:read runs:write approvals"})
        assert (others_admin.status_code, no_admin.status_code) == (403, 403)
        assert (await acme.get("/workflows?status=cancelled")).json()["total"] == 0

        closed = await acme.post("/tenants/acme/close", headers=own)
        again = await acme.post("/tenants/acme/close", headers=own)

        counts = {"clients": 1, "users": 1, "hooks": 1, "schedules": 1, "runs": 3, "webhooks": 1, "secrets": 1}
        assert (closed.status_code, closed.json()) == (200, {"name": "acme", **counts})
        assert (again.status_code, again.json()) == (200, {"name": "acme", **dict.fromkeys(counts, 0)})
        assert (await acme.post("/workflows", {"definition_name": "asking"})).status_code == 429
        assert (await bolt.get(f"/workflows/{others['workflow_id']}")).json()["status"] != "cancelled"
        refused = [await acme.post(f"/tenants/{name}/close", headers=own) for name in ("nobody", "default")]
        assert [answer.status_code for answer in refused] == [404, 409]
        acts = (await acme.get("/admin/acts", headers=own)).json()["acts"]
        assert [(act["act"], act["on"]) for act in acts] == [("tenant.close", "acme")] * 2

    stage(scene)


def test_a_start_over_quota_is_answered_with_429_and_when_to_come_back(stage: Any):
    async def scene(acme: Desk, bolt: Desk) -> None:
        await acme.app.desk.set_tenant(Tenant(name="acme", runs_max=1))
        await acme.deploy(ASKING)
        await acme.start("asking")

        answer = await acme.post("/workflows", {"definition_name": "asking"})

        assert answer.status_code == 429
        assert answer.json()["error"]["code"] == "RATE_LIMIT_EXCEEDED"
        assert "has 1 runs that have not ended, and may have 1" in answer.json()["error"]["message"]
        assert int(answer.headers["retry-after"]) >= 1

    stage(scene)


def test_a_client_that_asks_too_often_is_told_when_and_others_are_not_kept_waiting(stage: Any):
    async def scene(acme: Desk, bolt: Desk) -> None:
        await acme.app.desk.set_tenant(Tenant(name="acme", requests_per_minute=30))

        answers = [await acme.get("/workflows") for _ in range(5)]

        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert (await bolt.get("/workflows")).status_code == 200
        assert (await acme.get("/health")).status_code == 200

    stage(scene)


def test_a_stream_over_quota_is_refused_before_it_begins(stage: Any):
    async def scene(acme: Desk, bolt: Desk) -> None:
        await acme.app.desk.set_tenant(Tenant(name="acme", connections_max=0))
        await acme.deploy(HELLO)
        run = await acme.start("hello", wait=20)

        refused = await acme.get(f"/workflows/{run['id']}/events", headers=STREAM)
        await acme.app.desk.set_tenant(Tenant(name="acme", connections_max=1))
        whole = await acme.get(f"/workflows/{run['id']}/events", headers=STREAM)

        assert (refused.status_code, whole.status_code) == (429, 200)
        assert "event: run_completed" in whole.text
        assert (await acme.app.desk.tenant("acme")).connections == 0

    stage(scene)
