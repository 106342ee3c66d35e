"""Durations and instants as authors write them: `30s`, `5m`, `2h`, `3d`, `1w`, and RFC 3339 times."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from headgate.core.errors import Invalid

__all__ = ["parse_instant", "parse_microseconds", "parse_seconds", "show_seconds"]

UNITS = {
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "mi": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 7 * 86_400_000_000,
    "mo": 30 * 86_400_000_000,
    "y": 365 * 86_400_000_000,
}
PATTERN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|mi|mo|m|h|d|w|y)?")
MICROSECONDS_MAX = 100 * UNITS["y"]


def parse_microseconds(value: object) -> int:
    """Return the microseconds of `30s`, `250ms`, `2h`, `3d`, `1mo` (30 days), or of a plain number of seconds.

    Raises `Invalid` for anything else, for negative times, and for more than a hundred years.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        microseconds = int(value * 1_000_000) if -1 < value < 1e12 else MICROSECONDS_MAX + 1
    elif isinstance(value, str) and (match := PATTERN.fullmatch(value.strip())):
        microseconds = int(float(match[1]) * UNITS[match[2] or "s"])
    else:
        raise Invalid(f"expected a duration such as 30s, 5m, 2h or 3d, got {value!r}")
    if not 0 <= microseconds <= MICROSECONDS_MAX:
        raise Invalid(f"expected a duration between 0 and 100 years, got {value!r}")
    return microseconds


def parse_seconds(value: object) -> float:
    """Return the same in seconds."""
    return parse_microseconds(value) / 1_000_000


def parse_instant(value: object) -> int:
    """Return an RFC 3339 time (or seconds since 1970) in microseconds since 1970. A time without zone is UTC."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return int(value * 1_000_000)
    try:
        instant = datetime.fromisoformat(str(value))
    except ValueError:
        raise Invalid(f"expected a time such as 2030-01-31T09:00:00Z, got {value!r}") from None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return int(instant.timestamp()) * 1_000_000 + instant.microsecond


def show_seconds(seconds: float) -> str:
    """Return a duration as people read it: `0.4 s`, `12 s`, `3 min`, `2 h 5 min`, `4 d`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    hours, minutes = divmod(int(seconds // 60), 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{seconds / 86_400:.0f} d"
