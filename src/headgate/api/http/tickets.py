"""The route of tickets: leave for a browser to look at one run."""

from __future__ import annotations

from headgate.api.caller import Forbidden
from headgate.api.http.route import Call, NoQuery, Route
from headgate.api.tickets import Ticket

__all__ = ["ROUTES"]


async def issue_ticket(call: Call[NoQuery, None]) -> Ticket:
    """Give a ticket for a run: five minutes, read only, good as a bearer token and as `?token=`"""
    if call.caller.run:
        raise Forbidden("A ticket gives no other ticket; ask with a token of your own.")
    run = await call.records.run_id(call.path["id"])
    return await call.doors.issue_ticket(call.caller, run)


ROUTES = (
    Route(
        method="POST",
        path="/workflows/{id}/tickets",
        function=issue_ticket,
        answer=Ticket,
        status=201,
        refusals=(404,),
    ),
)
