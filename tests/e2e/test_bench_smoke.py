"""The benchmarks end to end: they run, and their audit finds what a wrong engine would leave behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import apsw
import pytest
from bench.__main__ import NOT_BY_DEFAULT
from bench.program import PROGRAMS

ROOT = Path(__file__).parents[2]
REQUEST = {"kind": "ours", "load": "seq5", "seconds_min": 0.01}

pytestmark = pytest.mark.slow


def run_module(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, Any]]:
    """The bytes of a database that a repetition left, and the repetition's evidence."""
    path = tmp_path_factory.mktemp("bench") / "bench.db"
    figures = run_module("bench.repetition", json.dumps({**REQUEST, "path": str(path)}))
    return path.read_bytes(), figures["evidence"]


@pytest.fixture
def database(measured: tuple[bytes, dict[str, Any]], tmp_path: Path) -> Path:
    path = tmp_path / "copy.db"
    path.write_bytes(measured[0])
    return path


def faults_of(path: Path, evidence: dict[str, Any]) -> list[str]:
    return run_module("bench.audit", str(path), json.dumps(evidence))["faults"]


def change(path: Path, *statements: str) -> None:
    connection = apsw.Connection(str(path))
    for trigger in ("events_are_never_changed", "events_are_never_deleted"):
        connection.execute(f"drop trigger {trigger}")
    for statement in statements:
        connection.execute(statement)
        assert connection.changes() == 1
    connection.close()


def test_every_benchmark_runs_and_survives_its_audit(tmp_path: Path):
    result = run_module("bench", "--quick", "--folder", str(tmp_path))

    benchmarks = result["benchmarks"]
    assert benchmarks.keys() == PROGRAMS.keys() - NOT_BY_DEFAULT
    assert all(benchmarks[name]["ratio"] > 0 for name in ("seq5", "par10", "hc3", "wide"))
    pair = benchmarks["seq5"]["repetitions"][0]
    assert pair["ours"]["audited"]["runs"] >= pair["ours"]["runs"]
    assert pair["ours"]["evidence"]["syncs"] >= pair["ours"]["evidence"]["commits"] > 0
    assert benchmarks["streams"]["many"]["streams"] == 50
    assert benchmarks["streams"]["alone"]["tokens_per_chunk"] >= 1
    assert result["machine"]["disk"]["fdatasync_p50_ms"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["quick.json"], "databases are removed"


def test_the_audit_passes_what_the_engine_wrote(measured: tuple[bytes, dict[str, Any]], database: Path):
    assert faults_of(database, measured[1]) == []


def test_the_audit_sees_a_changed_event(measured: tuple[bytes, dict[str, Any]], database: Path):
    change(database, "update events set data = cast(substr(data, 1, length(data) - 1) || x'01' as blob) where pos = 3")

    assert faults_of(database, measured[1])


def test_the_audit_sees_a_missing_event(measured: tuple[bytes, dict[str, Any]], database: Path):
    change(database, "delete from events where run = 1 and version = 5")

    assert any("event 5" in fault for fault in faults_of(database, measured[1]))


def test_the_audit_sees_a_run_whose_end_is_lost_altogether(measured: tuple[bytes, dict[str, Any]], database: Path):
    change(
        database,
        "delete from events where run = 1 and version = 12",
        "update runs set version = 11, status = 'running', finished_at = null,"
        " hash = (select hash from events where run = 1 and version = 11) where key = 1",
    )

    faults = faults_of(database, measured[1])

    assert any("run_completed" in fault for fault in faults)


def test_the_audit_sees_a_run_that_is_lost_altogether(measured: tuple[bytes, dict[str, Any]], database: Path):
    change(database, "delete from runs where key = 1")

    assert any("expected runs" in fault for fault in faults_of(database, measured[1]))


@pytest.mark.parametrize(
    ("claim", "fault"),
    [
        ({"synchronous": 1}, "pragma synchronous"),
        ({"journal_mode": "memory"}, "journal mode"),
        ({"syncs": 1}, "only 1 syncs"),
        ({"claims": 1}, "1 claims"),
        ({"reports": 1}, "1 reports"),
        ({"fsync": "off", "synchronous_commit": "on"}, "fsync reads 'off'"),
        ({"worker": "outside"}, "completed by 'built-in', not by 'outside'"),
        ({"engine_failures": ["KeyError('x')"]}, "KeyError"),
    ],
)
def test_the_audit_sees_evidence_of_a_process_that_cut_a_corner(
    measured: tuple[bytes, dict[str, Any]], database: Path, claim: dict[str, Any], fault: str
):
    faults = faults_of(database, measured[1] | claim)

    assert any(fault in found for found in faults)
