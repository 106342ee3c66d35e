"""Keeps an outbox at work for each enabled webhook, in every process that works; their leases say who delivers."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import cast

import msgspec

from headgate.core.codec import TYPE_NAMES, decode
from headgate.core.decision import Decision
from headgate.core.errors import Unavailable
from headgate.core.place import key_of_place
from headgate.engine.engine import Engine
from headgate.engine.lane import Lane
from headgate.engine.outbox import Message, Outbox, Receiver, Standing
from headgate.engine.reader import view_events
from headgate.engine.webhooks import Webhooks, message_body
from headgate.ports import EventRow, EventView, RunRow, Webhook

__all__ = ["RunsSeen", "WebhookDelivery"]

FAILURES_MAX = 20
FAILING_MICROSECONDS = 24 * 3_600 * 1_000_000
"""One that has failed so often in a row, and for so long, is disabled."""
RUNS_SEEN_MAX = 10_000
LOOK_AGAIN_MICROSECONDS = 5_000_000
"""How often other processes' changes are looked for, where there may be such processes, and after a failure."""

logger = logging.getLogger("headgate.webhooks")

MakeOutbox = Callable[[tuple[str, str], Receiver], Outbox]
"""Returns the outbox of a tenant's document for a receiver."""


class RunsSeen:
    """Whose run an event is of, remembered for the runs asked about last: none of this ever changes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._rows: OrderedDict[str, RunRow] = OrderedDict()

    async def row(self, run_id: str) -> RunRow | None:
        """Return the run as it was listed when it was first seen, or None: it has been deleted."""
        if run_id in self._rows:
            self._rows.move_to_end(run_id)
            return self._rows[run_id]
        row = await self._engine.log.run(run_id)
        if row is not None:
            self._rows[run_id] = row
            if len(self._rows) > RUNS_SEEN_MAX:
                self._rows.popitem(last=False)
        return row


class WebhookDelivery:
    """One per engine. `run` delivers until it is cancelled; `polls` where other processes may change what is kept."""

    def __init__(self, engine: Engine, webhooks: Webhooks, make_outbox: MakeOutbox, *, polls: bool) -> None:
        self._engine = engine
        self._webhooks = webhooks
        self._make_outbox = make_outbox
        self._polls = polls
        self._runs = RunsSeen(engine)
        self._at_work: dict[tuple[str, str], tuple[int, Outbox, asyncio.Task[None]]] = {}
        engine.listen(self._committed)

    async def run(self) -> None:
        clock, known = self._engine.clock, -1
        try:
            while True:
                again = clock.now() + LOOK_AGAIN_MICROSECONDS if self._polls else None
                try:
                    if (revision := await self._webhooks.revision()) != known:
                        await self._follow()
                        known = revision
                except Unavailable as error:
                    logger.warning("webhooks wait, for what is kept cannot be read: %s", error)
                    again = clock.now() + LOOK_AGAIN_MICROSECONDS
                await clock.wait(again, self._webhooks.changed)
        finally:
            for name in list(self._at_work):
                await self._stop(name)

    async def settled(self) -> None:
        """Return when nothing can be delivered now. `run` must be running."""
        await asyncio.gather(*(outbox.settled() for _, outbox, _ in self._at_work.values()))

    async def _follow(self) -> None:
        """Start and stop outboxes, so that there is one for each subscription as it is now."""
        wanted = {(one.tenant, one.id): (revision, one) async for revision, one in self._webhooks.enabled()}
        for name, (revision, _, _) in list(self._at_work.items()):
            if name not in wanted or wanted[name][0] != revision:
                await self._stop(name)
        for name in wanted.keys() - self._at_work.keys():
            revision, webhook = wanted[name]
            outbox = self._make_outbox(name, _Subscriber(webhook, self._runs, self._webhooks, self._engine.clock.now))
            task = asyncio.get_running_loop().create_task(outbox.run(), name=f"headgate-webhook-{webhook.id}")
            task.add_done_callback(_ended)
            self._at_work[name] = (revision, outbox, task)

    async def _stop(self, name: tuple[str, str]) -> None:
        _, _, task = self._at_work.pop(name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def _committed(self, lane: Lane, decisions: Sequence[Decision]) -> None:
        if not self._at_work:
            return
        types = {TYPE_NAMES[type(event)] for decision in decisions for event in decision.events}
        for _, outbox, _ in self._at_work.values():
            if any(map(outbox.wants, types)):
                outbox.wake.set()


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error(
            "%s has failed, and delivers nothing until the process is started anew", task.get_name(), exc_info=error
        )


class _Subscriber:
    """A subscription as an outbox sees it."""

    alone = True

    def __init__(self, webhook: Webhook, runs: RunsSeen, webhooks: Webhooks, now: Callable[[], int]) -> None:
        self._webhook = webhook
        self._runs = runs
        self._webhooks = webhooks
        self._now = now
        self._types = frozenset(name for name in TYPE_NAMES.values() if _is_wanted(name, webhook.events))

    def wants(self, event_type: str) -> bool:
        return event_type in self._types

    async def messages(self, row: EventRow) -> Sequence[Message]:
        event, _ = decode(row.data)
        run = await self._runs.row(event.run_id) if event.tenant == self._webhook.tenant else None
        if run is None or not self._concerns(run):
            return ()
        return (Message(f"{event.run_id}.{event.version}", row.type, row.pos, (row, run)),)

    def _concerns(self, run: RunRow) -> bool:
        webhook = self._webhook
        if webhook.workflows and run.workflow not in webhook.workflows:
            return False
        labels = msgspec.json.decode(run.labels, type=dict[str, str]) if webhook.labels else {}
        return webhook.labels.items() <= labels.items()

    async def send(self, message: Message) -> int:
        row, run = cast("tuple[EventRow, RunRow]", message.about)
        (view,) = view_events([row], {})
        return await self._webhooks.post(self._webhook, message.id, _told(view, run))

    async def failing(self, standing: Standing, error: str, *, hopeless: bool) -> None:
        if hopeless:
            await self._webhooks.disable(self._webhook, error)
        elif standing.failures >= FAILURES_MAX and self._now() - standing.failing_since >= FAILING_MICROSECONDS:
            since = datetime.fromtimestamp(standing.failing_since / 1_000_000, UTC)
            why = f"nothing has arrived since {since:%Y-%m-%d %H:%M} UTC, {standing.failures} times in a row: {error}"
            await self._webhooks.disable(self._webhook, why)


def _is_wanted(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def _told(event: EventView, run: RunRow) -> bytes:
    """Return an event as it is delivered: its envelope and fields, without contents."""
    data = {
        "workflow_id": run.id,
        "definition_name": run.workflow,
        "definition_version": run.definition,
        "labels": msgspec.json.decode(run.labels),
        "event_version": event.version,
        "activity_key": key_of_place(event.place),
        "place": event.place,
        "attempt": event.attempt,
        "actor": event.actor,
        "trace_id": event.trace_id,
        "fields": event.fields,
    }
    return message_body(event.type, event.at, data)
