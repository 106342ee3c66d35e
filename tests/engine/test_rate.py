"""A rate's bucket: never more than the limit in any period, and never less than it promises."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headgate.engine.rate import Rate, corrected, opens_at, taken

SECOND = 1_000_000
RATES = st.builds(Rate, st.integers(1, 10_000), st.sampled_from([1, 60, 3_600]))


@st.composite
def stories(draw: st.DrawFn) -> tuple[Rate, list[tuple[int, int]]]:
    """Draw a rate, and calls as (microseconds since the one before, amount)."""
    rate = draw(RATES)
    gaps = st.integers(0, rate.seconds * SECOND)
    amounts = st.integers(1, max(1, rate.limit * 2))
    return rate, draw(st.lists(st.tuples(gaps, amounts), min_size=1, max_size=60))


def let_through(rate: Rate, calls: list[tuple[int, int]], *, wait: bool) -> list[tuple[int, int]]:
    """Return what goes through, as (time, amount): what may not go waits its time, or is left out."""
    now, full_at, through = 0, 0, list[tuple[int, int]]()
    for gap, amount in calls:
        now += gap
        opens = opens_at(full_at, rate, amount)
        if opens > now and not wait:
            continue
        now = max(now, opens)
        full_at = taken(full_at, rate, amount, now)
        through.append((now, amount))
    return through


def most_in_any_period(rate: Rate, through: list[tuple[int, int]]) -> int:
    period = rate.seconds * SECOND
    return max(
        (sum(amount for at, amount in through if begin <= at < begin + period) for begin, _ in through), default=0
    )


@given(story=stories(), wait=st.booleans())
def test_no_period_sees_more_than_the_limit_and_what_one_call_is_above_the_burst(
    story: tuple[Rate, list[tuple[int, int]]], wait: bool
):
    rate, calls = story

    through = let_through(rate, calls, wait=wait)

    above = max((amount - rate.burst for _, amount in through), default=0)
    assert most_in_any_period(rate, through) <= rate.limit + max(0, above)


@given(rate=RATES, count=st.integers(1, 200))
def test_requests_that_come_all_at_once_never_pass_the_limit(rate: Rate, count: int):
    through = let_through(rate, [(0, 1)] * count, wait=True)

    assert len(through) == count
    assert most_in_any_period(rate, through) <= rate.limit


@given(rate=RATES)
def test_whoever_keeps_asking_gets_nine_tenths_of_the_limit_at_least(rate: Rate):
    count = min(3 * rate.limit, 300)

    through = let_through(rate, [(0, 1)] * count, wait=True)

    at_best = max(0, count - rate.burst) * rate.seconds * SECOND / rate.limit
    assert through[-1][0] <= at_best / 0.9 + 1  # the time is a whole microsecond


def test_one_a_minute_is_one_a_minute():
    assert [at for at, _ in let_through(Rate(1), [(0, 1)] * 3, wait=True)] == [0, 60 * SECOND, 120 * SECOND]


def test_sixty_a_minute_are_six_at_once_and_then_one_each_second_and_a_tenth():
    through = [at / SECOND for at, _ in let_through(Rate(60), [(0, 1)] * 9, wait=True)]

    assert through[:6] == [0] * 6
    assert [round(at, 2) for at in through[6:]] == [1.09, 2.18, 3.27]


def test_what_is_larger_than_the_burst_waits_for_a_full_bucket_and_is_paid_for_after():
    rate = Rate(1_000)
    full_at = taken(0, rate, 50, now=0)

    assert opens_at(full_at, rate, 400) == 3_329_634  # 50 of 901 that flow in each minute
    again = taken(full_at, rate, 400, now=3_329_634)
    assert opens_at(again, rate, 1) == 3_329_634 + 20_044_396  # 301 more


@given(rate=RATES, estimated=st.integers(0, 20_000), used=st.integers(0, 20_000))
def test_what_was_not_used_is_as_if_it_had_not_been_taken(rate: Rate, estimated: int, used: int):
    full_at = taken(0, rate, estimated, now=5)

    assert corrected(full_at, rate, taken=estimated, used=used) == taken(0, rate, used, now=5)
