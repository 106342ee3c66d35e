"""Workers over HTTP: tasks, heartbeats, reports, and the gate of their model calls."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

OUTSIDE = """
name: outside
budget: 1.00
activities:
  work: {use: count, queue: outside, with: {n: 3}, timeout: 60s}
"""
CUT_OFF = {"message": "cut off", "code": "cut_off", "retryable": False}


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
