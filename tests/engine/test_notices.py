"""Notices: who is told, of what, how often, and what is not told any more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from tests.mail_server import MailServer
from tests.receiver import Receiver

from headgate.core.fold_waits import REMINDERS_MAX
from headgate.core.signatures import is_signed_by, secret_bytes, secret_text
from headgate.engine.notices import MailSettings

DAY = 86_400
SECRET = secret_text(bytes(range(32)))
FAILING = """
name: breaks
notify: {email: [ann@example.org, bob@example.org]}
activities: {a: {use: transform, with: {x: "{{ 1 + INPUT.missing.field }}"}}}
"""
ASKING = """
name: asks
notify: {on: [waiting], email: ann@example.org}
activities:
  ask: {use: approval, with: {title: "Publish <this> & that?", body: "All of it.", remind_after: 1d}}
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def mailing(sink: MailServer) -> dict[str, str]:
    return {"HEADGATE_SMTP_URL": sink.url, "HEADGATE_MAIL_FROM": "Headgate <headgate@example.org>"}


async def told(bench: Any, sink: MailServer, count: int) -> list[Any]:
    await bench.until(lambda: len(sink.taken) >= count)
    await bench.app.telling.notices.outbox.settled()
    assert len(sink.taken) == count
    return sink.mails


def test_a_run_that_fails_is_told_by_mail_once_to_each(play: Any, sink: MailServer):
    async def scene(bench: Any) -> None:
        run = await bench.start(FAILING)
        await bench.finished(run)
        mails = await told(bench, sink, 2)

        assert sorted(mail["To"] for mail in mails) == ["ann@example.org", "bob@example.org"]
        for mail in mails:
            assert mail["Subject"] == f"breaks: run {run} failed"
            assert "expression_error" in mail.get_content()
            assert f"headgate show {run}" in mail.get_content()
        assert len({mail["Message-ID"] for mail in mails}) == 2

    play(scene, environment=mailing(sink))


def test_an_approval_is_told_reminded_of_and_then_no_more(play: Any, sink: MailServer):
    async def scene(bench: Any) -> None:
        run = await bench.start(ASKING)
        (first,) = await told(bench, sink, 1)
        assert first["Subject"] == "asks: Publish <this> & that?"
        assert "All of it." in first.get_content()
        assert f"headgate approve {run} ask" in first.get_content()

        for count in range(2, REMINDERS_MAX + 2):
            bench.clock.advance(seconds=DAY)
            mails = await told(bench, sink, count)
            assert mails[-1].get_content().startswith("Reminder: run")
        for _ in range(3):
            bench.clock.advance(seconds=DAY)
            await bench.rest()
        await told(bench, sink, REMINDERS_MAX + 1)
        assert (await bench.app.desk.show(run)).status == "waiting"

    play(scene, environment=mailing(sink))


def test_nobody_is_reminded_of_what_is_decided(play: Any, sink: MailServer):
    async def scene(bench: Any) -> None:
        run = await bench.start(ASKING)
        await told(bench, sink, 1)

        await bench.app.desk.decide(run, approved=True)
        await bench.finished(run)
        bench.clock.advance(seconds=10 * DAY)
        await bench.rest()

        await told(bench, sink, 1)

    play(scene, environment=mailing(sink))


def test_what_was_decided_before_its_notice_could_leave_is_not_told(play: Any, sink: MailServer):
    async def scene(bench: Any) -> None:
        bench.app.telling.notices._mail = MailSettings("smtp://127.0.0.1:1?tls=none", "a@example.org")
        run = await bench.start(ASKING)
        await bench.until(lambda: bench.clock.next_alarm)
        await bench.app.telling.notices.outbox.settled()
        await bench.app.desk.decide(run, approved=True)
        bench.app.telling.notices._mail = MailSettings(sink.url, "a@example.org")
        bench.clock.advance(seconds=DAY)
        await bench.rest()

        await told(bench, sink, 0)

    play(scene)


def test_a_decided_approval_leaves_no_timer_behind(play: Any, sink: MailServer):
    flow = ASKING + "  next: {use: approval, after: [ask], with: {title: And this?}}\n"

    async def scene(bench: Any) -> None:
        run = await bench.start(flow)
        await told(bench, sink, 1)
        await bench.app.desk.decide(run, key="ask", approved=True)
        await told(bench, sink, 2)

        bench.clock.advance(seconds=3 * DAY)
        await bench.rest()

        assert "timer_fired" not in {event.type for event in await bench.events(run)}
        await told(bench, sink, 2)

    play(scene, environment=mailing(sink))


