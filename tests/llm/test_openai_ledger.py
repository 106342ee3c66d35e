"""The provider's log and our ledger, side by side: a thousand calls and more, good, failing, cached and cut off.

The server bills as providers do and writes each request down: that log is the truth. Where it reported usage, the
ledger holds its price to the nano-dollar; where it refused, nothing; where a stream was cut after it had said
something, our estimate, marked as one; and where nobody can know, the whole reservation, by name.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from typing import Any

import pytest
from tests.llm.fake_openai import DONE, FakeOpenAI, completion, event, stream_reply
from tests.llm.fakes.server import Reply, Seen, json_reply

from headgate.app import App
from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.core.codec import decode
from headgate.core.values import Price, Usage
from headgate.llm.openai_compatible import OpenAICompatibleProvider
from headgate.ports import StartRequest
from headgate.stores.memory import MemoryLog

pytestmark = pytest.mark.slow


PRICE = Price(  # nano-dollars a million tokens
    input=1_234_567_891,
    output=7_654_321_987,
    cache_read=345_678_912,
    audio_input=40_123_456_789,
    audio_output=80_987_654_321,
    reasoning=9_012_345_678,
    request=1_009,
)
NUMBER = re.compile(r"call (\d+)")
ASKS, EMBEDS = 700, 200
FLOW = """
name: ledger
activities:
  ask:
    use: llm_prompt
    with: {model: openai/m, prompt: "This is call {{ITEM}}.", max_tokens: 200}
    for_each: "{{INPUT.asks}}"
    max_parallel: 40
    retry: 1
    on_failure: continue
    cache: true
  embed:
    use: embedding
    with: {model: openai/e, input: ["This is call {{ITEM}}.", "and more of {{ITEM}}"]}
    for_each: "{{INPUT.embeds}}"
    max_parallel: 40
    retry: 1
    on_failure: continue
    cache: true
