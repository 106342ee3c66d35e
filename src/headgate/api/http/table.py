"""The one table of routes. The hot ones stand first: they are looked for in this order."""

from __future__ import annotations

from headgate.api.http import (
    access,
    costs,
    definitions,
    exact,
    health,
    issuer_login,
    live,
    login,
    people,
    runs,
    tenants,
    workers,
)
from headgate.api.http.openapi import documented
from headgate.api.http.route import Route

__all__ = ["ROUTES"]

PARTS = (runs, workers, exact, live, definitions, costs, people, login, issuer_login, access, tenants, health)

ROUTES: tuple[Route, ...] = documented(tuple(route for part in PARTS for route in part.ROUTES))
