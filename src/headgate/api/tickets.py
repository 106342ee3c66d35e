"""Tickets: a browser's leave to look at one run for five minutes, without a login and without a key in the page.

Where there is a login its tokens carry tickets, too. Where there is none, they are random, and known to this process.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from headgate.api.caller import Caller, Unauthorized, any_token_at_this_machine
from headgate.ports import Clock

__all__ = ["TICKET_SECONDS", "IssueTicket", "MemoryTickets", "Ticket", "ticket_caller"]

TICKET_SECONDS = 300
TICKETS_MAX = 10_000
"""Of one process; beyond that, those that were made first are good no more."""
PREFIX = "ticket_"


class Ticket(msgspec.Struct, frozen=True):
    """Good for one run, read only, for `expires_in` seconds."""

    ticket: str
    expires_in: int


IssueTicket = Callable[[Caller, str], Awaitable[Ticket]]
"""Makes a ticket for a run that the caller may see."""


def ticket_caller(caller: Caller, run: str) -> Caller:
    """Return who asks with a ticket that `caller` was given for the run."""
    return Caller(tenant=caller.tenant, actor=caller.actor, scopes=frozenset({"runs:read"}), run=run)


class MemoryTickets:
    """Tickets of a server without a login. Any other token is anybody's, as a request without one is."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: OrderedDict[str, tuple[int, Caller]] = OrderedDict()

    async def issue(self, caller: Caller, run: str) -> Ticket:
        ticket = PREFIX + secrets.token_urlsafe(32)
        self._known[ticket] = (self._clock.now() + TICKET_SECONDS * 1_000_000, ticket_caller(caller, run))
        while len(self._known) > TICKETS_MAX:
            self._known.popitem(last=False)
        return Ticket(ticket, TICKET_SECONDS)

    async def identify_request(self, headers: Mapping[str, str]) -> Caller:
        """Return who asks: whoever a ticket was given to, or, without one, anybody at this machine."""
        return await self.identify(headers.get("authorization", "").removeprefix("Bearer "))

    async def identify(self, token: str) -> Caller:
        """Return whose token it is. Raises `Unauthorized` for a ticket that is not good any more."""
        if not token.startswith(PREFIX):
            return await any_token_at_this_machine(token)
        until, caller = self._known.get(token, (0, None))
        if caller is None or until <= self._clock.now():
            raise Unauthorized("The ticket is not good any more; ask for another.")
        return caller
