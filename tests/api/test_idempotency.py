"""`Idempotency-Key`: a repeat is answered as the first time, and something else under the same key is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.api.conftest import serving

from headgate.api import kept_answers
from headgate.api.kept_answers import Given
from headgate.app import App
from headgate.core.errors import Refused
from headgate.stores.sqlite import SqliteLog

ASKING = 'name: asking\ninputs: {who: string}\nactivities: {ask: {use: approval, with: {title: "Go on?"}}}'
KEY = {"Idempotency-Key": "once"}
SEALING_KEY = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="
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


@pytest.mark.parametrize(
    ("path", "body", "listed"),
    [
        ("/webhooks", {"url": "https://acme.example/news"}, "/webhooks"),
        ("/hooks", {"name": "orders", "definition_name": "plain"}, "/hooks"),
        ("/schedules", {"name": "nightly", "definition_name": "plain", "interval_seconds": 3_600}, "/schedules"),
        ("/clients", {"name": "billing", "scopes": ["runs:read"]}, "/clients"),
        ("/users", {"name": "ann", "role": "viewer", "password": "correct horse battery"}, "/users"),
    ],
)
def test_what_is_made_once_under_a_key_is_answered_again_secrets_included(
    path: str, body: Any, listed: str, tmp_path: Path
):
    async def scene() -> None:
        app = App(SqliteLog(tmp_path / "runs.db"), folder=tmp_path, environment={"HEADGATE_KEY": SEALING_KEY})
        async with app, serving(app) as desk:
            await desk.deploy("name: plain\nactivities: {hi: {use: echo, with: {text: hi}}}")

            first = await desk.post(path, body, headers=KEY)
            again = await desk.post(path, body, headers=KEY)
            other = await desk.post(path, {**body, "name": "other"} if "name" in body else {}, headers=KEY)

            assert first.status_code == 201
            assert (again.status_code, again.content) == (201, first.content)
            assert other.status_code == 422
            (names,) = [value for value in (await desk.get(listed)).json().values() if isinstance(value, list)]
            assert len(names) == 1
            secret = first.json().get("secret") or first.json().get("client_secret")
            if secret:
                bodies = [one.body for one in await app.documents.list("answer", tenant="default")]
                assert bodies
                assert not any(secret.encode() in body for body in bodies)

    asyncio.run(scene())


def test_a_schedule_that_is_triggered_twice_under_one_key_starts_one_run(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy("name: plain\nactivities: {hi: {use: echo, with: {text: hi}}}")
        made = await desk.post("/schedules", {"name": "s", "definition_name": "plain", "interval_seconds": 3_600})
        path = f"/schedules/{made.json()['id']}/trigger"

        for _ in range(2):
            assert (await desk.post(path, headers=KEY)).status_code == 200

        assert (await desk.get("/workflows")).json()["total"] == 1

    play(scene)


def test_a_request_that_was_cut_off_is_not_done_again_under_its_key_and_one_that_was_refused_may_be(play: Any):
    async def scene(desk: Any) -> None:
        body = {"name": "nightly", "definition_name": "plain", "interval_seconds": 3_600}
        refused = await desk.post("/schedules", body, headers=KEY)
        await desk.deploy("name: plain\nactivities: {hi: {use: echo, with: {text: hi}}}")
        made = await desk.post("/schedules", body, headers=KEY)

        async def cut_off() -> Any:
            raise asyncio.CancelledError

        kept = desk.app.doors.kept_answers
        with pytest.raises(asyncio.CancelledError):
            await kept.once("default", "cut", "f", cut_off, secret=False)

        assert (refused.status_code, made.status_code) == (404, 201)
        with pytest.raises(Refused, match="how it ended is not known"):
            await kept.once("default", "cut", "f", cut_off, secret=False)

    play(scene)


def test_answers_are_kept_for_a_week_and_no_more_of_them_than_there_is_room_for(
    play: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kept_answers, "ANSWERS_MAX", 2)

    async def scene(desk: Any) -> None:
        kept, asked = desk.app.doors.kept_answers, list[str]()

        async def once(key: str) -> None:
            async def ask() -> Given:
                asked.append(key)
                return Given(201, b"{}")

            await kept.once("default", key, "f", ask, secret=False)

        for key in ("a", "b", "c", "c"):
            await once(key)
        await kept.prune("default")
        assert asked == ["a", "b", "c"]
        assert len(await desk.app.documents.list("answer")) == 2
        now = desk.app.clock.now()
        desk.app.clock.now = lambda: now + 8 * 86_400 * 1_000_000
        await once("c")
        assert asked == ["a", "b", "c", "c"]

    play(scene)
