"""Any workflow, any commands in any order: what holds of every run, always."""

from __future__ import annotations

import contextlib
import os

from hypothesis import HealthCheck, given, settings

from headgate.core import commands as c
from headgate.core.definition import Definition
from headgate.core.errors import HeadgateError
from headgate.testing.rehearsal import Rehearsal
from headgate.testing.stories import Move, moves, play
from headgate.testing.story_checks import bring_to_an_end, check_order, check_outcomes
from headgate.testing.story_definitions import GIVEN, definitions

EXAMPLES = 2_000 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 60

long_story = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


@long_story
@given(definitions())
def test_every_workflow_ends_in_an_order_that_respects_its_edges(definition: Definition):
    run = Rehearsal(definition).start(GIVEN)

    bring_to_an_end(run)

    check_order(run)
    run.check()


@long_story
@given(definitions(), moves())
def test_whatever_is_asked_in_whatever_order_every_invariant_holds_and_the_run_still_ends(
    definition: Definition, story: list[Move]
):
    run = Rehearsal(definition).start(GIVEN)
    told: list[c.Command] = []

    for move in story:
        play(run, move, told)
        run.check_state()

    bring_to_an_end(run)
    check_order(run)
    check_outcomes(run)
    assert run.run.reserved == 0
    run.check()


IDEMPOTENT = (
    *(c.CompleteActivity, c.FailActivity, c.LoseAttempt, c.TimeOutAttempt, c.SuspendActivity, c.Tick, c.FinishChild),
    *(c.CorrectChild, c.ConfirmMessage, c.Pause, c.Resume, c.Cancel, c.AdmitCall, c.SettleCall, c.StartRun),
)
"""A signal or a decision that is repeated is known by its command id, before it is decided."""


@long_story
@given(definitions(), moves(15))
def test_a_command_that_is_repeated_at_once_causes_nothing(definition: Definition, story: list[Move]):
    run = Rehearsal(definition).start(GIVEN)
    told: list[c.Command] = []

    for move in story:
        play(run, move, told)
        if told and isinstance(told[-1], IDEMPOTENT):
            before = len(run.events)
            with contextlib.suppress(HeadgateError):
                run.feed(told[-1])
            assert len(run.events) == before, f"{told[-1]} caused {run.events[before:]} when it was repeated"
