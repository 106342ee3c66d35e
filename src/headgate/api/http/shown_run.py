"""A run as an answer: waited for where that is asked, from memory, from kept bytes or from the log, within bounds."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from headgate.api.http.query import LIMIT_MAX, PageWanted, Seconds
from headgate.api.http.route import Answer, Call
from headgate.api.http.wire import ActivityAnswer, RunAnswer, run_answer
from headgate.core.view import RunView

__all__ = ["Look", "ended_within", "seen"]

WAIT_SECONDS_MAX = 300.0
INLINE_BYTES_MAX = 256 * 1024
"""Outputs of all activities together that stand in an answer, and of the run by itself; beyond it each is
`{"$ref", "size"}`."""


class Look(PageWanted, frozen=True):
    """How much of a run is wanted: as it is, or as it was after event `at`; with what came out; which activities."""

    wait: Seconds = 0.0
    at: int | None = None
    outputs: bool = True

    @property
    def form(self) -> str:
        """The form in which `FinishedAnswers` may have it; empty: in none."""
        if self.cursor is not None or self.limit != LIMIT_MAX:
            return ""
        return "whole" if self.outputs else "short"


async def seen(call: Call[Any, Any], run: str, look: Look, *, status: int = 200) -> Answer:
    """Return the run as it was after an event, or as it is, after waiting for its end as long as is asked."""
    if look.at is not None:
        return Answer(data=_packed(await call.desk.show(run, at=look.at, contents=look.outputs), look))
    ended = await ended_within(call, run, look.wait)
    if ended is not None:
        return Answer(status=status, data=_packed(ended, look))
    form = look.form
    if (known := call.doors.finished.known(call.caller.tenant, run, form)) is not None:
        return Answer(status=status, data=known)
    if (view := await call.desk.in_memory(run, contents=look.outputs)) is not None:
        return Answer(status=status, data=_packed(view, look, call.workers.progress_of(view.id)))
    row = await call.records.row(run)
    data = call.doors.finished.find(row, form)
    if data is None:
        view = await call.desk.show(row.id, contents=look.outputs)
        data = _packed(view, look, call.workers.progress_of(view.id))
        if form and view.version == row.head.version:
            call.doors.finished.keep(row, form, data)
    return Answer(status=status, data=data)


async def ended_within(call: Call[Any, Any], run: str, wait: float) -> RunView | None:
    """Return the run when it has ended; None where that takes longer than `wait` seconds, or 0 are given."""
    if wait:
        async with call.doors.patience.wait(min(wait, WAIT_SECONDS_MAX)):
            return await call.held(call.desk.ended(run))
    return None


def _packed(run: RunView, look: Look, progress: Mapping[str, Any] = MappingProxyType({})) -> bytes:
    """Return the answer about a run; outputs that are too large together are named by where they are."""
    answer = run_answer(run, outputs=look.outputs, progress=progress, activities=look)
    data = msgspec.json.encode(answer)
    if not look.outputs or len(data) <= INLINE_BYTES_MAX:
        return data
    return msgspec.json.encode(_bounded(run, answer))


def _bounded(run: RunView, answer: RunAnswer) -> RunAnswer:
    path = f"/api/v1/workflows/{run.id}"
    return msgspec.structs.replace(
        answer,
        activities=_bounded_activities(answer.activities, path),
        outputs=_named_or_whole(answer.outputs, f"{path}/output"),
    )


def _bounded_activities(activities: list[ActivityAnswer], path: str) -> list[ActivityAnswer]:
    sizes = [len(msgspec.json.encode(activity.outputs)) for activity in activities]
    if sum(sizes) <= INLINE_BYTES_MAX:
        return activities
    return [
        msgspec.structs.replace(
            activity,
            outputs=[
                msgspec.structs.replace(one, value=_ref(f"{path}/activities/{activity.activity_key}/output", size))
                for one in activity.outputs
            ],
        )
        for activity, size in zip(activities, sizes, strict=True)
    ]


def _named_or_whole(outputs: Any, address: str) -> Any:
    size = len(msgspec.json.encode(outputs))
    return outputs if size <= INLINE_BYTES_MAX else _ref(address, size)


def _ref(address: str, size: int) -> dict[str, Any]:
    return {"$ref": address, "size": size}
