"""How long to wait before the next attempt."""

from __future__ import annotations

import hashlib

from headgate.core.definition import Backoff
from headgate.core.values import Failure

__all__ = ["LOST_ATTEMPTS_MAX", "retry_delay"]

LOST_ATTEMPTS_MAX = 5
"""After so many lost attempts a place fails with `worker_lost`: it may be what kills its workers."""

SPREAD = 0.1


def retry_delay(backoff: Backoff, failures: int, failure: Failure, *, seed: str) -> int | None:
    """Return the microseconds until the next attempt, or None when there is none.

    `min(base · factor^(failures - 1), max)`, spread by ±10 % drawn from `seed`, so that a replay finds the same time;
    never before the time that the failure itself asks for.
    """
    if not failure.retryable or failures >= backoff.max_attempts:
        return None
    factor = 1.0 if backoff.strategy == "fixed" else backoff.factor
    try:
        seconds = min(backoff.base_seconds * factor ** (failures - 1), backoff.max_seconds)
    except OverflowError:
        seconds = backoff.max_seconds
    draw = int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=4).digest(), "big") / 0xFFFFFFFF
    seconds *= 1 - SPREAD + 2 * SPREAD * draw
    return int(max(seconds, failure.retry_after_seconds or 0.0) * 1_000_000)
