"""Webhooks out, as people look after them: subscriptions to events, each with a secret that signs its deliveries.

A subscription is a document (`sealed_webhooks.py`); its secret is shown when it is made and never again. How far it
has been told of the log is its outbox's affair (`outbox.py`); who keeps the outboxes at work is `webhook_delivery.py`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

import msgspec

from headgate.core.codec import TYPE_NAMES
from headgate.core.errors import Invalid, NotFound, Refused
from headgate.core.signatures import secret_bytes, secret_text, signed_headers
from headgate.engine.engine import Engine
from headgate.engine.outbox import OUTBOX, Standing, feed_end, standing_of
from headgate.engine.sealed_webhooks import WEBHOOK, opened_webhook, sealed_webhook, shown_webhook
from headgate.engine.sealing import Sealer
from headgate.ports import Delivered, Documents, Outgoing, Undelivered, Webhook

__all__ = ["WebhookChange", "Webhooks", "checked_url", "message_body"]

WEBHOOKS_MAX = 100
"""Of one tenant."""
PAGE = 1_000
URL_CHARACTERS_MAX = 2_000
DESCRIPTION_CHARACTERS_MAX = 500
FILTERS_MAX = 50
SECRET_BYTES = 32

logger = logging.getLogger("headgate.webhooks")


class WebhookChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be different; None: as it is. `new_secret`: deliveries are signed with a new one from now on."""

    url: str | None = None
    events: tuple[str, ...] | None = None
    workflows: tuple[str, ...] | None = None
    labels: dict[str, str] | None = None
    description: str | None = None
    enabled: bool | None = None
    new_secret: bool = False


class Webhooks:
    """One per engine."""

    def __init__(self, engine: Engine, documents: Documents, outgoing: Outgoing, sealer: Callable[[], Sealer]) -> None:
        self._engine = engine
        self._documents = documents
        self._outgoing = outgoing
        self._sealer = sealer
        self.changed = asyncio.Event()
        """Set when a subscription of this process's making may be another one now."""

    async def add(self, webhook: Webhook) -> Webhook:
        """Keep a subscription to what happens from now on; return it as it is shown, and this once with its secret.
        Raises `Invalid`, `Refused`."""
        if len(await self.all(webhook.tenant)) >= WEBHOOKS_MAX:
            raise Refused(f"There are {WEBHOOKS_MAX} webhooks already; remove one first.")
        made = msgspec.structs.replace(
            checked_webhook(webhook),
            id=self._engine.random_id(),
            secret=webhook.secret or secret_text(secrets.token_bytes(SECRET_BYTES)),
            created_at=self._engine.clock.now(),
        )
        standing = Standing(position=await feed_end(self._engine.log))
        body = msgspec.json.encode(standing)
        await self._documents.put(OUTBOX, made.tenant, made.id, body, at=made.created_at, expected=0)
        await self._keep(made)
        return _shown_once(made)

    async def all(self, tenant: str) -> list[Webhook]:
        """Return the tenant's subscriptions, oldest first, as they are shown."""
        found = await self._documents.list(WEBHOOK, tenant=tenant, limit=PAGE)
        known = [msgspec.json.decode(document.body, type=Webhook) for document in found]
        return sorted((self._shown(webhook) for webhook in known), key=lambda webhook: webhook.created_at)

    async def one(self, tenant: str, webhook_id: str) -> Webhook:
        """Return a subscription as it is shown. Raises `NotFound`."""
        return self._shown((await self._kept(tenant, webhook_id))[0])

    async def change(self, tenant: str, webhook_id: str, change: WebhookChange) -> Webhook:
        """Change a subscription; return it, with its secret if that is new. Raises `NotFound`, `Invalid`, `Refused`
        where somebody else has changed it meanwhile."""
        kept, revision = await self._kept(tenant, webhook_id)
        known = self._opened(kept)
        given = {
            name: value for name in WebhookChange.__struct_fields__ if (value := getattr(change, name)) is not None
        }
        if given.get("url") == known.shown.url:
            del given["url"]  # as it was shown: a mask is no password
        new_secret = given.pop("new_secret")
        if new_secret:
            given["secret"] = secret_text(secrets.token_bytes(SECRET_BYTES))
        if given.get("enabled"):
            given["note"] = ""
            await self._forget_failures(tenant, webhook_id)
        changed = checked_webhook(msgspec.structs.replace(known, **given))
        await self._keep(changed, expected=revision)
        return _shown_once(changed) if new_secret else changed.shown

    async def remove(self, tenant: str, webhook_id: str) -> Webhook:
        """Remove a subscription; return it as it was. Raises `NotFound`."""
        webhook = await self.one(tenant, webhook_id)
        await self._documents.remove(WEBHOOK, tenant, webhook_id)
        await self._documents.remove(OUTBOX, tenant, webhook_id)
        self.changed.set()
        return webhook

    async def test(self, tenant: str, webhook_id: str) -> Delivered:
        """Send a message of the type `webhook_test` now; return how that ended. Raises `NotFound`."""
        webhook, _ = await self._kept(tenant, webhook_id)
        now = self._engine.clock.now()
        body = message_body("webhook_test", now, {"webhook_id": webhook_id})
        message_id = f"test.{self._engine.random_id()}"
        try:
            status = await self.post(webhook, message_id, body)
        except Undelivered as error:
            return Delivered(message_id, "webhook_test", now, status=error.status, error=error.message)
        return Delivered(message_id, "webhook_test", now, status=status)

    async def deliveries(self, tenant: str, webhook_id: str) -> Sequence[Delivered]:
        """Return the newest attempts to deliver, newest first. Raises `NotFound`."""
        await self._kept(tenant, webhook_id)
        document = await self._documents.get(OUTBOX, tenant, webhook_id)
        return () if document is None else standing_of(document).recent

    async def _kept(self, tenant: str, webhook_id: str) -> tuple[Webhook, int]:
        document = await self._documents.get(WEBHOOK, tenant, webhook_id)
        if document is None:
            raise NotFound(f"There is no webhook {webhook_id!r}.")
        return msgspec.json.decode(document.body, type=Webhook), document.revision

    async def _keep(self, webhook: Webhook, *, expected: int = 0) -> None:
        body = msgspec.json.encode(sealed_webhook(webhook, self._sealer()))
        at = self._engine.clock.now()
        if await self._documents.put(WEBHOOK, webhook.tenant, webhook.id, body, at=at, expected=expected) is None:
            raise Refused(f"Somebody else has changed the webhook {webhook.id} meanwhile; look at it again.")
        self.changed.set()

    def _opened(self, kept: Webhook) -> Webhook:
        return opened_webhook(kept, self._sealer())

    def _shown(self, kept: Webhook) -> Webhook:
        return shown_webhook(kept, self._sealer)

    async def _forget_failures(self, tenant: str, webhook_id: str) -> None:
        """Let an outbox that has stood still try again at once."""
        document = await self._documents.get(OUTBOX, tenant, webhook_id)
        if document is None:
            return
        standing = msgspec.structs.replace(standing_of(document), failures=0, failing_since=0, retry_at=0, failing={})
        body, at = msgspec.json.encode(standing), self._engine.clock.now()
        await self._documents.put(OUTBOX, tenant, webhook_id, body, at=at, expected=document.revision)

    # --- For whoever delivers ----------------------------------------------------------------------------------------

    async def revision(self) -> int:
        """Return what grows with each change of a subscription, by whatever process."""
        return await self._documents.revision(WEBHOOK)

    async def enabled(self) -> AsyncGenerator[tuple[int, Webhook]]:
        """Yield every tenant's enabled subscriptions as they are kept, each with its revision."""
        after = ("", "")
        while found := await self._documents.list(WEBHOOK, after=after, limit=PAGE):
            for document in found:
                webhook = msgspec.json.decode(document.body, type=Webhook)
                if webhook.enabled:
                    yield document.revision, webhook
            after = (found[-1].tenant, found[-1].name)

    async def post(self, kept: Webhook, message_id: str, body: bytes) -> int:
        """Send a message, signed; return the answer's status. Raises `Undelivered`."""
        webhook = self._opened(kept)
        at_seconds = self._engine.clock.now() // 1_000_000
        headers = signed_headers(secret_bytes(webhook.secret), body, message_id=message_id, at_seconds=at_seconds)
        return await self._outgoing.post(webhook.url, body, headers)

    async def disable(self, webhook: Webhook, why: str) -> None:
        """Tell it nothing more, until somebody enables it again."""
        kept, revision = await self._kept(webhook.tenant, webhook.id)
        known = self._opened(kept)
        logger.warning("webhook %s to %s is disabled: %s", webhook.id, _host(known.url), why)
        disabled = msgspec.structs.replace(known, enabled=False, note=why)
        with suppress(Refused):  # somebody has changed it, so its outbox begins anew
            await self._keep(disabled, expected=revision)


