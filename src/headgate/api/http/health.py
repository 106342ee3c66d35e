"""Routes about the server itself: whether it lives, whether it can work and why not, and its figures."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import msgspec

from headgate.api.caller import Forbidden
from headgate.api.http.route import Answer, Call, NoQuery, Route
from headgate.core.errors import Unavailable
from headgate.engine.exposition import CONTENT_TYPE, Family, Metric, Sample, text_of
from headgate.engine.health import STATES, Check, State, worst_of
from headgate.engine.metrics import METRICS
from headgate.ports import DEFAULT_TENANT

__all__ = ["ALL_METRICS", "ROUTES", "with_open_metrics"]

INFO = Metric("headgate_info", "gauge", "1, of the version that answers.", ("version",))
HEALTH = Metric("headgate_health", "gauge", "How each part is: 0 ok, 1 degraded, 2 failing.", ("part",))
FEED_EVENTS = Metric("headgate_feed_lag_events", "gauge", "Events that are in the log and not in its feed yet.")
FEED_SECONDS = Metric("headgate_feed_lag_seconds", "gauge", "For how long the oldest of them has been in the log.")
ALL_METRICS = (INFO, HEALTH, FEED_EVENTS, FEED_SECONDS, *METRICS)


class Alive(msgspec.Struct, frozen=True):
    status: State
    version: str


class Health(msgspec.Struct, frozen=True):
    status: State
    version: str
    checks: dict[str, Check]


class Ready(msgspec.Struct, frozen=True):
    status: State
    checks: dict[str, Check]


async def get_health(call: Call[NoQuery, None]) -> Health:
    """Say how the server is, part by part, and which version it is"""
    checks = await call.doors.health.checks()
    return Health(worst_of(checks.values()), call.doors.version, checks)


async def get_live(call: Call[NoQuery, None]) -> Alive:
    """Say that the process answers"""
    return Alive("ok", call.doors.version)


async def get_ready(call: Call[NoQuery, None]) -> Answer:
    """Say whether runs can be started now, part by part; 503 where they cannot"""
    checks = await call.doors.health.checks()
    state = worst_of(checks.values())
    return Answer(Ready(state, checks), 503 if state == "failing" else 200)


async def get_metrics(call: Call[NoQuery, None]) -> Answer:
    """Give the figures of this process for Prometheus; they are of all tenants"""
    if call.caller.tenant != DEFAULT_TENANT:
        raise Forbidden(f"The figures are of all tenants: only the tenant {DEFAULT_TENANT!r} may read them.")
    return Answer(data=text_of(await _families(call)).encode(), content_type=CONTENT_TYPE)


async def _families(call: Call[NoQuery, None]) -> list[Family]:
    """Return all figures; those of the database are left out while it does not answer: `headgate_health` says so."""
    doors = call.doors
    checks = await doors.health.checks()
    parts = [Sample((part,), STATES.index(check.status)) for part, check in checks.items()]
    found = [Family(INFO, [Sample((doors.version,), 1)]), Family(HEALTH, parts)]
    if (lag := doors.health.feed_lag) is not None:
        found += [Family(FEED_EVENTS, [Sample((), lag.events)]), Family(FEED_SECONDS, [Sample((), lag.seconds)])]
    found += [*doors.metrics.counted(), *doors.metrics.here()]
    if checks["database"].status == "ok":
        with suppress(Unavailable):  # it went away between the two questions
            found += await doors.metrics.everywhere()
    return found


METRICS_ROUTE = Route(
    method="GET", path="/metrics", function=get_metrics, answer=str, answer_type="text/plain", scope="admin"
)

ROUTES = (
    Route(method="GET", path="/health", function=get_health, answer=Health, scope=""),
    Route(method="GET", path="/health/live", function=get_live, answer=Alive, scope=""),
    Route(method="GET", path="/health/ready", function=get_ready, answer=Ready, other_statuses=(503,), scope=""),
    METRICS_ROUTE,
)


def with_open_metrics(routes: Sequence[Route]) -> tuple[Route, ...]:
    """Return the routes with figures for whoever asks: on request only, for they tell of all tenants."""
    opened = msgspec.structs.replace(METRICS_ROUTE, scope="")
    return tuple(opened if route is METRICS_ROUTE else route for route in routes)
