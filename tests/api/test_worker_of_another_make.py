"""A worker written to the table of the wire, for the server that it was written for: it polls without waiting, says
nothing of leases, beats only for what may take more than a minute, and sends costs as texts.

Its types are those of Kruxia Flow's SDK for Rust (`PendingActivity` of kruxiaflow-worker 0.8.0); the one for
Python is tested as it is in `tests/e2e/test_kruxia_workers.py`."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

FLOW = """
name: far
activities:
  count: {worker: python, activity_name: count, parameters: {n: 3}, settings: {timeout_seconds: 119.5}}
  fails: {worker: python, activity_name: fails, parameters: {}, on_failure: continue}
"""
REQUIRED: dict[str, type] = {
    "activity_id": str,
    "workflow_id": str,
    "activity_key": str,
    "worker": str,
    "activity_name": str,
    "parameters": dict,
    "settings": dict,
    "timeout_seconds": int,
    "attempt": int,
    "iteration": int,
    "trace_id": str,
    "output_definitions": list,
}


class OtherWorker:
    """It knows the routes, and no more of the answers than it reads."""

    def __init__(self, desk: Any) -> None:
        self._desk = desk

    async def tasks(self, count: int) -> dict[str, dict[str, Any]]:
        """Poll as often as it takes to get so many."""
        found: dict[str, dict[str, Any]] = {}
        while len(found) < count:
            asked = {"worker": "python", "worker_id": "other", "max_activities": 10}
            answer = await self._desk.post("/workers/poll", asked)
            answer.raise_for_status()
            polled = answer.json()
            assert polled["count"] == len(polled["activities"])
            found |= {task["activity_key"]: task for task in polled["activities"]}
        return found

    async def say(self, task: dict[str, Any], verb: str, **body: Any) -> dict[str, Any]:
        answer = await self._desk.post(f"/activities/{task['activity_id']}/{verb}", {"worker_id": "other", **body})
        answer.raise_for_status()
        return answer.json()


def test_it_takes_beats_completes_and_fails_as_it_always_did(play: Any):
    async def scene(desk: Any) -> None:
        worker = OtherWorker(desk)
        await desk.deploy(FLOW)
        run = await desk.start("far")
        tasks = await worker.tasks(2)
        for task in tasks.values():
            for name, kind in REQUIRED.items():
                assert isinstance(task[name], kind), name
            assert task.get("signal_data") is None
            assert task["run_id"] == run["workflow_id"]
            assert str(uuid.UUID(task["activity_id"])) == task["activity_id"] != task["workflow_id"]
            by_uuid = (await desk.get(f"/workflows/{uuid.UUID(task['workflow_id'])}")).json()
            assert by_uuid["id"] == run["workflow_id"]

        assert tasks["count"]["timeout_seconds"] == 120, "rounded up"

        beaten = await worker.say(tasks["count"], "heartbeat")
        for _ in range(2):
            done = await worker.say(tasks["count"], "complete", output={"counted": 3}, cost_usd="0.0125")
            assert done["acknowledged"] is True
        error = {"code": "EXECUTION_ERROR", "message": "no", "retryable": False}
        failed = await worker.say(tasks["fails"], "fail", error=error)

        assert (beaten["acknowledged"], beaten["next_heartbeat_seconds"]) == (True, 10)
        assert (failed["acknowledged"], failed["will_retry"]) == (True, False)
        ended = (await desk.get(f"/workflows/{run['workflow_id']}?wait=20")).json()
        assert (ended["status"], ended["total_cost_usd"]) == ("completed", pytest.approx(0.0125))

    play(scene, work=False)


@pytest.mark.parametrize("cost", ["-1", "NaN", "Infinity", "much", "", "1000000", -0.5])
def test_a_cost_that_is_no_amount_is_refused_and_the_claim_is_kept(play: Any, cost: Any):
    async def scene(desk: Any) -> None:
        worker = OtherWorker(desk)
        await desk.deploy(FLOW)
        await desk.start("far")
        task = (await worker.tasks(2))["count"]

        answer = await desk.post(f"/activities/{task['activity_id']}/complete", {"output": 1, "cost_usd": cost})

        assert answer.status_code == 422
        assert "cost_usd" in answer.json()["error"]["message"]
        assert (await worker.say(task, "heartbeat"))["acknowledged"] is True

    play(scene, work=False)


def test_a_failure_of_any_size_is_cut_to_what_the_log_and_lists_can_bear(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(FLOW)
        run = (await desk.start("far"))["workflow_id"]
        worker = OtherWorker(desk)
        task = (await worker.tasks(2))["fails"]

        error = {"code": "c" * 5_000, "message": "m" * 500_000, "retryable": False, "details": {"all": "d" * 500_000}}
        await worker.say(task, "fail", error=error)

        events = (await desk.get(f"/workflows/{run}/events")).text
        assert "and 480000 characters more" in events
        assert "more than 65536 bytes" in events
        assert len(events) < 100_000

    play(scene)


@pytest.mark.parametrize("seconds", [-1.0, 1e12, 1e13, 1e300])
def test_a_wish_to_be_tried_again_ever_so_late_is_bounded(play: Any, seconds: float):
    async def scene(desk: Any) -> None:
        await desk.deploy(FLOW.replace("on_failure: continue", "retry: 2"))
        run = (await desk.start("far"))["workflow_id"]
        worker = OtherWorker(desk)
        task = (await worker.tasks(2))["fails"]

        said = await worker.say(task, "fail", error={"message": "later", "retry_after_seconds": seconds})

        assert said["will_retry"] is True
        places = (await desk.get(f"/workflows/{run}")).json()["activities"]
        assert "retries in 30 d" in str(places) or (seconds < 0 and "retries in" in str(places))

    play(scene)


@pytest.mark.parametrize(
    "usage",
    [
        [{"provider": "p", "model": "m", "input_tokens": 1, "output_tokens": 1}] * 1_001,
        [{"provider": "p" * 201, "model": "m", "input_tokens": 1, "output_tokens": 1}],
    ],
)
def test_a_usage_that_is_no_usage_is_refused_and_the_claim_is_kept(play: Any, usage: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(FLOW)
        await desk.start("far")
        worker = OtherWorker(desk)
        task = (await worker.tasks(2))["count"]
        body = {"worker_id": "other", "output": {}, "usage": usage}

        refused = await desk.post(f"/activities/{task['activity_id']}/complete", body)

        assert refused.status_code == 422
        assert (await worker.say(task, "heartbeat"))["acknowledged"] is True

    play(scene)


def test_the_newest_progress_of_a_task_is_shown_until_its_attempt_is_over(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(FLOW)
        run = (await desk.start("far"))["workflow_id"]
        worker = OtherWorker(desk)
        task = (await worker.tasks(2))["count"]

        async def shown() -> dict[str, Any]:
            places = (await desk.get(f"/workflows/{run}")).json()["activities"]
            return {place["activity_key"]: place["progress"] for place in places}

        assert await shown() == {"count": None, "fails": None}
        for done in (1, 2):
            await worker.say(task, "heartbeat", progress={"done": done, "of": 3})
        await worker.say(task, "heartbeat")
        assert await shown() == {"count": {"done": 2, "of": 3}, "fails": None}
        await worker.say(task, "heartbeat", progress="x" * 5_000)
        assert await shown() == {"count": {"left_out": "more than 4096 bytes"}, "fails": None}

        await worker.say(task, "complete", output=1)

        assert (await shown())["count"] is None

    play(scene, work=False)


def test_a_secret_is_masked_in_progress(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(FLOW.replace("{n: 3}", "{n: '{{ SECRET.token }}'}"))
        run = (await desk.start("far"))["workflow_id"]
        worker = OtherWorker(desk)
        task = (await worker.tasks(2))["count"]

        await worker.say(task, "heartbeat", progress={"with": f"Bearer {task['parameters']['n']}"})

        assert "hush-hush" not in (await desk.get(f"/workflows/{run}")).text
        assert "[secret]" in (await desk.get(f"/workflows/{run}")).text

    play(scene, work=False, environment={"HEADGATE_SECRET_TOKEN": "hush-hush-42"})
