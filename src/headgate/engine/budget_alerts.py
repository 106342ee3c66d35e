"""Whoever wants to know of budgets is told: a line in the log, listeners in this process, and a command of the user's.

An alert is an event of the log first; telling of it comes after, and may fail without harm. After a crash nobody is
told again: what was recorded can be read with `headgate events`.
"""

from __future__ import annotations

import asyncio
import logging
import shlex
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from headgate.core import gate_events as g
from headgate.core.decision import Decision
from headgate.core.errors import Invalid
from headgate.core.money import show
from headgate.engine.engine import Engine
from headgate.engine.lane import Lane
from headgate.ports import BudgetListener, BudgetNews

__all__ = ["BudgetAlerts", "BudgetCommand", "budget_command_of", "budget_news", "budget_sentence"]

NEWS_WAITING_MAX = 100
"""What comes beyond that, while the command is slow, is only logged."""
COMMAND_SECONDS_MAX = 30.0

logger = logging.getLogger("headgate.budgets")


class BudgetAlerts:
    """One per engine. `listen` adds a listener."""

    def __init__(self, engine: Engine) -> None:
        self._listeners: list[BudgetListener] = []
        engine.listen(self._committed)

    def listen(self, listener: BudgetListener) -> None:
        self._listeners.append(listener)

    def _committed(self, lane: Lane, decisions: Sequence[Decision]) -> None:
        for decision in decisions:
            for event in decision.events:
                if isinstance(event, g.BudgetAlert | g.BudgetOverrun | g.CallWaiting):
                    news = budget_news(lane.row.workflow, event)
                    if news is not None:
                        self._tell(news, event.trace_id)

    def _tell(self, news: BudgetNews, trace_id: str) -> None:
        logger.warning("%s", budget_sentence(news), extra={"trace_id": trace_id})
        for listener in self._listeners:
            try:
                listener(news)
            except Exception:
                logger.exception("a listener to budgets failed", extra={"trace_id": trace_id})


def budget_news(workflow: str, event: g.BudgetAlert | g.BudgetOverrun | g.CallWaiting) -> BudgetNews | None:
    """Return what an event of a workflow's run tells of a budget; None: nothing that people want to know."""
    about: dict[str, Any] = {
        "tenant": event.tenant,
        "run_id": event.run_id,
        "workflow": workflow,
        "place": event.place,
        "at": event.at,
        "budget": event.budget,
        "limit": event.limit,
    }
    match event:
        case g.BudgetAlert():
            return BudgetNews(kind="alert", spent=event.spent, percent=event.percent, **about)
        case g.BudgetOverrun():
            return BudgetNews(kind="overrun", spent=event.spent, **about)
        case _:
            if not event.asks:
                return None
            spent = event.limit - event.left
            return BudgetNews(kind="ask", spent=spent, model=event.model, needed=event.needed, **about)


def budget_sentence(news: BudgetNews) -> str:
    """Return the news as people read it."""
    spent = f"{show(news.spent)} of {show(news.limit)} spent"
    match news.kind:
        case "alert":
            return f"run {news.run_id}: {news.budget} has {spent} ({news.percent}% was to be told)"
        case "overrun":
            return f"run {news.run_id}: {news.budget} is overspent, {spent}; nothing more is admitted"
        case "ask":
            return f"run {news.run_id}: {news.model} would cost up to {show(news.needed)}; {news.budget} has {spent}"


class BudgetCommand:
    """A listener that has a command of the user's told: each news as one JSON document on its stdin, one at a time."""

    def __init__(self, command: str) -> None:
        """Raises `ValueError` for a command line that cannot be split into words."""
        self._words = shlex.split(command)
        self._news: deque[BudgetNews] = deque()
        self._come = asyncio.Event()

    def __call__(self, news: BudgetNews) -> None:
        if len(self._news) < NEWS_WAITING_MAX:
            self._news.append(news)
            self._come.set()

    async def run(self) -> None:
        """Call the command for each news, until cancelled."""
        while True:
            await self._come.wait()
            self._come.clear()
            while self._news:
                await self._call(self._news.popleft())

    async def _call(self, news: BudgetNews) -> None:
        try:
            process = await asyncio.create_subprocess_exec(*self._words, stdin=asyncio.subprocess.PIPE)
        except OSError as error:
            logger.error("HEADGATE_ON_BUDGET_ALERT: %s cannot be run: %s", self._words[0], error.strerror or error)
            return
        try:
            async with asyncio.timeout(COMMAND_SECONDS_MAX):
                await process.communicate(msgspec.json.encode(news) + b"\n")
        except TimeoutError:
            logger.error("HEADGATE_ON_BUDGET_ALERT: the command was ended after %g s", COMMAND_SECONDS_MAX)
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode:
            logger.error("HEADGATE_ON_BUDGET_ALERT: the command ended with %s", process.returncode)


def budget_command_of(environment: Mapping[str, str]) -> BudgetCommand | None:
    """Return the command of `HEADGATE_ON_BUDGET_ALERT`; None where there is none. Raises `Invalid`."""
    text = environment.get("HEADGATE_ON_BUDGET_ALERT", "").strip()
    try:
        return BudgetCommand(text) if text else None
    except ValueError as error:
        raise Invalid(f"HEADGATE_ON_BUDGET_ALERT: expected a command and its words, got {text!r}: {error}.") from None
