"""The benchmarks of several processes end to end: workers outside, nodes that are killed, other products."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bench.others.peers import expect_kept
from bench.soak_client import NobodyAnswered, Tally
from bench.worker import _within

ROOT = Path(__file__).parents[2]
SECONDS_MAX = 280

pytestmark = pytest.mark.slow


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not below pytest's own, which nobody else may enter: where we are root, PostgreSQL runs as somebody else."""
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


def measured(name: str, folder: Path, **variables: str) -> tuple[dict[str, Any], str]:
    """Return the figures of a quick benchmark, and what it said to a person."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", name, "--quick", "--folder", str(folder)],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in folder.iterdir()] == ["quick.json"], "databases are removed"
    return json.loads(done.stdout)["benchmarks"][name], done.stderr


def test_a_worker_outside_is_measured_on_both_stores(folder: Path):
    figures, _ = measured("worker", folder)

    assert figures.keys() == {
        f"{store} {load}" for store in ("sqlite", "postgresql") for load in ("hc3", "half", "naps", "dispatch")
    }
    for store in ("sqlite", "postgresql"):
        assert figures[f"{store} hc3"]["per_second"] > 0
        assert figures[f"{store} hc3"]["worker_processor_us"] >= 0  # by ticks of 10 ms: a quick run may take none
        assert 0 < figures[f"{store} naps"]["ratio"] < 10
        assert figures[f"{store} dispatch"]["tasks"] >= 3
        assert figures[f"{store} dispatch"]["p50_ms"] > 0


@pytest.mark.parametrize(
    ("due", "given", "says"),
    [({"a 1": 5}, {}, "1 tasks became due, 0 were handed out"), ({"a 1": 5}, {"a 1": 4}, "before it was durable")],
)
def test_a_task_that_was_never_due_or_never_came_spoils_the_figure(
    due: dict[str, int], given: dict[str, int], says: str
):
    with pytest.raises(RuntimeError, match=says):
        _within(due, given)


def test_nodes_are_killed_and_what_was_acknowledged_is_there(folder: Path):
    figures, said = measured("soak", folder)

    assert figures["kills"] + figures["ends"] >= 1
    assert figures["good"]["all"] >= figures["runs"]["finished"] > 0
    assert figures["audited"]["runs"] == figures["runs"]["finished"]
    assert figures["good"]["all"] - figures["good"]["good"] == sum(gap["lost"] for gap in figures["gaps"])
    assert "good / all" in said


def test_a_gap_lasts_from_the_first_request_that_nobody_answered_to_the_next_that_somebody_did():
    async def nobody() -> None:
        raise NobodyAnswered("both are away")

    async def somebody() -> str:
        return "here"

    async def scene() -> Tally:
        tally = Tally("probe", asyncio.get_running_loop().time(), lambda at: "1.0 s after node 1 was killed")
        requests: list[Awaitable[Any]] = [somebody(), nobody(), nobody(), somebody(), nobody()]
        for request in requests:
            await tally.count(request)
        tally.finish()
        return tally

    tally = asyncio.run(scene())

    assert (tally.figures()["all"], tally.figures()["good"]) == (5, 2)
    assert [gap.lost for gap in tally.gaps] == [2, 1]
    assert all(gap.seconds > 0 for gap in tally.gaps)
    assert tally.gaps[0].cause == "1.0 s after node 1 was killed: both are away"


def test_what_cannot_be_installed_says_why_and_ours_is_measured_all_the_same(folder: Path):
    figures, said = measured("peers", folder, PIP_NO_INDEX="1", NPM_CONFIG_OFFLINE="true")

    assert figures["not_installed"].keys() == {"DBOS", "LangGraph", "Absurd", "Restate"}
    assert "dbos" in figures["not_installed"]["DBOS"]
    assert "Restate could not be installed: " in said
    for shape in ("seq5", "par10"):
        assert figures[shape].keys() == {"Headgate, SQLite", "Headgate, PostgreSQL"}
        assert all(product["runs_per_second"] > 0 for product in figures[shape].values())


@pytest.mark.parametrize("kept", [{"runs": 9, "steps": 50}, {"runs": 10, "steps": 49}, {"runs": 11, "steps": 55}])
def test_another_product_whose_runs_are_not_all_kept_has_no_figure(kept: dict[str, int]):
    with pytest.raises(RuntimeError, match="made 10 runs of 5 steps"):
        expect_kept(10, 5, kept, "other.py")
