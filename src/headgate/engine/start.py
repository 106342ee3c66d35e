"""What a run is started with, and what comes of it: its id, its row, its first command."""

from __future__ import annotations

import secrets
from typing import Any

import msgspec

from headgate.core import commands as c
from headgate.core.codec import GENESIS
from headgate.core.plan import Plan
from headgate.core.run_ids import RUN_ID_BITS, run_id_of
from headgate.ports import DEFAULT_TENANT, Head, RunRow

__all__ = ["Start", "new_run_id", "row_of", "start_command"]


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is started with. `run_id` given: starting it again is harmless. `limit` is in nano-dollars."""

    workflow: str
    version: str | None = None
    input: Any = None
    run_id: str = ""
    tenant: str = DEFAULT_TENANT
    mode: str = "realtime"
    limit: int | None = None
    outer: tuple[str, ...] = ()
    parent: tuple[str, str, int] | None = None
    labels: dict[str, str] = {}
    unique_key: str = ""
    trace_id: str = ""
    command_id: str = ""
    fingerprint: str = ""
    actor: str = "client"


def new_run_id() -> str:
    """Return a new run id: 20 characters, unique by 100 random bits, easy to read out and to shorten."""
    return run_id_of(secrets.randbits(RUN_ID_BITS))


def row_of(start: Start, plan: Plan, run_id: str, *, key: int, content_key: bytes, at: int) -> RunRow:
    """Return the run as it is listed before its first event."""
    limit = start.limit if start.limit is not None else plan.definition.budget and plan.definition.budget.limit
    return RunRow(
        key=key,
        id=run_id,
        tenant=start.tenant,
        workflow=plan.definition.name,
        definition=plan.version,
        trace_id=start.trace_id or secrets.token_hex(16),
        parent=start.parent[0] if start.parent else "",
        unique_key=start.unique_key,
        labels=msgspec.json.encode({**plan.definition.labels, **start.labels}, order="sorted").decode(),
        limit=limit,
        content_key=content_key,
        created_at=at,
        head=Head("created", 0, GENESIS, None, 0, 0, 0, at, None, ""),
    )


def start_command(start: Start, plan: Plan, value: Any, row: RunRow, now: int) -> c.StartRun:
    """Return the command that begins the run of `row`, with its checked input."""
    parent_run, parent_place, parent_attempt = start.parent or ("", "", 0)
    has_children = any(activity.activity.workflow for activity in plan.activities)
    outer = (*start.outer, f"tree:{row.id}") if has_children and row.limit is not None else start.outer
    return c.StartRun(
        at=now,
        command_id=start.command_id,
        fingerprint=start.fingerprint,
        actor=start.actor,
        workflow=row.workflow,
        definition=row.definition,
        trace_id=row.trace_id,
        input=value,
        tenant=row.tenant,
        mode="batch" if start.mode == "batch" else "realtime",
        limit=start.limit,
        outer=outer,
        parent_run=parent_run,
        parent_place=parent_place,
        parent_attempt=parent_attempt,
        labels={**plan.definition.labels, **start.labels},
        unique_key=start.unique_key,
    )
