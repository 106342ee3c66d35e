"""Routes of money: what a run cost, row by row, and what all of them did."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from headgate.api.http.route import Call, NoQuery, Route
from headgate.api.http.wire import CostAnswer, CostRow, rfc3339
from headgate.core.errors import Invalid
from headgate.core.money import dollars
from headgate.ports import SpendWanted

__all__ = ["ROUTES"]

GROUPS_MAX = 1_000


class Analytics(msgspec.Struct, frozen=True):
    start_date: str | None = None
    """The first day (UTC), such as 2026-01-31."""
    end_date: str | None = None
    """The last day, itself included."""
    group_by: Literal["provider", "model", "definition", "tenant", "day", "activity", "prompt", "kind"] = "model"
    limit: int = 100


class CostHistory(msgspec.Struct, frozen=True):
    workflow_id: str
    history: list[CostRow]
    count: int


class CostGroup(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    total_cost_usd: float
    saved_usd: float
    calls: int
    cache_hits: int
    input_tokens: int
    output_tokens: int
    simulated: bool


class CostAnalytics(msgspec.Struct, frozen=True):
    group_by: str
    groups: list[CostGroup]
    count: int


async def get_cost(call: Call[NoQuery, None]) -> CostAnswer:
    """Show what a run has cost so far, and what its budget has left"""
    run = await call.desk.show(call.path["id"], contents=False)
    left = None if run.limit is None else dollars(max(0, run.limit - run.cost - run.reserved))
    return CostAnswer(
        workflow_id=run.id,
        total_cost_usd=dollars(run.cost),
        budget_limit_usd=None if run.limit is None else dollars(run.limit),
        budget_remaining_usd=left,
        reserved_usd=dollars(run.reserved),
        total_activities=len(run.activities),
        simulated=run.simulated,
    )


async def get_cost_history(call: Call[NoQuery, None]) -> CostHistory:
    """Show every row of what a run cost, in the order of its events"""
    run, rows = await call.records.spend(call.path["id"])
    history = [
        CostRow(
            activity_key=row.activity,
            place=row.place,
            attempt=row.attempt,
            kind=row.kind,
            provider=row.provider,
            model=row.model,
            cost_usd=dollars(row.cost),
            saved_usd=dollars(row.saved),
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            cache_read_tokens=row.cache_read_tokens,
            cache_write_tokens=row.cache_write_tokens,
            reasoning_tokens=row.reasoning_tokens,
            estimated=row.estimated,
            simulated=row.simulated,
            at=rfc3339(row.at),
        )
        for row in rows
    ]
    return CostHistory(run, history, len(history))


async def get_cost_analytics(call: Call[Analytics, None]) -> CostAnalytics:
    """Add up what all runs cost, by provider, model, definition, day and others, dearest first"""
    query = call.query
    if not 1 <= query.limit <= GROUPS_MAX:
        raise Invalid(f"expected limit to be 1 to {GROUPS_MAX}, got {query.limit}")
    wanted = SpendWanted(
        since=_midnight(query.start_date, "start_date"), until=_midnight(query.end_date, "end_date", days=1)
    )
    by = "workflow" if query.group_by == "definition" else query.group_by
    totals = await call.records.spend_totals(by, wanted)
    groups = [
        CostGroup(
            name=total.name,
            total_cost_usd=dollars(total.cost),
            saved_usd=dollars(total.saved),
            calls=total.calls,
            cache_hits=total.hits,
            input_tokens=total.input_tokens,
            output_tokens=total.output_tokens,
            simulated=total.simulated,
        )
        for total in totals[: query.limit]
    ]
    return CostAnalytics(query.group_by, groups, len(groups))


def _midnight(text: str | None, name: str, *, days: int = 0) -> int | None:
    if text is None:
        return None
    try:
        day = datetime.strptime(text[:10], "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=days)
    except (ValueError, OverflowError):
        raise Invalid(f"expected {name} to be a day such as 2026-01-31, got {text!r}") from None
    return int(day.timestamp() * 1_000_000)


ROUTES = (
    Route(method="GET", path="/workflows/{id}/cost", function=get_cost, answer=CostAnswer, refusals=(404,)),
    Route(
        method="GET",
        path="/workflows/{id}/cost/history",
        function=get_cost_history,
        answer=CostHistory,
        refusals=(404,),
    ),
    Route(method="GET", path="/cost/analytics", function=get_cost_analytics, query=Analytics, answer=CostAnalytics),
)
