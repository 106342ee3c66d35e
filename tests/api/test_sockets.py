"""WebSockets: events and texts as they come, to many at once, no gap, no repeat, and no reader that harms others."""

from __future__ import annotations

import asyncio
import itertools
import socket as sockets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from headgate.api.caller import EVERYTHING, Caller, TooMany, Unauthorized
from headgate.api.http import socket as socket_module
from headgate.api.http import socket_door

HELLO = """
name: hello
inputs: {n: {type: integer}}
activities:
  one: {use: echo, with: {x: "{{ INPUT.n }}"}}
  two: {use: transform, with: {double: "{{ one.x * 2 }}"}}
"""
ASKING = """
name: asking
activities:
  begin: {use: echo, with: {x: 1}}
  ask: {use: approval, after: [begin], with: {title: "Go on?"}}
  then: {use: echo, with: {by: "{{ ask.by }}"}}
"""
TALKING = """
name: talking
activities:
  say: {use: say, queue: outside, streaming: true, retry: 2}
  after: {use: echo, with: {said: "{{ say }}"}}
"""
MANY = """
name: many
activities:
  say: {use: say, queue: outside, streaming: true, for_each: "{{ [1, 2] }}"}
"""


@pytest.fixture(autouse=True)
def no_heart(monkeypatch: pytest.MonkeyPatch):
    """Pings come when a test says so."""
    monkeypatch.setattr(socket_door, "BEAT_SECONDS", 1e6)


@asynccontextmanager
async def watching(desk: Any, path: str, **rest: Any) -> AsyncGenerator[ClientConnection]:
    url = f"ws://127.0.0.1:{desk.client.base_url.port}/api/v1{path}"
    async with connect(url, compression=None, **rest) as connection:
        yield connection


async def frames(connection: ClientConnection, until: str = "") -> list[dict[str, Any]]:
    """Return the frames up to the one of this type (of an event: of this event type), or to the end."""
    found: list[dict[str, Any]] = []
    try:
        while not until or not found or until not in (found[-1]["type"], found[-1].get("event_type")):
            found.append(msgspec.json.decode(await connection.recv()))
    except ConnectionClosed:
        assert not until, f"it ended before {until!r} came: {found}"
    return found


async def taken(desk: Any) -> str:
    """Return the path of the task that a worker gets."""
    polled = await desk.post("/workers/poll", {"worker": "outside", "worker_id": "w", "wait_seconds": 20})
    (task,) = polled.json()["activities"]
    return f"/activities/{task['activity_id']}"


async def say(desk: Any, task: str, text: str) -> dict[str, Any]:
    answer = await desk.post(f"{task}/ws/token", {"text": text, "index": 0})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def refused(desk: Any, path: str, **rest: Any) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as caught:
        async with watching(desk, path, **rest):
            pass
    response = caught.value.response
    return response.status_code, msgspec.json.decode(response.body)["error"]["code"]


# --- Events --------------------------------------------------------------------------------------------------------


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


# --- Texts ---------------------------------------------------------------------------------------------------------


