"""The cache of results: filled by what has completed, asked when a task is handed out.

What makes two attempts equal stands in `cache`; `call_cache` is the same for model calls. A result is kept in the
listener of the commit that has it, before what this makes due is handed out: that may be an equal attempt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headgate.core import commands as c
from headgate.core import events as e
from headgate.core.decision import Decision
from headgate.engine.cache import NO_CACHE
from headgate.engine.engine import Engine
from headgate.engine.lane import Lane
from headgate.engine.worker_calls import HeldClaim
from headgate.ports import Cache, Claim, Reusable, Task

__all__ = ["ResultCache", "completion_of"]


class ResultCache:
    """One per engine. Made before whoever hands out what a commit makes due."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.cache: Cache = NO_CACHE
        self.reuse = True
        """False: results are kept, and none is reused."""
        self.under_way: dict[tuple[str, str, int], Reusable] = {}
        """Results on their way into the log, by run, place and attempt: kept for reuse when they have got there."""
        engine.listen(self._committed)

    async def find(self, tenant: str, key: bytes) -> Reusable | None:
        """Return the result of an equal attempt, if there is one that may be reused."""
        return await self.cache.find(tenant, key, self._engine.clock.now()) if self.reuse else None

    def note(self, task: Task, held: HeldClaim, command: c.CompleteActivity) -> None:
        """A worker has reported this result, and it is about to be decided."""
        lane = self._engine.loaded(task.run_id)
        place = lane and lane.run.tasks.get(command.place)
        if lane is None or place is None or place.attempt != command.attempt:
            return
        activity = place.planned.activity
        assert activity.cache is not None
        self.under_way[task.run_id, task.place, task.attempt] = Reusable(
            tenant=lane.run.tenant,
            key=held.cache_key,
            workflow=lane.run.plan.definition.name,
            activity=activity.key,
            name=activity.name,
            at=command.at,
            expires_at=command.at + int(activity.cache.ttl_seconds * 1_000_000),
            saves=max(0, place.cost - held.cost + command.cost),
            output=command.encoded,
        )

    def forget(self, run_id: str, place: str, attempt: int) -> None:
        """The claim of this attempt is over: a result of it that has not got into the log never will."""
        self.under_way.pop((run_id, place, attempt), None)

    def _committed(self, lane: Lane, decisions: Sequence[Decision]) -> None:
        if not self.under_way:
            return
        for decision in decisions:
            for event in decision.events:
                if type(event) is e.ActivityCompleted:
                    made = self.under_way.pop((lane.run.id, event.place, event.attempt), None)
                    if made is not None:
                        self.cache.keep(made)


def completion_of(claim: Claim, input_hash: str, output: Any, *, saved: int, now: int) -> c.CompleteActivity:
    """Return the command that completes an attempt with the output of an equal one, which saves an amount."""
    return c.CompleteActivity(
        at=now,
        actor="engine",
        place=claim.task.place,
        attempt=claim.task.attempt,
        output=output,
        started_at=claim.claimed_at,
        input_hash=input_hash,
        cached=True,
        saved=saved,
        simulated=isinstance(output, dict) and output.get("simulated") is True,
    )
