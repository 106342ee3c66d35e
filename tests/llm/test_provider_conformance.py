"""Every provider keeps every promise, each against a server of ours that speaks its vendor's protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from tests.llm.fakes.rigs import KINDS, Kind, rig_of

from headgate.llm import exchange
from headgate.llm.demo import DemoProvider
from headgate.llm.scripted import ScriptedProvider
from headgate.testing.provider_conformance import PROMISES, WITHOUT_SERVER, Said


@pytest.mark.slow  # each talks to a server of its own
@pytest.mark.parametrize("promise", PROMISES)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_provider_keeps_the_promise(kind: Kind, promise: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(exchange, "ANSWER_BYTES_MAX", 4 * 1024 * 1024)  # so that what has no end, ends soon

    async def kept() -> None:
        async with rig_of(kind) as rig:
            await PROMISES[promise](rig)

    asyncio.run(kept())


def test_every_vendor_is_run_through_the_promises():
    from headgate.llm.provider_settings import VENDORS

    assert KINDS.keys() == {*VENDORS, "lab"}
    assert len(PROMISES) >= 40


class Serverless:
    """A rig for what asks nobody; the scripted one says what it is told to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.model = "small"
        self.embedding_model = "embed"
        self.lacks: frozenset[str] = frozenset()
        self.provider: Any = DemoProvider()

    def will_say(self, said: Said, *, streamed: bool) -> None:
        if self.name == "scripted":
            self.provider = ScriptedProvider({"small": [{"text": "".join(said.texts)}]})

    def will_embed(self, vectors: Sequence[Sequence[float]], tokens: int) -> None:
        if self.name == "scripted":
            self.provider = ScriptedProvider({"embed": [{"embeddings": vectors, "usage": {"input_tokens": tokens}}]})


@pytest.mark.parametrize("promise", WITHOUT_SERVER)
@pytest.mark.parametrize("name", ["scripted", "demo"])
def test_a_provider_without_a_server_keeps_what_applies_to_it(name: str, promise: str):
    asyncio.run(WITHOUT_SERVER[promise](Serverless(name)))  # it is a rig as far as these go
