"""Attempts of an activity: tried again, timed out, lost, reported twice."""

from __future__ import annotations

import pytest
from tests.core.rehearsed import CHAIN, rehearse

from headgate.core import commands as c
from headgate.core.errors import Invalid, NotFound, StaleAttempt
from headgate.core.retry import LOST_ATTEMPTS_MAX
from headgate.core.values import Failure
from headgate.testing.rehearsal import SECOND

RETRIED = (
    "name: t\nactivities: {a: {use: echo, retry: {max_attempts: 3, base_seconds: 2, factor: 2, max_seconds: 300}}}"
)


def test_a_retryable_failure_waits_longer_each_time_and_then_fails_for_good():
    run = rehearse(RETRIED)

    run.fail("a")
    first = run.run.timers["a", "retry"] - run.at
    assert 1.8 * SECOND <= first <= 2.2 * SECOND
    assert run.status == "waiting"
    assert run.why("a") == "retries in 2.0 s after: a is broken" or run.why("a").startswith("retries in")
    run.pass_time(3)
    assert run.place("a").attempt == 2
    run.fail("a")
    assert 3.6 * SECOND <= run.run.timers["a", "retry"] - run.at <= 4.4 * SECOND
    run.pass_time(5)
    run.fail("a")

    assert (run.status, run.place("a").attempt) == ("failed", 3)
    run.check()


def test_a_failure_that_is_not_retryable_is_not_tried_again():
    run = rehearse(RETRIED)

    run.fail("a", retryable=False)

    assert run.status == "failed"


def test_a_retry_never_comes_before_the_time_that_the_failure_asks_for():
    run = rehearse(RETRIED)
    failure = Failure("rate_limited", "429", retry_after_seconds=60)

    run.feed(c.FailActivity(at=run.at, place="a", attempt=1, error=failure))

    assert run.run.timers["a", "retry"] == run.at + 60 * SECOND


def test_a_timed_out_attempt_counts_and_fails_as_timed_out():
    run = rehearse("name: t\nactivities: {a: {use: echo, retry: 1}}")

    run.time_out("a")

    assert (run.status, run.run.code) == ("failed", "timed_out")


def test_a_lost_attempt_gets_a_new_number_and_does_not_count_as_a_failure():
    run = rehearse("name: t\nactivities: {a: {use: echo, retry: 1}}")

    run.lose("a")

    assert run.tasks == ["a"]
    assert (run.place("a").attempt, run.place("a").failures) == (2, 0)
    with pytest.raises(StaleAttempt, match="stands at attempt 2"):
        run.complete("a", attempt=1)


def test_an_attempt_that_is_lost_again_and_again_fails_as_worker_lost():
    run = rehearse("name: t\nactivities: {a: {use: echo}}")

    for _ in range(LOST_ATTEMPTS_MAX):
        run.lose("a")

    assert (run.status, run.run.code) == ("failed", "worker_lost")
    assert run.place("a").attempt == LOST_ATTEMPTS_MAX


def test_a_report_that_is_repeated_changes_nothing():
    run = rehearse(CHAIN)
    run.complete("a", 7)

    assert run.complete("a", 8, attempt=1) == []
    assert run.fail("a", attempt=1) == []
    assert run.lose("a", attempt=1) == []

    assert run.contents[run.place("a").ref] == 7


def test_a_report_of_an_attempt_that_was_never_handed_out_is_invalid():
    run = rehearse(CHAIN)

    with pytest.raises(Invalid, match="has not been handed out"):
        run.complete("a", attempt=2)
    with pytest.raises(NotFound, match="no activity 'z'"):
        run.complete("z", attempt=1)


def test_a_report_after_the_end_of_the_run_is_stale():
    run = rehearse("name: t\ntimeout: 10s\nactivities: {a: {use: echo}}")
    run.pass_time(11)

    assert run.status == "failed"
    with pytest.raises(StaleAttempt, match="is failed, and waits for attempt 1 of activity 'a' no more"):
        run.complete("a", attempt=1)
    assert run.run.code == "timed_out"
