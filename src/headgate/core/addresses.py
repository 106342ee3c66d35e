"""Addresses as people write and see them: which names are this machine's own, and what in them is a secret."""

from __future__ import annotations

import re

__all__ = ["LOOPBACK_NAMES", "shown_address", "with_masked_query"]

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
"""Hosts that nobody but this machine reaches under these names."""

_LOGIN = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)([^/?#]*)@")
_IN_QUERY = re.compile(r"(?i)([?&](?:password|passwd|secret|token|api_?key|key)=)[^&\s]*")


def shown_address(address: str) -> str:
    """Return an address with its password masked, and what its query calls a secret. A login without a password is
    masked as a whole: it is a token more often than a name."""
    return with_masked_query(_LOGIN.sub(_masked_login, address))


def with_masked_query(text: str) -> str:
    """Return a text with what the queries of addresses in it call a secret masked."""
    return _IN_QUERY.sub(r"\1***", text)


def _masked_login(found: re.Match[str]) -> str:
    name, colon, _ = found[2].partition(":")
    return f"{found[1]}{name}:***@" if colon else f"{found[1]}***@"
