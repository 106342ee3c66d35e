"""A shop under budgets that its runs share."""

from __future__ import annotations

import asyncio
from typing import Any

from headgate.core.values import Candidate, Price, Usage
from headgate.ports import BudgetRule, CallRequest, Settlement

TODAY = "2027-01-15"
"""The virtual clock's."""


def asked(worst: int = 60, *models: str, simulated: bool = False) -> CallRequest:
    price = Price(1, 1, simulated=simulated)
    return CallRequest("h", tuple(Candidate(model, worst, price) for model in models or ("acme/large",)))


def rule(limit: int, scope: str = "tenant", period: Any = "day", **fields: Any) -> BudgetRule:
    return BudgetRule(scope=scope, period=period, limit=limit, **fields)


class Shop:
    """Runs whose activities a test works on by hand."""

    def __init__(self, bench: Any) -> None:
        self.bench = bench
        self.protocol = bench.app.protocol
        self.ids: list[str] = []
        """The claim of each call, by its number."""

    async def open(self, name: str = "shop", *, calls: int = 1, **fields: Any) -> list[str]:
        """Start a run of so many activities; return their claims."""
        keys = ", ".join(f"a{number}: {{use: x, queue: mine, timeout_seconds: 300000}}" for number in range(calls))
        await self.bench.start(f"name: {name}\nactivities: {{{keys}}}", **fields)
        tasks = await self.protocol.poll(["mine"], worker_id="w", count=calls, wait_seconds=1)
        return [task.activity_id for task in tasks]

    async def admit(self, claim: str, request: CallRequest | None = None, *, number: int = 1) -> Any:
        return await self.protocol.admit(claim, call_id=f"{claim}/{number}", request=request or asked())

    def ask(self, claim: str, request: CallRequest | None = None) -> asyncio.Future[Any]:
        return asyncio.ensure_future(self.admit(claim, request))

    async def settle(self, claim: str, cost: int | None, *, number: int = 1, model: str = "acme/large") -> None:
        provider, _, name = model.partition("/")
        usage = Usage(provider=provider, model=name, cost_nano=cost)
        settlement = Settlement("never_sent") if cost is None else Settlement.used(usage)
        await self.protocol.settle(claim, call_id=f"{claim}/{number}", settlement=settlement)

    async def stands(self, scope: str = "tenant", start: str = f"day/{TODAY}", *, demo: bool = False) -> Any:
        found = await self.bench.log.budget(f"default/{scope}/{start}" + ("/demo" if demo else ""))
        return None if found is None else (found.limit, found.spent, found.reserved)

    def run_of(self, claim: str) -> Any:
        lane = self.bench.app.engine.loaded(claim.partition("/")[0])
        return None if lane is None else lane.run

    async def waits(self, claim: str) -> None:
        await self.bench.until(lambda: (run := self.run_of(claim)) is not None and run.waiting_calls)

    async def asks(self, claim: str) -> None:
        await self.bench.until(lambda: (run := self.run_of(claim)) is not None and run.asking_calls)


async def answer(future: asyncio.Future[Any]) -> Any:
    return await asyncio.wait_for(future, 5)
