"""Webhooks over HTTP: subscriptions, their secret, a test, and what was tried."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from tests.receiver import Receiver

FLOW = "name: hello\nactivities: {a: {use: echo, with: {n: 1}}}"


def test_a_webhook_is_made_tested_told_changed_and_removed(play: Any):
    async def scene(desk: Any) -> None:
        with Receiver() as receiver:
            made = (
                await desk.post("/webhooks", {"url": receiver.url, "events": ["run_*"], "description": "ours"})
            ).json()
            path = f"/webhooks/{made['id']}"
            assert made["secret"].startswith("whsec_")
            assert (await desk.get(path)).json() == {**made, "secret": None}
            assert (await desk.get("/webhooks")).json() == {"webhooks": [{**made, "secret": None}], "count": 1}

            tested = (await desk.post(f"{path}/test")).json()
            assert (tested["delivered"], tested["status"], receiver.got[0].json["type"]) == (True, 204, "webhook_test")

            await desk.deploy(FLOW)
            run = await desk.start("hello", wait=20)
            await desk.app.telling.webhook_delivery.settled()
            assert {one.json["type"] for one in receiver.got[1:]} == {"run_started", "run_completed"}
            deliveries = (await desk.get(f"{path}/deliveries")).json()["deliveries"]
            assert {one["event_type"] for one in deliveries} == {"run_started", "run_completed"}
            assert all(one["delivered"] and one["message_id"].startswith(run["id"]) for one in deliveries)

            changed = (await desk.client.patch(path, json={"enabled": False, "new_secret": True})).json()
            assert (changed["enabled"], changed["events"]) == (False, ["run_*"])
            assert changed["secret"] not in (None, made["secret"])
            await desk.start("hello", wait=20)
            await desk.app.telling.webhook_delivery.settled()
            assert len(receiver.got) == 3

            assert (await desk.client.delete(path)).status_code == 200
            assert (await desk.get(path)).status_code == 404
            acts = (await desk.get("/admin/acts")).json()["acts"]
            assert [one["act"] for one in acts] == ["webhook.remove", "webhook.change", "webhook.create"]

    play(scene)


def test_a_password_in_an_address_is_sent_and_never_shown(play: Any):
    async def scene(desk: Any) -> None:
        with Receiver() as receiver:
            url = receiver.url.replace("://", "://ann:hush@")
            shown = receiver.url.replace("://", "://ann:***@")

            made = await desk.post("/webhooks", {"url": url})
            path = f"/webhooks/{made.json()['id']}"
            given_back = await desk.client.patch(path, json={"url": shown, "description": "ours", "new_secret": True})
            looked_at = [await desk.get(path), await desk.get("/webhooks"), await desk.get("/admin/acts")]
            tested = await desk.post(f"{path}/test")
            deliveries = await desk.get(f"{path}/deliveries")

            assert tested.json()["delivered"] is True
            assert receiver.got[0].headers["authorization"] == f"Basic {b64encode(b'ann:hush').decode()}"
            assert (made.json()["url"], given_back.json()["url"]) == (shown, shown)
            answers = [made, given_back, *looked_at, tested, deliveries, await desk.client.delete(path)]
            assert all(answer.status_code < 300 and "hush" not in answer.text for answer in answers)

    play(scene)


def test_a_new_password_in_an_address_takes_the_place_of_the_old_one(play: Any):
    async def scene(desk: Any) -> None:
        with Receiver() as receiver:
            made = (await desk.post("/webhooks", {"url": receiver.url.replace("://", "://ann:hush@")})).json()
            path = f"/webhooks/{made['id']}"

            await desk.client.patch(path, json={"url": receiver.url.replace("://", "://ann:quiet@")})
            await desk.post(f"{path}/test")

            assert receiver.got[0].headers["authorization"] == f"Basic {b64encode(b'ann:quiet').decode()}"

    play(scene)


@pytest.mark.parametrize("body", [{}, {"url": "nowhere"}, {"url": "https://x.org", "events": ["nothing"]}, {"url": 1}])
def test_a_webhook_that_cannot_work_is_refused(body: dict[str, Any], play: Any):
    async def scene(desk: Any) -> None:
        assert (await desk.post("/webhooks", body)).status_code == 422

    play(scene)


@pytest.mark.parametrize(
    ("method", "rest"), [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/test"), ("GET", "/deliveries")]
)
def test_a_webhook_that_is_not_there_is_said_to_be_not_there(method: str, rest: str, play: Any):
    async def scene(desk: Any) -> None:
        answer = await desk.client.request(method, f"/webhooks/none{rest}", json={} if method == "PATCH" else None)

        assert answer.status_code == 404

    play(scene)
