"""What a door offers, whoever stands behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal, Protocol

import msgspec

from headgate.core.values import Mode
from headgate.core.view import RunSummary, RunView
from headgate.ports.budgets import BudgetRule, BudgetStanding
from headgate.ports.hooks import Delivered, Hook, Webhook
from headgate.ports.keeping import Collected, Erased
from headgate.ports.limits import RateLimit
from headgate.ports.schedule import Schedule
from headgate.ports.spend import SpendRow
from headgate.ports.streams import Chunk, Position
from headgate.ports.tenants import Closed, SecretLine, Tenant, TenantStanding

__all__ = ["Changed", "Client", "EventView", "RunClient", "SignalRequest", "StartRequest", "Update"]


class EventView(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One event of the log, readable: `fields` are the event's own beside the envelope."""

    version: int
    at: int
    type: str
    place: str = ""
    attempt: int = 0
    actor: str = ""
    cause: str = ""
    trace_id: str = ""
    fields: dict[str, Any] = {}
    content: Any = None
    hash: str = ""


class Changed(msgspec.Struct, frozen=True, tag="changed"):
    """The run has new events; this is it now (contents left out)."""

    run: RunView


Update = Chunk | Changed


class SignalRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A signal that goes with a start; `key` names the activity it is for."""

    name: str
    key: str = ""
    data: Any = None


class StartRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a client starts a run with. Either a definition's text, or the name of one that is deployed."""

    definition: str | None = None
    source: str = "definition"
    files: dict[str, str] = {}
    """The texts of the files that the definition refers to, by their paths relative to it."""
    workflow: str = ""
    version: str | None = None
    input: Any = None
    mode: Mode = "realtime"
    limit: int | None = None
    labels: dict[str, str] = {}
    unique_key: str = ""
    command_id: str = ""
    trace_id: str = ""
    """Of whoever starts the run; empty: it gets one of its own."""
    signal: SignalRequest | None = None
    """Sent to the run; where a live one holds `unique_key`, to that one, and none is started."""


class RunClient(Protocol):
    """What can be asked of runs, and done to them, from wherever: the engine in this process, the owner at the other
    end of a socket, a server over HTTP. Run ids may be shortened as long as they are unambiguous; `-` is the newest
    run. Errors are the three branches of `core.errors`, the same at every end."""

    async def start(self, request: StartRequest) -> RunSummary: ...

    async def show(self, run: str, *, at: int | None = None, contents: bool = True) -> RunView:
        """Return the run as it is, or as it was after event `at`."""
        ...

    async def runs(
        self, *, status: str | None = None, workflow: str | None = None, limit: int = 50
    ) -> list[RunSummary]: ...

    async def events(
        self, run: str, *, after: int = 0, limit: int = 1_000, contents: bool = True
    ) -> list[EventView]: ...

    async def signal(self, run: str, name: str, *, key: str = "", data: Any = None) -> RunView: ...

    async def decide(
        self, run: str, *, key: str = "", approved: bool, by: str = "", comment: str = "", data: Any = None
    ) -> RunView: ...

    async def cancel(self, run: str, *, reason: str = "") -> RunView: ...

    async def pause(self, run: str, *, reason: str = "") -> RunView: ...

    async def resume(self, run: str) -> RunView: ...

    async def retry(self, run: str) -> RunView: ...

    async def spend(self, run: str) -> list[SpendRow]:
        """Return what the run has cost so far, row by row, in the order of its events."""
        ...

    def watch(
        self, run: str, *, tokens: bool = False, place: str = "", resume: Sequence[Position] = ()
    ) -> AsyncIterator[Update]:
        """Yield the run as it is, then each change; ends with the finished run.

        With `tokens` also what streams, as `ports.Streams` has it: of each place that streams (or of the one, or the
        one activity, that `place` names) the text of its newest epoch, from its beginning or from where `resume` says,
        then an `Ended` with its outcome. Of a place that ended before, the text is that of its result. All of it comes
        before the finished run. Raises `Invalid` for a position that cannot be, `ReaderTooSlow`.
        """
        ...


