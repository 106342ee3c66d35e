"""The HTTP door: what each route promises, over a real socket."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import httpx2
import msgspec
import pytest

from headgate.api.http import HttpServer
from headgate.api.http.application import BODY_BYTES_MAX
from headgate.api.http.table import ROUTES, SOCKETS

HELLO = """
name: hello
inputs: {n: {type: integer}}
activities:
  one: {use: echo, with: {x: "{{ INPUT.n }}"}}
  two: {use: transform, with: {double: "{{ one.x * 2 }}"}}
outputs: {answer: "{{ two.double }}"}
"""
ASKING = """
name: asking
activities:
  ask: {use: approval, with: {title: "Go on?", form: {type: object}}}
  then: {use: echo, with: {by: "{{ ask.by }}"}}
"""
OUTSIDE = """
name: outside
budget: 1.00
activities:
  work: {use: count, queue: outside, with: {n: 3}, timeout: 60s}
"""
CUT_OFF = {"message": "cut off", "code": "cut_off", "retryable": False}


# --- Definitions ---------------------------------------------------------------------------------------------------


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


# --- Runs ----------------------------------------------------------------------------------------------------------


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


# --- People --------------------------------------------------------------------------------------------------------


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


# --- Workers -------------------------------------------------------------------------------------------------------


def test_a_worker_takes_a_task_beats_reports_and_its_usage_counts(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(OUTSIDE)
        polled = asyncio.create_task(
            desk.post("/workers/poll", {"worker": "outside", "worker_id": "w", "wait_seconds": 20})
        )
        run = await desk.start("outside")
        (task,) = (await polled).json()["activities"]
        assert (task["parameters"], task["activity_name"], task["attempt"]) == ({"n": 3}, "count", 1)
        base = f"/activities/{task['activity_id']}"
        assert (await desk.post(f"{base}/heartbeat", {"worker_id": "w"})).json()["acknowledged"] is True

        usage = [{"provider": "openai", "model": "gpt-4o-mini", "input_tokens": 1_000_000, "output_tokens": 0}]
        done = {"worker_id": "w", "output": {"counted": 3}, "usage": usage}
        first, again = await desk.post(f"{base}/complete", done), await desk.post(f"{base}/complete", done)

        assert (first.status_code, again.status_code) == (200, 200)
        ended = (await desk.get(f"/workflows/{run['workflow_id']}?wait=20")).json()
        assert ended["outputs"] == {"work": {"counted": 3}}
        assert ended["total_cost_usd"] == pytest.approx(0.15), "priced by the server, and counted once"

    play(scene, work=False)


def test_a_worker_that_asks_in_vain_is_answered_when_its_time_is_over(play: Any):
    async def scene(desk: Any) -> None:
        answer = await desk.post("/workers/poll", {"worker": "nobody", "worker_id": "w", "wait_seconds": 0.01})

        assert answer.json() == {"activities": [], "count": 0}

    play(scene)


def test_a_cancelled_task_is_told_at_the_next_heartbeat(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(OUTSIDE)
        run = await desk.start("outside")
        answer = await desk.post("/workers/poll", {"worker": "outside", "worker_id": "w", "wait_seconds": 20})
        (task,) = answer.json()["activities"]

        await desk.post(f"/workflows/{run['workflow_id']}/cancel", {"reason": "no longer needed"})

        beat = await desk.post(f"/activities/{task['activity_id']}/heartbeat", {"worker_id": "w"})
        assert (beat.status_code, beat.json()["error"]["code"]) == (409, "CONFLICT")
        assert "was cancelled" in beat.json()["error"]["message"]
        failed = await desk.post(f"/activities/{task['activity_id']}/fail", {"worker_id": "w", "error": CUT_OFF})
        assert failed.json()["warnings"] == []
        late = await desk.post(f"/activities/{task['activity_id']}/complete", {"worker_id": "w", "output": 1})
        assert (late.status_code, "was cancelled" in late.json()["warnings"][0]) == (200, True)

    play(scene, work=False)


def test_whoever_beats_for_what_is_reported_is_not_told_of_another_worker(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(OUTSIDE)
        await desk.start("outside")
        answer = await desk.post("/workers/poll", {"worker": "outside", "worker_id": "w", "wait_seconds": 20})
        (task,) = answer.json()["activities"]
        await desk.post(f"/activities/{task['activity_id']}/complete", {"worker_id": "w", "output": 1})

        beat = await desk.post(f"/activities/{task['activity_id']}/heartbeat", {"worker_id": "w"})

        assert beat.status_code == 409
        assert "is completed, and waits for attempt 1 of activity 'work' no more" in beat.json()["error"]["message"]

    play(scene, work=False)


def test_a_worker_goes_through_the_gate(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(OUTSIDE)
        run = await desk.start("outside")
        answer = await desk.post("/workers/poll", {"worker": "outside", "worker_id": "w", "wait_seconds": 20})
        (task,) = answer.json()["activities"]
        base = f"/activities/{task['activity_id']}"
        price = {"input": 1_000_000, "output": 1_000_000}

        def wanting(worst_case: int) -> dict[str, Any]:
            candidates = [{"model": "lab/m", "worst_case": worst_case, "price": price}]
            return {"call_id": f"c{worst_case}", "request_hash": "h", "candidates": candidates}

        dear = (await desk.post(f"{base}/calls", wanting(2_000_000_000))).json()
        cheap = (await desk.post(f"{base}/calls", wanting(5))).json()
        usage = {"input_tokens": 2, "output_tokens": 1}
        settled = await desk.post(f"{base}/calls/c5/settle", {"outcome": "used", "usage": usage})

        assert (dear["decision"], dear["error"]["code"]) == ("denied", "budget_exceeded")
        assert (cheap["decision"], cheap["model"], cheap["reservation"]) == ("admitted", "lab/m", 5)
        assert settled.status_code == 200
        cost = (await desk.get(f"/workflows/{run['workflow_id']}/cost")).json()
        assert (cost["total_cost_usd"], cost["reserved_usd"]) == (3e-9, 0.0)

    play(scene, work=False)


# --- Live ----------------------------------------------------------------------------------------------------------


def test_an_event_stream_follows_a_run_and_goes_on_where_it_was_left(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(ASKING)
        run = (await desk.start("asking"))["workflow_id"]
        headers = {"Accept": "text/event-stream"}
        ids: list[int] = []
        async with desk.client.stream("GET", f"/workflows/{run}/events", headers=headers) as stream:
            async for line in stream.aiter_lines():
                if line.startswith("id: "):
                    ids.append(int(line[4:]))
                if line == "event: activity_suspended":
                    break

        await desk.post(f"/approvals/{run}~ask", {"approved": True})
        headers["Last-Event-ID"] = str(ids[-1])
        rest = await desk.get(f"/workflows/{run}/events", headers=headers)

        ids += [int(line[4:]) for line in rest.text.splitlines() if line.startswith("id: ")]
        log = (await desk.get(f"/workflows/{run}/events")).json()["events"]
        assert ids == [event["id"] for event in log]
        assert "event: end" in rest.text

    play(scene)


def test_whoever_waits_for_the_end_of_a_run_costs_nothing_meanwhile(play: Any, monkeypatch: pytest.MonkeyPatch):
    async def scene(desk: Any) -> None:
        await desk.deploy(ASKING)
        run = (await desk.start("asking"))["workflow_id"]
        waiting = [asyncio.create_task(desk.get(f"/workflows/{run}?wait=60")) for _ in range(50)]
        ends = desk.app.engine._ends
        for _ in range(100_000):
            if len(ends.get(run, ())) == 50:
                break
            await asyncio.sleep(0)
        asked: list[str] = []
        log = desk.app.engine.log
        for name in ("run", "events", "runs", "contents", "feed"):
            asks = getattr(log, name)

            async def counted(*given: Any, asks: Any = asks, name: str = name, **rest: Any) -> Any:
                asked.append(name)
                return await asks(*given, **rest)

            monkeypatch.setattr(log, name, counted)
        for _ in range(1_000):
            await asyncio.sleep(0)

        assert asked == [], "nobody looks whether it has ended"
        await desk.post(f"/approvals/{run}~ask", {"approved": True})
        assert {(await answer).json()["status"] for answer in waiting} == {"completed"}
        assert run not in ends

    play(scene)


# --- The door itself -----------------------------------------------------------------------------------------------


def test_without_a_login_pages_of_other_sites_are_refused(play: Any):
    async def scene(desk: Any) -> None:
        for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
            answer = await desk.get("/workflows", headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "FORBIDDEN")
        assert (await desk.get("/workflows")).status_code == 200

    play(scene, loopback_only=True)


def test_the_openapi_document_names_every_route_and_every_type_it_refers_to(play: Any):
    async def scene(desk: Any) -> None:
        document = (await desk.get("/openapi.json")).json()

        listed = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
        assert listed == {(route.method, route.address) for route in ROUTES}
        text = msgspec.json.encode(document).decode()
        for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
            assert name in document["components"]["schemas"]
        page = await desk.get("/docs")
        assert all(f"{route.address}<" in page.text for route in ROUTES[:-2])
        assert all(f"/api/v1{route.path}<" in page.text for route in SOCKETS)

    play(scene)


def test_a_request_id_comes_back_and_one_that_no_header_can_carry_is_replaced(play: Any):
    async def scene(desk: Any) -> None:
        assert (await desk.get("/health", headers={"X-Request-Id": "abc-1"})).headers["x-request-id"] == "abc-1"
        assert (await desk.get("/health", headers={"X-Request-Id": "a b"})).headers["x-request-id"] != "a b"

    play(scene)


FAILING = """
name: failing
activities:
  shaky: {use: shaky, queue: outside, retry: 1}
