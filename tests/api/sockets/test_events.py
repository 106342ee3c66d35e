"""Events of a run at a socket, and who may read them."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from tests.api.sockets.watchers import ASKING, TALKING, beat_all, frames, refused, taken, watching
from websockets.exceptions import InvalidStatus

from headgate.api.caller import EVERYTHING, Caller, TooMany, Unauthorized

HELLO = """
name: hello
inputs: {n: {type: integer}}
activities:
  one: {use: echo, with: {x: "{{ INPUT.n }}"}}
  two: {use: transform, with: {double: "{{ one.x * 2 }}"}}
"""


# --- Events -----------------------------------------------------------------------------------------------------------


def test_the_events_of_a_run_are_told_to_its_end_and_gone_on_with_by_id(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(ASKING)
        run = (await desk.start("asking"))["workflow_id"]
        async with watching(desk, f"/workflow_events/ws?workflow_id={run}") as first:
            told = await frames(first, until="activity_suspended")
        await desk.post(f"/approvals/{run}~ask", {"approved": True})
        async with watching(desk, f"/workflow_events/ws?workflow_id={run}&from_event_id={told[-1]['id']}") as second:
            told += await frames(second)
            assert second.close_code == 1000

        log = (await desk.get(f"/workflows/{run}/events")).json()["events"]
        assert [frame["id"] for frame in told] == [f"{run}:{event['id']}" for event in log]
        assert [frame["event_type"] for frame in told] == [event["event_type"] for event in log]
        assert {frame["workflow_id"] for frame in told} == {run}

    play(scene)


def test_many_who_come_at_any_time_are_told_every_event_once(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(TALKING)
        run = (await desk.start("talking"))["workflow_id"]
        path = f"/workflow_events/ws?workflow_id={run}"
        task = await taken(desk)

        async def watch(number: int) -> list[str]:
            for _ in range(number):
                await asyncio.sleep(0)
            async with watching(desk, path) as connection:
                return [frame["id"] for frame in await frames(connection)]

        readers = [asyncio.create_task(watch(number * 7)) for number in range(40)]
        await desk.post(f"{task}/complete", {"worker_id": "w", "output": "yes"})

        await desk.get(f"/workflows/{run}?wait=20")
        log = (await desk.get(f"/workflows/{run}/events")).json()["events"]
        assert await asyncio.gather(*readers) == [[f"{run}:{event['id']}" for event in log]] * 40

    play(scene)


def test_without_a_run_the_events_of_all_runs_of_the_tenant_come_and_of_no_other(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(HELLO)
        earlier = await desk.start("hello", wait=20, input={"n": 1})
        async with watching(desk, "/workflow_events/ws?event_type=WorkflowCreated,run_completed") as connection:
            runs = [(await desk.start("hello", input={"n": n}))["workflow_id"] for n in range(3)]
            told = []
            while sum(frame["event_type"] == "run_completed" for frame in told) < 3:
                told += await frames(connection, until="run_completed")

        assert earlier["id"] not in {frame["workflow_id"] for frame in told}
        assert sorted(frame["workflow_id"] for frame in told) == sorted(runs * 2)
        begun = next(frame for frame in told if frame["event_type"] == "run_started")
        path = f"/workflow_events/ws?event_type=run_started,run_completed&from_event_id={begun['id']}"
        async with watching(desk, path) as connection:
            rest = await frames(connection, until="run_completed")
        assert rest[0] == told[told.index(begun) + 1]

    play(scene)


def test_another_tenant_is_told_nothing_of_it(play: Any):
    async def identify(headers: Any) -> Caller:
        return Caller(tenant=headers.get("x-tenant", "default"), scopes=EVERYTHING)

    async def scene(desk: Any) -> None:
        await desk.deploy(HELLO)
        run = await desk.start("hello", wait=20, input={"n": 1})
        stranger = {"additional_headers": {"X-Tenant": "other"}}
        last = (await desk.get(f"/workflows/{run['id']}/events")).json()["events"][-1]["id"]
        assert await refused(desk, f"/workflow_events/ws?from_event_id={run['id']}:{last}", **stranger) == (
            404,
            "NOT_FOUND",
        )
        async with (
            watching(desk, "/workflow_events/ws", **stranger) as other,
            watching(desk, "/workflow_events/ws") as own,
        ):
            await desk.start("hello", wait=20, input={"n": 2})
            await frames(own, until="run_completed")
            beat_all(desk)
            assert [frame["type"] for frame in await frames(other, until="ping")] == ["ping"]

    play(scene, identify=identify)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/nowhere/ws", 404, "NOT_FOUND"),
        ("/workflow_events/ws?workflow_id=none", 404, "NOT_FOUND"),
        ("/workflow_events/ws?event_type=what", 422, "VALIDATION_ERROR"),
        ("/workflow_events/ws?from_event_id=what", 422, "VALIDATION_ERROR"),
        ("/workflow_events/ws?from_event_id=none:3", 404, "NOT_FOUND"),
        ("/workflow_events/ws?what=1", 400, "BAD_REQUEST"),
        ("/workflows/none/activities/a/ws", 404, "NOT_FOUND"),
        ("/activities/none/ws", 422, "VALIDATION_ERROR"),
    ],
)
def test_what_cannot_be_watched_is_refused_in_the_envelope(play: Any, path: str, status: int, code: str):
    async def scene(desk: Any) -> None:
        assert await refused(desk, path) == (status, code)

    play(scene)


GOOD_HANDSHAKE = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}


@pytest.mark.parametrize(
    ("changed", "method", "query", "status", "code"),
    [
        ({"Sec-WebSocket-Key": None}, "GET", "", 400, "BAD_REQUEST"),
        ({"Sec-WebSocket-Key": "short"}, "GET", "", 400, "BAD_REQUEST"),
        ({"Sec-WebSocket-Version": "8"}, "GET", "", 400, "BAD_REQUEST"),
        ({}, "POST", "", 405, "METHOD_NOT_ALLOWED"),
        ({}, "GET", f"event_type={'x' * 9_000}", 414, "PAYLOAD_TOO_LARGE"),
        ({"X-Long": "x" * 9_000}, "GET", "", 431, "PAYLOAD_TOO_LARGE"),
        ({}, "GET", "what=1", 400, "BAD_REQUEST"),
    ],
)
def test_a_handshake_that_is_none_is_refused_in_the_envelope(
    play: Any, changed: dict[str, Any], method: str, query: str, status: int, code: str
):
    async def scene(desk: Any) -> None:
        given = {"Host": "x", "Connection": "Upgrade", "Upgrade": "websocket", **GOOD_HANDSHAKE, **changed}
        head = [f"{method} /api/v1/workflow_events/ws?{query} HTTP/1.1"]
        head += [f"{name}: {value}" for name, value in given.items() if value is not None]
        reader, writer = await asyncio.open_connection("127.0.0.1", desk.client.base_url.port)
        writer.write("\r\n".join([*head, "", ""]).encode())
        answer, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()

        assert answer.split()[1] == str(status).encode()
        headers = dict(line.lower().split(": ", 1) for line in answer.decode().split("\r\n")[1:])
        assert headers["content-type"] == "application/json"
        assert headers["content-length"] == str(len(body))
        assert headers["x-request-id"]
        assert headers["x-trace-id"]
        assert msgspec.json.decode(body)["error"]["code"] == code

    play(scene)


def test_a_handshake_is_answered_under_its_own_ids_and_says_when_to_come_back(play: Any):
    ids = {"X-Request-Id": "order-7", "X-Trace-Id": "trace-7"}
    named = {"x-request-id": "order-7", "x-trace-id": "trace-7"}
    full: list[bool] = []

    def admit(caller: Caller) -> Any:
        if full:
            raise TooMany("One connection is all there is.", retry_after_seconds=5)
        full.append(True)
        return full.clear

    async def scene(desk: Any) -> None:
        async with watching(desk, "/workflow_events/ws", additional_headers=ids) as connection:
            assert named.items() <= {name.lower(): value for name, value in connection.response.headers.items()}.items()
            with pytest.raises(InvalidStatus) as caught:
                async with watching(desk, "/workflow_events/ws", additional_headers=ids):
                    pass

        refused = {name.lower(): value for name, value in caught.value.response.headers.items()}
        assert (named | {"retry-after": "5"}).items() <= refused.items()

    play(scene, doors={"admit_connection": admit})


@pytest.mark.parametrize("can_answer", [True, False])
def test_a_websocket_that_another_server_brings_is_refused(play: Any, can_answer: bool):
    async def scene(desk: Any) -> None:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "websocket", "path": "/api/v1/workflow_events/ws", "headers": []}
        scope |= {"extensions": {"websocket.http.response": {}}} if can_answer else {}
        await desk.application(scope, receive, send)

        if can_answer:
            assert [message["type"].rpartition(".")[2] for message in sent] == ["start", "body"]
            assert sent[0]["status"] == 404
            assert msgspec.json.decode(sent[1]["body"])["error"]["code"] == "NOT_FOUND"
        else:
            assert sent == [{"type": "websocket.close", "code": 1008}]

    play(scene)


# --- Who may ----------------------------------------------------------------------------------------------------------


def test_a_socket_asks_who_it_is_and_what_it_may(play: Any):
    async def identify(headers: Any) -> Caller:
        if "authorization" not in headers:
            raise Unauthorized("No token was given.")
        return Caller(scopes=frozenset(headers["authorization"].split()))

    async def scene(desk: Any) -> None:
        path = "/workflow_events/ws"
        assert await refused(desk, path) == (401, "UNAUTHORIZED")
        workers = {"additional_headers": {"Authorization": "workers"}}
        assert await refused(desk, path, **workers) == (403, "FORBIDDEN")
        async with watching(desk, path, additional_headers={"Authorization": "runs:read"}):
            pass

    play(scene, identify=identify)


def test_a_ticket_lets_a_page_of_another_site_watch_one_run_for_five_minutes(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(ASKING)
        run, other = [(await desk.start("asking"))["workflow_id"] for _ in range(2)]
        given = (await desk.post(f"/workflows/{run}/tickets")).json()
        assert given["expires_in"] == 300
        page = {"origin": "http://chat.example"}
        token = f"token={given['ticket']}"
        async with watching(desk, f"/workflow_events/ws?workflow_id={run}&{token}", **page) as connection:
            await frames(connection, until="run_started")
        async with watching(desk, f"/workflows/{run}/activities/ask/ws?{token}", **page):
            pass

        assert await refused(desk, f"/workflow_events/ws?workflow_id={run}", **page) == (403, "FORBIDDEN")
        for path in (f"?workflow_id={other}&{token}", f"?{token}", f"?workflow_id={run},{other}&{token}"):
            assert await refused(desk, f"/workflow_events/ws{path}", **page) == (403, "FORBIDDEN")
        assert await refused(desk, f"/workflows/{other}/activities/ask/ws?{token}", **page) == (403, "FORBIDDEN")
        now = desk.app.clock.now()
        desk.app.clock.now = lambda: now + 301_000_000
        assert await refused(desk, f"/workflow_events/ws?workflow_id={run}&{token}", **page) == (401, "UNAUTHORIZED")

    play(scene, loopback_only=True)


def test_whoever_counts_connections_is_asked_and_told_when_they_end(play: Any):
    held: list[str] = []

    def admit(caller: Caller) -> Any:
        if held:
            raise TooMany("One connection is all there is.", retry_after_seconds=5)
        held.append(caller.actor)
        return held.clear

    async def scene(desk: Any) -> None:
        await desk.deploy(ASKING)
        run = (await desk.start("asking"))["workflow_id"]
        async with watching(desk, "/workflow_events/ws"):
            assert await refused(desk, "/workflow_events/ws") == (429, "RATE_LIMIT_EXCEEDED")
            stream = await desk.get(f"/workflows/{run}/events", headers={"Accept": "text/event-stream"})
            assert (stream.status_code, stream.headers["retry-after"]) == (429, "5")
        assert held == []
        await desk.post(f"/workflows/{run}/cancel")
        stream = await desk.get(f"/workflows/{run}/events", headers={"Accept": "text/event-stream"})
        assert stream.status_code == 200
        for _ in range(200):  # the reader has all of it a moment before the server is done with it
            if not held:
                break
            await asyncio.sleep(0.01)
        assert held == []
        assert (await refused(desk, "/workflow_events/ws?what=1"))[0] == 400
        assert held == []

    play(scene, doors={"admit_connection": admit})
