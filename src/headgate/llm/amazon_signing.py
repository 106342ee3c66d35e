"""AWS's Signature Version 4: what proves that a request is from whom it says. No I/O and no clock here.

A request is put into one form (method, path, query, headers, the hash of its body), and the hash of that form is signed
with a key that is derived from the secret for one day, region and service. Checked against AWS's published vectors and
against its own SDK.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from urllib.parse import parse_qsl, quote, urlsplit

import msgspec

__all__ = ["Credentials", "signed"]

ALGORITHM = "AWS4-HMAC-SHA256"
KEYS_MAX = 64
"""Derived keys that are kept: they hold for a day."""


class Credentials(msgspec.Struct, frozen=True):
    """Whose key signs. A repr would show it: do not print one."""

    key_id: str
    secret: str
    token: str = ""
    """Of a session; empty for a key that lasts."""


def signed(
    method: str,
    url: str,
    headers: Mapping[str, str],
    content: bytes,
    *,
    credentials: Credentials,
    region: str,
    service: str,
    at: datetime,
) -> dict[str, str]:
    """Return `headers`, in lower case, with those that sign the request; what is added to them later is not signed.

    `at` is in UTC; AWS takes it for five minutes. The path in `url` is encoded once already.
    """
    parts = urlsplit(url)
    moment = at.strftime("%Y%m%dT%H%M%SZ")
    told = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    told |= {"host": parts.netloc.rpartition("@")[2], "x-amz-date": moment}
    told |= {"x-amz-security-token": credentials.token} if credentials.token else {}
    names = ";".join(sorted(told))
    canonical = "\n".join(
        (
            method,
            quote(parts.path or "/", safe="/-_.~"),
            _query(parts.query),
            *(f"{name}:{told[name]}" for name in sorted(told)),
            "",
            names,
            hashlib.sha256(content).hexdigest(),
        )
    )
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    text = "\n".join((ALGORITHM, moment, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    signature = _hmac(_key(credentials.secret, moment[:8], region, service), text).hex()
    proof = f"{ALGORITHM} Credential={credentials.key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**told, "authorization": proof}


def _query(query: str) -> str:
    pairs = sorted((_escaped(name), _escaped(value)) for name, value in parse_qsl(query, keep_blank_values=True))
    return "&".join(f"{name}={value}" for name, value in pairs)


def _escaped(text: str) -> str:
    return quote(text, safe="-_.~")


@lru_cache(maxsize=KEYS_MAX)
def _key(secret: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
