"""Runs and tasks by their UUIDs, as workers of another make know them: whichever server they come to, and when."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.api.conftest import Desk, serving
from tests.postgres_logs import SCHEMA, empty_postgres_log, server_url

from headgate.api import claims
from headgate.api.claims import Claims
from headgate.app import App
from headgate.core.run_ids import uuid_of
from headgate.stores.memory import MemoryLog
from headgate.stores.postgres import PostgresLog
from headgate.stores.sqlite import SqliteLog

PAIR = """
name: pair
activities:
  left: {worker: far, activity_name: tell, parameters: {n: 1}}
  right: {worker: far, activity_name: tell, parameters: {n: 2}}
"""
NAMED = """
name: named
activities:
  made: {worker: far, activity_name: tell, parameters: {}, outputs: [url]}
  read: {use: echo, with: {of: "{{ made.result.n }} {{ made.url }}"}, depends_on: [made]}
"""
SCRIPT = """
name: script
activities:
  sum: {worker: far, activity_name: script, parameters: {script: "OUTPUT = 1"}}
"""


async def taken(desk: Desk, worker_id: str = "w") -> dict[str, str]:
    """Return the UUIDs of the tasks that there are, by their activities."""
    polled = await desk.post(
        "/workers/poll", {"worker": "far", "worker_id": worker_id, "max_activities": 10, "wait_seconds": 20}
    )
    return {task["activity_key"]: task["activity_id"] for task in polled.json()["activities"]}


async def beat(desk: Desk, task: str, worker_id: str = "w") -> int:
    return (await desk.post(f"/activities/{task}/heartbeat", {"worker_id": worker_id})).status_code


async def complete(desk: Desk, task: str, output: Any = "told") -> list[str]:
    """Report an output; return what is said to that."""
    answer = await desk.post(f"/activities/{task}/complete", {"worker_id": "w", "output": output})
    assert answer.status_code == 200, answer.text
    return answer.json()["warnings"]


def test_all_that_can_be_said_of_a_task_can_be_said_by_its_uuid(play: Any):
    async def scene(desk: Desk) -> None:
        await desk.deploy(PAIR)
        run = (await desk.start("pair"))["workflow_id"]
        tasks = await taken(desk)
        left = f"/activities/{tasks['left']}"

        assert await beat(desk, tasks["left"]) == 200
        assert (await desk.post(f"{left}/ws/token", {"token": "void"})).json()["subscribers"] == 0
        assert (await desk.post(f"{left}/ws/error", {"error": "begin again"})).status_code == 200
        assert (await desk.post(f"{left}/ws/token", {"token": "told"})).status_code == 200
        async with desk.client.stream("GET", f"{left}/stream") as reading:
            async for line in reading.aiter_lines():
                if "told" in line:
                    break
            assert (await desk.get(f"{left}/ws/subscribers")).json() == {"count": 1}
        assert (await desk.post(f"{left}/effects", {"what": "mail"})).status_code == 200
        many = [{"activity_id": task, "output": "told"} for task in tasks.values()]
        answer = await desk.post("/activities/complete", {"worker_id": "w", "activities": many})
        assert [one["warnings"] for one in answer.json()["results"]] == [[], []]

        ended = (await desk.get(f"/workflows/{uuid_of(run)}?wait=20")).json()
        assert (ended["id"], ended["status"]) == (run, "completed")

    play(scene, work=False)


@asynccontextmanager
async def two_servers(kind: str) -> AsyncGenerator[tuple[Desk, Desk]]:
    """Two servers in front of one engine, or two nodes on one database."""
    if kind == "servers":
        async with (
            App(MemoryLog(), environment={}, work=False) as app,
            serving(app) as one,
            serving(app, doors={"claims": Claims()}) as other,
        ):
            yield one, other
        return
    empty_postgres_log()
    first, second = (
        App(PostgresLog(server_url(), schema=SCHEMA), environment={}, offline=True, work=False) for _ in range(2)
    )
    async with first, second, serving(first) as one, serving(second) as other:
        yield one, other


@pytest.mark.parametrize("kind", ["servers", "nodes"])
def test_a_server_that_has_not_given_a_uuid_understands_it_and_whose_it_is(kind: str):
    async def scene() -> None:
        async with two_servers(kind) as (one, other):
            await one.deploy(PAIR)
            run = (await one.start("pair"))["workflow_id"]
            tasks = await taken(one)

            assert await beat(other, tasks["left"]) == 200
            assert [await beat(server, tasks["left"], "another") for server in (one, other)] == [409, 409]
            assert await complete(other, tasks["right"]) == []
            assert await beat(other, tasks["right"]) == 409, "it is over"
            assert await complete(one, tasks["left"]) == []
            assert (await other.get(f"/workflows/{run}?wait=20")).json()["status"] == "completed"

    asyncio.run(asyncio.wait_for(scene(), 60))


def test_what_was_taken_before_a_restart_is_reported_after_it(tmp_path: Path):
    async def scene() -> None:
        async with App(SqliteLog(tmp_path / "hg.db"), environment={}, work=False) as app, serving(app) as desk:
            await desk.deploy(PAIR)
            run = (await desk.start("pair"))["workflow_id"]
            before = await taken(desk)
        async with App(SqliteLog(tmp_path / "hg.db"), environment={}, work=False) as app, serving(app) as desk:
            assert await beat(desk, before["left"]) == 409, "nobody holds it: stop"
            assert await complete(desk, before["left"]) == [], "what was done all the same is not done again"

            after = await taken(desk, "another")

            assert after == {"right": before["right"]}, "the same attempt, for it was never lost"
            assert [await beat(desk, after["right"], name) for name in ("w", "another")] == [409, 200]
            assert await complete(desk, after["right"]) == []
            assert (await desk.get(f"/workflows/{run}?wait=20")).json()["status"] == "completed"

    asyncio.run(asyncio.wait_for(scene(), 60))


def test_beyond_the_maximum_uuids_are_looked_up_in_the_log(play: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(claims, "CLAIMS_MAX", 1)

    async def scene(desk: Desk) -> None:
        await desk.deploy(PAIR)
        await desk.start("pair")
        tasks = await taken(desk)
        known = desk.app.doors.claims

        assert known.find("default", "w", tasks["left"]) is None
        assert known.find("default", "w", tasks["right"]) is not None
        assert [await complete(desk, task) for task in tasks.values()] == [[], []]

    play(scene, work=False)


def test_a_uuid_of_no_task_is_told_so(play: Any):
    async def scene(desk: Desk) -> None:
        await desk.deploy(PAIR)
        run = (await desk.start("pair"))["workflow_id"]
        tasks = await taken(desk)

        assert (await desk.post(f"/activities/{tasks['left']}/effects", {"what": "mail"})).status_code == 200
        events = (await desk.get(f"/workflows/{run}/events")).json()["events"]
        begun = next(event["id"] for event in events if event["event_type"] == "effect_begun")

        for version in (0, 1, begun, 4_000):
            assert await beat(desk, uuid_of(run, version)) == 409
        for nothing in (uuid_of(run), uuid_of(run, begun), uuid_of("z" * 20, 2)):
            assert await beat(desk, nothing) == 409
            assert await complete(desk, nothing) != []
            assert (await desk.post(f"/activities/{nothing}/effects", {"what": "mail"})).status_code in (404, 409)
        assert (await desk.post(f"/activities/{uuid.uuid4()}/complete", {"output": 1})).status_code == 422
        assert await beat(desk, tasks["left"]) == 200

    play(scene, work=False)


def test_a_ticket_is_good_for_its_run_under_either_name(play: Any):
    async def scene(desk: Desk) -> None:
        await desk.deploy(PAIR)
        run = (await desk.start("pair"))["workflow_id"]
        left = (await taken(desk))["left"]
        assert await complete(desk, left) == []
        other = (await desk.start("pair"))["workflow_id"]
        answered: list[list[int]] = []
        for whose in (run, other):
            ticket = (await desk.post(f"/workflows/{uuid_of(whose)}/tickets")).json()["ticket"]
            bearer = {"headers": {"Authorization": f"Bearer {ticket}"}}
            paths = (f"/workflows/{run}", f"/workflows/{uuid_of(run)}", f"/activities/{left}/stream")
            answered.append([(await desk.get(path, **bearer)).status_code for path in paths])

        assert answered == [[200] * 3, [403] * 3]

    play(scene, work=False)


def test_what_a_worker_names_is_read_by_that_name(play: Any):
    async def scene(desk: Desk) -> None:
        await desk.deploy(NAMED)
        run = (await desk.start("named"))["workflow_id"]

        assert await complete(desk, (await taken(desk))["made"], {"result": {"n": 1}, "url": "u"}) == []

        assert (await desk.get(f"/workflows/{run}?wait=20")).json()["outputs"] == {"read": {"of": "1 u"}}

    play(scene)


@pytest.mark.parametrize(
    ("reported", "output"),
    [
        ({"result": {"total": 6.5}}, {"total": 6.5}),
        ({"result": 1, "more": 2}, {"result": 1, "more": 2}),
        ({"total": 6.5}, {"total": 6.5}),
        (None, None),
    ],
)
def test_what_is_built_in_is_reported_under_the_name_that_its_result_has(play: Any, reported: Any, output: Any):
    async def scene(desk: Desk) -> None:
        await desk.deploy(SCRIPT)
        run = (await desk.start("script"))["workflow_id"]

        assert await complete(desk, (await taken(desk))["sum"], reported) == []

        outputs = (await desk.get(f"/workflows/{run}/output")).json()["outputs"]
        assert outputs["sum"]["output"] == output

    play(scene, work=False)


def test_without_a_login_whoever_needs_a_token_gets_one_that_is_anybodys(play: Any):
    async def scene(desk: Desk) -> None:
        credentials = {"grant_type": "client_credentials", "client_id": "their-worker", "client_secret": "any"}
        token = (await desk.post("/oauth/token", credentials)).json()["access_token"]

        polled = await desk.post(
            "/workers/poll", {"worker": "far", "worker_id": "w"}, headers={"Authorization": f"Bearer {token}"}
        )

        assert polled.json() == {"activities": [], "count": 0}

    play(scene, work=False)


MINI = {"provider": "openai", "model": "gpt-4o-mini", "input_tokens": 1_000_000}


@pytest.mark.parametrize(
    ("report", "cost", "said"),
    [
        ({"usage": [MINI]}, 0.15, ()),
        ({"usage": [MINI | {"cache_read_tokens": 400_000}]}, 0.6 * 0.15 + 0.4 * 0.075, ()),
        ({"usage": [MINI | {"input_tokens": 0, "cache_read_tokens": 400_000}]}, 0.4 * 0.075, ()),
        ({"usage": [MINI | {"cost_usd": "0.2"}], "cost_usd": "0.0004"}, 0.2004, ()),
        ({"usage": [], "cost_usd": "0.0125"}, 0.0125, ()),
        ({"usage": [MINI, MINI | {"model": "m"}]}, 0.15, ("No price of openai/m",)),
        ({"usage": [MINI | {"cache_storage_token_hours": "12.5"}]}, 0.15, ("cache of openai/gpt-4o-mini",)),
        ({"usage": [MINI | {"cache_storage_token_hours": "0.0"}]}, 0.15, ()),
        ({"usage": [MINI | {"model": "m", "cost_usd": 0.3, "cache_storage_token_hours": 1}]}, 0.3, ()),
    ],
)
@pytest.mark.parametrize("verb", ["complete", "fail"])
def test_usage_is_priced_as_its_reporters_count_and_said_where_it_cannot_be(
    play: Any, verb: str, report: dict[str, Any], cost: float, said: tuple[str, ...]
):
    async def scene(desk: Desk) -> None:
        await desk.deploy(PAIR)
        run = (await desk.start("pair"))["workflow_id"]
        task = (await taken(desk))["left"]
        body = {"worker_id": "w", "output": 1, "error": {"message": "no", "retryable": False}, **report}

        answer = (await desk.post(f"/activities/{task}/{verb}", body)).json()

        assert len(answer["warnings"]) == len(said)
        assert all(text in warning for text, warning in zip(said, answer["warnings"], strict=True))
        assert (await desk.get(f"/workflows/{run}/cost")).json()["total_cost_usd"] == pytest.approx(cost)
        rows = (await desk.get(f"/workflows/{run}/cost/history")).json()["history"]
        assert all(row["cache_read_tokens"] <= row["input_tokens"] for row in rows), "they are part of it"

    play(scene, work=False)
