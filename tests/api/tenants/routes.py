"""Every route, and how it is asked for what is another tenant's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tests.api.conftest import Desk

from headgate.api.caller import EVERYTHING, Caller
from headgate.core.run_ids import uuid_of
from headgate.ports import BudgetRule, Hook, Schedule, Tenant, Webhook

HELLO = """
name: hello
activities:
  one: {use: echo, with: {x: secret of acme}}
  two: {use: llm_prompt, after: [one], with: {model: demo/small, prompt: "Summarise: acme has secrets."}}
"""
ASKING = "name: asking\nactivities:\n  ask: {use: approval, with: {title: Go on?}}\n"
OUTSIDE = "name: outside\nactivities:\n  tally: {use: count, queue: outside, timeout: 60s}\n"
SCHEDULED = "name: nightly\nactivities:\n  one: {use: echo}\n"


class Ids(NamedTuple):
    """What a stranger would have to know. Each stands in answers under its own name when they are compared."""

    done: str
    waiting: str
    held: str
    activity: str
    definition: str
    version: str
    schedule: str
    unique_key: str
    secret: str
    tenant: str
    client: str
    user: str
    webhook: str
    hook: str
    attempt: str
    """The UUID of `activity`."""

    @property
    def as_uuids(self) -> Ids:
        """The same runs and the same task by their UUIDs."""
        done, waiting, held = (uuid_of(run) for run in self[:3])
        return self._replace(done=done, waiting=waiting, held=held, activity=self.attempt)


NEVER = Ids(
    done="zyzyzyzyzyzyzyzyzyzy",
    waiting="xvxvxvxvxvxvxvxvxvxv",
    held="wawawawawawawawawawa",
    activity="wawawawawawawawawawa~tally~1~0123456789abcdef",
    definition="nothing",
    version="0123456789abcdef",
    schedule="never",
    unique_key="order-8",
    secret="NO_TOKEN",
    tenant="nobody",
    client="no-client",
    user="no-user",
    webhook="vivivivivivivivivivi",
    hook="no-hook",
    attempt=uuid_of("wawawawawawawawawawa", 3),
)


class Probe(NamedTuple):
    """One request of a stranger. `{name}` in path and query stands for an id."""

    path: str
    body: Callable[[Ids], Any] | None = None
    headers: Mapping[str, str] = {}


class Everybody(NamedTuple):
    """A route that tells nothing of any tenant, and why."""

    why: str


STREAM = {"accept": "text/event-stream"}
WALK: dict[str, tuple[Probe, ...] | Everybody] = {
    # First, for what a stranger tries later is an act of his own.
    "GET /admin/acts": (Probe("/admin/acts"),),
    "GET /workflows/{id}": (
        Probe("/workflows/{done}"),
        Probe("/workflows/{done}?outputs=false"),
        Probe("/workflows/{done}?at=1"),
        Probe("/workflows/{waiting}?wait=0.01"),
        Probe("/workflows/{held}?at=999"),
        Probe("/workflows/{done:.7}"),
        Probe("/workflows/-"),
    ),
    "POST /workflows": (
        Probe("/workflows", lambda ids: {"definition_name": ids.definition}),
        Probe("/workflows", lambda ids: {"definition_name": ids.definition, "version": ids.version}),
        Probe("/workflows", lambda ids: {"definition_name": ids.definition, "unique_key": ids.unique_key}),
        Probe("/workflows", lambda ids: {"definition_name": ids.definition}, {"idempotency-key": "start-1"}),
        Probe("/workflows", lambda ids: {"definition_name": "own", "version": ids.version}),
    ),
    "GET /workflows": (
        Probe("/workflows"),
        Probe("/workflows?q={done}"),
        Probe("/workflows?q={unique_key}"),
        Probe("/workflows?definition_name={definition}"),
        Probe("/workflows?status=waiting"),
        Probe("/workflows?cursor={waiting}"),
    ),
    "GET /workflows/{id}/output": (Probe("/workflows/{done}/output"), Probe("/workflows/{done:.6}/output")),
    "GET /workflows/{id}/activities/{key}/output": (
        Probe("/workflows/{done}/activities/one/output"),
        Probe("/workflows/{done}/activities/none/output"),
    ),
    "POST /workflows/{id}/signal": (
        Probe("/workflows/{waiting}/signal", lambda _: {"event_name": "go", "data": 1}),
        Probe("/workflows/{waiting}/signal", lambda _: {"activity_key": "ask"}),
    ),
    "POST /workflows/{id}/cancel": (Probe("/workflows/{waiting}/cancel", lambda _: {"reason": "out of spite"}),),
    "POST /workflows/{id}/pause": (Probe("/workflows/{waiting}/pause", lambda _: {}),),
    "POST /workflows/{id}/resume": (Probe("/workflows/{waiting}/resume"),),
    "POST /workflows/{id}/retry": (Probe("/workflows/{done}/retry"),),
    "POST /workers/poll": (
        Probe("/workers/poll", lambda _: {"worker": "outside", "worker_id": "bolt-1", "max_activities": 100}),
        Probe("/workers/poll", lambda _: {"worker": "std", "worker_id": "bolt-1", "max_activities": 100}),
    ),
    "POST /workers/tasks": (
        Probe("/workers/tasks", lambda _: {"worker": "outside", "worker_id": "bolt-1", "max_activities": 100}),
    ),
    "POST /activities/complete": (
        Probe("/activities/complete", lambda ids: {"activities": [{"activity_id": ids.activity, "output": 1}]}),
    ),
    "POST /workers/reports": (
        Probe(
            "/workers/reports",
            lambda ids: {"worker_id": "bolt-1", "reports": [{"activity_id": ids.activity, "output": 1}]},
        ),
    ),
    "POST /activities/{activity}/ws/restart": (Probe("/activities/{activity}/ws/restart"),),
    "POST /activities/{activity}/heartbeat": (Probe("/activities/{activity}/heartbeat", lambda _: {"worker_id": "b"}),),
    "POST /activities/{activity}/complete": (
        Probe("/activities/{activity}/complete", lambda _: {"output": {"by": "bolt"}, "cost_usd": 7}),
    ),
    "POST /activities/{activity}/fail": (
        Probe("/activities/{activity}/fail", lambda _: {"error": {"message": "broken by bolt", "retryable": False}}),
    ),
    "POST /activities/{activity}/calls": (
        Probe("/activities/{activity}/calls", lambda ids: _call(ids)),
        Probe("/activities/{activity}/calls", lambda ids: _call(ids) | {"reuse": ["f" * 32]}),
    ),
    "POST /activities/{activity}/calls/{call}/settle": (
        Probe("/activities/{activity}/calls/{activity}~1/settle", lambda _: {"outcome": "never_sent"}),
    ),
    "POST /activities/{activity}/effects": (Probe("/activities/{activity}/effects", lambda _: {"what": "mail"}),),
    "POST /activities/{activity}/ws/token": (Probe("/activities/{activity}/ws/token", lambda _: {"token": "bolt"}),),
    "POST /activities/{activity}/ws/complete": (Probe("/activities/{activity}/ws/complete", lambda _: {}),),
    "POST /activities/{activity}/ws/error": (
        Probe("/activities/{activity}/ws/error", lambda _: {"error": "broken by bolt"}),
    ),
    "GET /activities/{activity}/ws/subscribers": (Probe("/activities/{activity}/ws/subscribers"),),
    "GET /activities/{activity}/stream": (Probe("/activities/{activity}/stream", headers=STREAM),),
    "GET /workflows/{id}/activities/{key}/stream": (
        Probe("/workflows/{done}/activities/two/stream", headers=STREAM),
        Probe("/workflows/{waiting}/activities/ask/stream", headers=STREAM),
    ),
    "GET /workflows/{id}/activities/{key}/files/{name}": (Probe("/workflows/{done}/activities/one/files/x"),),
    "POST /workflows/{id}/activities/{key}/files/{name}": (
        Probe("/workflows/{held}/activities/tally/files/x", lambda _: {}),
    ),
    "POST /files/{name}": (Probe("/files/notes.txt", lambda _: {"of": "bolt"}),),
    "POST /workflows/{id}/tickets": (Probe("/workflows/{done}/tickets"), Probe("/workflows/{waiting}/tickets")),
    "GET /workflows/{id}/events": (
        Probe("/workflows/{done}/events"),
        Probe("/workflows/{waiting}/events?after=1"),
        Probe("/workflows/{done}/events", headers=STREAM),
        Probe("/workflows/{waiting}/events", headers=STREAM | {"last-event-id": "1"}),
    ),
    "POST /workflow_definitions": Everybody("it takes a text and asks for no id; see the test of equal contents"),
    "GET /runs": (Probe("/runs"), Probe("/runs?workflow={definition}"), Probe("/runs?status=waiting")),
    "GET /runs/{id}": (
        Probe("/runs/{done}"),
        Probe("/runs/{done}?at=1&contents=false"),
        Probe("/runs/{waiting}?wait=0.01"),
        Probe("/runs/{done:.7}"),
        Probe("/runs/-"),
    ),
    "GET /runs/{id}/events": (Probe("/runs/{done}/events"), Probe("/runs/{waiting}/events?after=1")),
    "GET /runs/{id}/spend": (Probe("/runs/{done}/spend"),),
    "GET /runs/{id}/updates": (
        Probe("/runs/{done}/updates", headers=STREAM),
        Probe("/runs/{waiting}/updates?tokens=true", headers=STREAM),
    ),
    "POST /runs/{id}/decide": (Probe("/runs/{waiting}/decide", lambda _: {"approved": True, "by": "bolt"}),),
    "GET /workflow_definitions": (Probe("/workflow_definitions"), Probe("/workflow_definitions?limit=1&after=a")),
    "GET /workflow_definitions/{name}": (
        Probe("/workflow_definitions/{definition}"),
        Probe("/workflow_definitions/{definition}?version={version}"),
        Probe("/workflow_definitions/own?version={version}"),
    ),
    "GET /workflows/{id}/cost": (Probe("/workflows/{done}/cost"),),
    "GET /workflows/{id}/cost/history": (Probe("/workflows/{done}/cost/history"),),
    "GET /cost/analytics": tuple(
        Probe(f"/cost/analytics?group_by={by}")
        for by in ("provider", "model", "definition", "tenant", "day", "activity", "prompt", "kind")
    ),
    "GET /approvals": (Probe("/approvals"),),
    "POST /approvals/{id}": (Probe("/approvals/{waiting}~ask", lambda _: {"approved": True, "by": "bolt"}),),
    "GET /schedules": (Probe("/schedules"),),
    "POST /schedules": (
        Probe("/schedules", lambda ids: {"name": "x", "definition_name": ids.definition, "cron": "0 0 * * *"}),
    ),
    "GET /schedules/{id}": (Probe("/schedules/{schedule}"),),
    "PATCH /schedules/{id}": (Probe("/schedules/{schedule}", lambda _: {"enabled": False}),),
    "POST /schedules/{id}/backfill": (
        Probe("/schedules/{schedule}/backfill", lambda _: {"from": "2026-01-01", "until": "2026-01-02"}),
    ),
    **{
        f"POST /schedules/{{id}}/{change}": (Probe(f"/schedules/{{schedule}}/{change}"),)
        for change in ("trigger", "pause", "resume")
    },
    "DELETE /schedules/{id}": (Probe("/schedules/{schedule}"),),
    "GET /webhooks": (Probe("/webhooks"),),
    "POST /webhooks": Everybody("it tells of the asker's own runs; see the tests of webhooks"),
    "GET /webhooks/{id}": (Probe("/webhooks/{webhook}"),),
    "PATCH /webhooks/{id}": (Probe("/webhooks/{webhook}", lambda _: {"url": "https://bolt.example"}),),
    "DELETE /webhooks/{id}": (Probe("/webhooks/{webhook}"),),
    "POST /webhooks/{id}/test": (Probe("/webhooks/{webhook}/test"),),
    "GET /webhooks/{id}/deliveries": (Probe("/webhooks/{webhook}/deliveries"),),
    "GET /hooks": (Probe("/hooks"),),
    "POST /hooks": (Probe("/hooks", lambda ids: {"name": ids.hook, "definition_name": ids.definition}),),
    "DELETE /hooks/{name}": (Probe("/hooks/{hook}"),),
    "POST /hooks/{name}": (Probe("/hooks/{hook}", lambda _: {}),),
    "POST /hooks/{tenant}/{name}": (
        Probe("/hooks/{tenant}/{hook}", lambda _: {}),
        Probe("/hooks/{tenant}/{hook}", lambda _: {}, {"x-webhook-token": "a token of bolt's"}),
    ),
    "GET /secrets": (Probe("/secrets"),),
    "POST /secrets": Everybody("it sets the asker's own; see the tests of the vault"),
    "DELETE /secrets/{name}": (Probe("/secrets/{secret}"),),
    "GET /me": (Probe("/me"),),
    "GET /llm/providers": (Probe("/llm/providers"),),
    "POST /llm/models/search": (Probe("/llm/models/search", lambda _: {"query": "small"}),),
    "DELETE /cache/{key}": (Probe("/cache/a"),),
    "POST /cache/invalidate": (Probe("/cache/invalidate", lambda _: {"all": True}),),
    "POST /logout": (Probe("/logout"),),
    "GET /clients": (Probe("/clients"),),
    "POST /clients": (Probe("/clients", lambda ids: {"name": ids.client, "scopes": ["everything"]}),),
    "POST /clients/{name}/rotate": (Probe("/clients/{client}/rotate", lambda _: {}),),
    "DELETE /clients/{name}": (Probe("/clients/{client}"),),
    "GET /users": (Probe("/users"),),
    "POST /users": (Probe("/users", lambda ids: {"name": ids.user, "role": "viewer", "password": "short"}),),
    "PATCH /users/{name}": (Probe("/users/{user}", lambda _: {"role": "admin"}),),
    "GET /tenants": (Probe("/tenants"),),
    "POST /tenants": (Probe("/tenants", lambda _: {"name": "acme"}), Probe("/tenants", lambda _: {"name": "other"})),
    "GET /tenants/{name}": (Probe("/tenants/{tenant}"),),
    "POST /tenants/{name}": (Probe("/tenants/{tenant}", lambda _: {"runs_max": 0}),),
    "POST /tenants/{name}/close": (Probe("/tenants/{tenant}/close"),),
    "GET /metrics": (Probe("/metrics"),),
    **{
        f"GET {path}": Everybody("it tells of the process, and of nobody's runs")
        for path in ("/health", "/health/live", "/health/ready", "/openapi.json", "/docs")
    },
    **{
        f"GET {path}": Everybody("it is asked without a login, and leads to one")
        for path in ("/login/oidc", "/login/oidc/callback")
    },
    **{
        f"POST {path}": Everybody("it is asked without a login; tests/api/auth tells what it tells")
        for path in ("/oauth/token", "/oauth/revoke", "/login")
    },
    **{
        f"{method} /approval_links/{{token}}": Everybody("whoever has the link may; tests/api/test_approvals.py")
        for method in ("GET", "POST")
    },
}


def _call(ids: Ids) -> dict[str, Any]:
    candidate = {"model": "openai/gpt-5", "worst_case": 1}
    return {"call_id": f"{ids.activity}~1", "request_hash": "f" * 32, "candidates": [candidate]}


async def by_header(headers: Mapping[str, str]) -> Caller:
    tenant, scopes = headers["x-tenant"], headers.get("x-scopes")
    granted = EVERYTHING if scopes is None else frozenset(scopes.split())
    return Caller(tenant=tenant, actor=f"client:{tenant}-1", scopes=granted)


async def furnish(acme: Desk) -> Ids:
    """Give acme something of everything."""
    versions = {text: (await acme.deploy(text))["version"] for text in (HELLO, ASKING, OUTSIDE)}
    done = await acme.start("hello", wait=20, unique_key="order-7")
    assert done["status"] == "completed"
    waiting = await acme.start("asking")
    held = await acme.start("outside")
    polled = await acme.post("/workers/tasks", {"worker": "outside", "worker_id": "acme-1", "wait_seconds": 20})
    (task,) = polled.json()
    claim = task["activity_id"].replace("/", "~")
    await acme.start("outside")  # its task stays in the queue
    desk = acme.app.desk.of("acme", "client:acme-1")
    await desk.schedule(
        Schedule(id="", name="nightly", workflow="", every_seconds=3600), definition=SCHEDULED, files={}
    )
    await desk.set_budget(BudgetRule(scope="tenant", period="day", limit=10**9))
    await desk.set_secret("API_TOKEN", "s3cret-of-acme")
    webhook = await desk.add_webhook(
        Webhook(id="", url="https://acme.example/news", description="of acme", events=("run_paused",))
    )
    hook = await desk.add_hook(Hook(name="tracker", workflow="hello", scheme="token", secret="a secret of acme"))
    await acme.app.desk.set_tenant(Tenant(name="acme", runs_max=100))
    await acme.app.auth.clients.create("acme", "robot", ["runs:read"], by="client:acme-1")
    await acme.app.auth.users.create("acme", "ada", "viewer", "a secret of acme", by="client:acme-1")
    for _ in range(200):
        if (await acme.get("/approvals")).json()["count"]:
            break
        await asyncio.sleep(0)
    return Ids(
        *(done["id"], waiting["workflow_id"], held["workflow_id"], claim, "hello", versions[HELLO]),
        *("nightly", "order-7", "API_TOKEN", "acme", "robot", "ada", webhook.id, hook.name),
        uuid_of(task["workflow_id"], task["scheduled_version"]),
    )
