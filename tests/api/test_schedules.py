"""Schedules over HTTP: made, looked at, changed, triggered, filled up and removed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

FLOW = "name: tick\ninputs: {n: {type: integer, default: 1}}\nactivities: {a: {use: echo, with: {n: '{{ INPUT.n }}'}}}"
DAILY = {
    "name": "daily",
    "definition_name": "tick",
    "cron": "30 7 * * *",
    "timezone": "Europe/Berlin",
    "input": {"n": 7},
}


def test_a_schedule_is_made_shown_changed_and_removed(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(FLOW)
        made = await desk.post("/schedules", DAILY)
        assert made.status_code == 201
        line = made.json()
        assert (line["definition_version"], line["input"], line["misfire_policy"]) == ("", {"n": 7}, "run_once")
        times = [datetime.fromisoformat(at) for at in line["next_run_times"]]
        assert len(times) == 5
        assert times[0].isoformat() == datetime.fromisoformat(line["next_run_at"]).isoformat()
        assert all(timedelta(hours=22) < later - sooner < timedelta(hours=26) for sooner, later in pairwise(times))

        for wanted in ("daily", line["id"]):
            assert (await desk.get(f"/schedules/{wanted}")).json() == line
        assert (await desk.get("/schedules")).json()["schedules"] == [line]

        change = {"interval_seconds": 90, "enabled": False, "input": {"n": 8}}
        changed = (await desk.client.patch("/schedules/daily", json=change)).json()
        assert (changed["id"], changed["cron"], changed["interval_seconds"]) == (line["id"], None, 90)
        assert (changed["enabled"], changed["next_run_times"], changed["input"]) == (False, [], {"n": 8})

        assert (await desk.client.delete("/schedules/daily")).status_code == 200
        assert (await desk.get("/schedules/daily")).status_code == 404

    play(scene)


def test_a_triggered_run_is_named_and_has_the_schedules_input(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(FLOW)
        await desk.post("/schedules", DAILY)

        line = (await desk.post("/schedules/daily/trigger")).json()

        run = (await desk.get(f"/workflows/{line['last_workflow_id']}?wait=20")).json()
        assert (run["input"], run["labels"]) == ({"n": 7}, {"schedule": "daily"})

    play(scene)


def test_a_backfill_names_its_runs_and_starts_none_twice(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(FLOW)
        await desk.post("/schedules", DAILY)
        until = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        window = {"from": (until - timedelta(days=3)).isoformat(), "until": until.isoformat()}

        first = (await desk.post("/schedules/daily/backfill", window)).json()
        again = (await desk.post("/schedules/daily/backfill", window)).json()

        assert first == again
        assert first["count"] == len(set(first["workflow_ids"])) == 3
        assert (await desk.get("/workflows")).json()["total"] == 3

    play(scene)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"definition_name": "none"}, 404),
        ({"cron": "every morning"}, 422),
        ({"interval_seconds": 60}, 422),
        ({"cron": "", "interval_seconds": 1e300}, 422),
        ({"timezone": "Mars/Base"}, 422),
        ({"input": {"n": "x"}}, 422),
        ({"misfire_policy": "run_all"}, 422),
        ({"misfire_policy": "sometimes"}, 422),
        ({"name": ""}, 422),
        ({"name": "a/b"}, 422),
        ({"cron": "* * * * *", "unknown": 1}, 422),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(change: dict[str, Any], status: int, play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(FLOW)

        assert (await desk.post("/schedules", {**DAILY, **change})).status_code == status
        assert (await desk.get("/schedules")).json()["count"] == 0

    play(scene)


def test_a_name_that_is_taken_is_a_conflict(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(FLOW)
        await desk.post("/schedules", DAILY)

        answer = await desk.post("/schedules", {**DAILY, "cron": "0 0 * * *"})

        assert (answer.status_code, "PATCH" in answer.text) == (409, True)

    play(scene)


@pytest.mark.parametrize(
    "window",
    [
        {"from": "yesterday", "until": "2026-01-01"},
        {"from": "2026-01-01"},
        {"from": "0001-01-01", "until": "0001-01-02"},
    ],
)
def test_a_window_that_is_none_is_refused(window: dict[str, str], play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(FLOW)
        await desk.post("/schedules", DAILY)

        assert (await desk.post("/schedules/daily/backfill", window)).status_code == 422

    play(scene)
