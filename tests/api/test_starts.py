"""What a run can be started with over HTTP, and what each word of the start's body does."""

from __future__ import annotations

from typing import Any

import pytest

HELLO = "name: hello\nlabels: {team: a}\nactivities: {hi: {use: echo, with: {text: hi}}}"
ASKING = 'name: asking\nactivities: {ask: {use: approval, with: {title: "Go on?"}}}'


def test_who_asks_to_reuse_a_held_unique_key_is_answered_with_the_run_that_holds_it(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(ASKING)
        body = {"definition_name": "asking", "unique_key": "ann"}
        first = (await desk.post("/workflows", body)).json()["workflow_id"]

        refused = await desk.post("/workflows", body)
        reused = await desk.post("/workflows", {**body, "reuse": True})
        waited = await desk.post("/workflows?wait=0.01", {**body, "reuse": True})

        assert refused.status_code == 409
        assert refused.json()["error"]["details"] == {"reason": "unique_key_held", "workflow_id": first}
        assert (reused.status_code, reused.json()["workflow_id"]) == (200, first)
        assert reused.json()["status"] == "waiting"
        assert (waited.status_code, waited.json()["id"]) == (200, first)
        assert (await desk.get("/workflows")).json()["total"] == 1

    play(scene)


def test_a_run_has_the_trace_id_that_its_start_names_or_else_that_of_the_request(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(HELLO)
        headers = {"X-Trace-Id": "of-the-request"}

        named = await desk.start("hello", wait=20, trace_id="0af7651916cd43dd8448eb211c80319c")
        asked = await desk.post("/workflows?wait=20", {"definition_name": "hello"}, headers=headers)
        plain = await desk.post("/workflows?wait=20", {"definition_name": "hello"})

        assert named["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
        assert asked.json()["trace_id"] == "of-the-request"
        assert plain.json()["trace_id"] == plain.headers["x-trace-id"]
        events = (await desk.get(f"/workflows/{named['id']}/events")).json()["events"]
        assert {event["trace_id"] for event in events} == {named["trace_id"]}

    play(scene)


def test_a_budget_may_be_a_number_or_its_text(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(HELLO)

        runs = [await desk.start("hello", wait=20, budget=budget) for budget in (0.25, "0.25", "$0.25")]

        assert {run["budget_limit_usd"] for run in runs} == {0.25}

    play(scene)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"budget": -1}, "budget"),
        ({"budget": "much"}, "budget"),
        ({"budget": 1e12}, "budget"),
        ({"labels": {str(number): "x" for number in range(16)}}, "17"),
        ({"labels": {"n" * 65: "x"}}, "65"),
        ({"labels": {"": "x"}}, "label"),
        ({"labels": {"n": "x" * 257}}, "257"),
        ({"unique_key": "k" * 501}, "unique_key"),
        ({"trace_id": "a b"}, "trace_id"),
        ({"trace_id": "a" * 129}, "trace_id"),
    ],
)
def test_what_no_run_can_have_is_refused(given: dict[str, Any], named: str, play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(HELLO)

        answer = await desk.post("/workflows", {"definition_name": "hello", **given})

        assert answer.status_code == 422
        assert named in answer.json()["error"]["message"]
        assert (await desk.get("/workflows")).json()["total"] == 0

    play(scene)


@pytest.mark.parametrize("given", [{"labels": {str(number): "x" for number in range(16)}}, {"budget": -1}])
def test_what_no_run_can_have_no_schedule_and_no_hook_is_made_with(given: dict[str, Any], play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(HELLO)

        schedule = await desk.post(
            "/schedules", {"name": "s", "definition_name": "hello", "interval_seconds": 60, **given}
        )
        hook = await desk.post("/hooks", {"name": "h", "definition_name": "hello", **given})

        assert (schedule.status_code, hook.status_code) == (422, 422)

    play(scene)
