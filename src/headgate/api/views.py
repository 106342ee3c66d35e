"""What stands behind the doors as one caller sees it: the tenant's own, and nothing that tells of others."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from headgate.api.caller import Caller
from headgate.api.desk import Desk
from headgate.api.library import Library
from headgate.api.records import Records
from headgate.engine.protocol import LocalProtocol
from headgate.engine.tenant_workers import TenantWorkers
from headgate.ports import WorkerHost

__all__ = ["VIEWS_MAX", "View", "Views"]

VIEWS_MAX = 1_000
"""Callers whose views are kept; the view of another is made anew, in some microseconds."""


class View(NamedTuple):
    """The tenant's part of everything, and the caller's name on what is done with it."""

    desk: Desk
    library: Library
    records: Records
    workers: WorkerHost


class Views:
    """One per engine. This is the one place where what belongs to all becomes a tenant's."""

    def __init__(self, desk: Desk, library: Library, records: Records, workers: LocalProtocol) -> None:
        def make(tenant: str, actor: str) -> View:
            return View(desk.of(tenant, actor), library.of(tenant), records.of(tenant), TenantWorkers(workers, tenant))

        self._of = lru_cache(VIEWS_MAX)(make)

    def of(self, caller: Caller) -> View:
        return self._of(caller.tenant, caller.actor)
