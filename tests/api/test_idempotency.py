"""`Idempotency-Key`: a repeat is answered as the first time, and something else under the same key is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

ASKING = 'name: asking\ninputs: {who: string}\nactivities: {ask: {use: approval, with: {title: "Go on?"}}}'
KEY = {"Idempotency-Key": "once"}
START = {"definition_name": "asking", "input": {"who": "Ann"}}


def test_of_twenty_equal_starts_at_once_under_one_key_one_run_comes(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(ASKING)

        answers = await asyncio.gather(*(desk.post("/workflows", START, headers=KEY) for _ in range(20)))

        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["workflow_id"] for answer in answers}) == 1

    play(scene)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/workflows", {"definition_name": "asking", "input": {"who": "Bob"}}),
        ("/workflows/{run}/cancel", {}),
        ("/workflows/{run}/signal", {"event_name": "go"}),
        ("/approvals/{run}~ask", {"approved": True}),
        ("/runs/{run}/decide", {"approved": True}),
        ("/workflows", {**START, "unique_key": "ann", "signal": {"name": "go"}}),
    ],
)
def test_something_else_under_a_key_that_was_used_is_refused_and_not_done(path: str, body: Any, play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(ASKING)
        run = (await desk.post("/workflows", START, headers=KEY)).json()["workflow_id"]

        other = await desk.post(path.format(run=run), body, headers=KEY)
        again = await desk.post("/workflows", START, headers=KEY)

        assert other.status_code == 422
        assert other.json()["error"]["details"]["reason"] == "command_id_reused"
        assert again.json()["workflow_id"] == run
        assert (await desk.get(f"/workflows/{run}")).json()["status"] == "waiting"
        assert (await desk.get("/workflows")).json()["total"] == 1

    play(scene)


def test_a_signal_with_a_start_that_is_repeated_is_sent_once_and_another_is_refused(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(ASKING)
        body = {**START, "unique_key": "ann", "signal": {"name": "said", "data": 1}}

        runs = [(await desk.post("/workflows", body, headers=KEY)).json()["workflow_id"] for _ in range(2)]
        other = await desk.post("/workflows", {**body, "signal": {"name": "said", "data": 2}}, headers=KEY)

        assert len(set(runs)) == 1
        assert other.status_code == 422
        events = (await desk.get(f"/workflows/{runs[0]}/events")).json()["events"]
        assert [event["event_type"] for event in events].count("signal_received") == 1

    play(scene)


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_a_key_that_is_none_is_refused(key: str, play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(ASKING)

        answer = await desk.post("/workflows", START, headers={"Idempotency-Key": key})

        assert answer.status_code == 400
        assert (await desk.get("/workflows")).json()["total"] == 0

    play(scene)
