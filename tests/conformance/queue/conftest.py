"""Each test of a queue is asked of each adapter of `ports.Queue`."""

from __future__ import annotations

import pytest
from tests.conformance.queue.lines import ADAPTERS, StillClock

from headgate.ports import Queue


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture(params=sorted(ADAPTERS))
def queue(request: pytest.FixtureRequest, clock: StillClock) -> Queue:
    return ADAPTERS[request.param](clock)
