"""The HTTP door over a real socket: definitions, runs, and what people decide."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.api.small_flows import ASKING

from headgate.api.http.application import BODY_BYTES_MAX

HELLO = """
name: hello
inputs: {n: {type: integer}}
activities:
  one: {use: echo, with: {x: "{{ INPUT.n }}"}}
  two: {use: transform, with: {double: "{{ one.x * 2 }}"}}
outputs: {answer: "{{ two.double }}"}
"""


# --- Definitions ------------------------------------------------------------------------------------------------------


def test_a_definition_goes_back_and_forth_unchanged(play: Any):
    async def scene(desk: Any) -> None:
        first = await desk.deploy(HELLO)
        for form in ("json", "yaml"):
            given = await desk.get(f"/workflow_definitions/hello?format={form}")
            again = await desk.client.post("/workflow_definitions", content=given.content)
            assert (again.status_code, again.json()["version"]) == (200, first["version"])
            assert again.json()["unchanged"] is True
        listed = (await desk.get("/workflow_definitions")).json()
        assert [(one["name"], one["version"]) for one in listed["workflow_definitions"]] == [
            ("hello", first["version"])
        ]

    play(scene)


def test_a_definition_that_is_wrong_is_refused_with_line_and_column(play: Any):
    async def scene(desk: Any) -> None:
        answer = await desk.client.post("/workflow_definitions", content="name: x\nactivities:\n  a: {use: ech}\n")

        assert answer.status_code == 422
        error = answer.json()["error"]
        assert error["code"] == "VALIDATION_ERROR"
        assert error["details"]["problems"][0]["line"] == 3
        assert (await desk.get("/workflow_definitions/x")).status_code == 404

    play(scene)


# --- Runs -------------------------------------------------------------------------------------------------------------


def test_of_a_fan_out_the_output_of_each_item_is_shown(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy("name: many\nactivities: {each: {use: echo, for_each: [1, 2, 3], with: {n: '{{ ITEM }}'}}}")

        run = await desk.start("many", wait=20)

        assert run["status"] == "completed"
        ((output,),) = (activity["outputs"] for activity in run["activities"])
        assert [one["n"] for one in output["value"]] == [1, 2, 3]

    play(scene)


def test_a_run_is_started_waited_for_and_shown(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(HELLO)
        run = await desk.start("hello", wait=20, input={"n": 4})

        assert (run["status"], run["outputs"]) == ("completed", {"answer": 8})
        shown = {one["activity_key"]: one for one in run["activities"]}
        assert shown["one"]["outputs"] == [{"name": "echo", "type": "value", "value": {"x": 4}}]
        outputs = (await desk.get(f"/workflows/{run['id']}/output")).json()
        assert outputs["outputs"]["two"]["is_terminal"] is True
        assert outputs["outputs"]["one"]["is_terminal"] is False
        earlier = (await desk.get(f"/workflows/{run['id']}?at=2")).json()
        assert earlier["status"] == "running"

    play(scene)


LONG = """
name: long
inputs: {text: {type: string}}
activities:
  one: {use: echo, with: {text: "{{ INPUT.text if INPUT.text | length < 200000 else 1 }}"}}
  two: {use: echo, with: {text: "{{ one.text }}"}}
