"""What watches over a case sees what must not happen: work that is done twice, and a dead engine that writes."""

from __future__ import annotations

import pytest

from headgate.core import events as e
from headgate.core.values import Assignment
from headgate.testing.case_script import Answers
from headgate.testing.case_worklist import Worklist
from headgate.testing.clock import NOON, VirtualClock


def task(place: str, attempt: int) -> Assignment:
    return Assignment(
        activity_id=f"r/{place}/{attempt}/x",
        workflow_id="r",
        activity_key=place,
        place=place,
        activity_name="llm_prompt",
        attempt=attempt,
    )


def completed(place: str) -> e.Event:
    return e.ActivityCompleted("r", 5, NOON, "default", "", "worker", "", place, 1, "", (), "")


@pytest.mark.parametrize(("place", "twice"), [("a", True), ("b", False)])
def test_an_activity_that_is_begun_again_after_its_completion_was_recorded_is_noticed(place: str, twice: bool):
    work = Worklist(Answers({}), VirtualClock())

    work.committed(completed("a"))
    work._begin(task(place, 2))

    assert [mismatch.where for mismatch in work.mismatches] == (["activities.a"] if twice else [])
