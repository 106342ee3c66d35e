"""Webhooks as they are kept: their address, which may hold a password or a token, and their secret are sealed.

An address that was kept before addresses were sealed is read as it stands; it is sealed with the next change.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

import msgspec

from headgate.core.errors import HeadgateError
from headgate.core.signatures import secret_bytes, secret_text
from headgate.engine.sealing import Sealer
from headgate.ports import Documents, Webhook, every_document

__all__ = ["WEBHOOK", "opened_webhook", "sealed_parts", "sealed_webhook", "shown_webhook"]

WEBHOOK = "webhook"
"""The kind of the documents."""

UNREADABLE = "***"


def sealed_webhook(webhook: Webhook, sealer: Sealer) -> Webhook:
    """Return the subscription as it is kept."""
    secret = sealer.seal(secret_bytes(webhook.secret), _of_secret(webhook))
    address = sealer.seal(webhook.url.encode(), _of_address(webhook))
    return msgspec.structs.replace(webhook, secret=_text(secret), url=_text(address))


def opened_webhook(kept: Webhook, sealer: Sealer) -> Webhook:
    """Return a kept subscription with its address and secret. Raises `WrongKey`, `SealBroken`."""
    secret = sealer.open(base64.b64decode(kept.secret), _of_secret(kept))
    return msgspec.structs.replace(kept, secret=secret_text(secret), url=_address(kept, lambda: sealer))


def shown_webhook(kept: Webhook, sealer: Callable[[], Sealer]) -> Webhook:
    """Return a kept subscription as people see it; also where the key is not here: then its address is `***`."""
    try:
        address = _address(kept, sealer)
    except HeadgateError:
        address = UNREADABLE
    return msgspec.structs.replace(kept, url=address).shown


async def sealed_parts(documents: Documents) -> list[bytes]:
    """Return what of all webhooks is sealed, for whoever asks which keys that takes."""
    kept = [msgspec.json.decode(one.body, type=Webhook) for one in await every_document(documents, WEBHOOK)]
    return [base64.b64decode(part) for one in kept for part in (one.secret, one.url) if not _is_plain(part)]


def _address(kept: Webhook, sealer: Callable[[], Sealer]) -> str:
    if _is_plain(kept.url):
        return kept.url
    return sealer().open(base64.b64decode(kept.url), _of_address(kept)).decode()


def _is_plain(part: str) -> bool:
    """Whether it is an address: what is sealed is written without a colon."""
    return ":" in part


def _text(sealed: bytes) -> str:
    return base64.b64encode(sealed).decode()


def _of_secret(webhook: Webhook) -> str:
    return f"secret of webhook {webhook.id} of tenant {webhook.tenant}"


def _of_address(webhook: Webhook) -> str:
    return f"address of webhook {webhook.id} of tenant {webhook.tenant}"
