"""A call of each provider through the engine: what the ledger says it cost is what the vendor reported, priced."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.llm.fakes.rigs import KINDS, Kind
from tests.llm.fakes.server import FakeServer, Reply, Seen

from headgate.app import App
from headgate.core.values import Price, Usage
from headgate.llm.registry import build_providers, close_providers
from headgate.ports import StartRequest
from headgate.stores.memory import MemoryLog
from headgate.testing.provider_rig import Said

pytestmark = pytest.mark.slow

PRICE = Price(input=1_234_567_891, output=7_654_321_987, cache_read=345_678_912)  # nano-dollars a million tokens
USED = Usage(input_tokens=1_013, output_tokens=307, cache_read_tokens=401)
FLOW = """
name: bills
activities:
  ask:
    use: llm_prompt
    with: {model: "%s", prompt: "How far is the moon?", max_tokens: 400}
    retry: 1
"""
EVERY = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def run(kind: Kind, answer: Any) -> tuple[Any, list[Seen]]:
    """Return how a run ended whose only activity asks a model of this kind, and what the vendor was asked."""
    names = {kind.model, getattr(kind.fake, "MODEL", kind.model), "gpt-4o-2024-08-06"}

    async def ran() -> tuple[Any, list[Seen]]:
        async with FakeServer(answer) as server:
            prices = {f"{kind.name}/{name}": PRICE for name in names}
            providers = build_providers(kind.environment(server.url), prices=prices)
            async with App(MemoryLog(), providers=providers, environment={}) as app:
                definition = FLOW % f"{kind.name}/{kind.model}"
                started = await app.desk.start(StartRequest(definition=definition, input={}))
                await app.desk.settled()
                view = await app.desk.show(started.id)
            await close_providers(providers)
            return view, server.requests

    return asyncio.run(ran())


@EVERY
def test_the_ledger_holds_what_the_vendor_reported_at_its_price(kind: Kind):
    said = Said(usage=USED)

    def answer(seen: Seen) -> Reply:
        streamed = "stream" in seen.path.lower() or bool(seen.body.get("stream"))
        fake = kind.fake
        return Reply([*fake.texts(said), *fake.ending(said)], headers=fake.STREAM) if streamed else fake.whole(said)

    view, asked = run(kind, answer)

    assert view.status == "completed", view.error
    assert view.cost == PRICE.cost(USED)
    assert len(asked) == 1


@EVERY
def test_a_call_that_fails_is_made_as_often_as_the_definition_says(kind: Kind):
    view, asked = run(kind, kind.fake.refusal("provider_unavailable"))

    assert (view.status, view.error_code) == ("failed", "provider_unavailable"), view.error
    assert view.cost == 0
    assert len(asked) == 1
