"""Approvals as people meet them: what is asked and still open, whether an answer fits, and what was decided before.

That a decision is taken once is the decider's affair (`core.decide`); here is what it does not know: the form that the
author asked for, and the list of those who may answer.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec

from headgate.core import events as e
from headgate.core.codec import content_value, decode
from headgate.core.errors import Invalid, Problem, Refused
from headgate.core.json_schema import problems_with
from headgate.core.place import Wait
from headgate.engine.engine import Engine
from headgate.ports import RunRow

__all__ = ["Answered", "NotAnApprover", "OpenApproval", "answer_to", "check_answer", "open_approvals"]

EVENTS_PAGE = 1_000
ENDS = (e.ActivityResolved, e.ActivityFailed, e.ActivityCancelled, e.RunFailed, e.RunCancelled, e.RunCompleted)


class NotAnApprover(Refused):
    """The approval names who may decide it, and this is somebody else."""

    code = "not_an_approver"


class OpenApproval(msgspec.Struct, frozen=True):
    """An activity that waits for a person; `asked` are the parameters of the approval. Times in microseconds."""

    run: str
    workflow: str
    key: str
    asked: dict[str, Any]
    since: int
    until: int | None
    waiting_for: str

    @property
    def id(self) -> str:
        return f"{self.run}~{self.key}"

    @property
    def title(self) -> str:
        return str(self.asked.get("title") or self.key)

    @property
    def form(self) -> dict[str, Any]:
        """The JSON Schema of what an approver is to fill in; empty: nothing."""
        form = self.asked.get("form")
        return cast("dict[str, Any]", form) if isinstance(form, dict) else {}

    @property
    def approvers(self) -> list[str]:
        """Who may decide; empty: anybody."""
        named = self.asked.get("approvers")
        listed = cast("list[object]", named) if isinstance(named, list) else [named] if named else []
        return [str(one) for one in listed]


class Answered(msgspec.Struct, frozen=True):
    """How an approval ended: a person's answer, or why there was none (`approved` None)."""

    approved: bool | None
    by: str = ""
    comment: str = ""
    at: int = 0
    why: str = ""


async def open_approvals(engine: Engine, row: RunRow) -> list[OpenApproval]:
    """Return what waits for a person's decision in a run."""
    lane = await engine.news.lane_at(row.id, row.head.version)
    asking = [(path, place.wait) for path, place in lane.run.approvals.items() if place.wait is not None]
    values = await engine.load_values(row.key, {wait.content for _, wait in asking if wait.content})
    return [
        OpenApproval(
            run=row.id,
            workflow=row.workflow,
            key=path,
            asked=_asked(wait, values.get(wait.content)),
            since=wait.since,
            until=wait.until,
            waiting_for=f"waits for approval {path!r}",
        )
        for path, wait in asking
    ]


def _asked(wait: Wait, content: object) -> dict[str, Any]:
    """Return an approval's parameters; where a policy asks there is only its sentence."""
    return cast("dict[str, Any]", content) if isinstance(content, dict) else {"title": wait.name}


def check_answer(open_: list[OpenApproval], key: str, *, approved: bool, by: str, data: Any) -> None:
    """Raise `NotAnApprover`, or `Invalid` where what the form asks for is not there; nothing where `key` names no open
    approval or several: whoever decides says so."""
    meant = [one for one in open_ if key in ("", one.key, one.key.partition("@")[0])]
    if len(meant) != 1:
        return
    approval = meant[0]
    if approval.approvers and by not in approval.approvers:
        names = ", ".join(approval.approvers)
        who = repr(by) if by else "somebody without a name"
        raise NotAnApprover(f"Approval {approval.key!r} of run {approval.run} is decided by {names}, not by {who}.")
    if approved and approval.form:
        problems = problems_with({} if data is None else data, approval.form)
        if problems:
            found = tuple(Problem(problem, path=_path(problem)) for problem in problems)
            raise Invalid(f"The answers do not fit the form of {approval.key!r}: {'; '.join(problems)}.", found)


def _path(problem: str) -> str:
    """Return the place that a problem names, as a field of the request."""
    place = next((word for word in problem.split() if word.startswith("$")), "$")
    return f"data{place[1:]}"


async def answer_to(engine: Engine, row: RunRow, key: str, since: int) -> Answered:
    """Return how an approval ended that is open no more: the first end of its place after it was asked."""
    after = 0
    while page := await engine.log.events(row.key, after=after, limit=EVENTS_PAGE):
        for stored in page:
            if stored.at < since:
                continue
            event, _ = decode(stored.data)
            if event.place == key and isinstance(event, e.ApprovalDecided):
                content = await engine.log.contents(row.key, [event.version])
                told = content_value(content[event.version]) if event.version in content else {}
                return Answered(event.approved, event.by, str(told.get("comment") or ""), event.at)
            if isinstance(event, ENDS) and event.place in (key, ""):
                return Answered(None, at=event.at, why=_why(event))
        after = page[-1].version
    return Answered(None, why="it is not asked any more")


def _why(event: e.Event) -> str:
    match event:
        case e.ActivityFailed():
            return event.message
        case e.ActivityResolved():
            return "nobody decided in time, and what then holds was taken"
        case e.ActivityCancelled() | e.RunCancelled():
            return "the run was cancelled"
        case _:
            return "the run has ended"
