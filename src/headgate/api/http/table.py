"""The one table of routes. The hot ones stand first: they are looked for in this order."""

from __future__ import annotations

from headgate.api.http import costs, definitions, health, live, people, runs, webhooks, workers
from headgate.api.http.openapi import documented
from headgate.api.http.route import Route

__all__ = ["ROUTES"]

ROUTES: tuple[Route, ...] = documented(
    (
        *runs.ROUTES,
        *workers.ROUTES,
        *live.ROUTES,
        *definitions.ROUTES,
        *costs.ROUTES,
        *people.ROUTES,
        *webhooks.ROUTES,
        *health.ROUTES,
    )
)