def test_a_text_comes_as_it_is_made_and_then_what_the_activity_came_to(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(TALKING)
        run = (await desk.start("talking"))["workflow_id"]
        task = await taken(desk)
        assert (await say(desk, task, "It was "))["subscribers"] == 0
        async with (
            watching(desk, f"/workflows/{run}/activities/say/ws") as first,
            watching(desk, f"{task}/ws") as second,
        ):
            heard = [await frames(one, until="token") for one in (first, second)]
            assert (await desk.get(f"{task}/ws/subscribers")).json() == {"count": 2}
            assert (await say(desk, task, "märchenhaft."))["subscribers"] == 2
            await desk.post(f"{task}/complete", {"worker_id": "w", "output": "It was märchenhaft."})
            for told, one in zip(heard, (first, second), strict=True):
                told += await frames(one)
                assert one.close_code == 1000

        for told in heard:
            tokens = [frame for frame in told if frame["type"] == "token"]
            assert "".join(frame["text"] for frame in tokens) == "It was märchenhaft."
            assert [frame["offset"] for frame in tokens] == [0, 7]
            assert [frame["type"] for frame in told[-2:]] == ["end", "complete"]
            assert (told[-1]["result"], told[-1]["activity_key"]) == (
                "It was märchenhaft.",
                heard[0][-1]["activity_key"],
            )
        assert (await desk.get(f"{task}/ws/subscribers")).json() == {"count": 0}
        assert (await desk.get("/activities/none~say~1~x/ws/subscribers")).status_code == 404
        late = await desk.get(f"/workflows/{run}/activities/say/stream")
        assert "".join(data["text"] for kind, data in events(late.text) if kind == "token") == "It was märchenhaft."

    play(scene)


def events(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the events of an event stream."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines["event"], msgspec.json.decode(lines["data"])))
    return found


def test_a_reader_goes_on_behind_its_last_frame_over_either_door(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(TALKING)
        run = (await desk.start("talking"))["workflow_id"]
        task, path = await taken(desk), f"/workflows/{run}/activities/say"
        await say(desk, task, "one two ")
        async with watching(desk, f"{path}/ws") as connection:
            (had,) = await frames(connection, until="token")
        await say(desk, task, "three")
        async with watching(desk, f"{path}/ws?offset={had['id']}") as connection:
            (next_,) = await frames(connection, until="token")
        async with desk.client.stream("GET", f"{path}/stream", headers={"Last-Event-ID": had["id"]}) as stream:
            lines = aiter(stream.aiter_lines())
            while not (line := await anext(lines)).startswith("data: "):
                pass
            assert msgspec.json.decode(line.removeprefix("data: ")) == next_

        assert (had["text"], next_["text"], next_["offset"]) == ("one two ", "three", 8)
        assert await refused(desk, f"{path}/ws?offset=8") == (422, "VALIDATION_ERROR")
        beyond = had["id"].replace(":8:", ":99:")
        async with watching(desk, f"{path}/ws?offset={beyond}") as connection:
            (fault,) = await frames(connection)
        assert (fault["type"], connection.close_code) == ("error", 1011)
        assert events((await desk.get(f"{path}/stream?offset={beyond}")).text) == [("error", fault)]

    play(scene)


def test_a_piece_that_comes_again_is_told_once_and_a_text_that_lacks_one_is_void(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(TALKING)
        run = (await desk.start("talking"))["workflow_id"]
        task = await taken(desk)

        async def tell(*pieces: tuple[int, str]) -> None:
            for offset, text in pieces:
                assert (await desk.post(f"{task}/ws/token", {"text": text, "offset": offset})).status_code == 200

        async with watching(desk, f"/workflows/{run}/activities/say/ws") as connection:
            await tell((0, "zwölf "), (0, "zwölf "), (7, "Eulen"), (4, "lf Eulen."))
            told = await frames(connection, until="token")
            while not told[-1]["text"].endswith("."):
                told += await frames(connection, until="token")
            assert "".join(frame["text"] for frame in told) == "zwölf Eulen."

            await tell((20, " Alle"), (25, " schlafen."))  # and what stands before 20 does not come
            assert [frame["type"] for frame in await frames(connection, until="restart")] == ["restart"]
            await desk.post(f"{task}/ws/restart", {"offset": 35})
            await tell((36, "Keine."))
            await desk.post(f"{task}/ws/restart", {"offset": 35})
            assert (await frames(connection, until="token"))[-1]["text"] == "Keine."
            await desk.post(f"{task}/complete", {"worker_id": "w", "output": "Keine."})
            assert [frame["type"] for frame in await frames(connection)] == ["end", "complete"]

        assert (await desk.post(f"{task}/ws/token", {"text": "x", "offset": -1})).status_code == 422

    play(scene)


def test_a_text_that_is_void_begins_again_and_a_failure_is_the_last_frame(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(TALKING)
        run = (await desk.start("talking"))["workflow_id"]
        task = await taken(desk)
        async with watching(desk, f"/workflows/{run}/activities/say/ws") as connection:
            await say(desk, task, "wrong")
            told = await frames(connection, until="token")
            await desk.post(f"{task}/ws/error", {"error": "rate limit"})
            await say(desk, task, "right")
            told += await frames(connection, until="token")
            assert [(frame["type"], frame["epoch"]) for frame in told] == [("token", 1), ("restart", 2), ("token", 2)]
            await desk.post(f"{task}/ws/complete", {"result": "right"})
            error = {"message": "it is broken", "code": "broken", "retryable": False}
            await desk.post(f"{task}/fail", {"worker_id": "w", "error": error})
            last = (await frames(connection))[-1]

        assert (last["type"], last["error"], last["code"]) == ("error", "it is broken", "broken")
        assert (await desk.post(f"{task}/ws/complete", {})).status_code == 409

    play(scene)


def test_of_a_fan_out_each_item_resumes_by_its_own_id_and_the_others_begin_again(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(MANY)
        run = (await desk.start("many"))["workflow_id"]
        tasks = [await taken(desk), await taken(desk)]
        for number, task in enumerate(tasks):
            await say(desk, task, f"text {number}")
        path = f"/workflows/{run}/activities/say/ws"
        async with watching(desk, path) as connection:
            had = [*await frames(connection, until="token"), *await frames(connection, until="token")]
        assert sorted(frame["place"] for frame in had) == ["say[0]", "say[1]"]

        async with watching(desk, f"{path}?offset={had[0]['id']},{had[1]['id']}") as both:
            await say(desk, tasks[1], "!")
            assert [(frame["text"], frame["offset"]) for frame in await frames(both, until="token")] == [("!", 6)]
        async with watching(desk, f"{path}?offset={had[0]['id']}") as one:
            rest = await frames(one, until="token")
        assert [(frame["type"], frame["place"]) for frame in rest] == [
            ("restart", had[1]["place"]),
            ("token", had[1]["place"]),
        ]
        for number, task in enumerate(tasks):
            await desk.post(f"{task}/complete", {"worker_id": "w", "output": f"done {number}"})
        async with watching(desk, path) as late:
            assert (await frames(late))[-1]["result"] == ["done 0", "done 1"]
        async with watching(desk, f"{path.removesuffix('/ws')}[1]/ws") as late:
            assert (await frames(late))[-1]["result"] == "done 1"

    play(scene)


def test_many_who_come_while_a_text_is_made_hear_the_same(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(TALKING)
        run = (await desk.start("talking"))["workflow_id"]
        task, path = await taken(desk), f"/workflows/{run}/activities/say/ws"
        words = [f"w{number} " for number in range(200)]

        async def hear(number: int) -> str:
            for _ in range(number):
                await asyncio.sleep(0)
            async with watching(desk, path) as connection:
                told = await frames(connection)
            assert told[-1]["type"] == "complete"
            return "".join(frame["text"] for frame in told if frame["type"] == "token")

        hearing = [asyncio.create_task(hear(number * 31)) for number in range(30)]
        for word in words:
            await say(desk, task, word)
        await desk.post(f"{task}/complete", {"worker_id": "w", "output": "".join(words)})

        assert set(await asyncio.gather(*hearing)) == {"".join(words)}
        assert desk.app.doors.hub.find(("text", run, "say")) is None, "its last listener has taken the topic along"

    play(scene)


def test_what_does_not_stream_is_watched_to_its_end_as_well(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(ASKING)
        run = (await desk.start("asking"))["workflow_id"]
        async with watching(desk, f"/workflow_events/ws?workflow_id={run}") as connection:
            await frames(connection, until="activity_suspended")
        async with watching(desk, f"/workflows/{run}/activities/begin/ws") as connection:
            assert [frame["type"] for frame in await frames(connection)] == ["complete"], "while the run goes on"
        async with watching(desk, f"/workflows/{run}/activities/then/ws") as connection:
            await desk.post(f"/approvals/{run}~ask", {"approved": True, "by": "ann"})
            assert [frame["type"] for frame in await frames(connection)] == ["complete"]
        async with watching(desk, f"/workflows/{run}/activities/then/ws") as connection:
            (late,) = await frames(connection)
        assert (late["result"], late["status"]) == ({"by": "ann"}, "completed")

    play(scene)


def test_an_event_stream_has_its_pings_and_ends_with_the_outcome(play: Any, monkeypatch: pytest.MonkeyPatch):
    from headgate.api.http import event_stream, texts

    for module in (event_stream, texts):
        monkeypatch.setattr(module, "PING_SECONDS", 0.001)

    async def scene(desk: Any) -> None:
        await desk.deploy(TALKING)
        run = (await desk.start("talking"))["workflow_id"]
        task = await taken(desk)
        for path in ("events", "activities/say/stream"):
            headers = {"Accept": "text/event-stream"}
            async with desk.client.stream("GET", f"/workflows/{run}/{path}", headers=headers) as stream:
                async for line in stream.aiter_lines():
                    if line == ": ping":
                        break
        await desk.post(f"{task}/complete", {"worker_id": "w", "output": "done"})
        told = events((await desk.get(f"{task}/stream")).text)
        assert [kind for kind, _ in told] == ["token", "end", "complete"]
        assert (told[-1][1]["result"], told[-1][1]["status"]) == ("done", "completed")

    play(scene)


# --- Who may -------------------------------------------------------------------------------------------------------


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


# --- What one reader may not do to others ----------------------------------------------------------------------------


def beat_all(desk: Any) -> None:
    for _ in range(socket_door.SHARES):
        desk.application.sockets.beat()


def test_every_connection_gets_a_ping_and_one_that_is_not_heard_is_cut_off(play: Any):
    async def scene(desk: Any) -> None:
        async with watching(desk, "/workflow_events/ws") as connection:
            for _ in range(3):
                beat_all(desk)
                (ping,) = await frames(connection, until="ping")
                assert set(ping) == {"type", "timestamp"}
                await connection.ping()  # its own: when that is answered, the server has had our pong
                await (await connection.ping())
        raw = await raw_socket(desk, "/workflow_events/ws")
        beat_all(desk)
        beat_all(desk)
        assert closing_code(await until_closed(raw)) == 1011

    play(scene)


def test_a_slow_reader_is_told_so_and_the_others_hear_everything(play: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(socket_module, "BUFFER_BYTES_MAX", 200_000)

    async def scene(desk: Any) -> None:
        await desk.deploy(TALKING)
        run = (await desk.start("talking"))["workflow_id"]
        task, path = await taken(desk), f"/workflows/{run}/activities/say/ws"
        await say(desk, task, ".")
        slow = await raw_socket(desk, path, receive_buffer=4_096)
        async with watching(desk, path) as quick:
            told = await frames(quick, until="token")
            while desk.application.sockets.connections == 2:
                await say(desk, task, "x" * 60_000)
                told += await frames(quick, until="token")
            await desk.post(f"{task}/complete", {"worker_id": "w", "output": ""})
            told += await frames(quick)
        assert [frame["type"] for frame in told].count("restart") == 0
        tokens = [frame for frame in told if frame["type"] == "token"]
        assert all(
            after["offset"] == before["offset"] + len(before["text"]) for before, after in itertools.pairwise(tokens)
        )
        assert closing_code(await until_closed(slow)) == 4002

    play(scene)


def test_one_that_has_read_nothing_between_two_pings_is_too_slow(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(TALKING)
        run = (await desk.start("talking"))["workflow_id"]
        task = await taken(desk)
        slow = await raw_socket(desk, f"/workflows/{run}/activities/say/ws", receive_buffer=4_096)
        (connection,) = desk.application.sockets._share_of
        while connection._transport.get_write_buffer_size() < 500_000:
            await say(desk, task, "x" * 60_000)
        beat_all(desk)
        connection.heard = True
        beat_all(desk)
        assert closing_code(await until_closed(slow)) == 4002

    play(scene)


def test_a_client_that_floods_is_closed(play: Any):
    async def scene(desk: Any) -> None:
        async with watching(desk, "/workflow_events/ws") as connection:
            with suppress(ConnectionClosed):
                for _ in range(10_000):
                    await connection.send("x")
            await frames(connection)
            assert connection.close_code == 1008
        async with watching(desk, "/workflow_events/ws") as connection:
            await connection.send("x" * 5_000)
            await frames(connection)
            assert connection.close_code == 1009

    play(scene)


def test_when_the_server_ends_it_says_so_to_everybody(play: Any):
    async def scene(desk: Any) -> None:
        async with watching(desk, "/workflow_events/ws") as connection:
            await desk.server.__aexit__()
            await frames(connection)
            assert connection.close_code == 1001

    play(scene)


def test_an_event_is_written_once_for_all_who_are_told(play: Any, monkeypatch: pytest.MonkeyPatch):
    from headgate.api.http import event_sockets

    made: list[str] = []

    def counted(run: str, event: Any) -> bytes:
        made.append(event.type)
        return frame_of(run, event)

    frame_of = event_sockets._frame
    monkeypatch.setattr(event_sockets, "_frame", counted)

    async def scene(desk: Any) -> None:
        await desk.deploy(ASKING)
        run = (await desk.start("asking"))["workflow_id"]
        readers = []
        for _ in range(10):
            context = watching(desk, f"/workflow_events/ws?workflow_id={run}")
            readers.append((context, await context.__aenter__()))
        for _, connection in readers:
            await frames(connection, until="activity_suspended")
        made.clear()
        await desk.post(f"/approvals/{run}~ask", {"approved": True})
        for context, connection in readers:
            await frames(connection)
            await context.__aexit__(None, None, None)
        assert made.count("run_completed") == 1

    play(scene)


async def raw_socket(desk: Any, path: str, *, receive_buffer: int = 0) -> sockets.socket:
    """Return a connection that answers nothing by itself, after its handshake."""
    raw = sockets.socket()
    if receive_buffer:
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, receive_buffer)
    raw.setblocking(False)
    loop = asyncio.get_running_loop()
    port = desk.client.base_url.port
    await loop.sock_connect(raw, ("127.0.0.1", port))
    head = (
        f"GET /api/v1{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    await loop.sock_sendall(raw, head.encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += await loop.sock_recv(raw, 1)
    assert answer.startswith(b"HTTP/1.1 101")
    return raw


async def until_closed(raw: sockets.socket) -> bytes:
    """Return all that comes up to the end, of which the last is the frame that says why."""
    loop = asyncio.get_running_loop()
    received = b""
    with raw:
        while data := await loop.sock_recv(raw, 1 << 20):
            received = (received + data)[-200:]
    return received


def closing_code(received: bytes) -> int:
    at = received.rindex(b"\x88")
    return int.from_bytes(received[at + 2 : at + 4], "big")
