"""What holds of a run as a whole: its start, its end, its events, what it refuses."""

from __future__ import annotations

import pytest
from tests.core.rehearsed import CHAIN, FORK, rehearse

from headgate.core import commands as c
from headgate.core import events as e
from headgate.core.decide import decide, wanted
from headgate.core.errors import Refused
from headgate.testing.rehearsal import NOON


def test_the_outputs_of_a_workflow_are_its_content_and_an_error_in_them_fails_the_run():
    text = "name: t\noutputs: {{sum: '{{{{ a.x {} }}}}'}}\nactivities: {{a: {{use: echo}}}}"
    good, bad = rehearse(text.format("+ 1")), rehearse(text.format("< 1"))

    good.complete("a", {"x": 1})
    bad.complete("a", {"x": "text"})

    assert good.contents[good.run.outputs_version] == {"sum": 2}
    assert (bad.status, bad.run.code) == ("failed", "expression_error")
    good.check()
    bad.check()


def test_a_start_that_is_repeated_does_nothing():
    run = rehearse(CHAIN)
    before = len(run.events)

    run.start({})

    assert len(run.events) == before


def test_every_event_of_a_run_carries_its_trace_id_its_cause_and_a_growing_version():
    run = rehearse(FORK)
    run.complete("a", {"go": "left"})
    run.complete("left")
    run.complete("end")

    assert {event.trace_id for event in run.events} == {"trace"}
    assert [event.version for event in run.events] == list(range(1, len(run.events) + 1))
    assert [event.at for event in run.events] == sorted(event.at for event in run.events)


def test_a_command_of_the_past_does_not_turn_time_back():
    run = rehearse(CHAIN)
    run.pass_time(100)
    run.complete("a")

    run.feed(c.CompleteActivity(at=NOON, place="b", attempt=1, output=None))

    assert run.events[-1].at == run.at


@pytest.mark.parametrize(
    "command",
    [
        c.Signal(at=NOON, name="go"),
        c.Cancel(at=NOON),
        c.Pause(at=NOON),
        c.Resume(at=NOON),
        c.DecideApproval(at=NOON),
    ],
)
def test_what_is_asked_of_a_run_that_is_over_is_refused(command: c.Command):
    run = rehearse("name: t\nactivities: {a: {use: echo}}")
    run.complete("a")

    with pytest.raises(Refused, match="is completed"):
        run.feed(command)


def test_deciding_needs_no_more_contents_than_it_asks_for():
    run = rehearse(FORK)
    completed = c.CompleteActivity(at=NOON, place="a", attempt=1, output={"go": "left"})

    assert wanted(run.run, completed) == set()
    assert any(isinstance(event, e.EdgeDecided) for event in decide(run.run, completed))
