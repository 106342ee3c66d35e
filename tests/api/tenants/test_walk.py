"""Every route as a stranger: what is another tenant's is answered like what never was."""

from __future__ import annotations

from typing import Any

from tests.api.conftest import Desk
from tests.api.tenants.routes import NEVER, WALK, Everybody, Ids, Probe, furnish

from headgate.api.http.table import ROUTES
from headgate.core.run_ids import as_run_id

# --- The stage --------------------------------------------------------------------------------------------------------


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


# --- The walk ---------------------------------------------------------------------------------------------------------


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
