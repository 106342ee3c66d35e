"""The desk: every verb of a client, on the engine of this process. Doors only carry it over a wire."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from copy import copy
from typing import Any

from headgate.api.admin_desk import AdminDesk
from headgate.api.schedule_desk import ScheduleDesk
from headgate.api.showing import Showing
from headgate.api.watching import Watching
from headgate.core import commands as c
from headgate.core.duration import parse_microseconds
from headgate.core.errors import Refused
from headgate.core.view import RunSummary, RunView, view_run
from headgate.engine.approvals import check_answer, open_approvals
from headgate.engine.budget_keeper import BudgetKeeper
from headgate.engine.engine import Engine
from headgate.engine.erasure import Eraser
from headgate.engine.gate import Gate
from headgate.engine.hooks import Hooks
from headgate.engine.quotas import Quotas
from headgate.engine.reader import Reader, summary_of
from headgate.engine.retention import Retention
from headgate.engine.scheduler import Scheduler
from headgate.engine.signal_with_start import SignalSent, signal_with_start
from headgate.engine.start import Start
from headgate.engine.streams import RunStreams
from headgate.engine.tenants import Tenants
from headgate.engine.vault import Vault
from headgate.engine.webhooks import Webhooks
from headgate.ports import (
    BudgetRule,
    BudgetStanding,
    Collected,
    Erased,
    EventView,
    Position,
    Queue,
    Schedules,
    SpendRow,
    StartRequest,
    Update,
)

__all__ = ["Desk"]


class Desk(ScheduleDesk, AdminDesk):
    """`ports.Client` on the engine of this process. Each acting verb returns when what it did is durable.

    It is that of whoever has the machine, and finds the runs of all tenants; `of` gives a tenant's. What it starts and
    keeps without saying whose is the default tenant's.
    """

    def __init__(
        self,
        engine: Engine,
        queue: Queue,
        streams: RunStreams,
        *,
        providers: frozenset[str] = frozenset(),
        activities: frozenset[str] = frozenset(),
        schedules: Schedules,
        scheduler: Scheduler,
        gate: Gate,
        budgets: BudgetKeeper,
        webhooks: Webhooks,
        hooks: Hooks,
        vault: Vault,
        tenants: Tenants,
        quotas: Quotas,
    ) -> None:
        ScheduleDesk.__init__(self, engine, schedules, scheduler, providers=providers, activities=activities)
        AdminDesk.__init__(
            self, engine, webhooks=webhooks, hooks=hooks, gate=gate, vault=vault, tenants=tenants, quotas=quotas
        )
        self._budgets = budgets
        self._queue = queue
        self._reader = Reader(engine.log, engine.clock.now, waits=gate.waits)
        self.showing = Showing(engine, gate.waits)
        self.watching = Watching(engine, streams)
        self.eraser: Eraser | None = None
        self.retention: Retention | None = None
        """Given by whoever puts things together, where the log outlives its process."""

    def of(self, tenant: str, actor: str) -> Desk:
        """Return the same desk as a tenant's caller has it: for it there is nothing of others, and `actor` stands on
        whatever it does."""
        view = copy(self)
        view._tenant, view._actor, view._reader = tenant, actor, self._reader.of(tenant)  # noqa: SLF001 - its own copy
        return view

    def asked(self, fingerprint: str) -> Desk:
        """Return the same desk for one request, by which what is done is known when its command id comes again."""
        view = copy(self)
        view._fingerprint = fingerprint  # noqa: SLF001 - its own copy
        return view

    # --- Starting ------------------------------------------------------------------------------------------------

    async def start(self, request: StartRequest) -> RunSummary:
        name, version = request.workflow, request.version
        if request.definition is not None:
            from headgate.authoring import given_files, load_definition

            definition = load_definition(
                request.definition,
                source=request.source,
                providers=self._providers,
                activities=self._activities,
                read=given_files(request.files),
            )
            name = definition.name
            version, _ = await self._engine.definitions.deploy(definition, tenant=self._whose)
        start = Start(
            workflow=name,
            version=version,
            input=request.input,
            mode=request.mode,
            limit=request.limit,
            labels=request.labels,
            unique_key=request.unique_key,
            command_id=request.command_id,
            fingerprint=self._fingerprint,
            trace_id=request.trace_id,
            tenant=self._whose,
            actor=self._actor,
        )
        if request.signal is None:
            return summary_of(await self._engine.start(start))
        signal = SignalSent(request.signal.name, request.signal.key, request.signal.data)
        return summary_of(await signal_with_start(self._engine, start, signal))

    # --- Reading -------------------------------------------------------------------------------------------------

    async def show(self, run: str, *, at: int | None = None, contents: bool = True) -> RunView:
        if at is None and (view := await self.in_memory(run, contents=contents)) is not None:
            return view
        return await self._reader.show(run, at=at, contents=contents)

    async def in_memory(self, run: str, *, contents: bool) -> RunView | None:
        """Return the run of this whole id as it is now, where that takes no look into the log."""
        return await self.showing.current(run, self._tenant, contents=contents)

    async def ended(self, run: str) -> RunView:
        """Return the run with its contents as soon as it has ended. What is in memory then is not read again."""
        return await self.showing.ended((await self._reader.find(run)).id, self._reader.show)

    async def runs(
        self, *, status: str | None = None, workflow: str | None = None, limit: int = 50
    ) -> list[RunSummary]:
        return await self._reader.runs(status=status, workflow=workflow, limit=limit)

    async def events(self, run: str, *, after: int = 0, limit: int = 1_000, contents: bool = True) -> list[EventView]:
        return await self._reader.events(run, after=after, limit=limit, contents=contents)

    async def spend(self, run: str) -> list[SpendRow]:
        return await self._engine.log.spend((await self._reader.find(run)).id)

    # --- Acting --------------------------------------------------------------------------------------------------

    async def signal(self, run: str, name: str, *, key: str = "", data: Any = None, command_id: str = "") -> RunView:
        return await self._act(run, self._command(c.Signal, command_id=command_id, name=name, key=key, data=data))

    async def decide(
        self,
        run: str,
        *,
        key: str = "",
        approved: bool,
        by: str = "",
        comment: str = "",
        data: Any = None,
        command_id: str = "",
    ) -> RunView:
        row = await self._reader.find(run)
        open_ = await open_approvals(self._engine, row)
        check_answer(open_, key, approved=approved, by=self._named(by), data=data)
        command = c.DecideApproval(
            at=self._now,
            command_id=command_id,
            fingerprint=self._fingerprint,
            actor=self._signed(by),
            key=key,
            approved=approved,
            by=self._named(by),
            comment=comment,
            data=data,
        )
        return await self._act(row.id, command)

    async def cancel(self, run: str, *, reason: str = "", command_id: str = "") -> RunView:
        row = await self._reader.find(run)
        claimed = tuple(sorted({claim.task.place for claim in await self._queue.claims_of(row.id)}))
        return await self._act(row.id, self._command(c.Cancel, command_id=command_id, reason=reason, out=claimed))

    async def pause(self, run: str, *, reason: str = "", command_id: str = "") -> RunView:
        return await self._act(run, self._command(c.Pause, command_id=command_id, reason=reason))

    async def resume(self, run: str, *, command_id: str = "") -> RunView:
        return await self._act(run, self._command(c.Resume, command_id=command_id))

    async def retry(self, run: str, *, command_id: str = "") -> RunView:
        return await self._act(run, self._command(c.Retry, command_id=command_id))

    async def raise_budget(self, run: str, *, to: int = 0, more: int = 0, key: str = "", by: str = "") -> RunView:
        row = await self._reader.find(run)
        if more:
            budget = (await self._engine.news.lane_at(row.id, row.head.version)).run.budget_of(key)
            to = more + (0 if budget is None else budget.limit)
        return await self._act(
            row.id, c.RaiseBudget(at=self._now, actor=self._signed(by), limit=to, key=key, by=self._named(by))
        )

    async def refuse_calls(self, run: str, *, key: str = "", by: str = "") -> RunView:
        return await self._act(run, c.RefuseCalls(at=self._now, actor=self._signed(by), key=key, by=self._named(by)))

    async def set_budget(self, rule: BudgetRule) -> BudgetStanding:
        return await self._budgets.set(self._own(rule))

    async def remove_budget(self, rule: BudgetRule) -> BudgetStanding:
        return await self._budgets.remove(self._own(rule))

    async def budgets(self) -> list[BudgetStanding]:
        return await self._budgets.standings(self._tenant)

    async def erase(self, runs: Sequence[str] = (), *, label: str = "", tenant: str = "", by: str = "") -> Erased:
        if tenant:
            self.require_default_tenant("erases all runs of a tenant")
        if self.eraser is None:
            raise Refused("This log is in memory: it ends with its process, and there is nothing to erase.")
        return await self.eraser.erase(runs, label=label, all_of=tenant, actor=self._signed(by), tenant=self._tenant)

    async def collect(self, *, older: str = "", dry_run: bool = False, by: str = "") -> Collected:
        self.require_default_tenant("deletes what has ended long ago")
        if self.retention is None:
            raise Refused("This log is in memory: it ends with its process, and nothing of it is deleted before.")
        kept = parse_microseconds(older) if older else None
        return await self.retention.collect(kept, actor=self._signed(by), dry_run=dry_run)

    async def _act(self, run: str, command: c.Command) -> RunView:
        row = await self._reader.find(run)
        await self._engine.submit(row.id, command)
        lane = await self._engine.lane(row.id)
        return view_run(lane.run, {}, self._now) if lane.durable else await self._reader.show(row.id, contents=False)

    def _command(self, kind: Callable[..., c.Command], **fields: Any) -> c.Command:
        return kind(at=self._now, actor=self._actor, fingerprint=self._fingerprint, **fields)

    # --- Watching ------------------------------------------------------------------------------------------------

    async def watch(
        self, run: str, *, tokens: bool = False, place: str = "", resume: Sequence[Position] = ()
    ) -> AsyncIterator[Update]:
        row = await self._reader.find(run)
        updates = self.watching.watch(row.id, tokens=tokens, place=place, resume=resume)
        async with aclosing(updates):
            async for update in updates:
                yield update

    async def settled(self) -> None:
        await self.watching.settled()