"""
WHOLE = ("whole", "whole", "whole", "busy", "broken", "billed refusal", "whole cut", "hung up", "unreadable")
STREAMED = (
    *("stream", "stream", "stream", "whole", "unreported", "busy", "broken", "billed refusal", "hung up"),
    *("cut after its usage", "cut after words", "cut before words", "failed midway", "unreadable"),
)


class BillingServer(FakeOpenAI):
    """Answers each request in a way of its own choosing, and writes down what it bills. `log`: number, kind, usage."""

    def __init__(self, seed: int) -> None:
        super().__init__(self._billed)
        self.log: list[tuple[int, str, Usage | None]] = []
        self._random = random.Random(seed)

    def _billed(self, request: Seen) -> Reply:
        number = int(NUMBER.search(json.dumps(request.body))[1])
        kind = self._random.choice(STREAMED if request.body.get("stream") else WHOLE)
        usage = self._usage(embedding="embeddings" in request.path)
        reply, billed = self._reply(kind, usage, embedding="embeddings" in request.path)
        self.log.append((number, kind, billed))
        return reply

    def _usage(self, *, embedding: bool) -> dict[str, Any]:
        given = self._random.randint(1, 5_000)
        if embedding:
            return {"prompt_tokens": given, "total_tokens": given}
        made, cached = self._random.randint(0, 200), self._random.randint(0, given)
        return {
            "prompt_tokens": given,
            "completion_tokens": made,
            "total_tokens": given + made,
            "prompt_tokens_details": (
                {"cached_tokens": cached, "audio_tokens": (given - cached) // 3}
                if self._random.random() < 0.5
                else None
            ),
            "completion_tokens_details": {"reasoning_tokens": made // 2, "audio_tokens": made // 3},
        }

    def _reply(self, kind: str, usage: dict[str, Any], *, embedding: bool) -> tuple[Any, Usage | None]:
        taken = usage.get("prompt_tokens_details") or {}
        brought = usage.get("completion_tokens_details") or {}
        billed = Usage(
            input_tokens=usage["prompt_tokens"],
            output_tokens=usage.get("completion_tokens", 0),
            cache_read_tokens=taken.get("cached_tokens", 0),
            audio_input_tokens=taken.get("audio_tokens", 0),
            reasoning_tokens=brought.get("reasoning_tokens", 0),
            audio_output_tokens=brought.get("audio_tokens", 0),
        )
        body = (
            {"data": [{"index": n, "embedding": [0.5]} for n in (0, 1)], "usage": usage}
            if embedding
            else completion("words", usage=usage, model="m")
        )
        said = event({"content": "some words"}, model="m")
        ended = event(finish="stop", model="m")
        reported = event(usage=usage, model="m")
        midway = b'data: {"error": {"message": "overloaded", "code": 503}}\n\n'
        cut_whole = json_reply(body)
        cut_whole.cut = True
        replies = {
            "whole": json_reply(body),
            "stream": stream_reply(said, ended, reported, DONE),
            "unreported": stream_reply(said, ended, DONE),
            "busy": json_reply({"error": {"message": "slow down"}}, status=429),
            "broken": json_reply({"error": {"message": "oh no"}}, status=500),
            "billed refusal": json_reply({"error": {}, "usage": {"completion_tokens": 0, **usage}}, status=400),
            "whole cut": cut_whole,
            "unreadable": json_reply("<html>"),
            "cut after its usage": stream_reply(said, reported, cut=True),
            "cut after words": stream_reply(said, cut=True),
            "cut before words": stream_reply(event({"role": "assistant"}, model="m"), cut=True),
            "failed midway": stream_reply(said, midway),
            "hung up": Reply([], cut=True, headers={"content-type": "application/json"}),
        }
        return replies[kind], billed if kind in BILLED else None


BILLED = {"whole", "stream", "billed refusal", "cut after its usage"}
REFUSED = {"busy", "broken"}
GUESSED = {"unreported", "cut after words", "failed midway"}
LOST = {"whole cut", "hung up", "unreadable", "cut before words"}


class Ledgered:
    """What the log of a run says of its calls, by the number in the prompt."""

    def __init__(self, events: list[e.Event], numbers: dict[str, list[int]]) -> None:
        self.reserved: dict[str, int] = {}
        self.calls: dict[int, tuple[g.CallSettled, int]] = {}
        self.forfeited: dict[str, int] = {}
        self.hits = 0
        places: dict[str, int] = {}
        for told in events:
            match told:
                case g.CallRequested():
                    key, _, rest = told.place.partition("[")
                    places[told.call_id] = numbers[key][int(rest.rstrip("]"))]
                case g.CallAdmitted():
                    self.reserved[told.call_id] = told.reservation
                case g.CallSettled():
                    assert places[told.call_id] not in self.calls, "settled twice"
                    self.calls[places[told.call_id]] = (told, self.reserved[told.call_id])
                case g.CallForfeited():
                    assert told.reason
                    self.forfeited[told.call_id] = told.amount
                case g.CallReused():
                    self.hits += 1
                case _:
                    pass


async def run_twice(server: BillingServer) -> tuple[list[Ledgered], list[Any], list[list[Any]], int]:
    provider = OpenAICompatibleProvider(
        "openai", server.base_url, "sk-key", prices={"openai/m": PRICE, "openai/e": PRICE}
    )
    numbers = {"ask": list(range(ASKS)), "embed": list(range(ASKS, ASKS + EMBEDS))}
    log = MemoryLog()
    ledgers: list[Ledgered] = []
    views: list[Any] = []
    logs: list[list[Any]] = []
    async with App(log, environment={}, providers={"openai": provider}) as app:
        for _ in range(2):
            given = {"asks": numbers["ask"], "embeds": numbers["embed"]}
            begun = len(server.log)
            started = await app.desk.start(StartRequest(definition=FLOW, input=given, limit=10**15))
            async with asyncio.timeout(120):
                row = await app.engine.finished(started.id)
            events = [decode(stored.data)[0] for stored in await log.events(row.key)]
            ledgers.append(Ledgered(events, numbers))
            views.append(await app.desk.show(started.id, contents=False))
            logs.append(server.log[begun:])
        assert app.engine.failures == []
    return ledgers, views, logs, server.connections


@pytest.mark.parametrize("seed", [1])
def test_the_providers_log_and_our_ledger_are_the_same(seed: int):
    async def whole() -> Any:
        async with BillingServer(seed) as server:
            return await run_twice(server)

    ledgers, views, logs, _ = asyncio.run(whole())

    kinds = Counter(kind for log in logs for _, kind, _ in log)
    assert sum(kinds.values()) >= 1_000
    assert set(kinds) == {*WHOLE, *STREAMED}, "every way of answering came up"
    for ledger, view, log in zip(ledgers, views, logs, strict=True):
        assert {number for number, _, _ in log} == set(ledger.calls), "every request is a call, and every call one"
        total = sum(compare(ledger, number, kind, billed) for number, kind, billed in log)
        assert (view.cost, view.reserved) == (total, 0)
        lost = {event.call_id for event, _ in ledger.calls.values() if event.outcome == "lost"}
        assert set(ledger.forfeited) == lost, "every forfeit has its name, and nothing else is forfeited"
    good = sum(1 for _, kind, _ in logs[0] if kind in {"whole", "stream", "unreported"})
    assert (ledgers[0].hits, ledgers[1].hits) == (0, good)
    assert len(logs[1]) == ASKS + EMBEDS - good
    assert views[1].saved == sum(
        ledgers[0].calls[n][0].cost for n, kind, _ in logs[0] if kind in {"whole", "stream", "unreported"}
    )


def compare(ledger: Ledgered, number: int, kind: str, billed: Usage | None) -> int:
    """Check one call against the server's log; return what it cost."""
    settled, reservation = ledger.calls[number]
    about = f"call {number}, {kind}"
    if kind in REFUSED:
        assert (settled.outcome, settled.cost) == ("never_sent", 0), about
        return 0
    if kind in LOST:
        assert settled.outcome == "lost", about
        assert ledger.forfeited[settled.call_id] == reservation > 0, about
        return reservation
    assert settled.outcome == "used", about
    assert settled.usage is not None
    assert settled.usage.estimated == (kind in GUESSED), about
    if billed is None:
        assert settled.usage.output_tokens >= 3, about
        assert settled.cost == PRICE.cost(settled.usage), about
        return settled.cost
    tokens = (settled.usage.input_tokens, settled.usage.output_tokens, settled.usage.cache_read_tokens)
    assert tokens == (billed.input_tokens, billed.output_tokens, billed.cache_read_tokens), about
    assert settled.cost == PRICE.cost(billed), about
    return settled.cost
