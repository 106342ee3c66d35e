"""Webhooks out: who is told of what, how it is signed, and what becomes of a receiver that fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.receiver import Receiver

from headgate.app import App
from headgate.core.errors import Invalid, NotFound
from headgate.core.signatures import is_signed_by, secret_bytes
from headgate.engine.outbox import (
    ATTEMPTS_MAX,
    LEASE_MICROSECONDS,
    OUTBOX,
    TOGETHER_MAX,
    Outbox,
    feed_end,
    standing_of,
)
from headgate.engine.telling import OWNER
from headgate.engine.webhook_delivery import FAILING_MICROSECONDS, FAILURES_MAX
from headgate.engine.webhooks import WebhookChange
from headgate.ports import Webhook
from headgate.stores.memory import MemoryLog
from headgate.stores.sqlite import SqliteLog

FLOW = "name: hello\nactivities: {a: {use: echo, with: {n: 1}}}"
OTHER = "name: other\nlabels: {team: blue}\nactivities: {a: {use: echo, with: {n: 1}}}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


async def subscribed(bench: Any, receiver: Receiver, **given: Any) -> Webhook:
    webhook = await bench.app.telling.webhooks.add(Webhook(id="", url=receiver.url, **given))
    await bench.rest()  # its outbox is at work
    return webhook


async def told(bench: Any, receiver: Receiver, count: int) -> list[Any]:
    await bench.until(lambda: len(receiver.got) >= count)
    return [one.json for one in receiver.got]


async def standing(bench: Any, webhook: Webhook) -> Any:
    document = await bench.app.documents.get(OUTBOX, "default", webhook.id)
    return standing_of(document)


async def settled(bench: Any, webhook: Webhook, holds: Any) -> Any:
    """Return how the webhook's outbox stands as soon as that `holds`."""
    async with asyncio.timeout(10):
        while not holds(found := await standing(bench, webhook)):  # noqa: ASYNC110 - a socket's answer comes by itself
            await asyncio.sleep(0.001)
    return found


# --- Who is told ---------------------------------------------------------------------------------------------------


def test_what_happens_after_a_subscription_is_told_signed_and_once(play: Any, receiver: Receiver):
    async def scene(bench: Any) -> None:
        await bench.finished(await bench.start(FLOW))
        webhook = await subscribed(bench, receiver, events=("run_*",))

        run = await bench.start(FLOW)
        await bench.finished(run)
        bodies = await told(bench, receiver, 2)
        await settled(bench, webhook, lambda now: not now.done)
        await bench.rest()

        assert {(body["type"], body["data"]["workflow_id"]) for body in bodies} == {
            ("run_started", run),
            ("run_completed", run),
        }
        assert len(receiver.got) == 2
        now = bench.clock.now() // 1_000_000
        secret = secret_bytes(webhook.secret)
        for one in receiver.got:
            assert is_signed_by(secret, one.body, one.headers, at_seconds=now)
            assert not is_signed_by(secret, one.body + b" ", one.headers, at_seconds=now)
            assert not is_signed_by(secret, one.body, one.headers, at_seconds=now + 301)
            assert not is_signed_by(bytes(32), one.body, one.headers, at_seconds=now)

    play(scene)


def test_a_subscription_hears_of_its_workflows_and_labels_only(play: Any, receiver: Receiver):
    async def scene(bench: Any) -> None:
        await subscribed(bench, receiver, events=("run_completed",), workflows=("other",), labels={"team": "blue"})

        await bench.finished(await bench.start(FLOW))
        await bench.finished(await bench.start(OTHER, labels={"team": "red"}))
        run = await bench.start(OTHER)
        await bench.finished(run)
        bodies = await told(bench, receiver, 1)

        assert [body["data"]["workflow_id"] for body in bodies] == [run]
        assert bodies[0]["data"]["labels"] == {"team": "blue"}

    play(scene)


def test_another_tenants_runs_are_not_told(play: Any, receiver: Receiver):
    async def scene(bench: Any) -> None:
        webhook = await subscribed(bench, receiver, events=("run_completed",), tenant="other")

        await bench.finished(await bench.start(FLOW))
        await bench.app.telling.webhook_delivery.settled()

        assert receiver.got == []
        assert await bench.app.telling.webhooks.all("default") == []
        with pytest.raises(NotFound):
            await bench.app.telling.webhooks.one("default", webhook.id)

    play(scene)


