"""What the server says of itself: how each part is, and its figures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.api.conftest import Desk, serving
from tests.postgres_logs import empty_postgres_log

from headgate.api.caller import EVERYTHING, Caller, Unauthorized
from headgate.api.http.health import ALL_METRICS, with_open_metrics
from headgate.api.http.table import ROUTES
from headgate.app import App
from headgate.core.errors import Unavailable
from headgate.engine import appender, health
from headgate.engine.clock import WallClock
from headgate.engine.health import Check, Health, worst_of
from headgate.stores.memory import MemoryLog

ASKING = """
name: asking
activities:
  one: {use: echo, with: {x: 1}}
  two: {use: llm_prompt, after: [one], with: {model: demo/small, prompt: "Summarise: The log tells what happened."}}
"""
OUTSIDE = "name: outside\nactivities:\n  work: {use: count, queue: outside}\n"


class Figures(dict[tuple[str, tuple[str, ...]], float]):
    """Samples by name and label values."""

    def __init__(self, text: str) -> None:
        self.kinds = {family.name: family.type for family in text_string_to_metric_families(text)}
        super().__init__(
            ((sample.name, tuple(sample.labels.values())), sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        )

    def of(self, name: str, *labels: str) -> float:
        return self.get((name, labels), 0)


async def figures(desk: Desk, **rest: Any) -> Figures:
    answer = await desk.get("/metrics", **rest)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Figures(answer.text)


# --- Figures ---------------------------------------------------------------------------------------------------------


def test_figures_tell_what_was_done_what_it_cost_and_what_is_left(play: Any):
    async def scene(desk: Desk) -> None:
        for text in (ASKING, OUTSIDE):
            await desk.deploy(text)
        ended = [await desk.start("asking", wait=20) for _ in range(2)]
        await desk.start("outside")
        await desk.start("outside")
        await desk.post("/workers/poll", {"worker": "outside", "worker_id": "w", "wait_seconds": 5})
        assert (await desk.get("/workflows/nothing")).status_code == 404
        assert (await desk.get("/nowhere")).status_code == 404

        found = await figures(desk)
        spent = sum(run["total_cost_usd"] for run in ended)

        assert found.of("headgate_spend_usd_total", "default", "demo", "small") == pytest.approx(spent)
        assert spent > 0
        assert found.of("headgate_events_total", "run_started") == 4
        assert found.of("headgate_events_total", "run_completed") == 2
        assert found.of("headgate_events_total", "activity_completed") == 4
        assert found.of("headgate_model_calls_total", "default", "demo", "small", "call") == 2
        assert found.of("headgate_tokens_total", "default", "demo", "small", "input") > 0
        assert found.of("headgate_runs", "running") == 2
        assert found.of("headgate_queue_waiting", "outside") == 1
        assert found.of("headgate_queue_claims", "outside") == 1
        assert found.of("headgate_appends_total", "accepted") == desk.app.engine.appender.items
        assert found.of("headgate_commit_seconds_count") == desk.app.engine.appender.commits
        assert found.of("headgate_http_requests_total", "GET /api/v1/workflows/{id}", "404") == 1
        assert found.of("headgate_http_requests_total", "POST /api/v1/workflows", "201") == 4
        assert found.of("headgate_http_requests_total", "none", "404") == 1
        assert found.of("headgate_health", "database") == 0

    play(scene)


def test_what_is_reserved_is_a_figure_while_the_call_is_open(play: Any):
    async def scene(desk: Desk) -> None:
        await desk.deploy(OUTSIDE)
        await desk.start("outside")
        polled = await desk.post("/workers/poll", {"worker": "outside", "worker_id": "w", "wait_seconds": 5})
        (task,) = polled.json()["activities"]
        call = {"call_id": f"{task['activity_id']}~1", "request_hash": "f" * 32}
        candidates = [{"model": "openai/gpt-5", "worst_case": 2_000_000}]
        path = f"/activities/{task['activity_id'].replace('/', '~')}/calls"
        admitted = await desk.post(path, {**call, "candidates": candidates})
        assert admitted.status_code in (200, 201), admitted.text

        found = await figures(desk)

        assert (found.of("headgate_calls_open"), found.of("headgate_reserved_usd")) == (1, 0.002)

    play(scene)


def test_every_figure_that_is_given_is_in_the_table_of_the_reference(play: Any):
    async def scene(desk: Desk) -> None:
        await desk.deploy(ASKING)
        await desk.start("asking", wait=20)

        text = (await desk.get("/metrics")).text

        named = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
        of_feeds = {"headgate_feed_lag_events", "headgate_feed_lag_seconds"}
        assert named == {metric.name for metric in ALL_METRICS} - of_feeds

    play(scene)


# --- Who may read them -----------------------------------------------------------------------------------------------


async def by_name(headers: Any) -> Caller:
    match headers.get("x-name"):
        case "root":
            return Caller(scopes=EVERYTHING)
        case "reader":
            return Caller(scopes=frozenset({"runs:read"}))
        case "acme":
            return Caller(tenant="acme", scopes=EVERYTHING)
        case _:
            raise Unauthorized("Nobody knows you.")


async def asked_by_each(desk: Desk) -> dict[str, int]:
    names = ("root", "reader", "acme", "nobody")
    return {name: (await desk.get("/metrics", headers={"x-name": name})).status_code for name in names}


def test_figures_are_of_all_tenants_and_so_for_the_default_ones_admins_only(play: Any):
    async def scene(desk: Desk) -> None:
        assert await asked_by_each(desk) == {"root": 200, "reader": 403, "acme": 403, "nobody": 401}

    play(scene, identify=by_name)


def test_where_it_is_set_whoever_asks_gets_them_and_nothing_else():
    opened = with_open_metrics(ROUTES)

    changed = [(route.path, one.scope) for route, one in zip(ROUTES, opened, strict=True) if route != one]
    assert changed == [("/metrics", "")]


# --- Health ----------------------------------------------------------------------------------------------------------


async def checks_of(desk: Desk) -> tuple[int, str, dict[str, Any]]:
    answer = await desk.get("/health/ready")
    return answer.status_code, answer.json()["status"], answer.json()["checks"]


def never_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "KNOWN_SECONDS", 0.0)


def test_a_server_that_is_well_says_so_of_each_part_and_names_its_version(play: Any):
    async def scene(desk: Desk) -> None:
        parts = {"database", "engine", "queue", "disk", "worker"}

        assert await checks_of(desk) == (200, "ok", {part: {"status": "ok"} for part in parts})
        whole = (await desk.get("/health")).json()
        assert (whole["status"], set(whole["checks"])) == ("ok", parts)
        assert whole["version"] == (await desk.get("/health/live")).json()["version"] != ""

    play(scene)


def test_a_database_that_cannot_be_read_is_named_with_its_reason(play: Any, monkeypatch: pytest.MonkeyPatch):
    async def refuse() -> None:
        raise Unavailable("The server went away.")

    async def fail() -> None:
        raise ValueError("a secret of the driver's")

    async def scene(desk: Desk) -> None:
        log = desk.app.engine.log
        never_known(monkeypatch)
        for answer, message in ((refuse, "The server went away."), (fail, "It cannot be read (ValueError).")):
            monkeypatch.setattr(log, "next_attention", lambda _, answer=answer: answer())
            status, state, checks = await checks_of(desk)
            assert (status, state, checks["database"]) == (503, "failing", {"status": "failing", "message": message})
            assert (await desk.get("/health/live")).status_code == 200
            assert (await desk.get("/health")).json()["status"] == "failing"
        found = await figures(desk)
        assert found.of("headgate_health", "database") == 2
        assert "headgate_runs" not in found.kinds

    play(scene)


def test_a_database_that_does_not_answer_is_not_waited_for(play: Any, monkeypatch: pytest.MonkeyPatch):
    async def hang() -> None:
        await asyncio.Event().wait()

    async def scene(desk: Desk) -> None:
        never_known(monkeypatch)
        monkeypatch.setattr(health, "ANSWER_SECONDS_MAX", 0.01)
        monkeypatch.setattr(desk.app.engine.log, "next_attention", lambda _: hang())

        status, _, checks = await checks_of(desk)

        assert (status, checks["database"]["message"]) == (503, "It has not answered within 0.01 s.")

    play(scene)


def test_all_parts_are_asked_at_the_same_time(play: Any, monkeypatch: pytest.MonkeyPatch):
    both = asyncio.Event()
    asked: list[str] = []

    def meeting(name: str) -> Any:
        async def meet(*_: Any) -> list[Any]:
            asked.append(name)
            if len(asked) == 2:
                both.set()
            await both.wait()
            return []

        return meet

    async def scene(desk: Desk) -> None:
        never_known(monkeypatch)
        monkeypatch.setattr(desk.app.engine.log, "next_attention", meeting("database"))
        monkeypatch.setattr(desk.app.queue, "lengths", meeting("queue"))

        status, state, _ = await checks_of(desk)

        assert (status, state, len(asked)) == (200, "ok", 2)

    play(scene)


def test_more_to_write_than_the_disk_keeps_up_with_is_failing(play: Any, monkeypatch: pytest.MonkeyPatch):
    async def scene(desk: Desk) -> None:
        never_known(monkeypatch)
        monkeypatch.setattr(appender, "PENDING_MAX", -1)

        status, _, checks = await checks_of(desk)

        assert (status, checks["engine"]["status"]) == (503, "failing")

    play(scene)


def test_a_disk_that_takes_nothing_more_is_failing_where_it_holds_the_database(
    play: Any, monkeypatch: pytest.MonkeyPatch
):
    async def scene(desk: Desk) -> None:
        never_known(monkeypatch)
        monkeypatch.setattr(health, "free_bytes", lambda folder: 999_999)

        status, _, checks = await checks_of(desk)

        assert (status, checks["disk"]["status"]) == (503, "failing")
        monkeypatch.setattr(desk.app.engine, "others", object())
        assert desk.app.doors.health._of_disk().status == "degraded", "files are kept there, and no events"
        monkeypatch.undo()

    play(scene)


def test_a_disk_that_is_nearly_full_is_worth_a_look_and_takes_nobody_out(play: Any, monkeypatch: pytest.MonkeyPatch):
    async def scene(desk: Desk) -> None:
        never_known(monkeypatch)
        monkeypatch.setattr(health, "free_bytes", lambda folder: 7_000_000)

        status, state, checks = await checks_of(desk)

        assert (status, state) == (200, "degraded")
        assert checks["disk"] == {"status": "degraded", "message": "7 MB are free for the state folder."}

    play(scene)


def test_the_end_of_what_must_go_on_is_failing_under_its_name():
    async def whole() -> dict[str, Check]:
        async def ends() -> None:
            return

        async with App(MemoryLog(), environment={}, run_schedules=True, work=False) as app:
            tasks = [asyncio.ensure_future(ends()) for _ in range(2)]
            tasks[0].set_name("headgate-scheduler")
            tasks[1].set_name("headgate-warden")
            await asyncio.wait(tasks)
            return await Health(app.engine, app.queue, app.folder, lambda: tasks).checks()

    found = asyncio.run(whole())

    assert {part: check.status for part, check in found.items()} == {
        "database": "ok",
        "engine": "failing",
        "queue": "ok",
        "disk": "ok",
        "scheduler": "failing",
    }
    assert found["engine"].message.startswith("headgate-warden has ended")


def test_whoever_asks_often_asks_nothing_of_the_database(play: Any, monkeypatch: pytest.MonkeyPatch):
    asked: list[int] = []

    async def count(after: int) -> None:
        asked.append(after)
        await asyncio.sleep(0)  # the others come meanwhile

    async def scene(desk: Desk) -> None:
        monkeypatch.setattr(health, "KNOWN_SECONDS", 1e9)
        monkeypatch.setattr(desk.app.engine.log, "next_attention", count)

        found = await asyncio.gather(*[desk.app.doors.health.checks() for _ in range(20)])
        assert (await desk.get("/health/ready")).json()["checks"] == (await desk.get("/health")).json()["checks"]

        assert {checks["database"].status for checks in found} == {"ok"}
        assert asked == [0]

    play(scene)


@pytest.mark.slow
def test_on_postgresql_the_feed_is_a_part_and_its_lag_a_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def whole() -> None:
        async with App(empty_postgres_log(), environment={}, folder=tmp_path) as app, serving(app) as desk:
            never_known(monkeypatch)
            assert (await checks_of(desk))[2]["feed"] == {"status": "ok"}
            assert (await checks_of(desk))[2]["clock"] == {"status": "ok"}
            assert (await figures(desk)).of("headgate_feed_lag_events") == 0
            monkeypatch.setattr(health, "FEED_LAG_SECONDS_MAX", -1.0)
            status, state, checks = await checks_of(desk)
            assert (status, state) == (200, "degraded")
            assert "pg_stat_activity" in checks["feed"]["message"]
            await desk.deploy(OUTSIDE)
            await desk.start("outside")
            found = await figures(desk)
            assert (found.of("headgate_runs", "running"), found.of("headgate_queue_waiting", "outside")) == (1, 1)

    asyncio.run(whole())


@pytest.mark.parametrize(
    ("states", "worst"),
    [((), "ok"), (("ok", "degraded"), "degraded"), (("failing", "ok", "degraded"), "failing")],
)
def test_the_whole_is_as_its_worst_part(states: Iterable[Any], worst: str):
    assert worst_of([Check(state) for state in states]) == worst


@pytest.mark.slow
def test_on_postgresql_a_machine_whose_clock_is_wrong_is_worth_a_look(tmp_path: Path):
    clock = WallClock(wall=lambda: time.time_ns() - 90_000_000_000)

    async def whole() -> None:
        log = empty_postgres_log()
        async with App(log, clock=clock, environment={}, folder=tmp_path) as app, serving(app) as desk:
            status, state, checks = await checks_of(desk)
            assert (status, state, checks["clock"]["status"]) == (200, "degraded", "degraded")
            assert "s behind the database's" in checks["clock"]["message"]

    asyncio.run(whole())
