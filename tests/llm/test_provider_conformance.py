"""Every provider keeps every promise, each against a server of ours that speaks its vendor's protocol."""

from __future__ import annotations

import asyncio

import pytest
from tests.llm.fakes.rigs import KINDS, Kind, rig_of

from headgate.llm import exchange
from headgate.testing.provider_conformance import PROMISES

pytestmark = pytest.mark.slow  # each talks to a server of its own


@pytest.mark.parametrize("promise", PROMISES)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_provider_keeps_the_promise(kind: Kind, promise: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(exchange, "ANSWER_BYTES_MAX", 4 * 1024 * 1024)  # so that what has no end, ends soon

    async def kept() -> None:
        async with rig_of(kind) as rig:
            await PROMISES[promise](rig)

    asyncio.run(kept())
