"""The control socket's protocol as values: lines of JSON, and what each verb takes and gives. No socket here.

A request is `{id, verb, arguments}`; its answer `{id, result}` or `{id, error: {code, branch, message, problems}}`. The
verb `watch` is answered by any number of `{id, update}` and then `{id, end: true}` or an error. Requests of one
connection may be answered in any order. Where the socket is a loopback port, each request names the `token`.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from headgate.core.errors import HeadgateError, Invalid, NotFound, Problem, Refused, Unavailable
from headgate.core.view import RunSummary, RunView
from headgate.ports import (
    BudgetRule,
    BudgetStanding,
    Collected,
    Document,
    Erased,
    EventView,
    Position,
    RateLimit,
    Schedule,
    SecretLine,
    SpendRow,
    StartRequest,
    Tenant,
    TenantStanding,
    Update,
)

__all__ = [
    "LINE_BYTES_MAX",
    "RESULTS",
    "VERBS",
    "Answer",
    "Branch",
    "OwnerGone",
    "Request",
    "WireError",
    "as_error",
    "error_of",
]

LINE_BYTES_MAX = 64 * 1024 * 1024
"""The longest line that either side reads: a run's input of 50 MB and its definition fit in."""

Branch = Literal["invalid", "refused", "unavailable"]


class OwnerGone(Unavailable):
    """The process at the other end has ended, or was never there."""

    code = "owner_gone"


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    id: int
    verb: str
    arguments: dict[str, Any] = {}
    token: str = ""


class WireError(msgspec.Struct, frozen=True, omit_defaults=True):
    code: str
    branch: Branch
    message: str
    problems: tuple[Problem, ...] = ()


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of the owner's. Exactly one of `result`, `error`, `update` and `end` is there."""

    id: int
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: WireError | None = None
    update: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    end: bool = False


# --- What each verb takes ------------------------------------------------------------------------------------------


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
    by: str = ""


class _Collect(_Arguments, frozen=True):
    older: str = ""
    dry_run: bool = False
    by: str = ""


class _Schedule(_Arguments, frozen=True):
    schedule: Schedule
    definition: str
    files: dict[str, str] = {}


class _ChangeSchedule(_Arguments, frozen=True):
    name: str
    change: Literal["pause", "resume", "remove", "trigger"]


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
    "erase": _Erase,
    "collect": _Collect,
    "schedule": _Schedule,
    "schedules": _Nothing,
    "change_schedule": _ChangeSchedule,
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
    "erase": Erased,
    "collect": Collected,
    "schedule": Schedule,
    "schedules": list[Schedule],
    "change_schedule": Schedule,
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


# --- Errors --------------------------------------------------------------------------------------------------------


def error_of(error: HeadgateError) -> WireError:
    """Return an error as it travels: branch, code, message and problems are kept."""
    branch: Branch = "refused"
    if isinstance(error, Invalid):
        branch = "invalid"
    elif isinstance(error, Unavailable):
        branch = "unavailable"
    problems = error.problems if isinstance(error, Invalid) else ()
    return WireError(error.code, branch, error.message, problems)


def as_error(error: WireError) -> HeadgateError:
    """Return the error that travelled, in its branch and with its code."""
    if error.branch == "invalid":
        return _coded(Invalid, error.code)(error.message, error.problems)
    if error.branch == "unavailable":
        return _coded(Unavailable, error.code)(error.message)
    return (NotFound if error.code == NotFound.code else _coded(Refused, error.code))(error.message)


def _coded(branch: type[Any], code: str) -> type[Any]:
    return branch if code == branch.code else type(branch.__name__, (branch,), {"code": code})
