"""A log of each kind, for the tests that ask every one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conformance.logs import ADAPTERS

from headgate.ports import Log


@pytest.fixture(params=sorted(ADAPTERS))
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    made = ADAPTERS[request.param](tmp_path)
    yield made
    asyncio.run(made.close())
