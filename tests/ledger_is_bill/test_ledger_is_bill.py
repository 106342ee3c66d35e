"""The ledger is the bill: ten thousand calls to vendors of four conventions, to the nano-dollar, bucket by bucket."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from tests.ledger_is_bill import vendors

from headgate.activities.gated_call import ask_first_available
from headgate.activities.targets import targets
from headgate.app import App
from headgate.ports import Attempt, ModelRequest, SpendRow, StartRequest
from headgate.stores.memory import MemoryLog

CALLS, ACTIVITIES = 10_000, 50
ASKED = ModelRequest(model="m", messages=())
FLOW = f"""
name: many
activities:
  ask: {{use: asks, for_each: "{{{{ INPUT.numbers }}}}", max_parallel: {ACTIVITIES}, timeout: 10m}}
"""


class Twice:
    """A context that settles some calls twice, as a worker does that has not heard the answer to the first."""

    def __init__(self, ctx: Any, random: Random) -> None:
        self._ctx = ctx
        self._random = random
        self.repeated = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)

    async def settle(self, call_id: str, outcome: Any) -> None:
        await self._ctx.settle(call_id, outcome)
        if self._random.random() < 0.1:
            self.repeated += 1
            await self._ctx.settle(call_id, outcome)


async def run_all(everybody: list[Any], seed: int) -> tuple[list[SpendRow], int]:
    """Make the calls, each to a vendor by chance; return the spend rows and how many settlements were repeated."""
    log = MemoryLog()
    providers = {vendor.name: vendor for vendor in everybody}
    repeated: list[int] = []

    async def asks(parameters: dict[str, Any], ctx: Any) -> str:
        random = Random(f"{seed} {ctx.task.place}")
        twice = Twice(ctx, random)
        for number in range(CALLS // ACTIVITIES):
            wanted = targets([f"{random.choice(everybody).name}/m"], providers, "asks")
            with suppress(Attempt):  # the vendor failed, with a bill or without
                await ask_first_available(
                    twice,  # a context with a habit
                    wanted,
                    request=[ctx.task.place, number],
                    size=lambda target: (target.provider.count(ASKED), 8_000),
                    call=lambda target, _: target.provider.request(ASKED),
                )
        repeated.append(twice.repeated)
        return "done"

    alone = {"HEADGATE_CIRCUIT_FAILURES": "0"}  # the vendors fail so often that they would be left alone
    async with App(log, environment=alone, offline=True, activities={"asks": asks}) as app:
        started = await app.desk.start(StartRequest(definition=FLOW, input={"numbers": list(range(ACTIVITIES))}))
        async with asyncio.timeout(500):
            row = await app.engine.finished(started.id)
        assert app.engine.failures == []
        rows = await log.spend(started.id)
        assert (row.head.status, row.head.reserved) == ("completed", 0)
        assert row.head.cost == sum(one.cost for one in rows)
    return rows, sum(repeated)


def buckets_of(row: SpendRow) -> dict[str, int]:
    """Return a row in a bill's words: disjoint buckets."""
    heard_again = row.cache_read_audio_tokens
    taken = row.cache_read_tokens + row.cache_write_tokens + row.cache_write_1h_tokens + row.audio_input_tokens
    return {
        "fresh": row.input_tokens - taken,
        "read": row.cache_read_tokens - heard_again,
        "written": row.cache_write_tokens,
        "kept": row.cache_write_1h_tokens,
        "heard": row.audio_input_tokens,
        "heard_again": heard_again,
        "said": row.output_tokens - row.reasoning_tokens - row.audio_output_tokens,
        "thought": row.reasoning_tokens,
        "spoken": row.audio_output_tokens,
    }


@pytest.mark.slow
def test_ten_thousand_calls_cost_what_the_vendors_put_on_their_bills_bucket_by_bucket():
    everybody = vendors.all_vendors(seed=4)

    rows, repeated = asyncio.run(run_all(everybody, seed=4))

    assert sum(len(vendor.bill) + vendor.refused for vendor in everybody) >= CALLS
    assert repeated > 500
    assert {row.kind for row in rows} == {"call"}, "nothing was forfeited, nothing taken back"
    for vendor in everybody:
        ours: Counter[str] = Counter()
        own = [row for row in rows if row.provider == vendor.name]
        for row in own:
            ours.update(buckets_of(row))
            ours["charge"] += row.cost
        assert ours == vendor.totals(), vendor.name
        # Row by row, too: each line of the bill that is an answer of its own is a row of ours.
        lines = Counter((line.tier, line.tokens, line.charge) for line in vendor.bill)
        ledger = Counter((row.tier, tuple(buckets_of(row).values()), row.cost) for row in own)
        loops = ledger - lines
        assert loops.total() < 0.1 * len(own), "only sums of several requests are not lines of the bill"
        assert vendor.refused > 20
        for name in vendor.buckets:
            assert ours[name] > 0, f"{vendor.name} charged for {name}"
