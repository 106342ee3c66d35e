"""Tenant A never sees, signals, counts or infers tenant B: every route is walked by a stranger.

The stranger `bolt` asks each route for what is `acme`'s, by its right ids, and for what never was, by ids made up. The
answers must be the same but for the ids. A route that is not in the `WALK` fails the first test: add it, with what a
stranger could know.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
from tests.api.conftest import Desk

from headgate.api.caller import EVERYTHING, Caller
from headgate.api.http import HttpApplication
from headgate.api.http.table import ROUTES
from headgate.app import App
from headgate.core.run_ids import as_run_id, uuid_of
from headgate.ports import BudgetRule, Hook, Log, Schedule, Tenant, Webhook
from headgate.stores.memory import MemoryLog
from headgate.stores.sqlite import SqliteLog

HELLO = """
name: hello
activities:
  one: {use: echo, with: {x: secret of acme}}
  two: {use: llm_prompt, after: [one], with: {model: demo/small, prompt: "Summarise: acme has secrets."}}
"""
ASKING = "name: asking\nactivities:\n  ask: {use: approval, with: {title: Go on?}}\n"
OUTSIDE = "name: outside\nactivities:\n  tally: {use: count, queue: outside, timeout: 60s}\n"
READING = """
name: reading
inputs: {file: {type: any}}
activities:
  read: {use: file_read, with: {file: "{{ INPUT.file }}", as: text}}
  whole: {use: document_text, with: {file: "{{ INPUT.file }}"}}
  parts: {use: text_split, with: {text: "{{ INPUT.file }}"}}
  keep: {use: echo, with: {said: "{{ read.content }}"}, outputs: [{name: said, type: file}]}
