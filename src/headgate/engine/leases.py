"""How long a worker of another process may be silent about what it has in hand, until that counts as lost.

One that says that it sends heartbeats has a short lease. One that does not is held to what it was written for: at
Kruxia Flow a task belongs to its worker for its whole timeout, counted anew from each heartbeat, so code that blocks
the loop of its worker for minutes loses nothing. The time of such a task is over before its lease is. Then the two are
told apart: its worker beats (every thirty seconds, where a task may take more than a minute), unless it is dead or
blocked.
"""

from __future__ import annotations

from headgate.ports import LEASE_MICROSECONDS, Claim

__all__ = ["HEARTBEAT_SECONDS", "fell_silent", "held_open_seconds", "lease_seconds"]

HEARTBEAT_SECONDS = 10.0
LEASE_SECONDS = LEASE_MICROSECONDS / 1_000_000
SPARE_SECONDS = 15.0
"""One that has not said that it beats has so long to report, besides the time of its task."""
BEATING_SECONDS_MIN = 60.0
"""Such a worker beats for tasks that may take longer than this."""
SILENT_SECONDS = 45.0
"""When it has not for so long, it does not any more."""


def lease_seconds(timeout_seconds: float, *, heartbeats: bool) -> float:
    """Return the lease of a task that may take `timeout_seconds`."""
    return LEASE_SECONDS if heartbeats else timeout_seconds + SPARE_SECONDS


def fell_silent(claim: Claim, now: int) -> bool:
    """Whether a claim whose time is over is lost with its worker, and not work that took too long."""
    heard_at = claim.lease_until - claim.lease
    beats = claim.lease > (BEATING_SECONDS_MIN + SPARE_SECONDS) * 1_000_000
    return beats and now - heard_at >= SILENT_SECONDS * 1_000_000


def held_open_seconds(wait_seconds: float, *, heartbeats: bool | None) -> float:
    """Return how long a poll that wants to wait so long is held open.

    One whose sender has died, or sleeps, takes tasks as if it lived. So it is over before the leases of what its sender
    had in hand are, lest that be handed to the dead again.
    """
    return min(wait_seconds, LEASE_SECONDS - HEARTBEAT_SECONDS) if heartbeats else wait_seconds
