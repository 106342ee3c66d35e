"""What an append writes beside its events: the row of its run, and the budgets that it moves."""

from __future__ import annotations

from typing import Any

import apsw

from headgate.ports import Append, Move, Outcome, OverBudget, RunRow
from headgate.stores.budgets import OPENING, opening_parameters
from headgate.stores.queries import load_queries

__all__ = ["insert_run", "move_budget", "move_head"]

SQL = load_queries("sqlite.sql")


def insert_run(writer: apsw.Connection, run: RunRow) -> Outcome:
    """Insert the row of a new run; `run_exists` where its id or unique key is taken."""
    try:
        writer.execute(SQL["insert_run"], _run_parameters(run))
    except apsw.ConstraintError:
        return "run_exists"
    return "accepted"


def _run_parameters(run: RunRow) -> tuple[Any, ...]:
    head = run.head
    return (
        *(run.key, run.id, run.tenant, run.workflow, run.definition, run.trace_id, run.parent, run.unique_key),
        *(run.labels, run.limit, run.content_key, run.created_at),
        *head,
    )


def move_head(writer: apsw.Connection, item: Append) -> Outcome:
    """Set the head of a run that stands at the version which the append expects."""
    try:
        writer.execute(SQL["move_head"], (*item.head, item.run, item.expected_version))
    except apsw.ConstraintError:  # a retried run's unique key is held by another run by now
        return "run_exists"
    return "accepted" if writer.changes() else "version_conflict"


def move_budget(writer: apsw.Connection, move: Move) -> OverBudget | None:
    """Reserve or settle in a budget; return how it stands where it has no room for that."""
    if move.limit is not None:
        _make_budget(writer, move, move.limit)
    amounts = (move.budget, move.reserve, move.spend)
    if move.reserve <= 0:
        writer.execute(SQL["settle_budget"], amounts)
        return None
    writer.execute(SQL["settle_budget" if move.beyond else "reserve_budget"], amounts)
    if writer.changes():
        return None
    # A budget that was never made admits nothing.
    rows = writer.execute(SQL["budget"], (move.budget,))
    return next((OverBudget(*row) for row in rows), OverBudget(move.budget, 0, 0, 0))


def _make_budget(writer: apsw.Connection, move: Move, limit: int) -> None:
    if move.opening is not None:
        ((spent,),) = writer.execute(OPENING, opening_parameters(move.opening))
        writer.execute(SQL["open_budget"], (move.budget, limit, spent))
    else:
        writer.execute(SQL["set_budget" if move.sets else "make_budget"], (move.budget, limit))
