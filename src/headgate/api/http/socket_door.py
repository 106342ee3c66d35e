"""The door of WebSockets: who may have one, and the heart that keeps them alive.

A ping goes to each connection every 30 seconds, to a thirtieth of them each second: as text, for programs that look at
messages, and as a control frame, which a client answers by itself. Who has read nothing between two of them, or was not
heard, is cut off; so is whoever may not look any more, for a connection outlives what it was opened with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from websockets.frames import Frame, Opcode

from headgate.api.auth.identification import token_in
from headgate.api.caller import Caller, Identify
from headgate.api.http.addresses import Addresses
from headgate.api.http.query import QueryShape, given_fields
from headgate.api.http.route import Call, run_named
from headgate.api.http.socket import NO_MORE, Socket, text_frame
from headgate.api.http.strangers import refuse_strangers
from headgate.core.errors import HeadgateError, NotFound, Unavailable

if TYPE_CHECKING:
    from headgate.api.doors import Doors
    from headgate.api.http.socket_route import SocketRoute, Tell

__all__ = ["BEAT_SECONDS", "CONNECTIONS_MAX", "SocketDoor"]

BEAT_SECONDS = 30.0
SHARES = 30
CONNECTIONS_MAX = 20_000
"""Of one process; a tenant may have fewer."""
PING = Frame(Opcode.PING, b"").serialize(mask=False)


class SocketDoor:
    """The WebSockets of a server. `protocol` makes one, for uvicorn."""

    def __init__(
        self, base: str, routes: Sequence[SocketRoute], doors: Doors, *, loopback_only: bool, identify: Identify
    ) -> None:
        self.routes = tuple(routes)
        self._doors = doors
        self._loopback_only = loopback_only
        self._identify = identify
        self._addresses = Addresses(("GET", base + route.path, (route, QueryShape(route.query))) for route in routes)
        self._shares: list[dict[Socket, None]] = [{} for _ in range(SHARES)]
        self._share_of: dict[Socket, int] = {}
        self._token_of: dict[Socket, str] = {}
        self._entered = 0
        self._next = 0
        self._heart: asyncio.Task[None] | None = None

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._share_of)

    def protocol(self, *, config: Any, server_state: Any, app_state: Any) -> Socket:
        return Socket(self, config=config, server_state=server_state, app_state=app_state)

    # --- Who may ------------------------------------------------------------------------------------------------------

    async def open(self, socket: Socket, target: str, headers: dict[str, str]) -> Tell:
        """Return what is told to whoever asks for `target`. Raises what refuses it."""
        path, _, query = target.partition("?")
        route, shape, named = self._route(unquote(path))
        given = given_fields(query.encode())
        token = given.pop("token", "")
        caller = await self._caller(token, headers)
        caller.require(route.scope)
        caller.require_run(run_named(named) or given.get("workflow_id", ""))
        if self.connections >= CONNECTIONS_MAX:
            raise Unavailable(f"{CONNECTIONS_MAX} connections are open; try again in a moment.")
        socket.at_end(self._doors.admit_connection(caller))
        self._token_of[socket] = token or token_in(headers)[0]
        call = Call(
            doors=self._doors, path=named, query=shape.checked(given), body=None, headers=headers, caller=caller
        )
        return await route.function(call)

    def _route(self, path: str) -> tuple[SocketRoute, QueryShape, dict[str, str]]:
        if (found := self._addresses.find("GET", path)) is not None:
            (route, shape), named = found
            return route, shape, named
        raise NotFound(f"There is no WebSocket at {path}.")

    async def _caller(self, token: str, headers: dict[str, str]) -> Caller:
        """Return who asks. A page of another site may where it has a ticket: nobody gave it that without meaning to."""
        caller = await (self._doors.identify_token(token) if token else self._identify(headers))
        if self._loopback_only and not caller.run:
            refuse_strangers(headers)
        return caller

    # --- The heart ----------------------------------------------------------------------------------------------------

    def enter(self, socket: Socket) -> None:
        share = self._entered = (self._entered + 1) % SHARES
        self._shares[share][socket] = None
        self._share_of[socket] = share
        if self._heart is None:
            self._heart = asyncio.get_running_loop().create_task(self._beat_on(), name="headgate-socket-heart")

    def leave(self, socket: Socket) -> None:
        self._token_of.pop(socket, None)
        share = self._share_of.pop(socket, None)
        if share is not None:
            del self._shares[share][socket]
        if not self._share_of and self._heart is not None:
            self._heart.cancel()
            self._heart = None

    async def _beat_on(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS / SHARES)
            with suppress(HeadgateError):  # nobody can say now who may: asked again at the next beat
                await self.revise()
            self.beat()

    async def revise(self) -> None:
        """End those of the next share whose tokens were revoked, or whose owners are gone. Raises `Unavailable`."""
        for socket in list(self._shares[self._next]):
            if not await self._doors.still_may(self._token_of.get(socket, "")):
                socket.close(NO_MORE, "who opened it may not look any more")

    def beat(self) -> None:
        """Send a ping to the next share of the connections."""
        share = self._shares[self._next]
        self._next = (self._next + 1) % SHARES
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        ping = text_frame(b'{"type":"ping","timestamp":"%s"}' % at.encode()) + PING
        for socket in list(share):
            socket.beat(ping)
