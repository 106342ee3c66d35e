"""The ledger against the bill when the engine is killed, streams are cut, answers are lost: never less, all by name."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.vendor_server import VendorServer

from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.core.codec import decode
from headgate.ports import SpendRow
from headgate.stores.sqlite import SqliteLog

HERE = Path(__file__).parent
CALLS, KILLS = 1_000, 10
LIMIT = 1_750_000_000
"""Less than the calls cost together: the last ones meet it."""
SERVED_BETWEEN_KILLS = 80
PROMPT_TOKENS_MAX = 600


RATES = {"fresh": 1_234_567_891, "cached": 345_678_912, "said": 7_654_321_987, "thought": 9_876_543_211}
FEE = 1_003
"""The prices that killed_engine.py sets, in the vendor's own words."""
Numbers = tuple[int, int]
"""Tokens in and out of an answer: no two answers have the same, so they say which one a row is of."""


class Vendor(VendorServer):
    """An OpenAI-compatible server in this process, which outlives the engine. `bill`: charge by the answer's numbers.

    It answers, or answers and hangs up in the middle, or hangs up after it has charged, or refuses for nothing.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._numbers = [(given, made) for given in range(1, PROMPT_TOKENS_MAX) for made in range(2, 300, 7)]
        self.random.shuffle(self._numbers)
        self.bill: dict[Numbers, int] = {}
        self.how: Counter[str] = Counter()
        self.charged = asyncio.Condition()

    async def until_charged(self, answers: int) -> None:
        async with self.charged:
            await self.charged.wait_for(lambda: len(self.bill) >= answers)

    async def answer(self, request: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        chance = self.random.random()
        if chance < 0.04:
            self.how["refused"] += 1
            writer.write(b"HTTP/1.1 429 Busy\r\nretry-after: 0\r\ncontent-length: 2\r\n\r\n{}")
            return True
        usage = await self._charge()
        kind, body = _streamed(usage) if request.get("stream") else _whole(usage)
        answer = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
        if chance < 0.07:
            self.how["hung up"] += 1
            return False
        if chance < 0.10:
            self.how["cut"] += 1
            writer.write(answer[: -len(body) + 9])  # before anything was said
            await writer.drain()
            return False
        self.how["answered"] += 1
        writer.write(answer)
        return True

    async def _charge(self) -> dict[str, Any]:
        given, made = self._numbers.pop()
        cached, thought = self.random.randint(0, given), self.random.randint(0, made)
        tokens = {"fresh": given - cached, "cached": cached, "said": made - thought, "thought": thought}
        millionths = sum(number * RATES[name] for name, number in tokens.items())
        async with self.charged:
            self.bill[given, made] = -(-millionths // 1_000_000) + FEE
            self.charged.notify_all()
        return {
            "prompt_tokens": given,
            "completion_tokens": made,
            "prompt_tokens_details": {"cached_tokens": cached},
            "completion_tokens_details": {"reasoning_tokens": thought},
        }


def _whole(usage: dict[str, Any]) -> tuple[str, bytes]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
    return "application/json", json.dumps({"model": "m", "choices": [choice], "usage": usage}).encode()


def _streamed(usage: dict[str, Any]) -> tuple[str, bytes]:
    events = [
        {"model": "m", "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}]},
        {"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"model": "m", "choices": [], "usage": usage},
    ]
    said = b"".join(f"data: {json.dumps(one)}\n\n".encode() for one in events)
    return "text/event-stream", said + b"data: [DONE]\n\n"


async def live(database: Path, vendor: Vendor) -> int:
    """Start the engine again and again, killing it after so many answers, until it has ended by itself."""
    kills = 0
    while True:
        engine_process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(HERE / "killed_engine.py"), str(database), vendor.url, str(CALLS), str(LIMIT)),
            stdout=asyncio.subprocess.PIPE,
        )
        ended = asyncio.ensure_future(engine_process.wait())
        if kills < KILLS:
            charged = asyncio.ensure_future(vendor.until_charged(len(vendor.bill) + SERVED_BETWEEN_KILLS))
            await asyncio.wait([ended, charged], return_when=asyncio.FIRST_COMPLETED)
            charged.cancel()
            if not ended.done():
                os.kill(engine_process.pid, signal.SIGKILL)
                kills += 1
                await ended
                continue
        assert await ended == 0
        return kills


async def story_of(database: Path) -> tuple[list[e.Event], list[SpendRow], int]:
    log = SqliteLog(database, read_only=True)
    (row,) = await log.runs()
    events = [decode(stored.data)[0] for stored in await log.events(row.key)]
    rows = await log.spend(row.id)
    await log.close()
    assert row.head.finished_at is not None
    assert row.head.reserved == 0
    return events, rows, row.head.cost


def never_above_its_limit(events: list[e.Event]) -> int:
    """Replay what was reserved, spent and forfeited; return how many calls were admitted."""
    reserved: dict[str, int] = {}
    forfeited: dict[str, int] = {}
    spent = admitted = 0
    for event in events:
        match event:
            case g.CallAdmitted():
                admitted += 1
                reserved[event.call_id] = event.reservation
                assert spent + sum(reserved.values()) <= LIMIT, "a call was admitted above the limit"
            case g.CallSettled():
                reserved.pop(event.call_id, None)
                spent += event.cost - forfeited.pop(event.call_id, 0) if event.outcome == "used" else 0
            case g.CallForfeited():
                assert event.call_id not in forfeited, "a call was forfeited twice"
                reserved.pop(event.call_id, None)
                forfeited[event.call_id] = event.amount
                spent += event.amount
            case _:
                pass
    return admitted


@pytest.mark.slow
def test_with_kills_and_cuts_every_row_is_the_bills_and_every_lost_call_is_paid_for_once(tmp_path: Path):
    async def whole() -> tuple[Vendor, int]:
        async with Vendor(seed=11) as vendor:
            async with asyncio.timeout(280):
                return vendor, await live(tmp_path / "log.db", vendor)

    vendor, kills = asyncio.run(whole())
    events, rows, cost = asyncio.run(story_of(tmp_path / "log.db"))

    settled = {(row.input_tokens, row.output_tokens): row.cost for row in rows if row.kind == "call"}
    lost = Counter(row.call_id for row in rows if row.kind == "forfeit")
    forfeits = [row.cost for row in rows if row.kind == "forfeit"]
    unheard = [charge for numbers, charge in vendor.bill.items() if numbers not in settled]
    told = f"{len(settled)} settled, {len(lost)} lost, {len(unheard)} unheard, {cost} spent"
    print(f"{kills} kills, {dict(vendor.how)}, {told}")
    assert kills == KILLS
    assert min(vendor.how.values()) > 10
    assert len(settled) == len([row for row in rows if row.kind == "call"]) >= 0.6 * CALLS
    # What is settled is what the vendor charged for that very answer.
    assert settled == {numbers: vendor.bill[numbers] for numbers in settled}
    assert {row.call_id for row in rows if row.kind == "call"} & lost.keys() == set()
    # Each answer that nobody heard is a lost call, and each lost call has one forfeit, of at least any charge.
    assert set(lost.values()) == {1}
    assert len(unheard) <= len(lost)
    assert min(forfeits) >= max(unheard)
    assert cost == sum(row.cost for row in rows) >= sum(vendor.bill.values())
    never_sent = sum(isinstance(event, g.CallSettled) and event.outcome == "never_sent" for event in events)
    assert never_above_its_limit(events) == len(settled) + len(lost) + never_sent
    assert never_sent <= vendor.how["refused"], "nothing was given back but what was refused"
    assert sum(isinstance(event, g.CallRefused) for event in events) > 0, "the limit was reached"
