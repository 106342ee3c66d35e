"""What a notice says: which run, why, and where to go on. Written when it is sent, of the run as it is then."""

from __future__ import annotations

import msgspec

from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.engine.approval_links import ApprovalLinks
from headgate.engine.approvals import OpenApproval, open_approvals
from headgate.engine.budget_alerts import budget_news, budget_sentence
from headgate.engine.engine import Engine
from headgate.ports import RunRow

__all__ = ["Notice", "NoticeTexts"]

BODY_CHARACTERS_MAX = 4_000
SUBJECT_CHARACTERS_MAX = 150


class Notice(msgspec.Struct, frozen=True):
    subject: str
    text: str
    link: str = ""


class NoticeTexts:
    """One per engine. `base_url` is where people reach the HTTP server; empty: they are told what to type instead."""

    def __init__(self, engine: Engine, links: ApprovalLinks, base_url: str = "") -> None:
        self._engine = engine
        self._links = links
        self.base_url = base_url

    async def notice(self, run: RunRow, event: e.Event, *, by: str) -> Notice | None:
        """Return what is to be told of an event, to somebody who decides as `by`; None: nothing any more."""
        match event:
            case e.RunFailed():
                return self._failed(run, event)
            case e.ActivityWaiting(kind="signal"):
                return self._signal(run, event)
            case e.ActivitySuspended() | e.ActivityWaiting() | e.TimerFired():
                return await self._approval(run, event, by)
            case g.BudgetAlert() | g.BudgetOverrun() | g.CallWaiting():
                return self._budget(run, event)
            case _:
                return None

    def _failed(self, run: RunRow, event: e.RunFailed) -> Notice:
        text = f"Run {run.id} of {run.workflow} failed ({event.code}):\n\n{_cut(event.message)}\n\n{self._look(run)}"
        return Notice(_line(f"{run.workflow}: run {run.id} failed"), text, self._run_link(run))

    def _signal(self, run: RunRow, event: e.ActivityWaiting) -> Notice:
        how = f"headgate signal {run.id} {event.name} --activity {event.place}"
        text = f"Run {run.id} of {run.workflow} waits for the signal {event.name!r}.\n\n  {how}\n\n{self._look(run)}"
        return Notice(_line(f"{run.workflow}: waits for the signal {event.name}"), text, self._run_link(run))

    def _budget(self, run: RunRow, event: g.BudgetAlert | g.BudgetOverrun | g.CallWaiting) -> Notice | None:
        news = budget_news(run.workflow, event)
        if news is None:
            return None
        sentence = budget_sentence(news)
        subject = _line(f"{run.workflow}: {news.budget} {_BUDGET[news.kind]}")
        return Notice(subject, f"{sentence[:1].upper()}{sentence[1:]}.\n\n{self._look(run)}", self._run_link(run))

    async def _approval(self, run: RunRow, event: e.Event, by: str) -> Notice | None:
        approval = await self._open(run, event)
        if approval is None:
            return None
        link = await self._approval_link(approval, by)
        again = "Reminder: run" if isinstance(event, e.TimerFired) else "Run"
        parts = [f"{again} {run.id} of {run.workflow} waits for a decision: {approval.title}"]
        parts.append(_cut(str(approval.asked.get("body") or "")))
        if link:
            parts.append(f"Decide here (the link is for you alone, and good for a week):\n\n  {link}")
        else:
            key = "" if approval.key == "" else f" {approval.key}"
            parts.append(f"Decide with:\n\n  headgate approve {run.id}{key}\n  headgate reject {run.id}{key}")
        return Notice(_line(f"{run.workflow}: {approval.title}"), "\n\n".join(filter(None, parts)) + "\n", link)

    async def _open(self, run: RunRow, event: e.Event) -> OpenApproval | None:
        """Return the approval that an event asks for or reminds of, if it is still open."""
        now = await self._engine.log.run(run.id)
        if now is None or now.head.finished_at is not None:
            return None
        since = None if isinstance(event, e.TimerFired) else event.at
        found = [one for one in await open_approvals(self._engine, now) if one.key == event.place]
        return next((one for one in found if since in (None, one.since)), None)

    async def _approval_link(self, approval: OpenApproval, by: str) -> str:
        if not self.base_url:
            return ""
        token = await self._links.token(approval.run, approval.key, approval.since, by=by)
        return f"{self.base_url}/api/v1/approval_links/{token}"

    def _run_link(self, run: RunRow) -> str:
        return f"{self.base_url}/api/v1/workflows/{run.id}" if self.base_url else ""

    def _look(self, run: RunRow) -> str:
        link = self._run_link(run)
        return f"headgate show {run.id}\n" + (f"{link}\n" if link else "")


_BUDGET = {"alert": "is spent", "overrun": "is overspent", "ask": "needs somebody's word"}


def _cut(text: str) -> str:
    return text if len(text) <= BODY_CHARACTERS_MAX else f"{text[:BODY_CHARACTERS_MAX]} …"


def _line(text: str) -> str:
    """Return a text as one line, as a subject must be."""
    line = " ".join(text.split())
    return line if len(line) <= SUBJECT_CHARACTERS_MAX else f"{line[:SUBJECT_CHARACTERS_MAX]} …"
