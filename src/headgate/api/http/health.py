"""Routes about the server itself: whether it lives, whether it can work, what it is, and how it is asked."""

from __future__ import annotations

from typing import Literal

import msgspec

from headgate.api.http.route import Answer, Call, NoQuery, Route

__all__ = ["ROUTES"]

State = Literal["ok", "failing"]


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    status: State
    message: str = ""


class Health(msgspec.Struct, frozen=True):
    status: State
    version: str


class Ready(msgspec.Struct, frozen=True):
    status: State
    checks: dict[str, Check]


async def get_health(call: Call[NoQuery, None]) -> Health:
    """Say that the server is up, and which version it is"""
    return Health("ok", call.doors.version)


async def get_live(call: Call[NoQuery, None]) -> Health:
    """Say that the process answers"""
    return Health("ok", call.doors.version)


async def get_ready(call: Call[NoQuery, None]) -> Answer:
    """Say whether runs can be started now, part by part; 503 where they cannot"""
    reasons = await call.records.ailments()
    checks = {part: Check("failing", reason) if reason else Check("ok") for part, reason in reasons.items()}
    well = not any(reasons.values())
    return Answer(Ready("ok" if well else "failing", checks), 200 if well else 503)


ROUTES = (
    Route(method="GET", path="/health", function=get_health, answer=Health, scope=""),
    Route(method="GET", path="/health/live", function=get_live, answer=Health, scope=""),
    Route(method="GET", path="/health/ready", function=get_ready, answer=Ready, other_statuses=(503,), scope=""),
)
