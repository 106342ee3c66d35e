"""`email_send` against a real SMTP server on loopback: what arrives, what is refused, and what nobody knows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import msgspec
import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from tests.mail_server import AtFreePort

from headgate.activities.email_send import EmailSend
from headgate.core.values import Assignment, Failure
from headgate.ports import Attempt
from headgate.testing.clock import VirtualClock

TASK = Assignment(
    activity_id="r1/mail/1/x", workflow_id="r1", activity_key="mail", place="mail", activity_name="email_send"
)
MAIL = {
    "from": "Ada <ada@example.org>",
    "to": ["bo@example.org"],
    "subject": "Überweisung ☃",
    "text_body": "Hello,\nBo",
}


@dataclass
class Context:
    """The context of an attempt, as far as email_send uses it."""

    task: Assignment = TASK
    begun: list[str] = field(default_factory=list)

    async def begin_effect(self, what: str) -> None:
        self.begun.append(what)


class Sink:
    """An SMTP server that keeps what it takes; `answers` replace its own, by the command that they answer."""

    def __init__(self) -> None:
        self.taken: list[Envelope] = []
        self.answers: dict[str, str] = {}

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        answer = self.answers.get(address, self.answers.get("RCPT", "250 OK"))
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:
        if self.answers.get("DATA") == "hang up":
            self.taken.append(envelope)
            server.transport.close()
            return "250 nobody hears this"
        answer = self.answers.get("DATA", "250 OK")
        if answer.startswith("250"):
            self.taken.append(envelope)
        return answer

    @property
    def messages(self) -> list[EmailMessage]:
        return [message_from_bytes(envelope.content, policy=policy.default) for envelope in self.taken]


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def url(sink: Sink) -> Iterator[str]:
    server = AtFreePort(sink)
    server.start()
    yield server.url
    server.stop()


def send(url: str, ctx: Context | None = None, **changed: Any) -> dict[str, Any]:
    async def call() -> Any:
        return await EmailSend(VirtualClock(1_760_000_000_000_000))(
            {"smtp_url": url, **MAIL, **changed}, ctx or Context()
        )

    return asyncio.run(call())


def failure_of(url: str, ctx: Context | None = None, **changed: Any) -> Failure:
    with pytest.raises(Attempt) as caught:
        send(url, ctx, **changed)
    return caught.value.failure


def test_a_mail_arrives_as_it_was_meant(url: str, sink: Sink):
    result = send(
        url, cc="Cy <cy@example.org>", bcc=["dee@example.org"], reply_to="desk@example.org", html_body="<b>Hello</b>"
    )

    [envelope], [message] = sink.taken, sink.messages
    assert (envelope.mail_from, envelope.rcpt_tos) == (
        "ada@example.org",
        ["bo@example.org", "cy@example.org", "dee@example.org"],
    )
    assert (message["Subject"], message["From"], message["To"]) == (MAIL["subject"], MAIL["from"], "bo@example.org")
    assert (message["Cc"], message["Reply-To"], message["Bcc"]) == ("Cy <cy@example.org>", "desk@example.org", None)
    assert message["Date"] == "Thu, 09 Oct 2025 08:53:20 +0000"
    assert message.get_body(("plain",)).get_content().splitlines() == ["Hello,", "Bo"]
    assert message.get_body(("html",)).get_content().strip() == "<b>Hello</b>"
    assert result == {
        "success": True,
        "message_id": message["Message-ID"],
        "accepted": envelope.rcpt_tos,
        "refused": {},
    }


def test_all_attempts_of_a_place_bear_one_message_id_and_other_places_others(url: str, sink: Sink):
    for attempt, place in ((1, "mail"), (2, "mail"), (1, "mail[3]")):
        send(url, Context(msgspec.structs.replace(TASK, place=place, attempt=attempt)))

    first, second, other = [message["Message-ID"] for message in sink.messages]
    assert first == second != other


def test_the_log_is_told_before_the_mail_leaves(url: str, sink: Sink):
    ctx = Context()

    class Refusing(Context):
        async def begin_effect(self, what: str) -> None:
            raise Attempt.failed("stale", "the attempt is over", retryable=False)

    send(url, ctx)
    failure_of(url, Refusing())

    assert ctx.begun == ["a mail to bo@example.org"]
    assert len(sink.taken) == 1


@pytest.mark.parametrize(("answer", "retryable"), [("452 later", True), ("550 no such person", False)])
@pytest.mark.parametrize("command", ["RCPT", "DATA"])
def test_what_the_server_refuses_is_tried_again_only_if_it_says_so(
    url: str, sink: Sink, command: str, answer: str, retryable: bool
):
    sink.answers[command] = answer

    failure = failure_of(url)

    assert (failure.code, failure.retryable) == ("mail_refused", retryable)
    assert answer in failure.message
    assert sink.taken == []


def test_a_mail_goes_to_those_whom_the_server_takes_and_the_others_are_named(url: str, sink: Sink):
    sink.answers["cy@example.org"] = "550 unknown"

    result = send(url, to=["bo@example.org", "cy@example.org"])

    assert (result["accepted"], result["refused"]) == (["bo@example.org"], {"cy@example.org": "550 unknown"})


def test_a_connection_that_breaks_after_the_mail_has_left_is_an_unknown_outcome(url: str, sink: Sink):
    sink.answers["DATA"] = "hang up"

    failure = failure_of(url)

    assert (failure.code, failure.retryable) == ("outcome_unknown", False)
    assert len(sink.taken) == 1


def test_a_server_that_is_not_there_is_tried_again_for_nothing_was_sent():
    failure = failure_of("smtp://me:hush-hush@127.0.0.1:1?tls=none")

    assert (failure.code, failure.retryable) == ("mail_unavailable", True)
    assert "hush-hush" not in failure.message


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # on loopback that is meant
def test_a_name_and_a_password_are_given_to_the_server(sink: Sink):
    seen: list[tuple[bytes, bytes]] = []

    def check(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any) -> AuthResult:
        seen.append((data.login, data.password))
        return AuthResult(success=data.password == b"p:w/d", handled=False)

    server = AtFreePort(sink, authenticator=check, auth_require_tls=False, auth_required=True)
    server.start()
    try:
        send(server.url.replace("smtp://", "smtp://me%40example.org:p%3Aw%2Fd@"))
        failure = failure_of(server.url.replace("smtp://", "smtp://me:wrong@"))
    finally:
        server.stop()

    assert (b"me@example.org", b"p:w/d") in seen
    assert (failure.code, failure.retryable) == ("mail_refused", False), failure.message
    assert "wrong" not in failure.message


def test_tls_that_is_required_and_not_offered_sends_nothing(url: str, sink: Sink):
    failure = failure_of(url.replace("tls=none", "tls=required"))

    assert not failure.code.startswith("outcome")
    assert sink.taken == []


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"text_body": None}, "text_body or html_body"),
        ({"subject": "a\r\nBcc: eve@example.org"}, "header"),
        ({"to": "not an address"}, "not a mail address"),
        ({"to": []}, "recipients"),
        ({"smtp_url": "http://example.org"}, "smtp"),
        ({"attachments": []}, "attachments"),
    ],
)
def test_parameters_that_cannot_be_are_refused_before_anything_is_sent(
    url: str, sink: Sink, changed: dict[str, Any], says: str
):
    failure = failure_of(changed.get("smtp_url", url), **{k: v for k, v in changed.items() if k != "smtp_url"})

    assert (failure.code, failure.retryable) == ("invalid_parameters", False)
    assert says in failure.message
    assert sink.taken == []