outputs: {read: "{{ read.content }}", whole: "{{ whole.text }}", parts: "{{ parts.parts }}"}
"""
READ = {"read": "of acme", "whole": "of acme", "parts": ["of acme"]}
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


# --- The stage -------------------------------------------------------------------------------------------------------

LOGS: dict[str, Callable[[Path], Log]] = {
    "memory": lambda _: MemoryLog(),
    "sqlite": lambda folder: SqliteLog(folder / "log.db"),
}
Scene = Callable[[Desk, Desk], Awaitable[None]]


async def by_header(headers: Mapping[str, str]) -> Caller:
    tenant, scopes = headers["x-tenant"], headers.get("x-scopes")
    granted = EVERYTHING if scopes is None else frozenset(scopes.split())
    return Caller(tenant=tenant, actor=f"client:{tenant}-1", scopes=granted)


@pytest.fixture(params=sorted(LOGS))
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Scene], None]:
    """Return a function that plays a scene with `acme` and `bolt` at the same server."""

    def run(scene: Scene) -> None:
        async def whole() -> None:
            async with (
                asyncio.timeout(60),
                App(LOGS[request.param](tmp_path), environment={}, folder=tmp_path) as app,
                caller_of(app, "acme") as acme,
                caller_of(app, "bolt") as bolt,
            ):
                await scene(acme, bolt)

        asyncio.run(whole())

    return run


@asynccontextmanager
async def caller_of(app: App, tenant: str) -> AsyncGenerator[Desk]:
    """Yield a client of the HTTP application itself: sockets would add nothing but time."""
    transport = httpx2.ASGITransport(HttpApplication(ROUTES, app.doors, identify=by_header))
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://server/api/v1", headers={"x-tenant": tenant}
    ) as client:
        yield Desk(app, client)


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


async def answered(desk: Desk, method: str, probe: Probe, ids: Ids) -> tuple[int, dict[str, str], str]:
    """Return status, headers and body of the answer, ids replaced by their names."""
    body = None if probe.body is None else probe.body(ids)
    answer = await desk.client.request(
        method, probe.path.format(**ids._asdict()), json=body, headers=dict(probe.headers)
    )
    told = {name: value for name, value in answer.headers.items() if name not in VARIES}
    return answer.status_code, {name: without(value, ids) for name, value in told.items()}, without(answer.text, ids)


VARIES = ("date", "x-request-id", "x-trace-id", "content-length")


def without(text: str, ids: Ids) -> str:
    named = {form: name for name, value in ids._asdict().items() for form in (value, value.replace("~", "/"))}
    named |= {as_run_id(value): name for name, value in ids._asdict().items()}
    short = {f"'{value[:length]}'": name for name, value in ids._asdict().items() for length in (6, 7)}
    for form, name in sorted((named | short).items(), key=lambda pair: -len(pair[0])):
        text = text.replace(form, f"<{name}>")
    return text


# --- The walk --------------------------------------------------------------------------------------------------------


def test_every_route_is_in_the_walk():
    routes = {f"{route.method} {route.path}" for route in ROUTES}

    assert sorted(routes - WALK.keys()) == [], "say in WALK how a stranger would ask these routes for what is not his"
    assert sorted(WALK.keys() - routes) == [], "these routes are not there any more"


def test_a_stranger_gets_the_same_answer_for_what_is_anothers_and_for_what_never_was(stage: Any):
    async def scene(acme: Desk, bolt: Desk) -> None:
        await bolt.deploy("name: own\nactivities:\n  a: {use: echo}\n")
        ids = await furnish(acme)
        for name, probes in WALK.items():
            for probe in () if isinstance(probes, Everybody) else probes:
                method = name.partition(" ")[0]

                for known, never in ((ids, NEVER), (ids.as_uuids, NEVER.as_uuids)):
                    anothers = await answered(bolt, method, probe, known)
                    nobodys = await answered(bolt, method, probe, never)

                    assert anothers == nobodys, f"{name}: {probe.path}"
                    assert "of acme" not in anothers[2], f"{name}: {probe.path}"
                    assert anothers[0] < 500, f"{name}: {probe.path}"

    stage(scene)


def test_lists_counts_and_sums_of_a_stranger_are_what_they_were_before_the_other_came(stage: Any):
    probes = [
        (name, probe)
        for name, probes in WALK.items()
        if name.startswith("GET") and not isinstance(probes, Everybody)
        for probe in probes
    ]

    async def scene(acme: Desk, bolt: Desk) -> None:
        await bolt.deploy("name: own\nactivities:\n  a: {use: echo}\n")
        before = [await answered(bolt, "GET", probe, NEVER) for _, probe in probes]

        await furnish(acme)

        for (name, probe), known in zip(probes, before, strict=True):
            assert await answered(bolt, "GET", probe, NEVER) == known, f"{name}: {probe.path}"
        desk = bolt.app.desk.of("bolt", "client:bolt-1")
        assert await desk.budgets() == []
        assert await desk.schedules() == []
        assert await desk.runs() == []

    stage(scene)


def test_whatever_a_stranger_asks_for_nothing_of_the_others_changes(stage: Any):
    async def scene(acme: Desk, bolt: Desk) -> None:
        ids = await furnish(acme)
        seen = [f"/workflows/{run}" for run in ids[:3]] + [f"/workflows/{run}/events" for run in ids[:3]]
        seen += ["/workflows", "/workflow_definitions", "/approvals", "/schedules", "/secrets", "/clients", "/users"]
        seen += ["/webhooks", "/hooks"]
        before = [(await acme.get(path)).json() for path in seen]

        for name, probes in WALK.items():
            for probe in () if isinstance(probes, Everybody) else probes:
                for known in (ids, ids.as_uuids):
                    await answered(bolt, name.partition(" ")[0], probe, known)

        assert [(await acme.get(path)).json() for path in seen] == before
        answer = await acme.post(f"/activities/{ids.activity}/heartbeat", {"worker_id": "acme-1"})
        assert answer.status_code == 200
        assert (await acme.post(f"/activities/{ids.activity}/complete", {"output": 1})).json()["warnings"] == []
        polled = await acme.post("/workers/poll", {"worker": "outside", "worker_id": "acme-1"})
        assert polled.json()["count"] == 1

    stage(scene)


# --- What tenants may share without knowing --------------------------------------------------------------------------


def test_the_same_content_key_and_command_are_each_tenants_own(stage: Any):
    async def scene(acme: Desk, bolt: Desk) -> None:
        first = await acme.deploy(HELLO)
        answer = await bolt.client.post("/workflow_definitions", content=HELLO)
        starts = [
            await desk.post(
                "/workflows?wait=20",
                {"definition_name": "hello", "unique_key": "order-7"},
                headers={"idempotency-key": "start-1"},
            )
            for desk in (acme, bolt)
        ]

        assert (answer.status_code, answer.json()["unchanged"], answer.json()["version"]) == (
            *(201, False),
            first["version"],
        )
        assert [start.status_code for start in starts] == [201, 201]
        assert starts[0].json()["id"] != starts[1].json()["id"]
        totals = [(await desk.get("/workflows")).json()["total"] for desk in (acme, bolt)]
        assert totals == [1, 1]

    stage(scene)


def test_a_file_is_its_tenants_also_for_who_knows_its_bytes(stage: Any):
    async def scene(acme: Desk, bolt: Desk) -> None:
        sent = (await acme.client.post("/files/plan.txt", content=b"of acme")).json()["file"]
        runs = {}
        for desk in (acme, bolt):
            await desk.deploy(READING)
            runs[desk] = await desk.start("reading", wait=20, input={"file": sent})
        kept = await bolt.get(f"/workflows/{runs[bolt]['id']}/activities/INPUT/files/plan.txt")

        assert (runs[acme]["status"], runs[acme]["outputs"]) == ("completed", READ)
        assert (await acme.get(f"/workflows/{runs[acme]['id']}/activities/keep/files/said")).content == b"of acme"
        assert (runs[bolt]["status"], kept.status_code) == ("failed", 404)
        assert "is not kept any more" in runs[bolt]["activities"][0]["error"]
        again = (await bolt.client.post("/files/plan.txt", content=b"of acme")).json()["file"]
        assert again == sent
        assert (await bolt.start("reading", wait=20, input={"file": sent}))["outputs"] == READ

    stage(scene)


def test_what_a_caller_does_bears_the_callers_name(stage: Any):
    async def scene(acme: Desk, bolt: Desk) -> None:
        await acme.deploy(ASKING)
        run = (await acme.start("asking"))["workflow_id"]
        await acme.post(f"/workflows/{run}/cancel", {"reason": "enough"})

        events = (await acme.get(f"/workflows/{run}/events")).json()["events"]

        actors = {event["event_type"]: event["actor"] for event in events}
        assert (actors["run_started"], actors["cancel_requested"]) == ("client:acme-1", "client:acme-1")

    stage(scene)


def test_a_run_below_another_is_its_tenants(stage: Any):
    async def scene(acme: Desk, bolt: Desk) -> None:
        for desk, text in ((acme, "of acme"), (bolt, "of bolt")):
            await desk.deploy(f"name: below\nactivities:\n  one: {{use: echo, with: {{x: {text}}}}}\n")
            await desk.deploy("name: above\nactivities:\n  call: {workflow: below}\n")

        run = await bolt.start("above", wait=20)

        assert run["status"] == "completed"
        listed = (await bolt.get("/workflows")).json()["workflows"]
        assert sorted(one["definition_name"] for one in listed) == ["above", "below"]
        assert "of bolt" in str(run)
        assert (await acme.get("/workflows")).json()["total"] == 0

    stage(scene)


def test_rates_and_retention_are_the_servers_affair(stage: Any):
    from headgate.api.caller import Forbidden
    from headgate.ports import RateLimit

    async def scene(acme: Desk, bolt: Desk) -> None:
        desk = acme.app.desk.of("acme", "client:acme-1")
        for refused in (
            desk.set_limit(RateLimit(scope="openai", requests=1)),
            desk.remove_limit("openai"),
            desk.collect(),
        ):
            with pytest.raises(Forbidden, match="only the tenant 'default' may"):
                await refused

    stage(scene)


# --- Secrets and quotas over HTTP ------------------------------------------------------------------------------------


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
