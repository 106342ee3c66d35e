"""The one table of routes, and that of WebSockets. Of two that fit an address, the one that stands first is meant."""

from __future__ import annotations

from headgate.api.http import (
    access,
    approvals,
    calls,
    costs,
    definitions,
    event_sockets,
    exact,
    files,
    health,
    hooks,
    issuer_login,
    kept_results,
    live,
    login,
    models,
    runs,
    schedules,
    tenants,
    text_reports,
    texts,
    tickets,
    webhooks,
    workers,
)
from headgate.api.http.openapi import documented
from headgate.api.http.route import Route
from headgate.api.http.socket_route import SocketRoute

__all__ = ["ROUTES", "SOCKETS"]

SOCKETS: tuple[SocketRoute, ...] = (*event_sockets.SOCKETS, *texts.SOCKETS)

PARTS = (
    runs,
    workers,
    calls,
    exact,
    live,
    text_reports,
    texts,
    definitions,
    costs,
    approvals,
    schedules,
    webhooks,
    hooks,
    files,
    tickets,
    login,
    issuer_login,
    access,
    tenants,
    models,
    kept_results,
    health,
)

ROUTES: tuple[Route, ...] = documented(tuple(route for part in PARTS for route in part.ROUTES), SOCKETS)
