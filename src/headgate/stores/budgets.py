"""The rules of budgets above the run: beside the log in its SQLite file, or in memory where the log is."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

import msgspec

from headgate.ports import BudgetRule, BudgetRules, Log, Opening, SpendRow, Tables
from headgate.stores.queries import load_queries

__all__ = [
    "OPENING",
    "MemoryBudgetRules",
    "SqliteBudgetRules",
    "budget_rules_beside",
    "opening_parameters",
    "opens_with",
]

SQL = load_queries("budgets.sql")
OPENING = SQL["opening"]


def budget_rules_beside(log: Log) -> BudgetRules:
    """Return the rules that lie where the log does."""
    return SqliteBudgetRules(log) if isinstance(log, Tables) else MemoryBudgetRules()


class SqliteBudgetRules:
    """`ports.BudgetRules` in the log's file."""

    def __init__(self, log: Tables) -> None:
        self._log = log

    async def save(self, rule: BudgetRule) -> None:
        await self._log.change(SQL["save"], rule.tenant, rule.scope, rule.period, msgspec.json.encode(rule))

    async def remove(self, rule: BudgetRule) -> bool:
        return bool(await self._log.change(SQL["remove"], rule.tenant, rule.scope, rule.period))

    def all(self) -> list[BudgetRule]:
        if not self._log.read(SQL["known"]):
            return []
        return [msgspec.json.decode(row[0], type=BudgetRule) for row in self._log.read(SQL["all"])]


class MemoryBudgetRules:
    """`ports.BudgetRules` for as long as the process lives."""

    def __init__(self) -> None:
        self._rules: dict[str, BudgetRule] = {}

    async def save(self, rule: BudgetRule) -> None:
        self._rules[rule.id] = rule

    async def remove(self, rule: BudgetRule) -> bool:
        return self._rules.pop(rule.id, None) is not None

    def all(self) -> list[BudgetRule]:
        return [self._rules[name] for name in sorted(self._rules)]


# --- What a budget begins with --------------------------------------------------------------------------------------


def opening_parameters(opening: Opening) -> tuple[object, ...]:
    """Return what the query `opening` is asked with."""
    key, value = opening.label or ("", "")
    names = (opening.workflow, key, value, opening.model, opening.provider)
    return (opening.tenant, opening.since, opening.until, opening.simulated, *names)


def opens_with(opening: Opening, rows: Iterable[SpendRow]) -> int:
    """Return the same for rows in memory."""
    return sum(row.cost for row in rows if _is_of(opening, row))


def _is_of(opening: Opening, row: SpendRow) -> bool:
    return (
        row.tenant == opening.tenant
        and opening.since <= row.at < opening.until
        and row.simulated == opening.simulated
        and opening.workflow in ("", row.workflow)
        and (opening.label is None or _labels(row).get(opening.label[0]) == opening.label[1])
        and (not opening.model or fnmatchcase(f"{row.provider}/{row.model}", opening.model))
        and (not opening.provider or fnmatchcase(row.provider, opening.provider))
    )


def _labels(row: SpendRow) -> dict[str, str]:
    return msgspec.json.decode(row.labels, type=dict[str, str])
