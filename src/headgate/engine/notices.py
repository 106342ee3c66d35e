"""Notices: people are told of runs that failed, wait for them, or have news of their budget, as definitions ask for.

One outbox for all definitions follows the log, so each occasion is told once to each address, and after a kill as well.
Its document is made when the first definition with `notify` is deployed: from then on nothing can be missed, and before
that nothing is looked for. What has been decided by the time that its notice would leave is not told any more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal, cast

import msgspec

from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.core.codec import TYPE_NAMES, decode
from headgate.core.decision import Decision
from headgate.core.definition import Definition, Notify
from headgate.core.errors import NotFound
from headgate.core.signatures import secret_bytes, signed_headers
from headgate.engine.engine import Engine
from headgate.engine.lane import Lane
from headgate.engine.notice_text import Notice, NoticeTexts
from headgate.engine.outbox import OUTBOX, Message, Outbox, Receiver, Standing, feed_end
from headgate.engine.webhook_delivery import RunsSeen
from headgate.engine.webhooks import message_body
from headgate.ports import Documents, EventRow, Letter, Outgoing, RunRow, Undelivered

__all__ = ["MailSettings", "Notices"]

NAME = ("", "notices")
SLACK_CHARACTERS_MAX = 3_000
ASKS = frozenset({"approval", "signal"})

Occasion = Literal["failed", "waiting", "budget"]
TOLD = (
    e.RunFailed,
    e.ActivitySuspended,
    e.ActivityWaiting,
    e.TimerFired,
    g.BudgetAlert,
    g.BudgetOverrun,
    g.CallWaiting,
)
TYPES = frozenset(TYPE_NAMES[kind] for kind in TOLD)


class MailSettings(msgspec.Struct, frozen=True):
    """How notices go by mail; empty: they do not."""

    smtp_url: str = ""
    sender: str = ""


class _Target(msgspec.Struct, frozen=True):
    """One address that is told of one event."""

    row: RunRow
    event: e.Event
    notify: Notify
    kind: Literal["email", "slack", "webhook"]
    address: str


class Notices:
    """One per engine. `run` tells until it is cancelled. `secrets` gives a tenant's."""

    alone = False

    def __init__(
        self,
        engine: Engine,
        documents: Documents,
        outgoing: Outgoing,
        texts: NoticeTexts,
        make_outbox: Callable[[tuple[str, str], Receiver], Outbox],
        *,
        mail: MailSettings,
        secrets: Callable[[str], Awaitable[Mapping[str, str]]],
    ) -> None:
        self._engine = engine
        self._documents = documents
        self._outgoing = outgoing
        self._texts = texts
        self._mail = mail
        self._secrets = secrets
        self._runs = RunsSeen(engine)
        self._begun = False
        self.outbox = make_outbox(NAME, self)
        engine.listen(self._committed)
        engine.definitions.before_deploying = self._begin

    async def run(self) -> None:
        await self.outbox.run()

    async def _begin(self, definition: Definition) -> None:
        """See to it that nothing of a definition's runs can be missed, before there is one."""
        if definition.notify is None or self._begun:
            return
        if await self._documents.get(OUTBOX, *NAME) is None:
            body = msgspec.json.encode(Standing(position=await feed_end(self._engine.log)))
            await self._documents.put(OUTBOX, *NAME, body, at=self._engine.clock.now(), expected=0)
        self._begun = True

    def _committed(self, lane: Lane, decisions: Sequence[Decision]) -> None:
        if lane.run.plan.definition.notify is not None:
            self.outbox.wake.set()

    # --- As an outbox sees it ----------------------------------------------------------------------------------------

    def wants(self, event_type: str) -> bool:
        return event_type in TYPES

    async def messages(self, row: EventRow) -> Sequence[Message]:
        event, _ = decode(row.data)
        occasion = _occasion(event)
        run = await self._runs.row(event.run_id) if occasion else None
        notify = await self._notify_of(run) if run is not None else None
        if run is None or notify is None or occasion not in notify.on:
            return ()
        targets = [_Target(run, event, notify, "email", address) for address in notify.email]
        targets += [_Target(run, event, notify, "slack", notify.slack)] if notify.slack else []
        targets += [_Target(run, event, notify, "webhook", notify.webhook)] if notify.webhook else []
        about = f"{event.run_id}.{event.version}"
        return [
            Message(f"{about}.{target.kind}.{_short(target.address)}", f"notice_{occasion}", row.pos, target)
            for target in targets
        ]

    async def _notify_of(self, run: RunRow) -> Notify | None:
        try:
            return (
                await self._engine.definitions.plan(run.workflow, run.definition, tenant=run.tenant)
            ).definition.notify
        except NotFound:
            return None

    async def send(self, message: Message) -> int:
        target = cast("_Target", message.about)
        by = target.address if target.kind == "email" else ""
        notice = await self._texts.notice(target.row, target.event, by=by)
        if notice is None:
            return 0
        match target.kind:
            case "email":
                return await self._send_mail(message, target, notice)
            case "slack":
                url = await self._named(target.row.tenant, target.address)
                return await self._outgoing.post(url, msgspec.json.encode({"text": _slack_text(notice)}), {})
            case "webhook":
                return await self._post(message, target, notice)

    async def _send_mail(self, message: Message, target: _Target, notice: Notice) -> int:
        mail = self._mail
        if not mail.smtp_url or not mail.sender:
            raise Undelivered("HEADGATE_SMTP_URL and HEADGATE_MAIL_FROM are not set", hopeless=True)
        domain = mail.sender.rpartition("@")[2].strip("> ")
        message_id = f"<{_short(message.id)}@{domain}>"
        letter = Letter(mail.sender, (target.address,), notice.subject, notice.text, message_id)
        await self._outgoing.mail(mail.smtp_url, letter)
        return 250

    async def _post(self, message: Message, target: _Target, notice: Notice) -> int:
        data = {
            "workflow_id": target.row.id,
            "definition_name": target.row.workflow,
            "activity_key": target.event.place,
            "subject": notice.subject,
            "text": notice.text,
            "link": notice.link or None,
        }
        body = message_body(message.type, target.event.at, data)
        headers = {"webhook-id": message.id}
        if target.notify.secret:
            secret = secret_bytes(await self._named(target.row.tenant, target.notify.secret))
            at_seconds = self._engine.clock.now() // 1_000_000
            headers = signed_headers(secret, body, message_id=message.id, at_seconds=at_seconds)
        return await self._outgoing.post(target.address, body, headers)

    async def _named(self, tenant: str, name: str) -> str:
        value = (await self._secrets(tenant)).get(name)
        if not value:
            raise Undelivered(f"there is no secret {name}", hopeless=True)
        return value

    async def failing(self, standing: Standing, error: str, *, hopeless: bool) -> None:
        """Each notice is given up for itself."""


def _occasion(event: e.Event) -> Occasion | None:
    """Return what the event is to people, or None: nothing."""
    match event:
        case e.RunFailed():
            return "failed"
        case e.ActivitySuspended() | e.ActivityWaiting() if event.kind in ASKS:
            return "waiting"
        case e.TimerFired(kind="reminder"):
            return "waiting"
        case g.BudgetAlert() | g.BudgetOverrun():
            return "budget"
        case g.CallWaiting(asks=True):
            return "budget"
        case _:
            return None


def _slack_text(notice: Notice) -> str:
    """Return a notice as Slack takes it: its three signs of markup are escaped."""
    text = f"*{notice.subject}*\n{notice.text}"[:SLACK_CHARACTERS_MAX]
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
