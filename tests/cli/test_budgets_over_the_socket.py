"""What people do about budgets arrives at the other end of the control socket as it was."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from headgate.api.socket import SocketServer
from headgate.app import App
from headgate.client.address import choose_address
from headgate.client.socket import SocketClient
from headgate.core.errors import NotFound, Refused
from headgate.ports import BudgetRule, StartRequest
from headgate.stores.memory import MemoryLog
from headgate.testing.clock import VirtualClock

RULE = BudgetRule(scope="label:team=red", period="month", limit=7, action="ask", warn_percent=80, by="ann")
FLOW = "name: p\nbudget: 1\nactivities: {a: {use: x, queue: mine}}"


def test_rules_raised_limits_and_refusals_travel(tmp_path: Path):
    async def scene() -> None:
        app = App(MemoryLog(), clock=VirtualClock(), environment={}, offline=True, work=False)
        async with app, SocketServer(app.desk, choose_address(tmp_path / "h.db")) as server:
            client = SocketClient(server.address)
            run = await client.start(StartRequest(definition=FLOW))

            stands = await client.set_budget(RULE)
            listed = await client.budgets()
            raised = await client.raise_budget(run.id, more=5, by="bob")
            removed = await client.remove_budget(RULE)

            assert (stands.rule.limit, stands.rule.action, stands.rule.by, stands.start) == (7, "ask", "ann", "2027-01")
            assert listed == [stands]
            assert raised.limit == 1_000_000_005
            assert removed == stands
            with pytest.raises(NotFound, match="There is no budget of label:team=red per month"):
                await client.remove_budget(RULE)
            with pytest.raises(Refused, match="waits for a person to raise a limit"):
                await client.refuse_calls(run.id)

    asyncio.run(scene())