"""


def test_an_answer_that_was_kept_of_an_ended_run_is_not_given_after_its_retry(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(FAILING)
        run = (await desk.start("failing"))["workflow_id"]

        async def report(verb: str, **body: Any) -> None:
            polled = await desk.post("/workers/poll", {"worker": "outside", "worker_id": "w", "wait_seconds": 20})
            (task,) = polled.json()["activities"]
            await desk.post(f"/activities/{task['activity_id']}/{verb}", {"worker_id": "w", **body})

        await report("fail", error={"message": "no"})
        for _ in range(2):
            assert (await desk.get(f"/workflows/{run}?wait=20")).json()["status"] == "failed"

        await desk.post(f"/workflows/{run}/retry")
        assert (await desk.get(f"/workflows/{run}")).json()["status"] == "running"
        await report("complete", output="yes")
        assert (await desk.get(f"/workflows/{run}?wait=20")).json()["outputs"] == {"shaky": "yes"}

    play(scene, work=False)


def test_a_kept_answer_about_an_ended_run_is_forgotten_when_the_run_changes(play: Any):
    async def breaks(parameters: Any, ctx: Any) -> None:
        raise RuntimeError("as it is meant to")

    async def scene(desk: Any) -> None:
        await desk.deploy("name: broken\nactivities:\n  x: {use: breaks, retry: {max_attempts: 1}}\n")
        run = (await desk.start("broken", wait=20))["id"]
        kept = desk.app.doors.finished
        for _ in range(2):
            assert (await desk.get(f"/workflows/{run}")).json()["status"] == "failed"
        assert kept.known("default", run, "whole") is not None
        assert kept.known("another", run, "whole") is None

        await desk.post(f"/workflows/{run}/retry")

        assert kept.known("default", run, "whole") is None
        again = (await desk.get(f"/workflows/{run}?wait=20")).json()
        assert again["event_version"] > 6
        assert (await desk.get(f"/workflows/{run}")).json() == again

    play(scene, activities={"breaks": breaks})


def test_an_answer_in_two_parts_does_not_wait_for_the_readers_acknowledgement():
    """Nagle's algorithm is off on the server's side of each connection: with it, each answer takes 40 ms more."""
    found: list[int] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        for connection in server._server.server_state.connections:
            taken = connection.transport.get_extra_info("socket")
            found.append(taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    server = HttpServer(application, "127.0.0.1", 0)

    async def whole() -> None:
        async with server, httpx2.AsyncClient() as client:
            await client.get(server.url)

    asyncio.run(whole())
    assert found
    assert all(found)
