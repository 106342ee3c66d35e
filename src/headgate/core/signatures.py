"""Signatures of messages that travel over HTTP, as the Standard Webhooks specification has them (version 1).

Three headers go with a body: `webhook-id` (the same for every repeat), `webhook-timestamp` (seconds since 1970) and
`webhook-signature`: one or more of `v1,BASE64`, parted by spaces, each the HMAC-SHA256 of `ID.TIMESTAMP.BODY`. The
secret is written down as `whsec_` and the base64 of its bytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping

from headgate.core.errors import Invalid

__all__ = [
    "SECRET_BYTES_MAX",
    "SECRET_BYTES_MIN",
    "SECRET_PREFIX",
    "TOLERANCE_SECONDS",
    "is_signed_by",
    "secret_bytes",
    "secret_text",
    "signed_headers",
]

SECRET_PREFIX = "whsec_"  # noqa: S105 - what a secret begins with, not one
SECRET_BYTES_MIN = 24
SECRET_BYTES_MAX = 64
TIMESTAMP = re.compile(r"[0-9]{1,15}")
TOLERANCE_SECONDS = 300
"""How old, or how far ahead, a timestamp may be: a message that was overheard cannot be sent again later."""


def secret_text(secret: bytes) -> str:
    """Return a secret as people hand it on."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()


def secret_bytes(text: str) -> bytes:
    """Return the bytes of a secret that is written down. Raises `Invalid`, without the text."""
    try:
        secret = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise Invalid(f"expected a signing secret to be {SECRET_PREFIX} and base64") from None
    if not SECRET_BYTES_MIN <= len(secret) <= SECRET_BYTES_MAX:
        bounds = f"{SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes"
        raise Invalid(f"expected a signing secret of {bounds}, got {len(secret)}")
    return secret


def signed_headers(secret: bytes, body: bytes, *, message_id: str, at_seconds: int) -> dict[str, str]:
    """Return the three headers for a body."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at_seconds),
        "webhook-signature": f"v1,{_signature(secret, message_id, str(at_seconds), body)}",
    }


def is_signed_by(secret: bytes, body: bytes, headers: Mapping[str, str], *, at_seconds: int) -> bool:
    """Whether a body came with a signature of this secret, made not long before or after `at_seconds`. Names of
    `headers` are in lower case."""
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not message_id or not TIMESTAMP.fullmatch(timestamp):
        return False
    if abs(int(timestamp) - at_seconds) > TOLERANCE_SECONDS:
        return False
    right = f"v1,{_signature(secret, message_id, timestamp, body)}".encode()
    given = headers.get("webhook-signature", "").encode("latin-1", "replace").split(b" ")
    return any(hmac.compare_digest(right, one) for one in given)


def _signature(secret: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    return base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
