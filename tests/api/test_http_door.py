"""What holds of the HTTP door, whichever route is asked: live answers, ids, kept answers."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import httpx2
import msgspec
import pytest
from tests.api.small_flows import ASKING

from headgate.api.http import HttpServer
from headgate.api.http.table import ROUTES, SOCKETS

# --- Live -------------------------------------------------------------------------------------------------------------


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


# --- The door itself --------------------------------------------------------------------------------------------------


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
