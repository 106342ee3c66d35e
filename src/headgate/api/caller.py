"""Who asks: a tenant's program or person, what it may do, and in whose name it is written down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

import msgspec

from headgate.core.errors import Refused
from headgate.core.run_ids import as_run_id

__all__ = [
    "ANYBODY",
    "EVERYTHING",
    "Caller",
    "Forbidden",
    "Identify",
    "IdentifyToken",
    "Scope",
    "StillMay",
    "TooMany",
    "Unauthorized",
    "any_token_at_this_machine",
    "everybody_at_this_machine",
    "everybody_still_may",
]

Scope = Literal["", "runs:read", "runs:write", "approvals", "definitions:write", "workers", "admin"]
"""What a route asks for; empty: nothing, it is for anybody."""

EVERYTHING = frozenset({"runs:read", "runs:write", "approvals", "definitions:write", "workers", "admin"})


class Unauthorized(Refused):
    """Nobody knows who asks: no token, or one that is not good (any more)."""

    code = "unauthorized"


class Forbidden(Refused):
    """Whoever asks may not."""

    code = "forbidden"


class TooMany(Refused):
    """A rate or a quota is used up; `retry_after_seconds` says when there may be room again."""

    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Caller(msgspec.Struct, frozen=True):
    """Whoever asks. `actor` is what events name: `client:NAME`, `user:NAME`. `run`: it may see that run and no other.

    `admin` among the scopes allows all that the others do, within the tenant; whoever may change runs may decide
    their approvals.
    """

    tenant: str = "default"
    actor: str = "client"
    scopes: frozenset[str] = frozenset()
    run: str = ""

    def may(self, scope: Scope) -> bool:
        has = self.scopes
        return not scope or scope in has or "admin" in has or (scope == "approvals" and "runs:write" in has)

    def require(self, *scopes: Scope) -> None:
        """Raises `Forbidden` for whoever has none of these."""
        for scope in scopes:
            if self.may(scope):
                return
        has = " ".join(sorted(self.scopes)) or "none"
        raise Forbidden(f"This needs the scope {' or '.join(scopes)}; {self.actor} has {has}.")

    def require_run(self, run: str) -> None:
        """Raises `Forbidden` for whoever may see another run only; `run` empty: what is asked is of no single run."""
        if self.run and self.run != as_run_id(run):
            raise Forbidden(f"This ticket is for run {self.run} and for nothing else.")


ANYBODY = Caller()

Identify = Callable[[Mapping[str, str]], Awaitable[Caller]]
"""Says who asks, from a request's headers (names in lower case). Raises `Unauthorized`."""


async def everybody_at_this_machine(headers: Mapping[str, str]) -> Caller:
    """Return who asks where there is no login: whoever can reach the server may do everything."""
    return Caller(scopes=EVERYTHING)


IdentifyToken = Callable[[str], Awaitable[Caller]]
"""Says who asks, from a token in an address (`?token=`), where a browser can set no header. Raises `Unauthorized`."""


async def any_token_at_this_machine(token: str) -> Caller:
    """Return who asks where there is no login: whatever the token, as `everybody_at_this_machine`."""
    return await everybody_at_this_machine({})


StillMay = Callable[[str], Awaitable[bool]]
"""Says whether whoever came with a token, which was good then, may go on with what they have open."""


async def everybody_still_may(token: str) -> bool:
    """Let everybody go on, where there is no login and nothing to revoke."""
    return True
