"""What stands behind the routes: the desk (every verb of a client) and the worker protocol. Nothing by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from headgate.api.auth import Auth
from headgate.api.desk import Desk
from headgate.api.finished import FinishedAnswers
from headgate.api.library import Library
from headgate.api.patience import Patience
from headgate.api.records import Records
from headgate.api.views import Views
from headgate.core.values import Assignment, Price
from headgate.engine.approval_links import ApprovalLinks
from headgate.engine.hook_door import HookDoor
from headgate.engine.hooks import Hooks
from headgate.engine.quotas import Quotas
from headgate.engine.webhooks import Webhooks
from headgate.ports import Documents, Files, WorkerHost

__all__ = ["Doors"]


class Doors(msgspec.Struct, frozen=True):
    """Given by whoever puts things together."""

    desk: Desk
    library: Library
    records: Records
    workers: WorkerHost
    files: Files
    documents: Documents
    """Clients, people, webhooks and what else is kept beside the runs."""
    keep: Callable[[Sequence[Assignment]], None]
    """Takes assignments that only the server itself can work on."""
    views: Views
    """The same as each caller sees it. Routes have no other way to runs, definitions and workers."""
    auth: Auth
    """Who may ask: logins, tokens, clients, people, and the acts of those who may do all."""
    price: Callable[[str, str], Price | None]
    """The price of a model, by the names of its provider and its own; None: it is not known."""
    quotas: Quotas
    """What tenants may use: requests and streams are counted here, starts where they happen."""
    webhooks: Webhooks
    links: ApprovalLinks
    hooks: Hooks
    hook_door: HookDoor
    patience: Patience = msgspec.field(default_factory=Patience)
    finished: FinishedAnswers = msgspec.field(default_factory=FinishedAnswers)
    version: str = ""
    mode: str = "dev"