outputs: {text: "{{ INPUT.text if INPUT.text | length > 200000 else 1 }}"}
"""


@pytest.mark.parametrize(("size", "named"), [(100, ""), (150_000, "activities"), (300_000, "outputs")])
def test_what_is_too_large_for_an_answer_is_named_by_where_it_is_whole(play: Any, size: int, named: str):
    async def scene(desk: Any) -> None:
        await desk.deploy(LONG)
        waited = await desk.start("long", wait=20, input={"text": "x" * size})
        path = f"/workflows/{waited['id']}"

        for run in (
            waited,
            (await desk.get(path)).json(),
            (await desk.get(f"{path}?at={waited['event_version']}")).json(),
        ):
            values = [one["outputs"][0]["value"] for one in run["activities"]]
            assert ["$ref" in value for value in values] == [named == "activities"] * 2
            assert ("$ref" in run["outputs"]) == (named == "outputs")
            refs = [value["$ref"].removeprefix("/api/v1") for value in (*values, run["outputs"]) if "$ref" in value]
            for ref in refs:
                whole = (await desk.get(ref)).json()
                texts = [output["output"]["text"] for output in whole["outputs"].values()]
                assert "x" * size in (*texts, whole["result"]["text"])

    play(scene)


def test_the_same_idempotency_key_starts_one_run(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(HELLO)
        headers = {"Idempotency-Key": "order-7"}
        starts = [
            desk.post("/workflows", {"definition_name": "hello", "input": {"n": 1}}, headers=headers) for _ in range(5)
        ]
        answers = await asyncio.gather(*starts)

        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["workflow_id"] for answer in answers}) == 1
        assert (await desk.get("/workflows")).json()["total"] == 1

    play(scene)


def test_a_taken_unique_key_is_a_conflict_that_names_the_run(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(ASKING)
        run = await desk.start("asking", unique_key="order-7")

        answer = await desk.post("/workflows", {"definition_name": "asking", "unique_key": "order-7"})

        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "CONFLICT")
        assert run["workflow_id"] in answer.json()["error"]["message"]

    play(scene)


def test_runs_are_listed_in_pages_without_gap_or_repeat(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(HELLO)
        started = [(await desk.start("hello", input={"n": n}))["workflow_id"] for n in range(7)]
        seen: list[str] = []
        cursor = ""
        while True:
            page = (await desk.get(f"/workflows?limit=3{cursor}")).json()
            seen += [run["id"] for run in page["workflows"]]
            assert page["total"] == 7
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert seen == started[::-1]
        assert (await desk.get("/workflows?q=" + started[2])).json()["count"] == 1
        assert (await desk.get("/workflows?limit=0")).status_code == 422
        assert (await desk.get("/workflows?cursor=zz%20z")).status_code == 422

    play(scene)


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("/workflows", b"{", 400),
        ("/workflows", b"\xff\xfe", 400),
        ("/workflows", b"[]", 422),
        ("/workflows", b'{"definition_nam": "hello"}', 422),
        ("/workflows", b'{"definition_name": "nobody"}', 404),
        ("/workflows?wait=soon", b'{"definition_name": "hello"}', 422),
        ("/workflows?what=1", b'{"definition_name": "hello"}', 400),
        ("/workflows/none/cancel", b"{}", 404),
        ("/nowhere", b"", 404),
        ("/health", b"", 405),
        ("/workflows", b'{"definition_name": "hello", "input": ' + b"[" * 5_000 + b"]" * 5_000 + b"}", 400),
    ],
)
def test_what_cannot_be_taken_is_refused_in_the_envelope(play: Any, path: str, content: bytes, status: int):
    async def scene(desk: Any) -> None:
        answer = await desk.client.post(path, content=content)

        assert answer.status_code == status, answer.text
        assert set(answer.json()["error"]) >= {"code", "message"}
        assert answer.headers["x-request-id"]

    play(scene)


def test_a_body_that_is_too_long_is_refused_before_it_is_read(play: Any):
    async def scene(desk: Any) -> None:
        port = desk.client.base_url.port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST /api/v1/workflows HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY_BYTES_MAX + 1}\r\n\r\n"
        writer.write(head.encode())
        line = await reader.readline()
        writer.close()

        assert b"413" in line

    play(scene)


# --- People -----------------------------------------------------------------------------------------------------------


def test_what_waits_for_a_person_is_listed_and_decided_once(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(ASKING)
        run = await desk.start("asking")
        approvals = (await desk.get("/approvals")).json()["approvals"]
        assert [(one["title"], one["form"]) for one in approvals] == [("Go on?", {"type": "object"})]

        first = await desk.post(f"/approvals/{approvals[0]['id']}", {"approved": True, "by": "ann"})
        second = await desk.post(f"/approvals/{approvals[0]['id']}", {"approved": False})

        assert (first.status_code, second.status_code) == (200, 409)
        ended = (await desk.get(f"/workflows/{run['workflow_id']}?wait=20")).json()
        assert ended["outputs"] == {"then": {"by": "ann"}}
        assert (await desk.get("/approvals")).json()["count"] == 0

    play(scene)
