"""A folder to call the command line in."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.e2e.command_line import ECHO, GATE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with two workflows: `say.yaml` ends at once, `gate.yaml` waits for a person."""
    (tmp_path / "say.yaml").write_text(ECHO)
    (tmp_path / "gate.yaml").write_text(GATE)
    return tmp_path
