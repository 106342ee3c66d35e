"""pytest runs test files: an item for each case, a readable failure, and nothing imported before."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from tests.flow_with_cases import CASES, FLOW


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "w.yaml").write_text(FLOW)
    (tmp_path / "w.test.yaml").write_text(CASES)
    return tmp_path


def run_pytest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    # Where the package was installed before it had the plugin, pytest must be told; told twice, it would refuse it.
    installed = any(point.name == "headgate" for point in entry_points(group="pytest11"))
    plugin = [] if installed else ["-p", "headgate.testing.pytest_plugin"]
    command = [sys.executable, "-W", "error", "-m", "pytest", *plugin, "-q", *options]
    return subprocess.run(
        [*command, "-p", "no:cacheprovider", "-rA"], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def test_each_case_is_an_item_and_a_failed_one_says_what_is_different(folder: Path):
    done = run_pytest(folder)

    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 1 passed" in done.stdout
    assert "PASSED w.test.yaml::three is three" in done.stdout
    assert "w.test.yaml:5\noutputs.n: another value\n  expected  4\n  got       3\n" in done.stdout


def test_one_case_can_be_chosen_by_its_name(folder: Path):
    done = run_pytest(folder, "-k", "three and not four")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed, 1 deselected" in done.stdout


def test_the_files_can_be_left_alone(folder: Path):
    done = run_pytest(folder, "--headgate-off")

    assert done.returncode == 5  # pytest's word for: nothing collected
    assert "no tests ran" in done.stdout


def test_a_wrong_file_is_an_error_of_the_collection_with_its_place(folder: Path):
    (folder / "w.test.yaml").write_text(CASES.replace("input: {n: 3}", "inptu: {n: 3}", 1))

    done = run_pytest(folder)

    assert done.returncode == 2, done.stdout + done.stderr
    assert 'w.test.yaml:3:5: unknown key "inptu" in a case. Did you mean "input"?' in done.stdout


def test_the_package_brings_the_plugin():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]

    assert project["entry-points"]["pytest11"] == {"headgate": "headgate.testing.pytest_plugin"}


def test_the_plugin_imports_nothing_of_the_engine():
    program = (
        "import sys, pytest; before = set(sys.modules); import headgate.testing.pytest_plugin;"
        "print(sorted(set(sys.modules) - before))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "['headgate', 'headgate.testing', 'headgate.testing.pytest_plugin']"
