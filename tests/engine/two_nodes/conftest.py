"""Nodes that get no hints (`deaf`: what they learn, they learn by looking), and nodes that look often."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headgate.engine import neighbours


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("headgate.stores.postgres_queue.PostgresTasks.hear", nothing)
    monkeypatch.setattr(neighbours, "PATROL_SECONDS", 0.1)


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patrols that come soon, and sweep each time."""
    monkeypatch.setattr(neighbours, "PATROL_SECONDS", 0.1)
    monkeypatch.setattr(neighbours, "SWEEP_EVERY_PATROLS", 1)
    monkeypatch.setattr(neighbours, "LEFT_ALONE_MICROSECONDS", 300_000)
