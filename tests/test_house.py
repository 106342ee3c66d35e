"""The house keeps itself clean: locked requirements, no traces of a machine, no secrets, no long files, no silent
skips."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
NOT_OURS = {
    ".git",
    ".venv",
    ".hypothesis",
    ".pytest_cache",
    ".ruff_cache",
    ".headgate",
    "__pycache__",
    "dist",
    "results",
}

LOCK_LINE = re.compile(
    r"[a-z0-9][\w.-]*==[\w.!+]+( ; [^\\]+)? \\"  # a version, and where it is needed
    r"| {4}--hash=sha256:[0-9a-f]{64}( \\)?"
    r"| *#(?!.*(://|(^|\s)/)).*"  # a comment, with no address and no path of a machine
)
INDEX = re.compile(r"\bpypi\.(org|python)/|pythonhosted\.org|--(extra-)?index-url|--find-links|/simple/?\b")
SECRET = re.compile(
    r"\bsk-(?!test|fake|example)[A-Za-z0-9_-]{20,}|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}|\bxox[abpr]-[\w-]{20,}"
    r"|\bAIza[\w-]{35}|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
SHOWN_ON_PURPOSE = {
    # (file, what it seems to hold): why it may
    ("tests/llm/fakes/tls.py", "a secret"): "the key of a certificate for 127.0.0.1, used by fake servers only",
    ("tests/activities/test_private_addresses.py", "a secret"): "the key of a certificate for pinned.test, used there",
}
LINES_MAX = 400
"""Of a Python file: at so many there is a seam."""
HOME = re.compile(r"(?<![\w.])/(home|Users)/(?!(?:you|user|name|ada)\b)\w+|(?<![\w.])/root/")


@pytest.mark.parametrize("lock", [pytest.param(lock, id=lock.name) for lock in LOCKS])
def test_a_lock_file_holds_versions_and_hashes_and_nothing_else(lock: Path):
    odd = [line for line in lock.read_text(encoding="utf-8").splitlines() if not LOCK_LINE.fullmatch(line)]

    assert odd == [], f"{lock.name} is written by `make lock`, which leaves out indexes and paths. What are these?"


def test_every_direct_dependency_is_locked():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = {"base": project["project"]["dependencies"], **project["dependency-groups"]}

    for name, wanted in groups.items():
        locked = set(
            re.findall(r"^([\w.-]+)==", (ROOT / "requirements" / f"{name}.txt").read_text("utf-8"), re.MULTILINE)
        )
        names = {re.split(r"[ <>=\[]", requirement)[0] for requirement in wanted}

        assert names
        assert names <= locked, f"Say `make lock`: requirements/{name}.txt lacks {sorted(names - locked)}."


def test_what_runs_and_what_is_tested_have_the_same_versions():
    base, dev = (
        dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements" / name).read_text("utf-8"), re.MULTILINE))
        for name in ("base.txt", "dev.txt")
    )

    assert base
    assert {name: dev.get(name) for name in base} == base, "Say `make lock`."


def test_no_file_tells_of_a_machine_an_index_or_a_secret():
    here = re.compile(rf"(?<![\w.]){re.escape(str(ROOT))}(?![\w-])")
    forbidden = {"this checkout's path": here, "a home": HOME, "a package index": INDEX, "a secret": SECRET}

    found = [
        f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}: holds what looks like {what}"
        for path, text in texts()
        if path != Path(__file__)
        for what, pattern in forbidden.items()
        if (path.relative_to(ROOT).as_posix(), what) not in SHOWN_ON_PURPOSE
        for match in pattern.finditer(text)
    ]

    assert found == [], "\n".join(found)


def test_no_file_is_longer_than_its_reader_can_follow():
    long = {
        path.relative_to(ROOT).as_posix(): lines
        for path, text in texts()
        if path.suffix == ".py" and (lines := text.count("\n")) > LINES_MAX
    }

    assert long == {}, f"Above {LINES_MAX} lines: part them by what they speak of, so that each part has a name."


def test_what_is_said_of_a_value_stands_beneath_it():
    lost = [
        f"{path.relative_to(ROOT).as_posix()}:{text.lineno}"
        for path, source in texts()
        if path.suffix == ".py"
        for node in ast.walk(ast.parse(source))
        if isinstance(body := getattr(node, "body", None), list)
        for before, text in pairwise(body)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
        if not isinstance(before, ast.Assign | ast.AnnAssign) or text.lineno != (before.end_lineno or 0) + 1
    ]

    assert lost == [], "These texts have lost what they speak of: it was moved, or removed."


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        (HOME, "see /home/ada2/notes"),
        (INDEX, "--find-links /opt/wheels"),
        (INDEX, "https://pypi.org/simple"),
        (SECRET, "sk-proj-" + "a1" * 20),
        (SECRET, "-----BEGIN RSA PRIVATE KEY-----"),
    ],
)
def test_a_trace_would_be_found(pattern: re.Pattern[str], line: str):
    assert pattern.search(line)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ci", "test", "code"),
    [
        ("true", "import pytest\ndef test_a(): pytest.skip('no database')", pytest.ExitCode.TESTS_FAILED),
        ("true", "import pytest\npytest.importorskip('not_there')", pytest.ExitCode.INTERRUPTED),
        ("true", "import pytest\n@pytest.mark.xfail\ndef test_a(): assert False", pytest.ExitCode.OK),
        ("", "import pytest\ndef test_a(): pytest.skip('no database')", pytest.ExitCode.OK),
    ],
    ids=["a test", "a file", "an expected failure", "elsewhere"],
)
def test_under_ci_nothing_is_skipped(ci: str, test: str, code: pytest.ExitCode, tmp_path: Path):
    (tmp_path / "conftest.py").write_text(
        (ROOT / "tests" / "conftest.py").read_text(encoding="utf-8"), encoding="utf-8"
    )
    (tmp_path / "test_it.py").write_text(test, encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, "test_it.py"],
        cwd=tmp_path,
        env={**os.environ, "CI": ci},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == code, done.stdout


def texts() -> Iterator[tuple[Path, str]]:
    """Yield every text file of the checkout but what tools have made."""
    for folder, names, files in os.walk(ROOT):
        names[:] = [name for name in names if name not in NOT_OURS]
        for name in files:
            try:
                yield Path(folder, name), Path(folder, name).read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue
