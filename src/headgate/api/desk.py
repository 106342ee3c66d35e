"""The desk: every verb of a client, on the engine of this process. Doors only carry it over a wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from copy import copy
from typing import Any, TypeVar

import msgspec

from headgate.api.caller import Forbidden
from headgate.authoring import given_files, load_definition, validate_input
from headgate.core import commands as c
from headgate.core.decision import Decision
from headgate.core.definition import Definition
from headgate.core.duration import parse_microseconds
from headgate.core.errors import Refused
from headgate.core.run import Run
from headgate.core.view import RunSummary, RunView, view_run
from headgate.engine.approvals import check_answer, open_approvals
from headgate.engine.budget_keeper import BudgetKeeper
from headgate.engine.engine import Engine, Start
from headgate.engine.erasure import Eraser
from headgate.engine.gate import Gate
from headgate.engine.hooks import Hooks
from headgate.engine.lane import Lane
from headgate.engine.limits import checked_limit
from headgate.engine.quotas import Quotas
from headgate.engine.reader import Reader, contents_shown, summary_of
from headgate.engine.retention import Retention
from headgate.engine.scheduler import Scheduler, changed_schedule, checked_schedule, named
from headgate.engine.signal_with_start import SignalSent, signal_with_start
from headgate.engine.streams import NOTHING, Following, RunStreams
from headgate.engine.tenants import Tenants
from headgate.engine.vault import Vault
from headgate.engine.webhooks import WebhookChange, Webhooks
from headgate.ports import (
    DEFAULT_TENANT,
    BudgetRule,
    BudgetStanding,
    Changed,
    Collected,
    Delivered,
    Ended,
    Erased,
    EventView,
    Hook,
    Position,
    Queue,
    RateLimit,
    RunRow,
    Schedule,
    Schedules,
    SecretLine,
    SpendRow,
    StartRequest,
    Tenant,
    TenantStanding,
    Update,
    Webhook,
)

__all__ = ["Desk"]

Owned = TypeVar("Owned", BudgetRule, Schedule)


class Desk:
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
        self._webhooks = webhooks
        self._hooks = hooks
        self._vault = vault
        self._tenants = tenants
        self._quotas = quotas
        self._gate = gate
        self._budgets = budgets
        self._schedules = schedules
        self._scheduler = scheduler
        self._engine = engine
        self._queue = queue
        self._streams = streams
        self._providers = providers
        self._activities = activities
        self._reader = Reader(engine.log, engine.clock.now, waits=gate.waits)
        self._tenant: str | None = None
        self._actor = "client"
        self._watchers: dict[str, set[_Watcher]] = {}
        self._any_change: set[asyncio.Event] = set()
        self._endings: dict[str, _Ending] = {}
        self.eraser: Eraser | None = None
        self.listens: Callable[[Run], bool] = lambda run: False
        """Whether somebody waits for all the calls of the run that ask a person."""
        self.retention: Retention | None = None
        """Given by whoever puts things together, where the log outlives its process."""
        engine.listen(self._committed)
        engine.follow(self._committed, lambda: self._watchers)

    def of(self, tenant: str, actor: str) -> Desk:
        """Return the same desk as a tenant's caller has it: for it there is nothing of others, and `actor` stands on
        whatever it does."""
        view = copy(self)
        view._tenant, view._actor, view._reader = tenant, actor, self._reader.of(tenant)  # noqa: SLF001 - its own copy
        return view

    @property
    def _whose(self) -> str:
        return self._tenant or DEFAULT_TENANT

    # --- Starting ------------------------------------------------------------------------------------------------

    async def start(self, request: StartRequest) -> RunSummary:
        name, version = request.workflow, request.version
        if request.definition is not None:
            definition = load_definition(
                request.definition,
                source=request.source,
                providers=self._providers,
                activities=self._activities,
                read=given_files(request.files),
            )
            name = definition.name
            version, _ = await self._engine.deploy(definition, tenant=self._whose)
        start = Start(
            workflow=name,
            version=version,
            input=request.input,
            mode=request.mode,
            limit=request.limit,
            labels=request.labels,
            unique_key=request.unique_key,
            command_id=request.command_id,
            tenant=self._whose,
            actor=self._actor,
        )
        if request.signal is None:
            return summary_of(await self._engine.start(start))
        signal = SignalSent(request.signal.name, request.signal.key, request.signal.data)
        return summary_of(await signal_with_start(self._engine, start, signal))

    # --- Reading -------------------------------------------------------------------------------------------------

    async def show(self, run: str, *, at: int | None = None, contents: bool = True) -> RunView:
        return await self._reader.show(run, at=at, contents=contents)

    async def ended(self, run: str) -> RunView:
        """Return the run with its contents as soon as it has ended. What is in memory then is not read again."""
        row = await self._reader.find(run)
        ending = self._endings.setdefault(row.id, _Ending())
        ending.readers += 1
        try:
            await self._engine.finished(row.id)
            return ending.view or await self._reader.show(row.id)
        finally:
            ending.readers -= 1
            if not ending.readers:
                self._endings.pop(row.id, None)

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
            budget = (await self._engine.lane_at(row.id, row.head.version)).run.budget_of(key)
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

    async def erase(self, runs: Sequence[str] = (), *, label: str = "", by: str = "") -> Erased:
        if self.eraser is None:
            raise Refused("This log is in memory: it ends with its process, and there is nothing to erase.")
        return await self.eraser.erase(runs, label=label, actor=self._signed(by), tenant=self._tenant)

    async def collect(self, *, older: str = "", dry_run: bool = False, by: str = "") -> Collected:
        self.require_default_tenant("deletes what has ended long ago")
        if self.retention is None:
            raise Refused("This log is in memory: it ends with its process, and nothing of it is deleted before.")
        kept = parse_microseconds(older) if older else None
        return await self.retention.collect(kept, actor=self._signed(by), dry_run=dry_run)

    async def schedule(self, schedule: Schedule, *, definition: str, files: dict[str, str]) -> Schedule:
        loaded, version = await self._scheduled(schedule, definition, files)
        value = validate_input(loaded, {} if schedule.input is None else schedule.input)
        schedule = self._own(schedule)
        before = next((known for known in await self._own_schedules() if known.name == schedule.name), None)
        made = msgspec.structs.replace(
            schedule,
            id=before.id if before else self._engine.random_id(),
            workflow=loaded.name,
            version=version,
            input=self._engine.scrubbed(loaded, value),
            created_at=before.created_at if before else self._now,
            revision=before.revision if before else 0,
        )
        checked = checked_schedule(made, self._now)
        if not await self._schedules.save(checked):
            raise Refused(f"The schedule {schedule.name!r} was changed by somebody else meanwhile. Ask again.")
        self._scheduler.changed()
        return checked

    async def _scheduled(self, schedule: Schedule, text: str, files: dict[str, str]) -> tuple[Definition, str]:
        """Return the definition that a schedule is of, and the version of its runs (empty: the newest then)."""
        if not text:
            plan = await self._engine.plan(schedule.workflow, schedule.version or None, tenant=self._whose)
            return plan.definition, schedule.version
        loaded = load_definition(
            text,
            source=f"schedule {schedule.name}",
            providers=self._providers,
            activities=self._activities,
            read=given_files(files),
        )
        version, _ = await self._engine.deploy(loaded, tenant=self._whose)
        return loaded, version

    async def backfill_schedule(self, name: str, since: int, until: int) -> list[str]:
        return await self._scheduler.backfill(named(await self._own_schedules(), name), since, until)

    async def schedules(self) -> list[Schedule]:
        return await (self._schedules.all() if self._tenant is None else self._own_schedules())

    async def _own_schedules(self) -> list[Schedule]:
        return [schedule for schedule in await self._schedules.all() if schedule.tenant == self._whose]

    async def change_schedule(self, name: str, change: str) -> Schedule:
        schedule = named(await self._own_schedules(), name)
        match change:
            case "remove":
                await self._schedules.remove(schedule.tenant, name)
            case "trigger":
                await self._scheduler.trigger(schedule)
                return named(await self._own_schedules(), name)
            case "pause":
                schedule = await changed_schedule(
                    self._schedules, self._whose, name, lambda it: _enabled(it, enabled=False)
                )
            case _:
                schedule = await changed_schedule(
                    self._schedules,
                    self._whose,
                    name,
                    lambda it: checked_schedule(_enabled(it, enabled=True), self._now),
                )
        self._scheduler.changed()
        return schedule

    async def _changed(self, name: str, change: Callable[[Schedule], Schedule]) -> Schedule:
        return await changed_schedule(self._schedules, self._whose, name, change)

    # --- Programs outside ----------------------------------------------------------------------------------------

    async def add_webhook(self, webhook: Webhook) -> Webhook:
        return await self._webhooks.add(msgspec.structs.replace(webhook, tenant=self._tenant or webhook.tenant))

    async def enable_webhook(self, webhook: str, *, enabled: bool, tenant: str = DEFAULT_TENANT) -> Webhook:
        return await self._webhooks.change(self._tenant or tenant, webhook, WebhookChange(enabled=enabled))

    async def remove_webhook(self, webhook: str, *, tenant: str = DEFAULT_TENANT) -> Webhook:
        return await self._webhooks.remove(self._tenant or tenant, webhook)

    async def test_webhook(self, webhook: str, *, tenant: str = DEFAULT_TENANT) -> Delivered:
        return await self._webhooks.test(self._tenant or tenant, webhook)

    async def add_hook(self, hook: Hook) -> Hook:
        return await self._hooks.add(msgspec.structs.replace(hook, tenant=self._tenant or hook.tenant))

    async def remove_hook(self, hook: str, *, tenant: str = DEFAULT_TENANT) -> Hook:
        return await self._hooks.remove(self._tenant or tenant, hook)

    # --- Providers -----------------------------------------------------------------------------------------------

    async def set_limit(self, limit: RateLimit) -> RateLimit:
        self.require_default_tenant("sets the rates of providers")
        return await self._gate.set_limit(checked_limit(limit))

    async def remove_limit(self, scope: str) -> RateLimit:
        self.require_default_tenant("sets the rates of providers")
        return await self._gate.remove_limit(scope)

    # --- Tenants -------------------------------------------------------------------------------------------------

    async def set_secret(self, name: str, value: str, *, tenant: str = DEFAULT_TENANT) -> SecretLine:
        await self._vault.set(self._tenant or tenant, name, value)
        return SecretLine(name, self._now)

    async def remove_secret(self, name: str, *, tenant: str = DEFAULT_TENANT) -> SecretLine:
        await self._vault.remove(self._tenant or tenant, name)
        return SecretLine(name, self._now)

    async def secrets(self, *, tenant: str = DEFAULT_TENANT) -> list[SecretLine]:
        return await self._vault.lines(self._tenant or tenant)

    async def set_tenant(self, tenant: Tenant, *, new: bool = False) -> Tenant:
        self.require_default_tenant("administers tenants")
        return await self._tenants.set(tenant, new=new)

    async def tenants(self) -> list[Tenant]:
        self.require_default_tenant("administers tenants")
        return await self._tenants.all()

    async def tenant(self, name: str) -> TenantStanding:
        self.require_default_tenant("administers tenants")
        return await self._quotas.standing(await self._tenants.insist(name))

    async def _act(self, run: str, command: c.Command) -> RunView:
        row = await self._reader.find(run)
        await self._engine.submit(row.id, command)
        lane = await self._engine.lane(row.id)
        return view_run(lane.run, {}, self._now) if lane.durable else await self._reader.show(row.id, contents=False)

    def _command(self, kind: Callable[..., c.Command], **fields: Any) -> c.Command:
        return kind(at=self._now, actor=self._actor, **fields)

    def _signed(self, by: str) -> str:
        """Return who did something: whoever has logged in, or where nobody has, who it is said to be."""
        return f"user:{by}" if by and self._actor == "client" else self._actor

    def _named(self, by: str) -> str:
        """Return the person's name: of one who has logged in, the own and no other."""
        return self._actor.removeprefix("user:") if self._actor.startswith("user:") else by

    def _own(self, what: Owned) -> Owned:
        """Return a rule or schedule as the tenant's, whatever it says itself."""
        return what if self._tenant is None else msgspec.structs.replace(what, tenant=self._tenant)

    def require_default_tenant(self, what: str) -> None:
        """Raises `Forbidden` for the desk of another tenant than the one that has the machine."""
        if self._whose != DEFAULT_TENANT:
            raise Forbidden(f"Who {what} does so for all tenants: only the tenant {DEFAULT_TENANT!r} may.")

    @property
    def _now(self) -> int:
        return self._engine.clock.now()

    # --- Watching ------------------------------------------------------------------------------------------------

    async def watch(
        self, run: str, *, tokens: bool = False, place: str = "", resume: Sequence[Position] = ()
    ) -> AsyncIterator[Update]:
        row = await self._reader.find(run)
        watcher = _Watcher()
        self._watchers.setdefault(row.id, set()).add(watcher)
        following = None
        try:
            async for view in self._first(row.id, watcher):
                yield Changed(view)
            following = await self._follow(row.id, watcher, place, resume) if tokens else NOTHING
            async for chunk in following.earlier():
                yield chunk
            while True:
                chunk, over = following.take(), following.over
                if isinstance(chunk, Ended) and not chunk.offset:
                    async for part in following.instead(chunk):
                        yield part
                elif chunk is not None:
                    yield chunk
                if watcher.has_news and (view := await self._newest(row.id, watcher)) is not None:
                    yield Changed(view)
                elif chunk is None and watcher.last is not None and over:
                    break
                elif chunk is None:
                    await watcher.sleep()
            yield Changed(watcher.last)  # the finished run comes when all that was streamed is told
        finally:
            if following is not None:
                following.close()
            watching = self._watchers[row.id]
            watching.discard(watcher)
            if not watching:
                del self._watchers[row.id]

    async def _follow(self, run_id: str, watcher: _Watcher, place: str, resume: Sequence[Position]) -> Following:
        return await self._streams.follow(run_id, place=place, resume=resume, wake=watcher.wake)

    async def _first(self, run_id: str, watcher: _Watcher) -> AsyncIterator[RunView]:
        """Yield the run as it is, as soon as all of it is durable; nothing where it has ended."""
        while True:
            view = await self._newest(run_id, watcher)
            if view is not None:
                yield view
            if view is not None or watcher.last is not None:
                return
            await watcher.sleep()

    async def _newest(self, run_id: str, watcher: _Watcher) -> RunView | None:
        """Return the run's newest durable state, once per change that the reader has not seen: a slow one skips some.
        That of a run that has ended is not returned: it stays in `watcher.last`."""
        lane = await self._engine.lane(run_id)
        view, watcher.view = watcher.view, None
        if watcher.changed:
            watcher.changed = False
            view = view_run(lane.run, {}, self._now) if lane.durable else view
            watcher.wanted = not lane.durable
        if view is None or not view.finished_at:
            watcher.last = watcher.last if view is None else None
            return view
        values = await self._engine.load_values(lane.row.key, contents_shown(lane.run))
        lane = await self._engine.lane(run_id)
        watcher.last = view_run(lane.run, values, self._now) if lane.durable else view
        return None

    def _committed(self, lane: Lane, decisions: Sequence[Decision]) -> None:
        if lane.run.finished and (ending := self._endings.get(lane.run.id)) is not None and lane.durable:
            ending.view = self._whole(lane)
        for watcher in self._watchers.get(lane.run.id, ()):
            watcher.changed = True
            if watcher.wanted:
                watcher.wanted = False
                watcher.view = view_run(lane.run, {}, self._now)
            watcher.wake.set()
        for changed in self._any_change:
            changed.set()

    def _whole(self, lane: Lane) -> RunView | None:
        """Return the run with its contents, where all of them are in memory."""
        wanted = contents_shown(lane.run)
        values = self._engine.contents.values(lane.row.key, wanted)
        return view_run(lane.run, values, self._now) if len(values) == len(wanted) else None

    async def settled(self) -> None:
        changed = asyncio.Event()
        self._any_change.add(changed)
        try:
            while not await self._at_rest():
                changed.clear()
                await changed.wait()
        finally:
            self._any_change.discard(changed)

    async def _at_rest(self) -> bool:
        """Whether no run holds a task, and no time has come that the warden has yet to look at."""
        busy = await self._engine.log.busy(0, 1_000)
        at_rest = all(row.head.status == "paused" or self._asks(row) for row in busy)
        return at_rest and not await self._engine.log.due(self._now, 1)

    def _asks(self, row: RunRow) -> bool:
        """Whether the run stands still until a person has raised a limit or refused, and somebody waits for that."""
        lane = self._engine.loaded(row.id)
        return row.head.status == "waiting" and lane is not None and self.listens(lane.run)


class _Ending:
    """Those who wait for a run to end, and what it is then: shown from memory, before that forgets it."""

    __slots__ = ("readers", "view")

    def __init__(self) -> None:
        self.readers = 0
        self.view: RunView | None = None


class _Watcher:
    """A reader of one run. Between two commits the run holds what is decided and not durable: nobody is shown that, so
    a view is made when there is nothing of the kind, or at the moment of the next commit."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.changed = True
        self.wanted = False
        """A view is to be made at the next commit."""
        self.view: RunView | None = None
        """It was, and waits to be shown."""
        self.last: RunView | None = None

    @property
    def has_news(self) -> bool:
        return self.changed or self.view is not None

    async def sleep(self) -> None:
        """Return when there may be something new, of the run or of what streams."""
        if not self.has_news:
            await self.wake.wait()
        self.wake.clear()


def _enabled(schedule: Schedule, *, enabled: bool) -> Schedule:
    return msgspec.structs.replace(schedule, enabled=enabled)
