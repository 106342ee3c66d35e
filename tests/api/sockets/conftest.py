"""What all tests of sockets begin with."""

from __future__ import annotations

import pytest

from headgate.api.http import socket_door


@pytest.fixture(autouse=True)
def no_heart(monkeypatch: pytest.MonkeyPatch):
    """Pings come when a test says so."""
    monkeypatch.setattr(socket_door, "BEAT_SECONDS", 1e6)