def test_secrets_are_sealed_where_they_are_kept_and_shown_once(play: Any, receiver: Receiver):
    async def scene(bench: Any) -> None:
        webhook = await subscribed(bench, receiver)

        document = await bench.app.documents.get("webhook", "default", webhook.id)

        assert webhook.secret.startswith("whsec_")
        assert webhook.secret.removeprefix("whsec_").encode() not in document.body
        assert [one.secret for one in await bench.app.telling.webhooks.all("default")] == [""]

    play(scene)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"url": "ftp://example.org"}, "http or https"),
        ({"url": "http://"}, "http or https"),
        ({"url": "http://[::1"}, "http or https"),
        ({"url": "https://example.org/a b"}, "http or https"),
        ({"events": ("run_complete",)}, "'run_complete'"),
        ({"secret": "whsec_short"}, "signing secret"),
    ],
)
def test_what_cannot_be_delivered_is_refused_when_it_is_made(given: dict[str, Any], says: str, play: Any):
    async def scene(bench: Any) -> None:
        webhook = msgspec.structs.replace(Webhook(id="", url="https://example.org"), **given)
        with pytest.raises(Invalid, match=says):
            await bench.app.telling.webhooks.add(webhook)

    play(scene)


# --- Receivers that fail -------------------------------------------------------------------------------------------


def test_what_was_refused_is_told_again_later_under_the_same_id(play: Any, receiver: Receiver):
    async def scene(bench: Any) -> None:
        webhook = await subscribed(bench, receiver, events=("run_completed",))
        receiver.answers.extend([500, 404])

        await bench.finished(await bench.start(FLOW))
        for count in (1, 2):
            await settled(bench, webhook, lambda now, count=count: now.failures == count)
            assert len(receiver.got) == count
            await bench.rest()
            bench.clock.advance(to=(await standing(bench, webhook)).retry_at)
        after = await settled(bench, webhook, lambda now: not now.failures)

        assert len({one.id for one in receiver.got}) == 1
        assert [(one.attempt, one.status, bool(one.error)) for one in after.recent] == [
            (3, 204, False),
            (2, 404, True),
            (1, 500, True),
        ]

    play(scene)


def test_no_redirect_is_followed(play: Any, receiver: Receiver):
    async def scene(bench: Any) -> None:
        webhook = await subscribed(bench, receiver)
        receiver.answers.append("redirect")

        delivered = await bench.app.telling.webhooks.test("default", webhook.id)

        assert (delivered.status, delivered.error) == (307, "it answered 307, and redirects are not followed")
        assert [one.path for one in receiver.got] == ["/news"]

    play(scene)


def test_a_receiver_that_hangs_is_left_alone_after_a_while(play: Any, receiver: Receiver, monkeypatch: Any):
    monkeypatch.setattr("headgate.activities.outgoing.POST_SECONDS_MAX", 0.2)

    async def scene(bench: Any) -> None:
        webhook = await subscribed(bench, receiver)
        receiver.answers.append("hang")

        delivered = await bench.app.telling.webhooks.test("default", webhook.id)

        assert delivered.error == "it was not answered within 0.2 s"

    play(scene)


def test_a_private_address_is_not_asked_unless_it_is_allowed(play: Any, receiver: Receiver):
    async def scene(bench: Any) -> None:
        webhook = await subscribed(bench, receiver)

        delivered = await bench.app.telling.webhooks.test("default", webhook.id)

        assert "only private addresses" in delivered.error
        assert receiver.got == []

    play(scene, private_addresses=())


def test_a_message_that_never_arrives_is_given_up_and_the_next_is_told(play: Any, receiver: Receiver):
    async def scene(bench: Any) -> None:
        webhook = await subscribed(bench, receiver, events=("run_completed",))
        receiver.answers.extend([500] * ATTEMPTS_MAX)

        await bench.finished(await bench.start(FLOW))
        for count in range(1, ATTEMPTS_MAX + 1):
            await settled(bench, webhook, lambda now, count=count: now.failures == count)
            await bench.rest()
            bench.clock.advance(to=(await standing(bench, webhook)).retry_at)
        await bench.rest()
        await bench.finished(await bench.start(OTHER))
        await bench.until(lambda: len(receiver.got) == ATTEMPTS_MAX + 1)

        assert receiver.got[-1].json["data"]["definition_name"] == "other"

    play(scene)


