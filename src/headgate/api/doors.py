"""What stands behind the routes: the desk (every verb of a client) and the worker protocol. Nothing by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from headgate.api.auth import Auth
from headgate.api.caller import Caller, IdentifyToken, StillMay, everybody_still_may
from headgate.api.claims import Claims
from headgate.api.desk import Desk
from headgate.api.feed import Feed
from headgate.api.finished import FinishedAnswers
from headgate.api.hub import Hub
from headgate.api.kept_answers import KeptAnswers
from headgate.api.library import Library
from headgate.api.models import Models
from headgate.api.patience import Patience
from headgate.api.records import Records
from headgate.api.texts import Texts
from headgate.api.tickets import IssueTicket
from headgate.api.uploads import Uploads
from headgate.api.views import Views
from headgate.core.values import Assignment, Price
from headgate.engine.approval_links import ApprovalLinks
from headgate.engine.health import Health
from headgate.engine.hook_door import HookDoor
from headgate.engine.hooks import Hooks
from headgate.engine.metrics import Metrics
from headgate.engine.quotas import Quotas
from headgate.engine.webhooks import Webhooks
from headgate.ports import Documents, Files, KeptResults, WorkerHost
from headgate.version import package_version

__all__ = ["AdmitConnection", "Doors"]

AdmitConnection = Callable[[Caller], Callable[[], None]]
"""Says that a connection is to be held open for somebody; what is returned is called when it ends. Raises `TooMany`."""


def any_connection(caller: Caller) -> Callable[[], None]:
    """Let everybody hold connections open, as many as the process has room for."""
    return lambda: None


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
    models: Models
    """Whom this process can ask, and what is known of prices."""
    kept_results: Callable[[str], KeptResults]
    """What is kept for reuse of a tenant. Raises `Refused` for a log in memory."""
    kept_answers: KeptAnswers
    """What was answered to requests under a key, where the log does not know them."""
    quotas: Quotas
    """What tenants may use: requests and streams are counted here, starts where they happen."""
    webhooks: Webhooks
    links: ApprovalLinks
    hooks: Hooks
    hook_door: HookDoor
    health: Health
    metrics: Metrics
    feed: Feed
    """The events of all runs, as they come."""
    texts: Texts
    """The texts that activities stream."""
    uploads: Uploads
    """Files that were sent and that no run names yet."""
    issue_ticket: IssueTicket
    identify_token: IdentifyToken
    still_may: StillMay = everybody_still_may
    """Asked now and then of each stream that is open, for it may last for days."""
    patience: Patience = msgspec.field(default_factory=Patience)
    admit_connection: AdmitConnection = any_connection
    claims: Claims = msgspec.field(default_factory=Claims)
    """By the UUIDs that workers know them by."""
    hub: Hub = msgspec.field(default_factory=Hub)
    """Who is told the same over sockets."""
    finished: FinishedAnswers = msgspec.field(default_factory=FinishedAnswers)
    mode: str = "dev"

    @property
    def version(self) -> str:
        """Of the server, as it says of itself."""
        return package_version()
