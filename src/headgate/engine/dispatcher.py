"""From the log to the workers: every scheduled attempt is offered once it is committed, never before.

Native activities (`wait`, `approval`, `transform`, sub-workflows) are carried out here, without a worker's slot: their
parameters are rendered, and what they come to is a command like any other.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from headgate.core import commands as c
from headgate.core import events as e
from headgate.core.decision import Decision
from headgate.core.duration import parse_instant, parse_microseconds
from headgate.core.errors import HeadgateError, Invalid, StaleAttempt, Unavailable
from headgate.core.place import Place
from headgate.core.run import Run
from headgate.core.values import Failure
from headgate.engine.engine import Engine
from headgate.engine.lane import Lane
from headgate.engine.rendering import reads_secrets, render, rendering_needs
from headgate.engine.vault import NO_SECRETS, Vault
from headgate.ports import Queue, Task

__all__ = ["Dispatcher"]

RENDER_TRIES_MAX = 20
"""A native activity is tried so often while the log is away, at most half a minute apart; then at the next start."""
APPROVAL_TIMEOUT_ACTIONS = ("fail", "approve", "reject")


class Dispatcher:
    """Listens to commits and keeps the queue true to them."""

    def __init__(self, engine: Engine, queue: Queue, vault: Vault) -> None:
        self._engine = engine
        self._queue = queue
        self._vault = vault
        self.stop_claims: Callable[[list[str]], None] = lambda activity_ids: None
        """Told of claims whose work is in vain, so that a worker in this process stops at once."""
        engine.listen(self.committed)
        if engine.rows is None:
            engine.read_again = self.offer_all

    def committed(self, lane: Lane, decisions: Sequence[Decision]) -> None:
        run = lane.run
        for decision in decisions:
            for event in decision.events:
                if type(event) is e.ActivityScheduled:
                    self._offer(lane, event.place, event.attempt)
                elif type(event) is e.RunResumed:
                    self.offer_all(lane)
                elif type(event) is e.CancelRequested:
                    self._withdraw(run.id)
        if run.finished:
            self._withdraw(run.id)

    def offer_all(self, lane: Lane) -> None:
        """Offer every task of a run: after a start of the process, or a resume."""
        for path, place in list(lane.run.tasks.items()):
            self._offer(lane, path, place.attempt)

    def offer_lost(self, lane: Lane) -> None:
        """The same where rows of tasks have got lost."""
        for path, place in list(lane.run.tasks.items()):
            self._offer(lane, path, place.attempt, lost=True)

    def carry_out(self, lane: Lane, path: str, attempt: int) -> None:
        """Carry out a native activity that another node has left. One that is over is let be."""
        place = lane.run.tasks.get(path)
        if place is not None and place.attempt == attempt and place.planned.native:
            self._offer(lane, path, attempt)

    def _offer(self, lane: Lane, path: str, attempt: int, *, lost: bool = False) -> None:
        run = lane.run
        place = run.tasks.get(path)
        if place is None or place.attempt != attempt or run.status in ("paused", "cancelling"):
            return
        if place.planned.native:
            self._engine.spawn(self._carry_out(lane, place, attempt), lane.row.trace_id)
        elif lost or self._engine.rows is None:
            self._queue.put(Task(place.planned.activity.queue, run.id, path, attempt, run.tenant))

    def _withdraw(self, run_id: str) -> None:
        claims = self._queue.drop(run_id)
        if claims:
            self.stop_claims([claim.activity_id for claim in claims])

    # --- Native activities ---------------------------------------------------------------------------------------

    async def _carry_out(self, lane: Lane, place: Place, attempt: int) -> None:
        for number in range(RENDER_TRIES_MAX):
            try:
                command = await self._native_command(lane, place, attempt)
                await self._engine.insist(lane.run.id, command)
            except StaleAttempt:
                return  # cancelled, or timed out, between the commit and now
            except Unavailable:  # the log cannot be read: its contents are needed to render the parameters
                await asyncio.sleep(min(2**number / 10, 30))
            else:
                return

    async def _native_command(self, lane: Lane, place: Place, attempt: int) -> c.Command:
        run, now, path = lane.run, self._engine.clock.now(), place.path
        try:
            values = await self._engine.load_values(lane.row.key, rendering_needs(run, place))
            secrets = await self._vault.of(run.tenant) if reads_secrets(place) else NO_SECRETS
            rendered = render(run, place, values, secrets)
            parameters, input_hash = rendered.parameters, rendered.input_hash
            if place.planned.native == "transform":
                return c.CompleteActivity(
                    at=now, actor="engine", place=path, attempt=attempt, output=parameters, input_hash=input_hash
                )
            waits = {"wait": _wait, "approval": _approval, "workflow": self._child}[place.planned.native]
            return c.SuspendActivity(
                at=now,
                actor="engine",
                place=path,
                attempt=attempt,
                parameters=parameters,
                input_hash=input_hash,
                **waits(run, place, parameters, now),
            )
        except Unavailable:
            raise
        except HeadgateError as error:
            failure = Failure(error.code, str(error), retryable=False)
            return c.FailActivity(at=now, actor="engine", place=path, attempt=attempt, error=failure)

    def _child(self, run: Run, place: Place, parameters: dict[str, Any], now: int) -> dict[str, Any]:
        child = place.planned.activity.workflow
        assert child is not None
        name = hashlib.sha256(f"{run.id}/{place.path}/{place.attempt}".encode()).hexdigest()[:20]
        return {
            "kind": "child",
            "child_run": name,
            "child_definition": f"{child.name}@{child.version}" if child.version else child.name,
            "child_limit": child.budget,
        }


def _wait(run: Run, place: Place, parameters: dict[str, Any], now: int) -> dict[str, Any]:
    given = [name for name in ("seconds", "duration", "until") if parameters.get(name) is not None]
    if len(given) != 1:
        raise Invalid(f"activity {place.planned.key!r}: a wait takes one of seconds, duration and until, got {given}.")
    value = parameters[given[0]]
    return {"kind": "timer", "until": parse_instant(value) if given[0] == "until" else now + parse_microseconds(value)}


def _approval(run: Run, place: Place, parameters: dict[str, Any], now: int) -> dict[str, Any]:
    action = parameters.get("on_timeout", "fail")
    if action not in APPROVAL_TIMEOUT_ACTIONS:
        raise Invalid(
            f"activity {place.planned.key!r}: on_timeout is one of {APPROVAL_TIMEOUT_ACTIONS}, got {action!r}."
        )
    timeout = parameters.get("timeout")
    until = None if timeout is None else now + parse_microseconds(timeout)
    reminder = parameters.get("remind_after")
    remind_every = 0 if reminder is None else parse_microseconds(reminder)
    return {"kind": "approval", "until": until, "on_timeout": action, "remind_every": remind_every}
