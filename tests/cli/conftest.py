"""The command line as its tests call it: in a folder of their own, for an exit code, stdout and stderr."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from headgate.cli.program import run_program

Verb = Callable[..., tuple[int, str, str]]


@pytest.fixture
def headgate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Verb:
    """Return a function that calls a verb in a folder of its own and returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    for name in ("HEADGATE_DB", "HEADGATE_KEY", "HEADGATE_PRICES"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as ended:
            run_program(list(arguments))
        said = capsys.readouterr()
        return int(str(ended.value.code or 0)), said.out, said.err

    return call
