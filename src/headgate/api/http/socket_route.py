"""A WebSocket route as a value: path, the type of its query, and the function that answers.

The function gets a `Call` and checks it; what it raises refuses the handshake, in the envelope of every route. It
returns what is told: a function of the open socket, that sends what there is and then has the socket told the rest by
the hub. When that has returned, nothing runs for the connection any more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from headgate.api.caller import Scope
from headgate.api.http.route import Call, NoQuery, summary_of
from headgate.api.hub import Member

__all__ = ["OpenSocket", "SocketRoute", "Tell"]


class OpenSocket(Member, Protocol):
    """A WebSocket that is open, as far as what is told through it needs to know."""

    async def drained(self) -> None:
        """Return when there is room for more. Raises `SocketGone`."""
        ...

    def at_end(self, call: Callable[[], None]) -> None:
        """Have `call` called when nothing more can be sent, at once where that is so now."""
        ...


Tell = Callable[[OpenSocket], Awaitable[None]]


class SocketRoute(msgspec.Struct, frozen=True, kw_only=True):
    """`{name}` in a path is one segment of it."""

    path: str
    function: Callable[[Call[Any, None]], Awaitable[Tell]]
    query: type[Any] = NoQuery
    scope: Scope = "runs:read"

    @property
    def summary(self) -> str:
        return summary_of(self.function)
