"""The verbs of a client over a control socket as values: what each takes and gives. No socket here."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from headgate.core.view import RunSummary, RunView
from headgate.ports import (
    BudgetRule,
    BudgetStanding,
    Closed,
    Collected,
    Delivered,
    Document,
    Erased,
    EventView,
    Hook,
    Position,
    RateLimit,
    Schedule,
    SecretLine,
    SpendRow,
    StartRequest,
    Tenant,
    TenantStanding,
    Update,
    Webhook,
)

__all__ = ["RESULTS", "VERBS"]


class _Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class _Start(_Arguments, frozen=True):
    request: StartRequest


class _Show(_Arguments, frozen=True):
    run: str
    at: int | None = None
    contents: bool = True


class _Runs(_Arguments, frozen=True):
    status: str | None = None
    workflow: str | None = None
    limit: int = 50


class _Events(_Arguments, frozen=True):
    run: str
    after: int = 0
    limit: int = 1_000
    contents: bool = True


class _Signal(_Arguments, frozen=True):
    run: str
    name: str
    key: str = ""
    data: Any = None


class _Decide(_Arguments, frozen=True, kw_only=True):
    run: str
    approved: bool
    key: str = ""
    by: str = ""
    comment: str = ""
    data: Any = None


class _WithReason(_Arguments, frozen=True):
    run: str
    reason: str = ""


class _OneRun(_Arguments, frozen=True):
    run: str


class _RaiseBudget(_Arguments, frozen=True):
    run: str
    to: int = 0
    more: int = 0
    key: str = ""
    by: str = ""


class _RefuseCalls(_Arguments, frozen=True):
    run: str
    key: str = ""
    by: str = ""


class _OneRule(_Arguments, frozen=True):
    rule: BudgetRule


class _Erase(_Arguments, frozen=True):
    runs: tuple[str, ...] = ()
    label: str = ""
    tenant: str = ""
    by: str = ""


class _Collect(_Arguments, frozen=True):
    older: str = ""
    dry_run: bool = False
    by: str = ""


class _Schedule(_Arguments, frozen=True):
    schedule: Schedule
    definition: str
    files: dict[str, str] = {}


class _BackfillSchedule(_Arguments, frozen=True):
    name: str
    since: int
    until: int


class _ChangeSchedule(_Arguments, frozen=True):
    name: str
    change: Literal["pause", "resume", "remove", "trigger"]


class _AddWebhook(_Arguments, frozen=True):
    webhook: Webhook


class _EnableWebhook(_Arguments, frozen=True, kw_only=True):
    webhook: str
    enabled: bool
    tenant: str = "default"


class _OneWebhook(_Arguments, frozen=True):
    webhook: str
    tenant: str = "default"


class _AddHook(_Arguments, frozen=True):
    hook: Hook


class _OneHook(_Arguments, frozen=True):
    hook: str
    tenant: str = "default"


class _SetLimit(_Arguments, frozen=True):
    limit: RateLimit


class _RemoveLimit(_Arguments, frozen=True):
    scope: str


class _SetSecret(_Arguments, frozen=True):
    name: str
    value: str
    tenant: str = "default"


class _OneSecret(_Arguments, frozen=True):
    name: str
    tenant: str = "default"


class _OfTenant(_Arguments, frozen=True):
    tenant: str = "default"


class _SetTenant(_Arguments, frozen=True):
    tenant: Tenant
    new: bool = False


class _OneTenant(_Arguments, frozen=True):
    name: str


class _CloseTenant(_Arguments, frozen=True):
    name: str
    by: str = ""


class _Watch(_Arguments, frozen=True):
    run: str
    tokens: bool = False
    place: str = ""
    resume: tuple[Position, ...] = ()


class _Nothing(_Arguments, frozen=True):
    pass


class _GetDocument(_Arguments, frozen=True):
    kind: str
    tenant: str
    name: str


class _ListDocuments(_Arguments, frozen=True):
    kind: str
    tenant: str | None = None
    after: tuple[str, str] = ("", "")
    limit: int = 1_000


class _PutDocument(_Arguments, frozen=True, kw_only=True):
    kind: str
    tenant: str
    name: str
    body: bytes
    at: int
    expected: int | None = None


class _RemoveDocument(_Arguments, frozen=True):
    kind: str
    tenant: str
    name: str
    expected: int | None = None


class _DocumentRevision(_Arguments, frozen=True):
    kind: str


VERBS: dict[str, type[msgspec.Struct]] = {
    "start": _Start,
    "show": _Show,
    "runs": _Runs,
    "events": _Events,
    "signal": _Signal,
    "decide": _Decide,
    "cancel": _WithReason,
    "pause": _WithReason,
    "resume": _OneRun,
    "retry": _OneRun,
    "raise_budget": _RaiseBudget,
    "refuse_calls": _RefuseCalls,
    "set_budget": _OneRule,
    "remove_budget": _OneRule,
    "budgets": _Nothing,
    "set_secret": _SetSecret,
    "remove_secret": _OneSecret,
    "secrets": _OfTenant,
    "set_tenant": _SetTenant,
    "tenants": _Nothing,
    "tenant": _OneTenant,
    "close_tenant": _CloseTenant,
    "erase": _Erase,
    "collect": _Collect,
    "schedule": _Schedule,
    "backfill_schedule": _BackfillSchedule,
    "schedules": _Nothing,
    "change_schedule": _ChangeSchedule,
    "add_webhook": _AddWebhook,
    "enable_webhook": _EnableWebhook,
    "remove_webhook": _OneWebhook,
    "test_webhook": _OneWebhook,
    "add_hook": _AddHook,
    "remove_hook": _OneHook,
    "set_limit": _SetLimit,
    "remove_limit": _RemoveLimit,
    "watch": _Watch,
    "settled": _Nothing,
    "spend": _OneRun,
    "documents.get": _GetDocument,
    "documents.list": _ListDocuments,
    "documents.put": _PutDocument,
    "documents.remove": _RemoveDocument,
    "documents.revision": _DocumentRevision,
}
"""The verbs of `ports.Client` under their own names, and their arguments under theirs; then those of
`ports.Documents`."""

RESULTS: dict[str, Any] = {
    "start": RunSummary,
    "show": RunView,
    "runs": list[RunSummary],
    "events": list[EventView],
    "signal": RunView,
    "decide": RunView,
    "cancel": RunView,
    "pause": RunView,
    "resume": RunView,
    "retry": RunView,
    "raise_budget": RunView,
    "refuse_calls": RunView,
    "set_budget": BudgetStanding,
    "remove_budget": BudgetStanding,
    "budgets": list[BudgetStanding],
    "set_secret": SecretLine,
    "remove_secret": SecretLine,
    "secrets": list[SecretLine],
    "set_tenant": Tenant,
    "tenants": list[Tenant],
    "tenant": TenantStanding,
    "close_tenant": Closed,
    "erase": Erased,
    "collect": Collected,
    "schedule": Schedule,
    "backfill_schedule": list[str],
    "schedules": list[Schedule],
    "change_schedule": Schedule,
    "add_webhook": Webhook,
    "enable_webhook": Webhook,
    "remove_webhook": Webhook,
    "test_webhook": Delivered,
    "add_hook": Hook,
    "remove_hook": Hook,
    "set_limit": RateLimit,
    "remove_limit": RateLimit,
    "watch": Update,
    "settled": None,
    "spend": list[SpendRow],
    "documents.get": Document | None,
    "documents.list": list[Document],
    "documents.put": int | None,
    "documents.remove": bool,
    "documents.revision": int,
}
