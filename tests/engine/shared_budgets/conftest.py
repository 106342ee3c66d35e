"""Logs for tests of shared budgets."""

from __future__ import annotations

from typing import Any

import pytest

from headgate.stores.memory import MemoryLog
from headgate.stores.sqlite import SqliteLog


@pytest.fixture(params=["memory", "sqlite"])
def log(request: Any, tmp_path: Any) -> Any:
    return MemoryLog() if request.param == "memory" else SqliteLog(tmp_path / "log.db")
