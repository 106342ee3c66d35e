"""Which claim a worker means by a UUID, as far as it was given here: of any other the log and the queue know more."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from headgate.core.run_ids import uuid_of
from headgate.core.values import Assignment

__all__ = ["Claims"]

CLAIMS_MAX = 10_000


class _Given(NamedTuple):
    worker_id: str
    activity_id: str


class Claims:
    """One per server. A UUID names an attempt, and so it may have been given twice: to a worker that is lost, and to
    the one that has the task now. Beyond the maximum the oldest are forgotten."""

    def __init__(self) -> None:
        self._given: OrderedDict[tuple[str, str], _Given] = OrderedDict()

    def give(self, tenant: str, worker_id: str, task: Assignment) -> str:
        """Return the UUID of a claim, or, where it has none, its id with no slash in it."""
        named = uuid_of(task.workflow_id, task.scheduled_version)
        if not named:
            return task.activity_id.replace("/", "~")
        self._given[tenant, named] = _Given(worker_id, task.activity_id)
        if len(self._given) > CLAIMS_MAX:
            self._given.popitem(last=False)
        return named

    def find(self, tenant: str, worker_id: str, named: str) -> str | None:
        """Return the id of the claim that the worker was given; `worker_id` empty: that whoever was given last."""
        given = self._given.get((tenant, named))
        return given.activity_id if given is not None and worker_id in ("", given.worker_id) else None
