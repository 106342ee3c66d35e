"""The tasks of an append, where many processes write one log: rows that stand and fall with its events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from headgate.core import events as e
from headgate.core.run import Run
from headgate.ports import Append, Offer, SharedQueue, Task

__all__ = ["TaskRows"]

T = TypeVar("T")

ENDS_AN_ATTEMPT = frozenset(
    {
        e.ActivityCompleted,
        e.ActivitySuspended,
        e.ActivityCancelled,
        e.ActivityFailed,
        e.ActivitySkipped,
        e.AttemptFailed,
        e.AttemptTimedOut,
        e.AttemptLost,
    }
)
ENDS_EVERY_ATTEMPT = frozenset({e.RunCompleted, e.RunFailed, e.RunCancelled, e.CancelRequested})


class TaskRows:
    """One per engine. A task that the engine carries out by itself is in the hands of the node that decided it, in no
    queue: its row is for the others, should the node die."""

    def __init__(self, queue: SharedQueue) -> None:
        self._queue = queue
        self.tell_free: Callable[[str], None] = lambda queue: None
        """Told of queues in which tasks have become free."""

    def add(self, item: Append, run: Run, events: Sequence[e.Event]) -> None:
        """Add what these events, which were just decided, change."""
        for event in events:
            kind = type(event)
            if kind is e.ActivityScheduled:
                self._offer(item, run, event.place, event.version)
            elif kind is e.RunResumed:
                item.resumes = True
                for path in run.tasks:
                    self._offer(item, run, path, event.version)
            elif kind in ENDS_AN_ATTEMPT:
                self._end(item, run.id, event.place, event.attempt)
            elif kind in ENDS_EVERY_ATTEMPT:
                self._end(item, run.id, "", 0)

    def _offer(self, item: Append, run: Run, path: str, version: int) -> None:
        place = run.tasks.get(path)
        if place is None:  # by the end of the decision it is no task any more
            return
        if place.planned.native:
            offer = Offer(run.id, path, place.attempt, "", version, self._queue.node, held=True, tenant=run.tenant)
        else:
            task = Task(place.planned.activity.queue, run.id, path, place.attempt, run.tenant)
            offer = self._queue.offer(task, version, len(item.offers))
        item.offers = _with(item.offers, offer)

    def _end(self, item: Append, run_id: str, path: str, attempt: int) -> None:
        item.over = _with(item.over, (run_id, path, attempt))
        if item.offers:
            item.offers = [offer for offer in item.offers if path and offer[1:3] != (path, attempt)]

    def committed(self, item: Append) -> None:
        if item.offers:
            self._queue.born(item.offers)
            for offer in item.offers:
                if not offer.held:
                    self.tell_free(offer.queue)


def _with(known: Sequence[T], one: T) -> list[T]:
    """Return the list with one more: the same list, for an append may schedule thousands."""
    if not isinstance(known, list):
        return [*known, one]
    known.append(one)
    return known
