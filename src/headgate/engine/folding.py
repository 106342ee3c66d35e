"""A run made again of its events."""

from __future__ import annotations

from headgate.core.codec import decode
from headgate.core.errors import Invalid
from headgate.core.fold import apply
from headgate.core.plan import Plan
from headgate.core.run import Run
from headgate.ports import Log, RunRow

__all__ = ["fold_run"]

PAGE_EVENTS = 5_000


async def fold_run(log: Log, row: RunRow, plan: Plan, *, at_version: int | None = None) -> Run:
    """Return the run as its log says, up to `at_version`."""
    run = Run(row.id, plan)
    last = row.head.version if at_version is None else min(at_version, row.head.version)
    while run.version < last:
        page = await log.events(row.key, after=run.version, limit=min(PAGE_EVENTS, last - run.version))
        if not page:
            raise Invalid(f"The log of run {row.id} ends at event {run.version}; its head says {row.head.version}.")
        for stored in page:
            apply(run, decode(stored.data)[0])
    return run
