"""What every store of budget rules keeps true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.conformance.stores_beside import KINDS, opener

from headgate.ports import BudgetRule
from headgate.testing.clock import NOON
from headgate.testing.log_conformance import on_a_loop

DAILY = BudgetRule(scope="tenant", period="day", limit=5, since=NOON, by="ann")
MODEL = BudgetRule(scope="model:openai/gpt-*", period="month", limit=7, action="ask", warn_percent=80)
OTHERS = BudgetRule(tenant="other", scope="tenant", period="day", limit=1)


@pytest.fixture(params=KINDS)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return opener(request.param, tmp_path)


@on_a_loop
async def test_there_is_one_rule_of_a_tenant_scope_and_period_as_it_was_saved_last(opened: Any):
    async with opened() as storage:
        for rule in (DAILY, OTHERS, MODEL, BudgetRule(scope="tenant", period="day", limit=6)):
            await storage.budget_rules.save(rule)
    async with opened() as storage:
        assert await storage.budget_rules.all() == [MODEL, BudgetRule(scope="tenant", period="day", limit=6), OTHERS]


@on_a_loop
async def test_a_rule_that_was_removed_is_gone_and_no_other(opened: Any):
    async with opened() as storage:
        rules = storage.budget_rules
        for rule in (DAILY, OTHERS, MODEL):
            await rules.save(rule)

        assert await rules.remove(DAILY)
        assert not await rules.remove(DAILY)

        assert await rules.all() == [MODEL, OTHERS]


@on_a_loop
async def test_what_another_has_changed_is_seen_by_the_next_question(tmp_path: Path):
    open_storage = opener("postgres", tmp_path)
    async with open_storage() as one, open_storage() as other:
        await one.budget_rules.save(DAILY)
        assert await other.budget_rules.all() == [DAILY]
        await other.budget_rules.save(MODEL)
        await other.budget_rules.remove(DAILY)
        assert await one.budget_rules.all() == [MODEL]
