"""What travels over `/api/v1` in both directions: the bodies and answers of the routes, as types.

Times are RFC 3339 in UTC, money is in dollars, as numbers. Fields of answers are always there, empty ones too.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import msgspec

from headgate.api.http.query import PageWanted
from headgate.api.pages import page_behind
from headgate.core.catalogue import output_name
from headgate.core.money import dollars
from headgate.core.values import Mode
from headgate.core.view import PlaceView, RunSummary, RunView

__all__ = [
    "ActivityAnswer",
    "ActivityOutput",
    "CostAnswer",
    "CostRow",
    "DefinitionAnswer",
    "DefinitionLine",
    "DefinitionList",
    "OutputValue",
    "RunAnswer",
    "RunLine",
    "RunList",
    "RunOutputs",
    "RunStarted",
    "StartRun",
    "activity_answer",
    "rfc3339",
    "run_answer",
    "run_line",
]

TIMES_KEPT_MAX = 2_000
SECONDS_KEPT_MAX = 1_000
FIRST_PAGE = PageWanted()


@lru_cache(TIMES_KEPT_MAX)
def rfc3339(at: int | None) -> str | None:
    """Return microseconds since 1970 as `2026-01-31T09:00:00.000001Z`, or None for no time. Kept: what is done together
    has one time, and a run is shown again and again."""
    if not at:
        return None
    second, rest = divmod(at, 1_000_000)
    return f"{_second(second)}.{rest:06d}Z" if rest else f"{_second(second)}Z"


@lru_cache(SECONDS_KEPT_MAX)
def _second(at: int) -> str:
    """Return seconds since 1970: most times of an answer are of the same few."""
    return datetime.fromtimestamp(at, UTC).replace(tzinfo=None).isoformat()


# --- Definitions ---------------------------------------------------------------------------------------------------


class DefinitionAnswer(msgspec.Struct, frozen=True):
    name: str
    version: str
    created_at: str | None
    unchanged: bool = False


class DefinitionLine(msgspec.Struct, frozen=True):
    name: str
    version: str
    created_at: str | None
    description: str
    activities: int


class DefinitionList(msgspec.Struct, frozen=True):
    workflow_definitions: list[DefinitionLine]
    count: int


# --- Runs ----------------------------------------------------------------------------------------------------------


class StartSignal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sent to the run that is started, or to the live one that holds `unique_key`."""

    name: str
    data: Any = None
    activity_key: str = ""


class StartRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run of a deployed definition. `budget` is in dollars, a number or its text; `reuse` answers with the run that
    holds `unique_key` (200) instead of refusing. Without a `trace_id` the run has that of the request."""

    definition_name: str
    version: str | None = None
    input: Any = None
    unique_key: str = ""
    mode: Mode = "realtime"
    budget: float | str | None = None
    labels: dict[str, str] = {}
    trace_id: str = ""
    reuse: bool = False
    signal: StartSignal | None = None


class RunStarted(msgspec.Struct, frozen=True):
    workflow_id: str
    definition_name: str
    definition_version: str
    status: str
    created_at: str | None


class OutputValue(msgspec.Struct, frozen=True):
    name: str
    type: str
    value: Any


class ActivityAnswer(msgspec.Struct, frozen=True, kw_only=True):
    activity_key: str
    place: str
    activity_name: str
    status: str
    outputs: list[OutputValue]
    error: str | None
    error_code: str | None
    waiting_for: str | None
    started_at: str | None
    completed_at: str | None
    attempt: int
    iteration: int
    cost_usd: float
    items_total: int | None = None
    items_done: int = 0
    progress: Any = None
    """What its worker has said of it with a heartbeat, to this node."""


class RunAnswer(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    status: str
    definition_name: str
    definition_version: str
    created_at: str | None
    updated_at: str | None
    completed_at: str | None
    activities: list[ActivityAnswer]
    error_message: str | None
    error_code: str | None
    waiting_for: str | None
    input: Any
    outputs: Any
    total_cost_usd: float
    reserved_usd: float
    budget_limit_usd: float | None
    simulated: bool
    mode: str
    trace_id: str
    labels: dict[str, str]
    event_version: int
    next_cursor: str | None
    """Of the next page of its activities."""


class RunLine(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    status: str
    definition_name: str
    definition_version: str
    created_at: str | None
    updated_at: str | None
    completed_at: str | None
    error_message: str | None
    total_cost_usd: float
    simulated: bool
    labels: dict[str, str]


class RunList(msgspec.Struct, frozen=True, kw_only=True):
    workflows: list[RunLine]
    total: int
    count: int
    limit: int
    offset: int
    next_cursor: str | None


class ActivityOutput(msgspec.Struct, frozen=True, kw_only=True):
    status: str
    output: Any
    cost_usd: float
    completed_at: str | None
    is_terminal: bool


class RunOutputs(msgspec.Struct, frozen=True, kw_only=True):
    workflow_id: str
    status: str
    total_cost_usd: float
    completed_at: str | None
    outputs: dict[str, ActivityOutput]
    result: Any


# --- Money ---------------------------------------------------------------------------------------------------------


class CostAnswer(msgspec.Struct, frozen=True, kw_only=True):
    workflow_id: str
    total_cost_usd: float
    budget_limit_usd: float | None
    budget_remaining_usd: float | None
    reserved_usd: float
    total_activities: int
    simulated: bool


class CostRow(msgspec.Struct, frozen=True, kw_only=True):
    activity_key: str
    place: str
    attempt: int
    kind: str
    provider: str
    model: str
    cost_usd: float
    saved_usd: float
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    estimated: bool
    simulated: bool
    at: str | None


# --- From the engine's views ---------------------------------------------------------------------------------------


def run_line(run: RunSummary) -> RunLine:
    """Return a run as a list shows it."""
    return RunLine(
        id=run.id,
        status=run.status,
        definition_name=run.workflow,
        definition_version=run.definition,
        created_at=rfc3339(run.created_at),
        updated_at=rfc3339(run.updated_at),
        completed_at=rfc3339(run.finished_at),
        error_message=run.error or None,
        total_cost_usd=dollars(run.cost),
        simulated=run.simulated,
        labels=run.labels,
    )


def run_answer(
    run: RunView,
    *,
    outputs: bool,
    progress: Mapping[str, Any] = MappingProxyType({}),
    activities: PageWanted = FIRST_PAGE,
) -> RunAnswer:
    """Return a run with a page of its activities. Raises `Invalid` for a cursor that is none."""
    page = page_behind(run.activities, activities.cursor, activities.limit, lambda place: place.key)
    return RunAnswer(
        id=run.id,
        status=run.status,
        definition_name=run.workflow,
        definition_version=run.definition,
        created_at=rfc3339(run.created_at),
        updated_at=rfc3339(run.updated_at),
        completed_at=rfc3339(run.finished_at),
        activities=[
            activity_answer(place, outputs=outputs, progress=progress.get(place.place)) for place in page.lines
        ],
        error_message=run.error or None,
        error_code=run.error_code or None,
        waiting_for=run.waiting_for or None,
        input=run.input if outputs else None,
        outputs=run.outputs if outputs else None,
        total_cost_usd=dollars(run.cost),
        reserved_usd=dollars(run.reserved),
        budget_limit_usd=None if run.limit is None else dollars(run.limit),
        simulated=run.simulated,
        mode=run.mode,
        trace_id=run.trace_id,
        labels=run.labels,
        event_version=run.version,
        next_cursor=page.next,
    )


def activity_answer(place: PlaceView, *, outputs: bool, progress: Any = None) -> ActivityAnswer:
    """Return an activity; its output stands under the name that its kind of activity gives it."""
    named = (
        [OutputValue(output_name(place.name), "value", place.output)] if outputs and place.output is not None else []
    )
    return ActivityAnswer(
        activity_key=place.key,
        place=place.place,
        activity_name=place.name,
        status=place.status,
        outputs=named,
        error=place.error or None,
        error_code=place.error_code or None,
        waiting_for=place.waiting_for or None,
        started_at=rfc3339(place.started_at),
        completed_at=rfc3339(place.ended_at),
        attempt=place.attempt,
        iteration=place.iteration,
        cost_usd=dollars(place.cost),
        items_total=place.count,
        items_done=place.done,
        progress=progress,
    )
