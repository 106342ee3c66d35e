"""The courier: carries messages from run to run until their acceptance is in the sender's log.

A message is a projection of the run that sends it: after a crash it is there again, with the same id. Accepting it
twice is harmless, for the id of a child is derived from the place of its parent, and a parent hears of an end only
once, and of each correction of a cost, too. Nor does their order matter.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from headgate.core import commands as c
from headgate.core.decision import Decision
from headgate.core.errors import HeadgateError, NotFound, Refused, Unavailable
from headgate.core.run import Message
from headgate.core.values import Failure
from headgate.core.view import outputs_of, result_versions
from headgate.engine.engine import Engine
from headgate.engine.lane import Lane
from headgate.engine.start import Start

__all__ = ["Courier"]


class Courier:
    """One per engine. Each message is under way at most once at a time; the warden asks again for what got stuck."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._under_way: set[tuple[str, str]] = set()
        engine.listen(self._committed)

    def _committed(self, lane: Lane, decisions: Sequence[Decision]) -> None:
        if lane.run.messages:
            self.deliver(lane)

    def deliver(self, lane: Lane) -> None:
        """Set out with every message of the run that is not under way, once all that the run says is durable."""
        if not lane.durable:
            return  # its commit calls again
        for message in lane.run.messages.values():
            key = (lane.run.id, message.id)
            if key not in self._under_way:
                self._under_way.add(key)
                self._engine.spawn(self._carry(lane, message), lane.row.trace_id)

    async def _carry(self, lane: Lane, message: Message) -> None:
        try:
            match message.kind:
                case "start_child":
                    await self._start_child(lane, message)
                case "cancel_child":
                    await self._cancel_child(message)
                case "tell_parent":
                    await self._tell_parent(lane, message)
                case "correct_parent":
                    await self._correct_parent(lane.run.id, message)
            command = c.ConfirmMessage(at=self._engine.clock.now(), actor="engine", message=message.id)
            await self._engine.submit(lane.run.id, command)
        except Unavailable:
            return  # the warden comes back to it
        finally:
            self._under_way.discard((lane.run.id, message.id))

    async def _start_child(self, lane: Lane, message: Message) -> None:
        run = lane.run
        values = await self._engine.load_values(lane.row.key, {message.content})
        name, _, version = message.definition.partition("@")
        start = Start(
            workflow=name,
            version=version or None,
            input=values[message.content],
            run_id=message.run_id,
            tenant=run.tenant,
            mode=run.mode,
            limit=message.limit,
            outer=run.outer,
            parent=(run.id, message.place, message.attempt),
            labels=run.labels,
            trace_id=run.trace_id,
            actor="engine",
        )
        try:
            await self._engine.start(start)
        except HeadgateError as error:
            if isinstance(error, Unavailable):
                raise
            await self._tell(run.id, message, status="failed", error=Failure(error.code, str(error), retryable=False))

    async def _cancel_child(self, message: Message) -> None:
        try:
            command = c.Cancel(at=self._engine.clock.now(), actor="engine", reason="its parent run ended")
            await self._engine.submit(message.run_id, command)
        except (NotFound, Refused):
            return

    async def _tell_parent(self, lane: Lane, message: Message) -> None:
        run = lane.run
        if not run.finished:
            return  # it was retried since: it tells when it has ended again
        error = None
        if run.status != "completed":
            # What failed may be tried again, as a new child; what was cancelled was meant to end.
            error = Failure(run.code or run.status, run.error, retryable=run.status == "failed")
        output = None
        if run.status == "completed":
            output = outputs_of(run, await self._engine.load_values(lane.row.key, result_versions(run)))
        own = Message(message.id, "tell_parent", message.place, message.attempt, run.id)
        await self._tell(message.run_id, own, status=run.status, output=output, cost=message.amount, error=error)

    async def _correct_parent(self, child: str, message: Message) -> None:
        command = c.CorrectChild(
            at=self._engine.clock.now(),
            actor="engine",
            place=message.place,
            attempt=message.attempt,
            child_run=child,
            of=message.of,
            amount=message.amount,
        )
        with contextlib.suppress(NotFound):  # the parent was deleted
            await self._engine.submit(message.run_id, command)

    async def _tell(self, parent: str, message: Message, **how: Any) -> None:
        command = c.FinishChild(
            at=self._engine.clock.now(),
            actor="engine",
            place=message.place,
            attempt=message.attempt,
            child_run=message.run_id,
            **how,
        )
        try:
            await self._engine.submit(parent, command)
        except NotFound:
            return
