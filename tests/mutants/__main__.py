"""Planted faults: each is applied to a copy of the sources, and named tests must turn red. `python -m tests.mutants`.

A fault is a list of replacements; each text to replace must stand in its file exactly once, so that a fault which no
longer fits the code is reported instead of passing for a caught one. First all named tests are run on an untouched
copy and must be green. With arguments only the faults whose names contain one of them are planted.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from tests.mutants import budgets, costs, crashes, durability, nodes, providers, runs
from tests.mutants.mutant import Mutant

ROOT = Path(__file__).parents[2]
COPIED = ("src", "tests", "examples", "pyproject.toml")
WORKERS = 2
SECONDS_MAX = 120
KINDS = (runs, crashes, durability, costs, budgets, nodes, providers)
MUTANTS = tuple(mutant for kind in KINDS for mutant in kind.MUTANTS)
TESTS_FAILED = 1  # pytest's exit code; any other one means that the tests were not run at all


class Verdict(NamedTuple):
    """How the named test ended with the fault in place."""

    mutant: Mutant
    caught: bool
    how: str
    seconds: float


def main(names: Sequence[str]) -> int:
    chosen = [mutant for mutant in MUTANTS if not names or any(name in mutant.name for name in names)]
    with tempfile.TemporaryDirectory(prefix="headgate-mutants-") as folder:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(WORKERS):
            copies.put(copied(Path(folder) / str(number)))
        sane, said = whether_green(copies, sorted({mutant.test for mutant in chosen}))
        if not sane:
            print(f"Without any fault the named tests must be green:\n{said}", file=sys.stderr)
            return 2
        with ThreadPoolExecutor(WORKERS) as pool:
            verdicts = [show(verdict) for verdict in pool.map(lambda mutant: tried(mutant, copies), chosen)]
    survivors = [verdict for verdict in verdicts if not verdict.caught]
    print(f"{len(verdicts)} faults planted, {len(survivors)} survived.")
    return 1 if survivors else 0


def copied(folder: Path) -> Path:
    folder.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", ".hypothesis", "*.db*")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        elif (ROOT / name).exists():
            shutil.copy2(ROOT / name, folder / name)
    return folder


def whether_green(copies: SimpleQueue[Path], tests: Sequence[str]) -> tuple[bool, str]:
    copy = copies.get()
    try:
        ended = pytest_in(copy, tests, SECONDS_MAX * 5)
    finally:
        copies.put(copy)
    return ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-2000:]


def tried(mutant: Mutant, copies: SimpleQueue[Path]) -> Verdict:
    """Plant the fault in a copy, run its test, and take the fault out again."""
    copy = copies.get()
    before: dict[Path, str] = {}
    began = time.monotonic()
    try:
        for edit in mutant.edits:
            path = copy / edit.file
            text = path.read_text(encoding="utf-8")
            before.setdefault(path, text)
            if text.count(edit.old) != 1:
                return Verdict(mutant, False, f"does not fit {edit.file} any more", 0.0)
            path.write_text(text.replace(edit.old, edit.new), encoding="utf-8")
        caught, how = outcome(copy, mutant)
        return Verdict(mutant, caught, how, time.monotonic() - began)
    finally:
        for path, text in before.items():
            path.write_text(text, encoding="utf-8")
        copies.put(copy)


def outcome(copy: Path, mutant: Mutant) -> tuple[bool, str]:
    try:
        ended = pytest_in(copy, [mutant.test], SECONDS_MAX)
    except subprocess.TimeoutExpired:
        return False, f"its test hangs for more than {SECONDS_MAX} s"
    if ended.returncode == TESTS_FAILED:
        return True, reason(ended.stdout)
    if ended.returncode == 0:
        return False, "GREEN"
    return False, f"pytest ended with {ended.returncode}: {ended.stdout[-500:]}{ended.stderr[-500:]}"


def reason(said: str) -> str:
    """Return the first line of what the failed test says."""
    return next((line[1:].strip()[:160] for line in said.splitlines() if line.startswith("E ")), "red")


def pytest_in(copy: Path, tests: Sequence[str], seconds_max: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = {
        **os.environ,
        "PYTHONPATH": str(copy / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "KILL_CHILD_SECONDS_MAX": "10",
        "HTTP_SITE_PATIENCE_SECONDS": "30",
    }
    return subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, text=True, timeout=seconds_max, check=False
    )


def show(verdict: Verdict) -> Verdict:
    mark = "caught  " if verdict.caught else "SURVIVED"
    test = verdict.mutant.test.rpartition("::")[2] or verdict.mutant.test
    print(f"{mark} {verdict.seconds:5.1f} s  {verdict.mutant.name}\n{'':18}{test}\n{'':18}{verdict.how}", flush=True)
    return verdict


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
