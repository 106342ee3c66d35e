"""The rules of budgets above the run, as documents; and what such a budget begins with."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

import msgspec

from headgate.ports import BudgetRule, Documents, Opening, SpendRow
from headgate.stores.held import HeldDocuments
from headgate.stores.queries import load_queries

__all__ = ["OPENING", "KeptBudgetRules", "opening_parameters", "opens_with"]

SQL = load_queries("budgets.sql")
OPENING = SQL["opening"]
KIND = "budget_rule"


class KeptBudgetRules:
    """`ports.BudgetRules` among the documents."""

    def __init__(self, documents: Documents) -> None:
        self._kept = HeldDocuments(documents, KIND)

    async def save(self, rule: BudgetRule) -> None:
        await self._kept.put(rule.tenant, _name(rule), msgspec.json.encode(rule), at=rule.since)

    async def remove(self, rule: BudgetRule) -> bool:
        return await self._kept.remove(rule.tenant, _name(rule))

    async def all(self) -> list[BudgetRule]:
        return [msgspec.json.decode(document.body, type=BudgetRule) for document in await self._kept.all()]


def _name(rule: BudgetRule) -> str:
    return f"{rule.scope}/{rule.period}"


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
