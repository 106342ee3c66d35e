"""Where there is no login: whose requests are refused, so that no page of another site asks in a person's name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from headgate.api.caller import Forbidden
from headgate.core.addresses import LOOPBACK_NAMES

__all__ = ["refuse_strangers"]

HOSTS_KEPT_MAX = 32


def refuse_strangers(headers: Mapping[str, str]) -> None:
    """Raise `Forbidden` for a `Host` that is no name of this machine, or an `Origin` that is not this server itself."""
    host, origin = headers.get("host", ""), headers.get("origin", "")
    if not _is_here(host):
        raise Forbidden(f"This server answers for this machine only, and {host!r} is no name of it.")
    if origin and urlsplit(origin).netloc != host:
        raise Forbidden(f"A page of {origin} may not ask this server.")


@lru_cache(maxsize=HOSTS_KEPT_MAX)
def _is_here(host: str) -> bool:
    return (urlsplit(f"//{host}").hostname or "") in LOOPBACK_NAMES
