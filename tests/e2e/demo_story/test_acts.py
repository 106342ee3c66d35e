"""`headgate demo` is true, act by act: what it prints is what real processes wrote into the database."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.e2e.demo_story.told import Guarded, Told, contents_of

from headgate.core.money import show
from headgate.ports import EventView

pytestmark = pytest.mark.slow


def key_of(event: EventView) -> str:
    return event.place.partition("[")[0]


def used_calls(events: Sequence[EventView]) -> list[EventView]:
    return [event for event in events if event.type == "call_settled" and event.fields["outcome"] == "used"]


def counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def test_a_typo_is_refused_with_its_line_and_what_was_meant(told: Told):
    typo = (told.folder / "typo.yaml").read_text().splitlines()
    line = next(number for number, text in enumerate(typo, 1) if "tikets" in text)

    assert f"typo.yaml:{line}:" in told.section(1)
    assert 'Did you mean "tickets"?' in told.flat(1)


def test_the_process_was_killed_and_another_one_went_on_without_repeating_anything(told: Told):
    first = told.runs()[0]
    events = told.events(first.id)
    killed = re.search(r"Process (\d+) was killed with SIGKILL", told.section(2))
    other = re.search(r"process (\d+):", told.section(3))
    held = re.search(r"(\d+) events, (\d+) activities completed", told.section(2))
    came = re.search(r"(\d+) activities from the log, (\d+) calls repeated, ([\d.]+ \w+)", told.section(3))
    assert killed
    assert other
    assert held
    assert came

    version = int(held[1])
    before, after = events[:version], events[version:]
    done = [event.place for event in before if event.type == "activity_completed"]
    every = Counter(event.place for event in events if event.type == "activity_completed")
    gap = (after[0].at - before[-1].at) / 1e6

    assert f"process {killed[1]}:" in told.section(2)
    assert killed[1] != other[1]
    assert not Path(f"/proc/{killed[1]}").exists()
    assert int(held[2]) == int(came[1]) == len(done) > 0
    assert set(every.values()) == {1}
    assert int(came[2]) == sum(event.type == "call_requested" and event.place in done for event in after) == 0
    assert abs(float(came[3].split()[0]) - gap) < 0.1
    lost = [event.place for event in after if event.type == "attempt_lost"]
    assert lost
    assert all(f"completed {place}, attempt 2" in told.flat(3) for place in lost)
    forfeited = sum(event.fields["amount"] for event in after if event.type == "call_forfeited")
    assert f"{show(forfeited)} count as spent" in told.flat(3)
    assert f"{len(lost)} model calls under way" in told.section(2) or len(lost) == 1


@pytest.mark.parametrize("which", ["told", "swapped"])
def test_classes_and_citations_are_those_of_the_run(which: str, request: pytest.FixtureRequest):
    told: Told = request.getfixturevalue(which)
    first = told.runs()[0]
    classes, replies = contents_of(first, "classify"), contents_of(first, "draft")

    rows = told.rows()

    tickets = re.findall(r"^## (\S+)", (told.folder / "tickets.md").read_text(), re.MULTILINE)
    headings = re.findall(r"^## (.+)", (told.folder / "manual.md").read_text(), re.MULTILINE)
    assert [row[0] for row in rows] == tickets
    assert [row[1] for row in rows] == classes
    for (_, _, quoted), reply in zip(rows, replies, strict=True):
        assert (quoted in headings and f"(source {quoted}, " in reply) or quoted == reply == "not in the text"


@pytest.mark.parametrize("which", ["told", "swapped"])
def test_the_budget_runs_short_as_the_events_say(which: str, request: pytest.FixtureRequest):
    told: Told = request.getfixturevalue(which)
    short = told.runs()[1]
    events = told.events(short.id)
    skipped = next(event for event in events if event.type == "model_skipped")
    (refused,) = [event for event in events if event.type == "call_refused"]
    drafted = Counter(
        f"demo/{event.fields['usage']['model']}" for event in used_calls(events) if key_of(event) == "draft"
    )

    said = told.flat(4)

    assert (short.status, short.error_code) == ("failed", "budget_exceeded")
    assert f"From {skipped.place} on the cheaper model: {skipped.fields['reason']}." in said
    assert f"Drafted by {counted(drafted)}." in said
    assert set(drafted) == {"demo/large", "demo/small"}
    message: str = refused.fields["message"]
    assert re.search(r"would cost up to \$[\d.]+; the run's budget has \$[\d.]+ left", message)
    assert message.partition(" Raise ")[0] in said
    assert f"Spent: {show(short.cost)} of {show(short.limit or 0)}" in said
    assert short.cost <= (short.limit or 0)


def test_a_refund_waits_and_without_a_terminal_the_answer_is_scripted_and_said_so(told: Told):
    first = told.runs()[0]
    (decided,) = [event for event in told.events(first.id) if event.type == "approval_decided"]

    said = told.flat(5)

    assert "waits for approval 'refund'" in said
    assert "It asks: Pay T-1043 T-1052 back?" in said
    assert "Nobody is at a terminal to answer, so the demo answers y itself." in said
    assert (decided.fields["approved"], decided.fields["by"]) == (True, "demo")
    assert "Approved by demo." in said
    assert first.outputs["refunded"] is True
    assert "refunded: yes" in said


@pytest.mark.parametrize("which", ["told", "swapped"])
def test_after_a_change_only_what_depends_on_it_is_asked_again(which: str, request: pytest.FixtureRequest):
    told: Told = request.getfixturevalue(which)
    first, _, changed = told.runs()
    events = told.events(changed.id)
    done = [event for event in events if event.type == "activity_completed"]
    taken = Counter(
        key_of(event)
        for event in events
        if event.type == "call_reused" or (event in done and event.fields.get("cached"))
    )
    asked = Counter(key_of(event) for event in used_calls(events))
    hashes = {
        event.place: event.fields["input_hash"] for event in told.events(first.id) if event.type == "activity_completed"
    }
    same = sum(hashes[event.place] == event.fields["input_hash"] for event in done)
    tickets = len(first.outputs["tickets"])

    said = told.flat(6)

    assert taken["classify"] == taken["retrieve"] == asked["draft"] == tickets
    assert set(asked) <= {"draft", "report"}
    assert f"Taken from the cache: {counted(taken)}." in said
    assert f"Asked again: {counted(asked)}." in said
    assert f"{same} are those of the run before, {len(done) - same} are not" in said
    pairs = zip(contents_of(first, "draft"), contents_of(changed, "draft"), strict=True)
    assert f"read differently now: {sum(one != other for one, other in pairs)} of {tickets}." in said
    assert f"Spent: {show(changed.cost)} of {show(changed.limit or 0)}, saved {show(changed.saved)}" in said


@pytest.mark.parametrize("which", ["told", "swapped"])
def test_the_ledger_that_is_printed_is_that_of_the_database(which: str, request: pytest.FixtureRequest):
    told: Told = request.getfixturevalue(which)
    first = told.runs()[0]
    events = told.events(first.id)
    printed = {
        match[1]: (int(match[2]), match[3])
        for match in re.finditer(r"^ +(\w+) \(demo prices\) +(\d+) .* \$([\d.]+)$", told.section(7), re.MULTILINE)
    }
    total = printed.pop("total")

    costs = told.costs(first.id)

    assert {name: calls for name, (calls, _) in printed.items()} == {name: one.calls for name, one in costs.items()}
    assert {name: round(float(cost) * 1e9) for name, (_, cost) in printed.items()} == {
        name: one.cost for name, one in costs.items()
    }
    assert round(float(total[1]) * 1e9) == first.cost == sum(place.cost for place in first.activities)
    # Calls that the kill cut short cost what was reserved for them; how often they were sent nobody counts.
    assert len(used_calls(events)) <= total[0]
    assert f"cost      {show(first.cost)} of {show(first.limit or 0)} (demo prices)" in told.section(7)


def test_the_log_is_whole_and_a_flipped_byte_in_a_copy_is_found(told: Told, guarded: Guarded):
    first = told.runs()[0]
    found = re.search(r"✗ Run (\w+), event (\d+)", told.section(7))
    assert found is not None

    ours = guarded.python("-m", "headgate", "audit", "verify", "--db", str(told.database))
    copy = guarded.python("-m", "headgate", "audit", "verify", "--db", str(told.folder / "copy.db"))

    assert "✓ 3 runs checked, 0 faults." in told.section(7)
    assert "✗ 3 runs checked, 1 fault." in told.section(7)
    assert (ours.returncode, copy.returncode) == (0, 1)
    assert found[1] == first.id
    assert f"event {found[2]}" in copy.stdout