def message_body(kind: str, at: int, data: dict[str, Any]) -> bytes:
    """Return the body of a message: its type, its time (microseconds in, RFC 3339 out), and what it tells."""
    timestamp = datetime.fromtimestamp(at / 1_000_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return msgspec.json.encode({"type": kind, "timestamp": timestamp, "data": data})


# --- What a subscription may say -----------------------------------------------------------------------------------


def checked_webhook(webhook: Webhook) -> Webhook:
    """Return the subscription. Raises `Invalid` for what cannot work."""
    checked_url(webhook.url)
    for pattern in webhook.events:
        if not any(fnmatchcase(name, pattern) for name in TYPE_NAMES.values()):
            raise Invalid(f"expected events to be types of events or patterns such as run_*, got {pattern!r}")
    for name, given in (("events", webhook.events), ("workflows", webhook.workflows), ("labels", webhook.labels)):
        if len(given) > FILTERS_MAX:
            raise Invalid(f"expected at most {FILTERS_MAX} {name}, got {len(given)}")
    if len(webhook.description) > DESCRIPTION_CHARACTERS_MAX:
        raise Invalid(f"expected a description of at most {DESCRIPTION_CHARACTERS_MAX} characters")
    if webhook.secret:
        secret_bytes(webhook.secret)
    return webhook


def checked_url(url: str) -> str:
    """Return an address that messages can be sent to. Raises `Invalid`. Whether it is private is asked when sending."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or len(url) > URL_CHARACTERS_MAX or not url.isascii() or any(char.isspace() for char in url):
        raise Invalid(f"expected url to be an http or https address of at most {URL_CHARACTERS_MAX} characters")
    return url


def _shown_once(webhook: Webhook) -> Webhook:
    """Return a subscription as it is shown, with its new secret."""
    return msgspec.structs.replace(webhook.shown, secret=webhook.secret)


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""
