"""The circuit breaker: when a model is not asked any more, and how it comes back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headgate.engine.breaker import (
    FAILURES,
    OPEN_MICROSECONDS,
    OPEN_MICROSECONDS_MAX,
    PROBE_MICROSECONDS_MAX,
    WINDOW_MICROSECONDS,
    Circuit,
    Ended,
    ask,
    report,
    withdraw,
)


def opened(now: int = 0) -> Circuit:
    circuit: Circuit | None = None
    for number in range(FAILURES):
        circuit = report(circuit, f"c{number}", "failed", now)
    assert circuit is not None
    assert circuit.state == "open"
    return circuit


def test_enough_failures_in_a_row_open_it_and_one_less_does_not():
    circuit: Circuit | None = None
    for number in range(FAILURES - 1):
        circuit = report(circuit, f"c{number}", "failed", 0)

    assert ask(circuit, "next", 0) == (True, circuit)
    assert ask(report(circuit, "last", "failed", 0), "next", 0)[0] is False


def test_failures_among_as_many_successes_do_not_open_it():
    circuit: Circuit | None = None
    for number in range(100):
        circuit = report(circuit, f"c{number}", "answered" if number % 2 else "failed", number)

    assert circuit is not None
    assert circuit.state == "closed"


def test_failures_of_more_than_a_minute_ago_are_forgotten():
    circuit = report(None, "old", "failed", 0)

    assert ask(circuit, "next", WINDOW_MICROSECONDS) == (True, None)
    for number in range(FAILURES - 1):
        circuit = report(circuit, f"c{number}", "failed", WINDOW_MICROSECONDS)
    assert circuit is not None
    assert circuit.state == "closed"


def test_when_its_time_is_up_one_call_tries_it_and_nobody_else():
    circuit = opened()

    may, tried = ask(circuit, "probe", OPEN_MICROSECONDS)

    assert may
    assert tried is not None
    assert tried.state == "half-open"
    assert ask(tried, "another", OPEN_MICROSECONDS)[0] is False
    assert ask(tried, "probe", OPEN_MICROSECONDS)[0] is True  # asked again: the same answer


def test_a_probe_that_is_answered_closes_it():
    _, tried = ask(opened(), "probe", OPEN_MICROSECONDS)

    assert report(tried, "probe", "answered", OPEN_MICROSECONDS + 1) is None


def test_a_probe_that_fails_opens_it_for_twice_as_long_up_to_a_maximum():
    circuit, now, lengths = opened(), 0, list[int]()
    for _ in range(9):
        now = circuit.until
        _, tried = ask(circuit, "probe", now)
        again = report(tried, "probe", "failed", now)
        assert again is not None
        circuit = again
        lengths.append(circuit.until - now)

    assert lengths[:3] == [2 * OPEN_MICROSECONDS, 4 * OPEN_MICROSECONDS, 8 * OPEN_MICROSECONDS]
    assert lengths[-1] == OPEN_MICROSECONDS_MAX


def test_a_probe_that_is_not_made_makes_room_for_another_at_once():
    _, tried = ask(opened(), "probe", OPEN_MICROSECONDS)

    assert ask(withdraw(tried, "probe", OPEN_MICROSECONDS), "another", OPEN_MICROSECONDS)[0] is True
    assert ask(report(tried, "probe", "unknown", OPEN_MICROSECONDS), "another", OPEN_MICROSECONDS)[0] is True


def test_a_probe_that_never_ends_makes_room_after_a_time():
    _, tried = ask(opened(), "lost", OPEN_MICROSECONDS)

    assert ask(tried, "another", OPEN_MICROSECONDS + PROBE_MICROSECONDS_MAX)[0] is True


def test_calls_that_were_under_way_when_it_opened_change_nothing():
    circuit = opened()

    assert report(circuit, "late", "answered", 1) == circuit
    assert report(circuit, "late", "failed", 1) == circuit


STEPS = st.lists(
    st.tuples(st.integers(0, 20_000_000), st.sampled_from(["failed", "answered", "unknown", "never"]), st.booleans()),
    max_size=80,
)


@given(STEPS)
def test_whatever_happens_it_never_asks_while_open_has_one_probe_and_always_comes_back(
    steps: list[tuple[int, Ended | str, bool]],
):
    circuit: Circuit | None = None
    now, under_way = 0, list[str]()
    for number, (gap, ended, at_once) in enumerate(steps):
        now += gap
        call = f"c{number}"
        before = circuit
        may, circuit = ask(circuit, call, now)
        if before is not None and before.openings:
            assert may == (now >= before.until)
        if may and ended != "never":
            under_way.append(call)
        if under_way and at_once:
            circuit = report(circuit, under_way.pop(0), ended if ended != "never" else "unknown", now)
        if circuit is not None and circuit.openings:
            assert circuit.until - now <= max(OPEN_MICROSECONDS_MAX, PROBE_MICROSECONDS_MAX)

    later = now + max(OPEN_MICROSECONDS_MAX, PROBE_MICROSECONDS_MAX)
    may, tried = ask(circuit, "last", later)
    assert may
    assert report(tried, "last", "answered", later) is None or (tried is not None and not tried.openings)