class Client(RunClient, Protocol):
    """What a door offers to whoever runs the engine: all that can be done to runs, and to what lies beside them."""

    async def raise_budget(self, run: str, *, to: int = 0, more: int = 0, key: str = "", by: str = "") -> RunView:
        """Raise the limit of the run, or of an activity (`key`), to or by so many nano-dollars; calls that asked for
        that, or wait, are decided again. Raises `Refused` where there is no budget, `Invalid` for a lower limit."""
        ...

    async def refuse_calls(self, run: str, *, key: str = "", by: str = "") -> RunView:
        """Refuse the calls that wait for a person to raise a limit. Raises `Refused` where there is none."""
        ...

    async def set_budget(self, rule: BudgetRule) -> BudgetStanding:
        """Set a budget above runs, or change the one of the same scope and period. Raises `Invalid`."""
        ...

    async def remove_budget(self, rule: BudgetRule) -> BudgetStanding:
        """Remove the budget of this scope and period; return it as it stood. Raises `NotFound`."""
        ...

    async def budgets(self) -> list[BudgetStanding]: ...

    async def erase(self, runs: Sequence[str] = (), *, label: str = "", tenant: str = "", by: str = "") -> Erased:
        """Erase the contents of finished runs, and of the runs below them; `label` is `name=value`, `tenant` all runs
        of one, so many at a time as `engine.erasure.TENANT_RUNS_MAX` says."""
        ...

    async def collect(self, *, older: str = "", dry_run: bool = False, by: str = "") -> Collected:
        """Delete what ended longer ago than `older` (a duration; empty: the retention that is set)."""
        ...

    async def schedule(self, schedule: Schedule, *, definition: str, files: dict[str, str]) -> Schedule:
        """Keep a schedule of the workflow in `definition` (empty: of the deployed one that it names); one of the same
        name is replaced. Raises `Invalid`."""
        ...

    async def backfill_schedule(self, name: str, since: int, until: int) -> list[str]:
        """Start a run for each time from `since` until before `until` (microseconds) that has had none; return the ids
        of the runs of these times. Raises `NotFound`, `Invalid`."""
        ...

    async def schedules(self) -> list[Schedule]: ...

    async def change_schedule(self, name: str, change: Literal["pause", "resume", "remove", "trigger"]) -> Schedule:
        """Change a schedule; return it as it is then (a removed one: as it was). Raises `NotFound`."""
        ...

    async def add_webhook(self, webhook: Webhook) -> Webhook:
        """Tell a program of events from now on; return it with its secret. Raises `Invalid`, `Refused`."""
        ...

    async def enable_webhook(self, webhook: str, *, enabled: bool, tenant: str = "default") -> Webhook:
        """Let a subscription go on from where it stopped, or tell it nothing for now. Raises `NotFound`."""
        ...

    async def remove_webhook(self, webhook: str, *, tenant: str = "default") -> Webhook:
        """Remove a subscription; return it as it was. Raises `NotFound`."""
        ...

    async def test_webhook(self, webhook: str, *, tenant: str = "default") -> Delivered:
        """Send a message that tells nothing, now; return how that ended. Raises `NotFound`."""
        ...

    async def add_hook(self, hook: Hook) -> Hook:
        """Let a program outside start or signal runs; return the hook with its secret. Raises `Invalid`, `Refused`."""
        ...

    async def remove_hook(self, hook: str, *, tenant: str = "default") -> Hook:
        """Remove a hook; return it as it was. Raises `NotFound`."""
        ...

    async def set_limit(self, limit: RateLimit) -> RateLimit:
        """Keep a rate of a provider or model; one of the same scope is replaced. Raises `Invalid`."""
        ...

    async def remove_limit(self, scope: str) -> RateLimit:
        """Take a rate out; return it as it was. Raises `NotFound`."""
        ...

    async def set_secret(self, name: str, value: str, *, tenant: str = "default") -> SecretLine:
        """Keep a tenant's secret; one of the same name is replaced. Raises `Invalid`, `Refused`."""
        ...

    async def remove_secret(self, name: str, *, tenant: str = "default") -> SecretLine:
        """Forget a secret. Raises `NotFound`."""
        ...

    async def secrets(self, *, tenant: str = "default") -> list[SecretLine]:
        """Return the names of a tenant's secrets; values never come back."""
        ...

    async def set_tenant(self, tenant: Tenant, *, new: bool = False) -> Tenant:
        """Make a tenant, or (but not with `new`) change what it may use. Raises `Invalid`, `Refused`."""
        ...

    async def tenants(self) -> list[Tenant]: ...

    async def tenant(self, name: str) -> TenantStanding:
        """Return a tenant and what it uses now. Raises `NotFound`."""
        ...

    async def close_tenant(self, name: str, *, by: str = "") -> Closed:
        """End all access to a tenant, and its runs: what logs in, starts, signals or is told, and its secrets. Again,
        it goes on where it was cut off. Raises `NotFound`, `Refused` for the default tenant."""
        ...

    async def settled(self) -> None:
        """Return when no run has anything to do now: all are finished, or wait for a time, a person or a signal."""
        ...
