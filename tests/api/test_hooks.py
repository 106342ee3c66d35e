"""Hooks over HTTP: who is let in, and what a request causes."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from tests.api.hooks_lab import ANY, CHAT, ISSUE, made, runs, send

from headgate.api.caller import Caller
from headgate.core.signatures import TOLERANCE_SECONDS, secret_bytes, signed_headers
from headgate.ports import Hook

# --- Who is let in ----------------------------------------------------------------------------------------------------


def test_a_signed_request_starts_a_run_with_what_the_template_makes_of_it(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(ISSUE)
        hook = await made(
            desk,
            name="tracker",
            definition_name="issue",
            input={"title": "{{ BODY.issue.title }} ({{ HEADERS['x-kind'] }})", "number": "{{ BODY.issue.number }}"},
            labels={"team": "blue"},
        )

        body = json.dumps({"issue": {"title": "It breaks", "number": 7}}).encode()
        signed = signed_headers(secret_bytes(hook["secret"]), body, message_id="m1", at_seconds=int(time.time()))
        answer = await desk.client.post("/hooks/tracker", content=body, headers={**signed, "X-Kind": "bug"})

        assert answer.status_code == 202
        run = (await desk.get(f"/workflows/{answer.json()['workflow_id']}?wait=20")).json()
        assert run["input"] == {"title": "It breaks (bug)", "number": 7}
        assert run["labels"] == {"team": "blue", "hook": "tracker"}
        assert run["status"] == "completed"

    play(scene)


def test_whoever_cannot_sign_is_refused_alike_whatever_is_wrong(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(ANY)
        hook = await made(desk, name="in", definition_name="any")
        other = await made(desk, name="other", definition_name="any")
        body = b"{}"
        now = int(time.time())
        good = signed_headers(secret_bytes(hook["secret"]), body, message_id="m1", at_seconds=now)
        bad: list[tuple[str, bytes, dict[str, str]]] = [
            ("in", body, {}),
            ("in", b'{"more": 1}', good),
            ("in", body, {**good, "webhook-id": "m2"}),
            ("in", body, {**good, "webhook-timestamp": str(now + 1)}),
            ("in", body, {**good, "webhook-signature": "v1,"}),
            ("in", body, {**good, "webhook-signature": "\xff"}),
            ("in", body, {**good, "webhook-timestamp": "9" * 5000}),
            ("in", body, signed_headers(secret_bytes(other["secret"]), body, message_id="m1", at_seconds=now)),
            ("nobody", body, good),
            ("elsewhere/in", body, good),
        ]
        for at_seconds in (now - TOLERANCE_SECONDS - 60, now + TOLERANCE_SECONDS + 60):
            late = signed_headers(secret_bytes(hook["secret"]), body, message_id="m1", at_seconds=at_seconds)
            bad.append(("in", body, late))

        messages: set[str] = set()
        for path, content, headers in bad:
            raw = {name: value.encode("latin-1") for name, value in headers.items()}
            answer = await desk.client.post(f"/hooks/{path}", content=content, headers=raw)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "UNAUTHORIZED"), headers
            messages.add(answer.json()["error"]["message"])

        assert len(messages) == 1
        assert await runs(desk) == 0
        assert (await desk.client.post("/hooks/in", content=body, headers=good)).status_code == 202

    play(scene)


def test_github_signs_in_its_own_way(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(ANY)
        hook = await made(desk, name="gh", definition_name="any", scheme="github", secret="a secret of github's")
        body = b'{"action": "opened"}'
        right = hmac.new(hook["secret"].encode(), body, hashlib.sha256).hexdigest()

        async def post(signature: str, delivery: str) -> Any:
            headers = {"X-Hub-Signature-256": signature, "X-GitHub-Delivery": delivery}
            return await desk.client.post("/hooks/gh", content=body, headers=headers)

        assert (await post(right, "d1")).status_code == 401
        assert (
            await post(f"sha256={right[:-1]}0" if right[-1] != "0" else f"sha256={right[:-1]}1", "d1")
        ).status_code == 401
        first, again, next_ = [await post(f"sha256={right}", delivery) for delivery in ("d1", "d1", "d2")]
        assert first.json() == again.json() != next_.json()
        assert await runs(desk) == 2

    play(scene)


@pytest.mark.parametrize(("header", "sent"), [("", "X-Webhook-Token"), ("X-Gitlab-Token", "X-Gitlab-Token")])
def test_a_shared_token_lets_in_and_goes_into_no_run(header: str, sent: str, play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(ANY)
        hook = await made(
            desk, name="tok", definition_name="any", scheme="token", header=header, input={"h": "{{ HEADERS }}"}
        )

        assert (await desk.post("/hooks/tok", {}, headers={sent: hook["secret"][:-1]})).status_code == 401
        answer = await desk.post("/hooks/tok", {}, headers={sent: hook["secret"], "Authorization": "Bearer other"})

        run = await desk.get(f"/workflows/{answer.json()['workflow_id']}?wait=20")
        assert hook["secret"] not in run.text
        assert "Bearer other" not in run.text
        assert "user-agent" in run.text

    play(scene)


def test_secrets_are_sealed_and_listed_never(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(ANY)
        hook = await made(desk, name="in", definition_name="any")

        document = await desk.app.documents.get("hook", "default", "in")

        assert hook["secret"].encode() not in document.body
        assert [one["secret"] for one in (await desk.get("/hooks")).json()["hooks"]] == [None]

    play(scene)


# --- What a request causes --------------------------------------------------------------------------------------------


def test_the_same_delivery_again_causes_nothing_more_also_side_by_side(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(ANY)
        hook = await made(desk, name="in", definition_name="any")

        answers = await asyncio.gather(*(send(desk, hook, {"n": 1}) for _ in range(8)))

        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.json()["workflow_id"] for answer in answers}) == 1
        assert await runs(desk) == 1

    play(scene)


def test_what_the_filter_does_not_want_is_taken_and_causes_nothing(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(ANY)
        hook = await made(desk, name="in", definition_name="any", filter="BODY.action == 'opened' and BODY.n > 3")

        for value in ({"action": "closed", "n": 9}, {"action": "opened", "n": 3}):
            answer = await send(desk, hook, value, delivery=str(value))
            assert (answer.status_code, answer.json()) == (202, {"accepted": False, "workflow_id": None})
        assert await runs(desk) == 0
        assert (await send(desk, hook, {"action": "opened", "n": 4})).json()["accepted"] is True

    play(scene)


def test_one_run_for_each_unique_key(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(CHAT)
        hook = await made(desk, name="in", definition_name="chat", unique_key="chat-{{ BODY.who }}")

        same = [await send(desk, hook, {"who": "ann"}, delivery=f"m{number}") for number in range(2)]
        other = await send(desk, hook, {"who": "bob"}, delivery="m9")

        assert same[0].json() == same[1].json() != other.json()

    play(scene)


def test_a_hook_signals_the_run_that_holds_the_key(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(CHAT)
        hook = await made(
            desk, name="in", signal_name="said", unique_key="{{ BODY.who }}", data={"text": "{{ BODY.text }}"}
        )
        assert (await send(desk, hook, {"who": "ann", "text": "?"}, delivery="m0")).status_code == 404
        run = await desk.start("chat", unique_key="ann", input={"who": "ann"})

        for delivery in ("m1", "m1", "m1", "m2"):
            answer = await send(desk, hook, {"who": "ann", "text": delivery}, delivery=delivery)
            assert answer.json() == {"accepted": True, "workflow_id": run["workflow_id"]}

        shown = (await desk.get(f"/workflows/{run['workflow_id']}?wait=20")).json()
        assert [one["outputs"][0]["value"] for one in shown["activities"]] == [{"text": "m1"}, {"text": "m2"}]

    play(scene)


def test_a_hook_with_both_starts_the_run_that_it_signals(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(CHAT)
        hook = await made(
            desk,
            name="in",
            definition_name="chat",
            signal_name="said",
            unique_key="{{ BODY.who }}",
            input={"who": "{{ BODY.who }}"},
            data={"text": "{{ BODY.text }}"},
        )

        answers = [await send(desk, hook, {"who": "ann", "text": d}, delivery=d) for d in ("m1", "m1", "m2")]

        (run,) = {answer.json()["workflow_id"] for answer in answers}
        shown = (await desk.get(f"/workflows/{run}?wait=20")).json()
        assert [one["outputs"][0]["value"] for one in shown["activities"]] == [{"text": "m1"}, {"text": "m2"}]
        assert await runs(desk) == 1

    play(scene)


def test_a_tenants_hook_starts_the_tenants_runs_at_an_address_of_its_own(play: Any):
    async def scene(desk: Any) -> None:
        await desk.app.doors.views.of(Caller(tenant="acme")).library.deploy(ANY)
        hook = await desk.app.hooks.add(Hook(name="in", workflow="any", tenant="acme", scheme="token"))
        token = {"X-Webhook-Token": hook.secret}

        assert (await desk.post("/hooks/in", {}, headers=token)).status_code == 401
        answer = await desk.post("/hooks/acme/in", {}, headers=token)

        run = await desk.app.engine.log.run(answer.json()["workflow_id"])
        assert run.tenant == "acme"
        assert (await desk.get(f"/workflows/{run.id}")).status_code == 404

    play(scene)
