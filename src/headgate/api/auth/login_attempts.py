"""How often somebody may fail to log in before they have to wait.

Failures are counted by name and address together, by address, and by name: the first slows whoever guesses one secret,
the second whoever tries many names from one place, the third whoever guesses from many places. Attempts under way may
all fail, so there are no more of them than failures are left: a thousand at once are no way around it. Whoever is one
too many of those comes back in a moment, and not when a minute is over: workers that begin together have the right
secret.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Network, ip_address

from headgate.api.caller import TooMany
from headgate.ports import Clock

__all__ = ["LoginAttempts"]

PERIOD_SECONDS = 60
FAILURES_BY_NAME_AND_ADDRESS_MAX = 5
FAILURES_BY_ADDRESS_MAX = 30
FAILURES_BY_NAME_MAX = 100
UNDER_WAY_SECONDS = 1.0
"""Whoever is one too many at a time waits so long."""
NAME_CHARACTERS_MAX = 200
"""Longer ones are nobody's; they are counted by their beginnings."""
COUNTS_MAX = 20_000
"""At it, the one that changed longest ago is forgotten."""


class LoginAttempts:
    """Counted by this process: with several nodes there are so many more."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counts: dict[tuple[str, str], tuple[int, int]] = {}
        """By (name, address), either of them empty: when counting began, and how many failed since."""
        self._under_way: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def attempt(self, name: str, address: str) -> Generator[None]:
        """An attempt: the block raises where it fails. Raises `TooMany` where too many have failed before, or are under
        way."""
        name, address = name[:NAME_CHARACTERS_MAX], _place(address)
        limits = {
            (name, address): FAILURES_BY_NAME_AND_ADDRESS_MAX,
            ("", address): FAILURES_BY_ADDRESS_MAX,
            (name, ""): FAILURES_BY_NAME_MAX,
        }
        now = self._clock.now()
        wait = max(self._wait(key, most, now) for key, most in limits.items())
        if wait > 0:
            raise TooMany("Too many logins have failed; wait before the next.", retry_after_seconds=wait)
        if any(self._failures(key, now) + self._under_way[key] >= most for key, most in limits.items()):
            raise TooMany("Too many log in at this moment; try again.", retry_after_seconds=UNDER_WAY_SECONDS)
        self._under_way.update(limits.keys())
        try:
            yield
        except BaseException:
            for key in limits:
                self._count(key, now)
            raise
        finally:
            self._under_way -= Counter(limits.keys())

    def _wait(self, key: tuple[str, str], most: int, now: int) -> float:
        began, _ = self._counts.get(key, (now, 0))
        left = began + PERIOD_SECONDS * 1_000_000 - now
        return left / 1_000_000 if self._failures(key, now) >= most else 0.0

    def _failures(self, key: tuple[str, str], now: int) -> int:
        """Return how many have failed in a period that is not over."""
        began, failures = self._counts.get(key, (now, 0))
        return failures if now < began + PERIOD_SECONDS * 1_000_000 else 0

    def _count(self, key: tuple[str, str], now: int) -> None:
        failures = self._failures(key, now)
        began, _ = self._counts.pop(key, (now, 0))
        self._counts[key] = began if failures else now, failures + 1
        if len(self._counts) > COUNTS_MAX:
            del self._counts[next(iter(self._counts))]


def _place(address: str) -> str:
    """Return what stands for whoever is at an address: of IPv6 the /64 that one subscriber has."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv4Address):
        return address
    return str(parsed.ipv4_mapped or IPv6Network((parsed, 64), strict=False))
