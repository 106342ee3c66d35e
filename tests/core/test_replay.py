"""Replay: a history explains itself, and one that was changed does not."""

from __future__ import annotations

import inspect

import msgspec
import pytest

from headgate.core import commands as c
from headgate.core import events as e
from headgate.core.codec import TYPE_NAMES
from headgate.core.replay import COMMANDS, Divergence, command_of, replay, state_of
from headgate.testing.rehearsal import Rehearsal, candidate

BRANCHES = """
name: t
budget: 1
outputs: {end: "{{ b.x }}"}
activities:
  a: {use: echo, retry: 2}
  b: {use: echo, after: [{activity_key: a, condition: "{{ a.go }}"}]}
  c: {use: echo, after: [{activity_key: a, condition: "{{ not a.go }}"}]}
"""


def told() -> Rehearsal:
    run, _ = told_with_ends()
    return run


def told_with_ends() -> tuple[Rehearsal, set[int]]:
    """Return a whole run, and after how many events each of its decisions ended."""
    run = Rehearsal(BRANCHES).start({"n": 1})
    ends = {len(run.events)}
    for tell in (
        lambda: run.admit("a", "c1", candidate(100)),
        lambda: run.fail("a"),
        lambda: run.settle("c1", 40),
        lambda: run.pass_time(10),
        lambda: run.complete("a", {"go": True}),
        lambda: run.complete("b", {"x": 7}),
    ):
        tell()
        ends.add(len(run.events))
    return run, ends


def replayed(run: Rehearsal, events: list[e.Event]) -> Divergence | None:
    return replay(run.plan, events, run.contents)


def test_a_history_that_the_decider_would_write_again_does_not_diverge():
    run = told()

    assert run.status == "completed"
    assert replayed(run, run.events) is None
    assert replayed(run, []) is None


@pytest.mark.parametrize("count", range(1, 18))
def test_a_history_that_ends_between_two_decisions_explains_itself_and_one_cut_inside_a_decision_does_not(count: int):
    run, ends = told_with_ends()

    divergence = replayed(run, run.events[:count])

    if count in ends:
        assert divergence is None
    else:
        assert divergence is not None
        assert divergence.version in {count, count + 1}


def test_a_changed_consequence_is_found_with_both_versions_of_it():
    run = told()
    events = [
        msgspec.structs.replace(event, applied=False)
        if isinstance(event, e.EdgeDecided) and event.place == "b"
        else event
        for event in run.events
    ]

    divergence = replayed(run, events)

    assert divergence is not None
    assert isinstance(divergence.recorded, e.EdgeDecided)
    assert isinstance(divergence.decided, e.EdgeDecided)
    assert (divergence.recorded.applied, divergence.decided.applied) == (False, True)


def test_a_missing_event_is_found():
    run = told()
    without = [event for event in run.events if not isinstance(event, e.RetryScheduled)]

    divergence = replayed(run, without)

    assert divergence is not None
    assert isinstance(divergence.decided, e.RetryScheduled)


def test_a_fact_that_the_decider_refuses_is_found():
    run = told()
    first, rest = run.events[:2], run.events[2:]
    stray = msgspec.structs.replace(
        next(event for event in rest if isinstance(event, e.ActivityCompleted)), version=3, place="c"
    )

    divergence = replayed(run, [*first, stray])

    assert divergence is not None
    assert divergence.reason.startswith("the decider refuses this fact")


def test_a_changed_content_is_found():
    run = told()
    contents = {**run.contents, run.run.outputs_version: {"end": "other"}}

    divergence = replay(run.plan, run.events, contents)

    assert divergence is not None
    assert divergence.version == run.run.outputs_version
    assert "other" in divergence.reason


def test_a_changed_fact_that_leads_elsewhere_is_found():
    run = told()
    completed = next(event for event in run.events if isinstance(event, e.ActivityCompleted))
    contents = {**run.contents, completed.version: {"go": False}}

    divergence = replay(run.plan, run.events, contents)

    assert divergence is not None
    assert isinstance(divergence.recorded, e.EdgeDecided)


def test_every_fact_has_a_command_that_takes_its_every_field():
    facts = {kind for kind in TYPE_NAMES if kind.fact}
    commands = {
        kind
        for _, kind in inspect.getmembers(c, inspect.isclass)
        if issubclass(kind, c.Command) and kind is not c.Command
    }

    assert set(COMMANDS) == facts
    assert {command for command, _ in COMMANDS.values()} == commands


def test_the_command_of_a_fact_is_the_command_that_was_given():
    run = Rehearsal(BRANCHES).start({"n": 1})
    command = c.CompleteActivity(
        at=run.at, command_id="k", actor="worker:w", place="a", attempt=1, output={"go": 1}, worker="w", cost=3
    )

    decided = run.feed(command)

    assert command_of(decided[0], {"go": 1}) == command


def test_states_are_equal_only_where_runs_are():
    one, two = told(), told()

    assert state_of(one.run) == state_of(two.run)
    two.run.places[1].cost += 1
    assert state_of(one.run) != state_of(two.run)
