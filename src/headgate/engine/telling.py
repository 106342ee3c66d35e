"""What leaves for people and programs outside, put together: webhooks, notices, and the links in them."""

from __future__ import annotations

import asyncio
import secrets as random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from headgate.engine.approval_links import ApprovalLinks
from headgate.engine.engine import Engine
from headgate.engine.notice_text import NoticeTexts
from headgate.engine.notices import MailSettings, Notices
from headgate.engine.outbox import SENDING_MAX, Outbox, Receiver
from headgate.engine.sealing import Sealer
from headgate.engine.webhook_delivery import WebhookDelivery
from headgate.engine.webhooks import Webhooks
from headgate.ports import Documents, Outgoing

__all__ = ["Telling"]

CLOSING_SECONDS_MAX = 3.0
OWNER = "owner"


class Telling:
    """One per engine. `shared` where other processes write to the log, too; `secrets` gives a tenant's."""

    def __init__(
        self,
        engine: Engine,
        documents: Documents,
        outgoing: Outgoing,
        sealer: Callable[[], Sealer],
        *,
        shared: bool,
        environment: Mapping[str, str],
        secrets: Callable[[str], Awaitable[Mapping[str, str]]],
    ) -> None:
        self._engine = engine
        self._documents = documents
        self._shared = shared
        self._node = random.token_hex(8) if shared else OWNER
        """Of a log that one process owns, whoever held a lease before has ended."""
        self._room = asyncio.Semaphore(SENDING_MAX)
        self.webhooks = Webhooks(engine, documents, outgoing, sealer)
        self.webhook_delivery = WebhookDelivery(engine, self.webhooks, self._outbox, polls=shared)
        self.links = ApprovalLinks(engine, documents, sealer)
        self.texts = NoticeTexts(engine, self.links, environment.get("HEADGATE_PUBLIC_URL", "").rstrip("/"))
        mail = MailSettings(environment.get("HEADGATE_SMTP_URL", ""), environment.get("HEADGATE_MAIL_FROM", ""))
        self.notices = Notices(engine, documents, outgoing, self.texts, self._outbox, mail=mail, secrets=secrets)

    def _outbox(self, name: tuple[str, str], receiver: Receiver) -> Outbox:
        engine = self._engine
        return Outbox(
            name,
            receiver,
            self._documents,
            engine.log,
            engine.clock,
            node=self._node,
            polls=self._shared,
            room=self._room,
        )

    async def run(self) -> None:
        """Tell what there is to tell, until cancelled."""
        await asyncio.gather(self.webhook_delivery.run(), self.notices.run())

    async def finish(self) -> None:
        """Give what this process has caused a moment to be told before it ends; else the next one tells it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING_SECONDS_MAX):
                await asyncio.gather(self.webhook_delivery.settled(), self.notices.outbox.settled())