def test_one_that_has_failed_for_a_day_is_disabled_says_why_and_misses_nothing(
    play: Any, receiver: Receiver, caplog: pytest.LogCaptureFixture
):
    async def scene(bench: Any) -> None:
        webhook = await subscribed(bench, receiver, events=("run_completed",))
        receiver.always = 503
        begun = bench.clock.now()

        runs = [await bench.start(FLOW) for _ in range(TOGETHER_MAX + 5)]
        for run in runs:
            await bench.finished(run)
        known, count = webhook, 0
        while known.enabled:
            count += 1
            await settled(bench, webhook, lambda now, count=count: now.failures == count)
            await bench.rest()
            known = await bench.app.telling.webhooks.one("default", webhook.id)
            bench.clock.advance(to=(await standing(bench, webhook)).retry_at if known.enabled else None)

        assert bench.clock.now() - begun >= FAILING_MICROSECONDS
        assert (await standing(bench, webhook)).failures >= FAILURES_MAX
        assert "it answered 503" in known.note
        assert any("is disabled" in record.message for record in caplog.records)
        tried = len(receiver.got)
        bench.clock.advance(seconds=7 * 86_400)
        await bench.rest()
        await bench.app.telling.webhook_delivery.settled()
        assert len(receiver.got) == tried  # it is left alone

        receiver.always = 204
        await bench.app.telling.webhooks.change("default", webhook.id, WebhookChange(enabled=True))
        given_up = {record.args[0] for record in caplog.records if "given up" in record.message}
        await bench.until(lambda: len(given_up | {one.id for one in receiver.got[tried:]}) == len(runs))
        assert 0 < len(given_up) < TOGETHER_MAX
        assert (await bench.app.telling.webhooks.one("default", webhook.id)).note == ""

    caplog.set_level(logging.WARNING)
    play(scene)


# --- Processes -----------------------------------------------------------------------------------------------------


def test_the_next_process_goes_on_where_the_last_one_stopped(tmp_path: Path, receiver: Receiver):
    async def first() -> None:
        async with App(SqliteLog(tmp_path / "log.db"), environment={}, folder=tmp_path) as app:
            await app.telling.webhooks.add(Webhook(id="", url=receiver.url, events=("run_completed",)))

    async def unheard() -> str:
        """A process that works on runs, and ends before anybody was told."""
        async with App(SqliteLog(tmp_path / "log.db"), environment={}, folder=tmp_path, work=False) as app:
            return (await app.desk.start(_request())).id

    async def second() -> None:
        async with App(SqliteLog(tmp_path / "log.db"), environment={}, folder=tmp_path) as app:
            await app.desk.settled()
            await asyncio.to_thread(receiver.wait_for, 1)

    asyncio.run(first())
    run = asyncio.run(unheard())
    asyncio.run(second())

    assert [one.json["data"]["workflow_id"] for one in receiver.got] == [run]


def _request() -> Any:
    from headgate.ports import StartRequest

    return StartRequest(definition=FLOW)


def test_while_another_node_holds_the_lease_nothing_is_sent(play: Any, receiver: Receiver):
    async def scene(bench: Any) -> None:
        webhook = await subscribed(bench, receiver, events=("run_completed",))
        document = await bench.app.documents.get(OUTBOX, "default", webhook.id)
        until = bench.clock.now() + LEASE_MICROSECONDS
        held = msgspec.structs.replace(standing_of(document), holder="another", until=until)
        body = msgspec.json.encode(held)
        await bench.app.documents.put(OUTBOX, "default", webhook.id, body, at=0, expected=document.revision)

        await bench.finished(await bench.start(FLOW))
        await bench.app.telling.webhook_delivery.settled()
        assert receiver.got == []

        bench.clock.advance(to=until)
        await bench.until(lambda: receiver.got)

    play(scene)


def test_of_two_nodes_on_one_log_one_delivers(receiver: Receiver):
    async def scene() -> None:
        async with App(MemoryLog(), environment={}) as app:
            receiver.always = "hang"
            webhook = await app.telling.webhooks.add(Webhook(id="", url=receiver.url, events=("run_completed",)))
            await app.desk.start(_request())
            await app.desk.settled()
            await asyncio.to_thread(receiver.wait_for, 1)
            (document,) = await app.documents.list(OUTBOX)
            lease = standing_of(document)
            (_, outbox, _) = app.telling.webhook_delivery._at_work["default", webhook.id]

            other = Outbox(
                ("default", webhook.id),
                outbox._receiver,
                app.documents,
                app.engine.log,
                app.clock,
                node="another",
                polls=True,
                room=asyncio.Semaphore(1),
            )
            assert (lease.holder, await other.round()) == (OWNER, lease.until)

            receiver.go_on.set()
            await outbox.settled()
            assert await other.round() is None
        assert len(receiver.got) == 1

    asyncio.run(scene())


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 9, 100])
def test_the_end_of_the_feed_is_found(count: int):
    async def scene() -> int:
        async with App(MemoryLog(), environment={}) as app:
            for _ in range(count):
                await app.desk.start(_request())
                await app.desk.settled()
            events = len(await app.engine.log.feed(0, 100_000))
            assert await feed_end(app.engine.log) == events
            return events

    assert asyncio.run(scene()) >= count
