"""Durability, proof (a): whatever moment a process is killed at, the next one goes on, and nothing is lost or repeated.

The matrix kills at every append and every effect of three flows, each in a fresh database, until a child gets through
without reaching the place it should die at. The random kills are the parent's, at any microsecond, up to three a run.
What must hold afterwards is said in `headgate.testing.crash_evidence`.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from headgate.testing.crash_evidence import Evidence, gather, problems
from headgate.testing.crashes import MOMENTS, Ending, Failpoints, Journal, Nursery

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).with_name("kill_child.py")
FLOWS = ("chain", "fan", "loop")
CANCELLED = "cancelled"
BOUNDARIES_MAX = 200
CHILD_SECONDS_MAX = float(os.environ.get("KILL_CHILD_SECONDS_MAX", "60"))  # short for planted faults, which may hang
RANDOM_KILLS = 200
KILLS_A_RUN_MAX = 3  # an attempt that is lost five times is given up, as it may be what kills its workers
SEED = 20_261

GOLDEN = {
    "chain": {
        "text": "noted: a steady answer after noted: a steady answer",
        "model": "steady",
    },
    "fan": {
        "text": (
            'noted: ["FISH ONE","TWO","THREE"] ["a steady answer","a steady answer","a steady answer"] '
            "noted: a steady answer to two"
        )
    },
    "loop": {"text": "noted: a steady answer (3), accepted: true", "rounds": 3},
    CANCELLED: None,
}


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery(PROGRAM) as started:
        yield started


def why(ending: Ending, asked: object) -> str:
    """Return what a child that did not end well says, its last words first."""
    if ending.code == -signal.SIGABRT:
        return f"the child hung for {CHILD_SECONDS_MAX:g} s (asked: {asked})\n{ending.said}"
    words = ending.said.strip().splitlines()[-1:] or ["nothing"]
    return f"the child ended with {ending.code}, saying: {words[0]} (asked: {asked})\n{ending.said}"


class Trial:
    """One database, its journal, and the children that work on it."""

    def __init__(self, nursery: Nursery, folder: Path, flow: str) -> None:
        folder.mkdir(parents=True)
        self.nursery = nursery
        self.database = folder / "runs.db"
        self.journal = folder / "journal"
        self.said = folder / "said"
        self.flow = flow
        self.kills = 0

    def child(self, *, kill_after_seconds: float | None = None, **failpoint: Any) -> bool:
        """Run a child; return whether it was killed. Anything but a kill or a good end fails the test."""
        order = {"database": str(self.database), "journal": str(self.journal), "flow": self.flow, **failpoint}
        ending = self.nursery.run(
            order, self.said, kill_after_seconds=kill_after_seconds, seconds_max=CHILD_SECONDS_MAX
        )
        assert ending.killed or ending.code == 0, why(ending, failpoint or kill_after_seconds)
        self.kills += ending.killed
        return ending.killed

    def examine(self) -> Evidence:
        """Return the evidence, after looking for anything that is wrong with it."""
        evidence = gather(self.database, self.journal)
        assert problems(evidence, interrupted=bool(self.kills) or self.flow == CANCELLED) == []
        return evidence


@pytest.mark.parametrize("flow", FLOWS)
def test_without_a_kill_the_ledger_equals_the_providers_log_call_by_call(
    flow: str, nursery: Nursery, tmp_path: Path
) -> None:
    trial = Trial(nursery, tmp_path / flow, flow)

    trial.child()

    evidence = trial.examine()
    assert_finished(evidence, flow)
    assert evidence.ledger == evidence.bill > 0


def test_a_second_process_that_starts_the_same_run_finds_it_and_repeats_nothing(
    nursery: Nursery, tmp_path: Path
) -> None:
    trial = Trial(nursery, tmp_path / "loop", "loop")
    trial.child()
    before = trial.examine()

    trial.child()

    after = trial.examine()
    assert list(after.runs) == list(before.runs)
    assert [event for event in after.events if event.run_id in before.runs] == before.events


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("flow", [*FLOWS, CANCELLED])
def test_killed_at_each_boundary_the_run_finishes_as_if_nothing_had_happened(
    flow: str, moment: str, nursery: Nursery, tmp_path: Path
) -> None:
    for occurrence in range(1, BOUNDARIES_MAX):
        trial = Trial(nursery, tmp_path / str(occurrence), flow)

        killed = trial.child(moment=moment, occurrence=occurrence)
        if killed:
            trial.child()

        evidence = trial.examine()
        assert_finished(evidence, flow)
        if not killed:
            break
    least = 2 if flow == CANCELLED else 5
    assert least < occurrence < BOUNDARIES_MAX - 1, "the matrix has hardly a boundary, or does not end"
    print(f"{flow}, {moment}: {occurrence - 1} boundaries")


def test_killed_at_two_hundred_random_moments_every_run_finishes_and_the_budget_holds(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        halves = [pool.submit(_kill_at_random, tmp_path / str(number), SEED + number) for number in range(2)]
        kills = sum(half.result() for half in halves)

    assert kills >= RANDOM_KILLS


def _kill_at_random(folder: Path, seed: int) -> int:
    draw = random.Random(seed)
    kills = number = 0
    with Nursery(PROGRAM) as nursery:
        while kills < RANDOM_KILLS // 2:
            number += 1
            assert number < RANDOM_KILLS * 5, "children end before they can be killed"
            trial = Trial(nursery, folder / str(number), draw.choice((*FLOWS, CANCELLED, "tight")))
            for _ in range(draw.randint(1, KILLS_A_RUN_MAX)):
                if not trial.child(kill_after_seconds=draw.uniform(0.0, 0.15)):
                    break
            trial.child()
            evidence = trial.examine()
            assert_finished(evidence, trial.flow)
            kills += trial.kills
    return kills


def assert_finished(evidence: Evidence, flow: str) -> None:
    wanted = "cancelled" if flow == CANCELLED else "completed"
    assert evidence.first.status == wanted, evidence.first.error
    assert all(run.head.finished_at for run in evidence.runs.values())
    if flow in GOLDEN:
        assert evidence.first.outputs == GOLDEN[flow]


def test_a_failpoint_kills_at_its_occurrence_and_at_no_other() -> None:
    deaths: list[str] = []
    failpoints = Failpoints("after_append", 2, die=lambda: deaths.append("killed"))

    failpoints.reach("after_append")
    failpoints.reach("before_append")
    assert deaths == []
    failpoints.reach("after_append")
    failpoints.reach("after_append")

    assert deaths == ["killed"]


def test_a_tight_budget_lets_some_calls_wait_and_none_go_beyond_it(nursery: Nursery, tmp_path: Path) -> None:
    trial = Trial(nursery, tmp_path / "tight", "tight")

    trial.child()

    evidence = trial.examine()
    types = [event.type for event in evidence.events]
    assert types.count("call_waiting") > 0
    assert types.count("call_settled") == 6


def test_an_empty_journal_has_no_lines(tmp_path: Path) -> None:
    assert Journal.read(tmp_path / "none") == []
