"""What requests to hooks may hold, what a hook may say, and signals that start a run."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.api.hooks_lab import ANY, CHAT, ISSUE, made, runs, send

from headgate.api.http.hooks import BODY_BYTES_MAX

# --- Bodies -----------------------------------------------------------------------------------------------------------


def test_a_form_is_taken_and_other_bodies_are_refused(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(ANY)
        hook = await made(desk, name="tok", definition_name="any", scheme="token")
        token = {"X-Webhook-Token": hook["secret"]}

        form = await desk.client.post("/hooks/tok", data={"a": "1", "b": ""}, headers=token)
        run = (await desk.get(f"/workflows/{form.json()['workflow_id']}?wait=20")).json()
        assert run["input"] == {"a": "1", "b": ""}
        for body in (b"<xml/>", b"\xff", b"[" * 5_000):
            assert (await desk.client.post("/hooks/tok", content=body, headers=token)).status_code == 422

    play(scene)


def test_a_body_that_is_too_long_is_not_read(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(ANY)
        hook = await made(desk, name="in", definition_name="any")

        answer = await send(desk, hook, "x" * BODY_BYTES_MAX)

        assert answer.status_code == 413

    play(scene)


def test_an_input_that_does_not_fit_is_refused_and_may_come_again(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(ISSUE)
        hook = await made(desk, name="in", definition_name="issue")

        assert (await send(desk, hook, {"title": 3})).status_code == 422
        assert (await send(desk, hook, {"title": "x", "number": 1})).status_code == 202

    play(scene)


# --- What a hook may say ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "status", "says"),
    [
        ({"name": "a b"}, 422, "expected name"),
        ({"name": "x", "definition_name": ""}, 422, "needs a workflow"),
        ({"name": "x", "definition_name": "none"}, 404, "no workflow 'none'"),
        ({"name": "x", "signal_name": "go"}, 422, "needs a unique_key"),
        ({"name": "x", "filter": "BODY.a =="}, 422, "filter"),
        ({"name": "x", "filter": "INPUT.a == 1"}, 422, "BODY and HEADERS"),
        ({"name": "x", "input": {"a": "{{ SECRET.KEY }}"}}, 422, "BODY and HEADERS"),
        ({"name": "x", "secret": "short"}, 422, "signing secret"),
        ({"name": "x", "scheme": "token", "secret": "short"}, 422, "16 to 500"),
        ({"name": "x", "header": "X-Token"}, 422, "scheme token only"),
        ({"name": "x", "scheme": "sha1"}, 422, "sha1"),
    ],
)
def test_a_hook_that_cannot_work_is_refused_when_it_is_made(given: dict[str, Any], status: int, says: str, play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(ANY)

        answer = await desk.post("/hooks", {"definition_name": "any", **given})

        assert answer.status_code == status
        assert says in answer.text

    play(scene)


def test_a_name_is_taken_once_and_free_again_when_it_is_removed(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(ANY)
        hook = await made(desk, name="in", definition_name="any")
        assert (await desk.post("/hooks", {"name": "in", "definition_name": "any"})).status_code == 409

        assert (await desk.client.delete("/hooks/in")).status_code == 200

        assert (await send(desk, hook, {})).status_code == 401
        assert (await desk.client.delete("/hooks/in")).status_code == 404
        await made(desk, name="in", definition_name="any")

    play(scene)


# --- Signal with start ------------------------------------------------------------------------------------------------


def test_a_start_with_a_signal_starts_once_and_signals_each_time(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(CHAT)
        body = {"definition_name": "chat", "unique_key": "ann", "input": {"who": "ann"}}

        first = await desk.post("/workflows", {**body, "signal": {"name": "said", "data": {"text": "one"}}})
        second = await desk.post("/workflows", {**body, "signal": {"name": "said", "data": {"text": "two"}}})

        assert (first.status_code, second.status_code) == (201, 201)
        assert first.json()["workflow_id"] == second.json()["workflow_id"]
        shown = (await desk.get(f"/workflows/{first.json()['workflow_id']}?wait=20")).json()
        assert [one["outputs"][0]["value"] for one in shown["activities"]] == [{"text": "one"}, {"text": "two"}]

    play(scene)


def test_a_repeat_under_the_same_idempotency_key_signals_no_second_time_also_when_the_run_has_ended(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(CHAT)
        body = {"definition_name": "chat", "unique_key": "ann", "signal": {"name": "said", "data": {"text": "one"}}}
        headers = {"Idempotency-Key": "k1"}
        answers = await asyncio.gather(*(desk.post("/workflows", body, headers=headers) for _ in range(6)))
        (run,) = {answer.json()["workflow_id"] for answer in answers}

        events = (await desk.get(f"/workflows/{run}/events")).json()["events"]
        assert sum(event["event_type"] == "signal_received" for event in events) == 1
        await desk.post(f"/workflows/{run}/cancel", {})
        again = await desk.post("/workflows", body, headers=headers)

        assert again.json()["workflow_id"] == run
        assert await runs(desk) == 1
        fresh = await desk.post("/workflows", body)  # another request: the key is free again
        assert fresh.json()["workflow_id"] != run

    play(scene)


def test_a_repeat_starts_nothing_where_the_first_had_found_a_run_that_has_ended_since(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(CHAT)
        run = (await desk.start("chat", unique_key="ann"))["workflow_id"]
        body = {"definition_name": "chat", "unique_key": "ann", "signal": {"name": "said", "data": {"text": "one"}}}
        headers = {"Idempotency-Key": "k1"}
        first = await desk.post("/workflows", body, headers=headers)
        await desk.post(f"/workflows/{run}/cancel", {})

        again = await desk.post("/workflows", body, headers=headers)

        assert first.json()["workflow_id"] == again.json()["workflow_id"] == run
        assert await runs(desk) == 1

    play(scene)


def test_a_signal_needs_a_key_and_a_run_that_can_take_it(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(ANY)
        body = {"definition_name": "any", "signal": {"name": "said"}}
        assert (await desk.post("/workflows", body)).status_code == 422
        run = await desk.start("any", wait=20, unique_key="k")

        answer = await desk.post("/workflows", {**body, "unique_key": "k"})

        assert answer.status_code == 409
        assert run["id"] in answer.json()["error"]["message"]

    play(scene)