def test_what_was_asked_before_a_retry_is_not_told_beside_what_is_asked_now(play: Any, sink: MailServer):
    async def scene(bench: Any) -> None:
        bench.app.telling.notices._mail = MailSettings("smtp://127.0.0.1:1?tls=none", "a@example.org")
        run = await bench.start(ASKING)
        await bench.rest()
        await bench.app.telling.notices.outbox.settled()
        bench.clock.advance(seconds=1)
        await bench.app.desk.cancel(run)
        await bench.finished(run)
        bench.app.telling.notices._mail = MailSettings(sink.url, "a@example.org")
        await bench.app.desk.retry(run)
        await told(bench, sink, 1)

        bench.clock.advance(seconds=60)
        await bench.rest()
        await told(bench, sink, 1)

    play(scene)


def test_an_approvals_mail_has_a_link_that_decides_in_its_readers_name(play: Any, sink: MailServer):
    async def scene(bench: Any) -> None:
        await bench.start(ASKING)
        (mail,) = await told(bench, sink, 1)

        found = re.search(r"https://gate\.example\.org/api/v1/approval_links/(\S+)", mail.get_content())

        assert found is not None
        assert (await bench.app.telling.links.opened(found[1])).by == "ann@example.org"

    play(scene, environment={**mailing(sink), "HEADGATE_PUBLIC_URL": "https://gate.example.org/"})


def test_slack_and_a_signed_post_are_told_and_markup_is_escaped(play: Any, receiver: Receiver):
    flow = ASKING.replace("email: ann@example.org", f"slack: SLACK, webhook: '{receiver.url}', secret: HOOK")

    async def scene(bench: Any) -> None:
        run = await bench.start(flow)
        await bench.until(lambda: len(receiver.got) == 2)

        slack, post = sorted(receiver.got, key=lambda one: "webhook-signature" in one.headers)
        assert slack.path == "/news?slack"
        assert slack.json["text"].startswith("*asks: Publish &lt;this&gt; &amp; that?*")
        assert (post.json["type"], post.json["data"]["workflow_id"]) == ("notice_waiting", run)
        now = bench.clock.now() // 1_000_000
        assert is_signed_by(secret_bytes(SECRET), post.body, post.headers, at_seconds=now)

    environment = {"HEADGATE_SECRET_SLACK": f"{receiver.url}?slack", "HEADGATE_SECRET_HOOK": SECRET}
    play(scene, environment=environment)


def test_news_of_a_budget_is_told(play: Any, receiver: Receiver):
    flow = f"""
name: spends
budget: {{limit: 0.0001, action: alert}}
notify: {{on: [budget], webhook: "{receiver.url}"}}
activities:
  a: {{use: llm_prompt, with: {{model: demo/large, prompt: "{"Summarise this. " * 40}", max_tokens: 400}}}}
"""

    async def scene(bench: Any) -> None:
        await bench.finished(await bench.start(flow))
        await bench.until(lambda: receiver.got)

        assert receiver.got[0].json["type"] == "notice_budget"
        assert "the run's budget" in receiver.got[0].json["data"]["text"]

    play(scene)


def test_a_wait_for_a_signal_is_told_and_a_pause_is_not(play: Any, receiver: Receiver):
    flow = f"""
name: waits
notify: {{on: [waiting], webhook: "{receiver.url}"}}
activities:
  pause: {{use: wait, with: {{seconds: 5}}}}
  go: {{use: echo, after: [pause], wait_for: start}}
"""

    async def scene(bench: Any) -> None:
        run = await bench.start(flow)
        await bench.rest()
        assert receiver.got == []
        bench.clock.advance(seconds=5)
        await bench.until(lambda: receiver.got)

        assert f"headgate signal {run} start --activity go" in receiver.got[0].json["data"]["text"]

    play(scene)


def test_a_notice_that_cannot_be_sent_is_given_up_with_the_reason(
    play: Any, receiver: Receiver, caplog: pytest.LogCaptureFixture
):
    flow = FAILING.replace("email: [ann@example.org, bob@example.org]", f"slack: NONE, webhook: '{receiver.url}'")

    async def scene(bench: Any) -> None:
        await bench.finished(await bench.start(flow))
        await bench.until(lambda: receiver.got)
        await bench.app.telling.notices.outbox.settled()

        assert "there is no secret NONE" in caplog.text

    play(scene)
