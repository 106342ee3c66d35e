"""What careless and hostile clients send: it is refused in words that help, and nothing hangs."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest

from headgate.api.http.table import ROUTES

HELLO = "name: hello\ninputs: {name: {type: string, default: Ann}}\nactivities: {hi: {use: echo, with: {text: hi}}}"
FAR = "name: far\nactivities: {work: {use: anything, queue: nobody}}"


@pytest.mark.parametrize("wait", ["nan", "-1", "-inf", "soon"])
def test_a_wait_that_is_no_time_is_refused_at_once(wait: str, play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(FAR)
        run = (await desk.start("far"))["workflow_id"]

        for path in (f"/workflows/{run}", f"/runs/{run}"):
            answer = await desk.get(path, params={"wait": wait})

            assert answer.status_code == 422
            assert list(answer.json()["error"]["details"]["field_errors"]) == ["wait"]

    play(scene)


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("/workflows", "status", "finished"),
        ("/workflows", "offset", "-1"),
        ("/runs", "status", "finished"),
        ("/runs/{run}/events", "after", "-1"),
        ("/workflows/{run}/events", "after", "-1"),
        ("/workflow_definitions", "limit", "0"),
        ("/workflow_definitions", "limit", "1001"),
    ],
)
def test_a_parameter_out_of_its_bounds_is_refused_and_not_guessed_at(path: str, name: str, value: str, play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(HELLO)
        run = (await desk.start("hello", wait=20))["id"]

        answer = await desk.get(path.format(run=run), params={name: value})

        assert answer.status_code == 422
        assert name in answer.json()["error"]["message"]

    play(scene)


TOLD_NOTHING = [route.path for route in ROUTES if route.method == "POST" and route.body is None]


@pytest.mark.parametrize("path", TOLD_NOTHING)
def test_what_takes_no_body_refuses_what_somebody_tells_it(path: str, play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(FAR)
        run = (await desk.start("far"))["workflow_id"]
        schedule = await desk.post("/schedules", {"name": "daily", "definition_name": "far", "cron": "30 7 * * *"})
        webhook = await desk.post("/webhooks", {"url": "https://acme.example/news"})
        await desk.post("/tenants", {"name": "acme"})
        named = {"workflows": run, "schedules": schedule.json()["id"], "webhooks": webhook.json()["id"]}
        asked = path.replace("{id}", named.get(path.split("/")[1], "")).replace("{name}", "acme")

        refused = await desk.post(asked, {"input": {"n": 8}})
        unreadable = await desk.client.post(asked, content=b"input=8")
        taken = [await desk.client.post(asked, content=content) for content in (b"", b"{}")]

        assert refused.status_code == 422
        assert "input" in refused.json()["error"]["message"]
        assert unreadable.status_code == 400
        assert {answer.status_code for answer in taken} <= {200, 201, 409}

    play(scene)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"POST /api/v1/workflows HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n{}",
        b"POST /api/v1/workflows HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /api/v1/workflows HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["TLS", "a negative length", "two lengths", "a bad chunk"],
)
def test_what_is_no_request_is_refused_in_the_envelope(sent: bytes, play: Any):
    async def scene(desk: Any) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", desk.client.base_url.port)
        writer.write(sent)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()

        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"\r\nx-request-id: " in head
        assert b"\r\nx-trace-id: " in head
        assert json.loads(body)["error"]["code"] == "BAD_REQUEST"

    play(scene)


def test_a_method_that_a_path_does_not_take_is_answered_with_those_that_it_takes(play: Any):
    async def scene(desk: Any) -> None:
        answer = await desk.client.put("/workflows", json={})

        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET, HEAD, POST"
        assert "GET, HEAD, POST" in answer.json()["error"]["message"]

    play(scene)


@pytest.mark.parametrize("path", ["/workflows", "/workflow_definitions", "/files/a.txt"])
def test_a_compressed_body_is_refused_by_name_and_kept_by_nobody(path: str, play: Any):
    async def scene(desk: Any) -> None:
        packed = gzip.compress(HELLO.encode())

        answer = await desk.client.post(path, content=packed, headers={"content-encoding": "gzip"})

        assert answer.status_code == 400
        assert "Content-Encoding: gzip" in answer.json()["error"]["message"]

    play(scene)


def test_the_beginning_of_several_ids_is_refused_as_the_document_says(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(HELLO)
        runs = [(await desk.start("hello"))["workflow_id"] for _ in range(33)]
        firsts = [run[0] for run in runs]  # of 32 letters
        several = next(letter for letter in firsts if firsts.count(letter) > 1)
        paths = (await desk.get("/openapi.json")).json()["paths"]

        for path in ("/workflows/{id}", "/workflows/{id}/events", "/runs/{id}", "/runs/{id}/updates"):
            answer = await desk.get(path.format(id=several))

            assert answer.status_code == 409
            assert "409" in paths[f"/api/v1{path}"]["get"]["responses"]

    play(scene)


@pytest.mark.parametrize("item", ["hi[0]", "each[2]", "each[x]", "each[-1]", "each["])
def test_of_an_item_that_there_is_not_no_text_is_told(item: str, play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(
            "name: items\nactivities: {hi: {use: echo, with: {text: hi}}, "
            'each: {use: echo, for_each: "{{ [1, 2] }}", with: {text: "{{ ITEM }}"}}}'
        )
        run = (await desk.start("items", wait=20))["id"]

        assert (await desk.get(f"/workflows/{run}/activities/each[1]/stream")).status_code == 200
        assert (await desk.get(f"/workflows/{run}/activities/{item}/stream")).status_code == 404

    play(scene)
