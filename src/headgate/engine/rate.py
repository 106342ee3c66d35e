"""A rate as a bucket that fills by itself: pure and exact arithmetic of the generic cell rate
algorithm.

The whole state is one moment, at which the bucket is full again, counted in microseconds x what flows in, so that
nothing is ever rounded. Taking an amount moves it on by what the amount takes
to flow in; what is taken may be at most a burst ahead. The burst is a tenth of the limit, and what flows in is the
rest: so no period, wherever it begins, sees more than the limit. A single amount above the burst waits until the
bucket is full, and may pass the limit by what it is larger than the burst.
"""

from __future__ import annotations

import msgspec

__all__ = ["Rate", "corrected", "opens_at", "taken"]

BURST_PART = 10


class Rate(msgspec.Struct, frozen=True):
    """At most `limit` (requests, tokens, nano-dollars) in any `seconds`."""

    limit: int
    seconds: int = 60

    @property
    def burst(self) -> int:
        """What may be taken at once when nothing was for long."""
        return max(1, self.limit // BURST_PART)

    @property
    def inflow(self) -> int:
        """What flows in within the period."""
        return self.limit - self.burst + 1

    def used(self, full_at: int, now: int) -> float:
        """Return how much of the burst is used at `now` (microseconds): 1 is all of it."""
        return max(0, full_at - now * self.inflow) / (self.burst * self.seconds * 1_000_000)


def opens_at(full_at: int, rate: Rate, amount: int) -> int:
    """Return from when on (microseconds) `amount` may be taken from a bucket that is full at `full_at`."""
    ahead = max(0, rate.burst - amount) * rate.seconds * 1_000_000
    return -(-(full_at - ahead) // rate.inflow)


def taken(full_at: int, rate: Rate, amount: int, now: int) -> int:
    """Return when the bucket is full again after `amount` was taken at `now` (microseconds)."""
    return max(full_at, now * rate.inflow) + amount * rate.seconds * 1_000_000


def corrected(full_at: int, rate: Rate, *, taken: int, used: int) -> int:
    """Return when the bucket is full again, where `used` was used of what was `taken`."""
    return full_at + (used - taken) * rate.seconds * 1_000_000
