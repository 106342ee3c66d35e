"""The rows of a thousand calls are the bill, and the same again from the log."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.engine.spend_lab import CHILD, KeptLog, price_of, usage_of
from tests.vendor_server import VendorServer

from headgate.app import App
from headgate.core.errors import NotFound
from headgate.engine.spend import rebuild_spend
from headgate.engine.start import Start
from headgate.ports import (
    SpendWanted,
    StartRequest,
)
from headgate.stores.memory import MemoryLog
from headgate.stores.sqlite import SqliteLog
from headgate.testing.simulation import World
from headgate.testing.story_definitions import GIVEN

# --- A thousand calls -------------------------------------------------------------------------------------------------


LISTED = {"gpt-4o-2024-08-06": (2_500, 1_250, 10_000), "gpt-4o-mini": (150, 75, 600)}
"""Nano-dollars a token: input, input from the cache, output."""
THOUSAND = """
name: thousand
activities:
  plain:
    use: llm_prompt
    for_each: "{{ INPUT.numbers }}"
    max_parallel: 20
    retry: 5
    on_failure: continue
    with: {model: openai/gpt-4o, prompt: "Number {{ ITEM }}", max_tokens: 500}
  told:
    use: llm_prompt
    for_each: "{{ INPUT.numbers }}"
    max_parallel: 20
    retry: 5
    on_failure: continue
    streaming: true
    with: {model: openai/gpt-4o-mini, prompt: "Number {{ ITEM }}", max_tokens: 500}
"""


class Vendor(VendorServer):
    """An OpenAI-compatible server that fails now and then, and writes down what it would put on the bill."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.bill: Counter[tuple[str, int, int, int, int]] = Counter()
        self.refused = self.cut = 0

    async def answer(self, request: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        chance = self.random.random()
        if chance < 0.05:
            self.refused += 1
            writer.write(b"HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\n{}")
            return True
        streamed = request.get("stream", False)
        if streamed and chance < 0.1:
            self.cut += 1
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 999\r\n\r\ndata: {")
            await writer.drain()
            return False
        kind, body = self._said(request["model"], streamed=streamed)
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        return True

    def _said(self, model: str, *, streamed: bool) -> tuple[str, bytes]:
        named = {"gpt-4o": "gpt-4o-2024-08-06"}.get(model, model)
        tokens, said = self.random.randint(1, 5_000), self.random.randint(0, 500)
        cached = self.random.choice([0, self.random.randint(0, tokens)])
        fresh, again, out = LISTED[named]
        self.bill[named, tokens, cached, said, (tokens - cached) * fresh + cached * again + said * out] += 1
        usage = {
            "prompt_tokens": tokens,
            "completion_tokens": said,
            "prompt_tokens_details": {"cached_tokens": cached},
        }
        if not streamed:
            choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
            return "application/json", json.dumps({"model": named, "choices": [choice], "usage": usage}).encode()
        events = [
            {"model": named, "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}]},
            {"model": named, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {"model": named, "choices": [], "usage": usage},
        ]
        return "text/event-stream", b"".join(
            f"data: {json.dumps(one)}\n\n".encode() for one in events
        ) + b"data: [DONE]\n\n"


@pytest.mark.slow
def test_a_thousand_calls_cost_what_the_vendor_puts_on_its_bill(tmp_path: Path):
    log = SqliteLog(tmp_path / "log.db")

    async def live() -> None:
        async with Vendor(seed=7) as vendor:
            environment = {"OPENAI_API_KEY": "test", "OPENAI_BASE_URL": vendor.url}
            async with App(log, environment=environment) as app:
                numbers = list(range(500))
                started = await app.desk.start(StartRequest(definition=THOUSAND, input={"numbers": numbers}))
                row = await app.engine.finished(started.id)
                rows = await log.spend(started.id)
                totals = await log.spend_totals("run", SpendWanted(runs=(started.id,)))
        calls = [one for one in rows if one.kind == "call"]
        assert vendor.bill.total() >= 900
        assert vendor.refused > 20
        assert vendor.cut > 5
        billed = Counter(
            (one.model, one.input_tokens, one.cache_read_tokens, one.output_tokens, one.cost) for one in calls
        )
        assert billed == vendor.bill
        assert all(price_of(one).cost(usage_of(one)) == one.cost for one in calls)
        assert sum(one.kind == "forfeit" for one in rows) == vendor.cut
        assert sum(one.cost for one in rows) == row.head.cost == sum(total.cost for total in totals)

    asyncio.run(live())


# --- Again ------------------------------------------------------------------------------------------------------------


def test_rows_that_were_lost_come_back_and_those_of_runs_that_are_gone_stay():
    async def look() -> None:
        log = KeptLog()
        world = World(log, [CHILD], seed=2, greedy=True)
        await world.run([Start(workflow="child", input=GIVEN, run_id=name, trace_id="t") for name in ("a", "b")])
        before = {name: await log.spend(name) for name in ("a", "b")}
        assert all(before.values())
        gone = [before["a"][0]._replace(run_id="gone")]
        await log.replace_spend("gone", gone)
        await log.replace_spend("a", [])

        count = await rebuild_spend(log)

        assert count == sum(len(rows) for rows in before.values())
        assert {name: await log.spend(name) for name in ("a", "b")} == before
        assert await log.spend("gone") == gone

    asyncio.run(look())


def test_rows_of_a_run_that_is_not_there_cannot_be_made():
    with pytest.raises(NotFound, match="nobody"):
        asyncio.run(rebuild_spend(MemoryLog(), "nobody"))
