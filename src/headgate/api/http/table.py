"""The one table of routes, and that of WebSockets. The hot ones stand first: they are looked for in this order."""

from __future__ import annotations

from headgate.api.http import (
    costs,
    definitions,
    event_sockets,
    files,
    health,
    live,
    people,
    runs,
    text_reports,
    texts,
    tickets,
    workers,
)
from headgate.api.http.openapi import documented
from headgate.api.http.route import Route
from headgate.api.http.socket_route import SocketRoute

__all__ = ["ROUTES", "SOCKETS"]

SOCKETS: tuple[SocketRoute, ...] = (*event_sockets.SOCKETS, *texts.SOCKETS)

ROUTES: tuple[Route, ...] = documented(
    (
        *runs.ROUTES,
        *workers.ROUTES,
        *live.ROUTES,
        *text_reports.ROUTES,
        *texts.ROUTES,
        *definitions.ROUTES,
        *costs.ROUTES,
        *people.ROUTES,
        *files.ROUTES,
        *tickets.ROUTES,
        *health.ROUTES,
    ),
    SOCKETS,
)
