"""How long a worker of another process may be silent about what it has in hand, until that counts as lost."""

from __future__ import annotations

from headgate.ports import LEASE_MICROSECONDS

__all__ = ["HEARTBEAT_SECONDS", "held_open_seconds", "lease_seconds"]

HEARTBEAT_SECONDS = 10.0
LEASE_SECONDS = LEASE_MICROSECONDS / 1_000_000
SILENT_LEASE_SECONDS = 90.0
"""Of one that has not said that it does, where its task may take longer than a minute."""
SILENT_TASK_SECONDS_MAX = 60.0
SPARE_SECONDS = 15.0
"""A shorter task may take its time, and so long to be reported."""


def lease_seconds(timeout_seconds: float, *, heartbeats: bool) -> float:
    """Return the lease of a task that may take `timeout_seconds`."""
    if heartbeats:
        return LEASE_SECONDS
    return timeout_seconds + SPARE_SECONDS if timeout_seconds <= SILENT_TASK_SECONDS_MAX else SILENT_LEASE_SECONDS


def held_open_seconds(wait_seconds: float, *, heartbeats: bool | None) -> float:
    """Return how long a poll that wants to wait so long is held open.

    One whose sender has died, or sleeps, takes tasks as if it lived. So it is over before the leases of what its sender
    had in hand are, lest that be handed to the dead again.
    """
    return min(wait_seconds, LEASE_SECONDS - HEARTBEAT_SECONDS) if heartbeats else wait_seconds
