"""Which claims have a lease, and when the next one may be over.

A renewal is a number in the claim: it moves no entry here. An entry that comes up looks at the claim, and is put back
for when its lease is over now. So a heartbeat costs nothing here, and a claim has one entry as long as it lasts.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from headgate.ports import Claim

__all__ = ["Leases"]

TOLD_AGAIN_MICROSECONDS = 2_000_000
"""A claim that is still there so long after it was told of is told of again."""
ENTRIES_KEPT_MIN = 1_000
"""Below so many entries those of claims that have ended are not dropped."""


class Leases:
    """Of the claims of one queue, which it shares with whoever made it."""

    def __init__(self, claims: Mapping[str, Claim]) -> None:
        self._claims = claims
        self._entries: list[tuple[int, str]] = []

    def watch(self, claim: Claim) -> None:
        """From now on the claim has a lease."""
        heapq.heappush(self._entries, (claim.lease_until, claim.activity_id))
        if len(self._entries) > max(ENTRIES_KEPT_MIN, 2 * len(self._claims)):
            self._entries = [entry for entry in self._entries if entry[1] in self._claims]
            heapq.heapify(self._entries)

    def over(self, now: int) -> list[Claim]:
        """Return the claims whose leases are over."""
        found: list[Claim] = []
        while self._entries and self._entries[0][0] <= now:
            _, activity_id = heapq.heappop(self._entries)
            claim = self._claims.get(activity_id)
            if claim is None:
                continue
            over = claim.lease_until <= now
            if over:
                found.append(claim)
            again = now + TOLD_AGAIN_MICROSECONDS if over else claim.lease_until
            heapq.heappush(self._entries, (again, activity_id))
        return found

    def next(self) -> int | None:
        """Return when `over` is to be asked again."""
        while self._entries and self._entries[0][1] not in self._claims:
            heapq.heappop(self._entries)
        return self._entries[0][0] if self._entries else None
