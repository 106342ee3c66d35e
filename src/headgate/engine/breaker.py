"""A circuit breaker, as a value: whether a model that keeps failing is asked, and when it is tried again. Pure.

Closed, it counts failures and successes from the first failure on, for a minute at most. It opens when there are enough
failures and they are three of four. Open, nobody asks. When its time is up one call may (half-open): a probe, whose end
closes the circuit, or opens it for twice as long. A probe that never ends makes room for another after ten minutes.
"""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["FAILURES", "WINDOW_MICROSECONDS", "Circuit", "Ended", "ask", "report", "withdraw"]

FAILURES = 5
WINDOW_MICROSECONDS = 60_000_000
OPEN_MICROSECONDS = 15_000_000
OPEN_MICROSECONDS_MAX = 600_000_000
PROBE_MICROSECONDS_MAX = 600_000_000

Ended = Literal["failed", "answered", "unknown"]
"""How a call ended for its circuit; `unknown`: it says nothing about the provider."""


class Circuit(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a model has done of late; None stands for one that has no failure. Times are microseconds."""

    since: int
    """When the first failure was (closed), or when it opened."""
    failed: int = 0
    succeeded: int = 0
    openings: int = 0
    """How often it has opened without closing again; 0: it is closed."""
    until: int = 0
    """Open: when a probe may go; half-open: when the probe is given up."""
    probe: str = ""
    """The call that tries it; empty: none does."""

    @property
    def state(self) -> Literal["closed", "open", "half-open"]:
        return "half-open" if self.probe else "open" if self.openings else "closed"


def ask(circuit: Circuit | None, call_id: str, now: int) -> tuple[bool, Circuit | None]:
    """Return whether the call may go, and the circuit then: where it has become the probe, another one."""
    if circuit is None:
        return True, None
    if not circuit.openings:
        return True, circuit if now < circuit.since + WINDOW_MICROSECONDS else None
    if now < circuit.until:
        return circuit.probe == call_id, circuit
    return True, msgspec.structs.replace(circuit, probe=call_id, until=now + PROBE_MICROSECONDS_MAX)


def report(circuit: Circuit | None, call_id: str, ended: Ended, now: int, failures: int = FAILURES) -> Circuit | None:
    """Return the circuit after the call has ended. `failures`: so many open it.

    While it is not closed only the probe's end counts: whatever else ends now was begun before.
    """
    if circuit is not None and circuit.openings:
        if circuit.probe != call_id:
            return circuit
        if ended == "unknown":
            return withdraw(circuit, call_id, now)
        return None if ended == "answered" else _opened(circuit.openings + 1, circuit.failed + 1, now)
    if circuit is not None and now >= circuit.since + WINDOW_MICROSECONDS:
        circuit = None
    if ended == "unknown" or (ended == "answered" and circuit is None):
        return circuit
    circuit = circuit or Circuit(now)
    if ended == "answered":
        return msgspec.structs.replace(circuit, succeeded=circuit.succeeded + 1)
    failed = circuit.failed + 1
    if failed >= failures and failed >= 3 * circuit.succeeded:
        return _opened(1, failed, now)
    return msgspec.structs.replace(circuit, failed=failed)


def withdraw(circuit: Circuit | None, call_id: str, now: int) -> Circuit | None:
    """Return the circuit where the probe was not made after all: another call may be it at once."""
    if circuit is None or circuit.probe != call_id:
        return circuit
    return msgspec.structs.replace(circuit, probe="", until=now)


def _opened(openings: int, failed: int, now: int) -> Circuit:
    length = min(OPEN_MICROSECONDS << min(openings - 1, 16), OPEN_MICROSECONDS_MAX)
    return Circuit(now, failed=failed, openings=openings, until=now + length)
