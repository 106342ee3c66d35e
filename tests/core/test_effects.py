"""What must not be done twice: begun in the log first, and of unknown outcome when its attempt is lost."""

from __future__ import annotations

import pytest

from headgate.core import commands as c
from headgate.core import events as e
from headgate.core.errors import StaleAttempt
from headgate.testing.rehearsal import Rehearsal

MAIL = "name: t\nactivities: {mail: {use: echo, retry: 4}, after: {use: echo, after: [mail]}}"


def begun() -> Rehearsal:
    run = Rehearsal(MAIL).start({})
    run.begin_effect("mail", "a mail to ada")
    return run


def test_an_effect_is_in_the_log_before_it_is_done_and_once_however_often_it_is_begun():
    run = Rehearsal(MAIL).start({})

    first = run.begin_effect("mail")
    again = run.begin_effect("mail")

    assert [event.type for event in first] == ["effect_begun"]
    assert again == []
    run.check()


def test_an_attempt_lost_after_it_began_fails_with_an_unknown_outcome_and_is_not_tried_again():
    run = begun()

    run.lose("mail")

    assert (run.status, run.run.code) == ("failed", "outcome_unknown")
    assert "a mail to ada" in run.run.error
    run.check()


def test_an_attempt_that_is_out_of_time_after_it_began_is_not_tried_again():
    run = begun()

    run.time_out("mail")

    assert (run.status, run.run.code) == ("failed", "outcome_unknown")
    run.check()


def test_an_attempt_that_is_lost_before_it_began_is_tried_again():
    run = Rehearsal(MAIL).start({})

    run.lose("mail")

    assert run.tasks == ["mail"]
    assert run.run.places[0].attempt == 2


def test_a_failure_that_the_activity_reports_counts_as_it_says_and_the_next_attempt_begins_anew():
    run = begun()

    run.fail("mail", retryable=True)
    run.pass_time(10)
    run.lose("mail")

    assert run.tasks == ["mail"]
    run.check()


def test_an_effect_that_was_done_is_recorded_like_any_other_result():
    run = begun()

    run.complete("mail", {"success": True})

    assert run.tasks == ["after"]
    run.check()


def test_an_attempt_that_is_over_begins_nothing_more():
    run = Rehearsal(MAIL).start({})
    run.lose("mail")

    with pytest.raises(StaleAttempt):
        run.feed(c.BeginEffect(at=run.at, place="mail", attempt=1, what="a mail"))


def test_a_retry_by_a_person_does_it_once_more():
    run = begun()
    run.lose("mail")

    run.feed(c.Retry(at=run.at))
    run.complete("mail")
    run.complete("after")

    assert run.status == "completed"
    assert sum(isinstance(event, e.EffectBegun) for event in run.events) == 1
    run.check()
