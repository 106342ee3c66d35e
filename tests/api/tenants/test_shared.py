"""What tenants may share without knowing, and what they may not."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.conftest import Desk
from tests.api.tenants.routes import ASKING, HELLO

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
