"""Where everything is put together, once, by hand. Nothing else in the package knows more than its own floor."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets as random
import shutil
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Self

from headgate.activities.builtin_activities import Builtins
from headgate.activities.http_request import HttpSettings
from headgate.activities.outgoing import CheckedOutgoing
from headgate.activities.script import ScriptSettings
from headgate.api.auth import Auth
from headgate.api.caller import Caller
from headgate.api.closing import Closing
from headgate.api.desk import Desk
from headgate.api.doors import Doors
from headgate.api.feed import Feed
from headgate.api.finished import FinishedAnswers
from headgate.api.kept_answers import KeptAnswers
from headgate.api.library import Library
from headgate.api.models import Models
from headgate.api.records import Records
from headgate.api.texts import Texts
from headgate.api.tickets import MemoryTickets
from headgate.api.uploads import Uploads
from headgate.api.views import Views
from headgate.core.values import Price
from headgate.engine.budget_alerts import BudgetAlerts, budget_command_of
from headgate.engine.budget_keeper import BudgetKeeper
from headgate.engine.call_cache import CallCache
from headgate.engine.clock import WallClock
from headgate.engine.courier import Courier
from headgate.engine.database_time import DatabaseTime
from headgate.engine.dispatcher import Dispatcher
from headgate.engine.engine import Engine
from headgate.engine.erasure import Eraser
from headgate.engine.gate import Gate
from headgate.engine.health import Health
from headgate.engine.hook_door import HookDoor
from headgate.engine.hooks import Hooks
from headgate.engine.ledger import Ledger
from headgate.engine.limits import limits_of
from headgate.engine.lookout import Lookout
from headgate.engine.metrics import Metrics
from headgate.engine.neighbours import Neighbours
from headgate.engine.protocol import LocalProtocol
from headgate.engine.quotas import Quotas
from headgate.engine.retention import Retention, retention_of
from headgate.engine.scheduler import Scheduler
from headgate.engine.sealing import sealer_of
from headgate.engine.streams import RunStreams
from headgate.engine.task_rows import TaskRows
from headgate.engine.telling import Telling
from headgate.engine.tenants import Tenants
from headgate.engine.texts_of_neighbours import TextsOfNeighbours
from headgate.engine.vault import Vault, secrets_of
from headgate.engine.warden import Warden
from headgate.engine.worker import Worker
from headgate.llm.prices import every_price, open_prices
from headgate.llm.registry import build_providers, close_providers, configured
from headgate.llm.scripted import ScriptedProvider
from headgate.llm.token_factors import ESTIMATES_MAX, TokenFactors
from headgate.policies.guards import PolicyGuards, process_policies
from headgate.ports import (
    ActivityFunction,
    BudgetRules,
    Cache,
    Clock,
    KeptLog,
    Log,
    ModelProvider,
    Queue,
    RunRow,
    SharedLog,
    Streams,
)
from headgate.queues.memory import MemoryQueue
from headgate.queues.store import StoreQueue
from headgate.stores.files import FolderFiles
from headgate.stores.memory import MemoryLog
from headgate.stores.sqlite import SqliteLog
from headgate.stores.storage import cache_inventory_beside, storage_beside

__all__ = ["App", "stateless_activities"]


class App:
    """An engine with everything around it. `async with App(log) as app:` owns the log until the end."""

    def __init__(
        self,
        log: Log,
        *,
        clock: Clock | None = None,
        activities: Mapping[str, ActivityFunction] | None = None,
        providers: Mapping[str, ModelProvider] | None = None,
        scripted: ScriptedProvider | None = None,
        environment: Mapping[str, str] | None = None,
        offline: bool = False,
        demo_pace_seconds: float = 0.0,
        demo: bool = True,
        private_addresses: tuple[str, ...] | None = None,
        scripts: ScriptSettings | None = None,
        work: bool = True,
        run_schedules: bool = False,
        cache: Cache | None = None,
        reuse: bool = True,
        folder: Path | None = None,
        policies: Mapping[str, Any] | None = None,
        budget_rules: BudgetRules | None = None,
    ) -> None:
        self.folder = folder or Path(tempfile.gettempdir()) / f"headgate-{random.token_hex(8)}"
        """Where activities keep what is theirs (files, indexes); made by whoever first needs it. One that was not
        named goes with the app."""
        self._folder_is_ours = folder is None
        environment = os.environ if environment is None else environment
        http = HttpSettings(private_addresses="all" if private_addresses is None else private_addresses)
        self.clock = clock or WallClock()
        self.database_time: DatabaseTime | None = None
        if isinstance(log, SharedLog) and isinstance(self.clock, WallClock):
            self.database_time = DatabaseTime(log, self.clock)
        self.engine = Engine(log, self.clock)
        self.queue: Queue = MemoryQueue(self.clock)
        if isinstance(log, SharedLog):
            self.queue = shared_queue = StoreQueue(log.tasks, self.clock)
            self.engine.rows = TaskRows(shared_queue)
        beside = storage_beside(log, self.clock)
        self.streams: Streams = beside.streams
        self.texts_of_neighbours: TextsOfNeighbours | None = None
        if beside.neighbourhood is not None:
            self.streams = self.texts_of_neighbours = TextsOfNeighbours(beside.streams, beside.neighbourhood)
            self.engine.news.follow(lambda _, __: None, self.texts_of_neighbours.watched)
        self.documents = beside.documents
        own = self.folder if isinstance(log, SqliteLog | MemoryLog) else None
        sealer = lru_cache(1)(partial(sealer_of, environment, own))
        self.vault = Vault(self.documents, self.clock, sealer, own=secrets_of(environment))
        self.ledger = Ledger(self.engine)
        self.budgets = BudgetKeeper(self.engine, self.ledger, budget_rules or beside.budget_rules)
        self.budget_alerts = BudgetAlerts(self.engine)
        """`listen` to know of budgets that are spent, overspent or asked about."""
        self._budget_command = budget_command_of(environment)
        if self._budget_command is not None:
            self.budget_alerts.listen(self._budget_command)
        self.limits = limits_of(environment, beside.limits)
        self.gate = Gate(self.engine, self.ledger, self.limits, CallCache(self.engine))
        self.protocol = LocalProtocol(self.engine, self.queue, self.gate, self.streams, self.vault)
        # After the protocol: what a commit makes due may be equal to what that commit has made, and is kept by then.
        self.dispatcher = Dispatcher(self.engine, self.queue, self.vault)
        self.courier = Courier(self.engine)
        self.warden = Warden(self.engine, self.queue, self.dispatcher, self.courier, self.clock)
        self.neighbours: Neighbours | None = None
        if isinstance(log, SharedLog) and isinstance(self.queue, StoreQueue):
            self.neighbours = Neighbours(
                self.engine, log.tasks, self.queue, self.warden, self.dispatcher, self.ledger, self.gate
            )
        self.cache = cache or beside.cache
        self.protocol.results.cache, self.protocol.results.reuse = self.cache, reuse
        self.gate.calls.cache, self.gate.calls.reuse = self.cache, reuse
        self.files = self.protocol.files = FolderFiles(self.folder)
        self.factors = TokenFactors()
        prices = open_prices(environment, self.folder)
        self.providers = providers or build_providers(
            environment,
            scripted=scripted,
            offline=offline,
            demo_pace_seconds=demo_pace_seconds,
            demo=demo,
            prices=prices,
            factors=self.factors,
        )
        self.guards = self.engine.guards = PolicyGuards(policies)
        self.protocol.policies = process_policies(environment)
        self.builtins = Builtins(
            self.providers,
            self.guards,
            self.clock,
            http=http,
            scripts=scripts or ScriptSettings(),
            frames=self.folder / "frames",
        )
        self.worker = Worker(
            self.protocol, builtins=self.builtins.beside(self.files, self.folder), activities=activities
        )
        self.dispatcher.stop_claims = self.worker.stop
        self.warden.stop_claims = self.worker.stop
        self.warden.release = self.protocol.release
        self.protocol.deadline_set = self.warden.notice
        self.schedules = beside.schedules
        self.scheduler = Scheduler(self.engine, self.schedules, self.clock)
        run_streams = RunStreams(self.engine, self.streams)
        self.tenants = Tenants(self.documents, self.clock, self.budgets)
        self.quotas = self.engine.quotas = Quotas(log, self.clock, self.limits.store, self.tenants)
        self.protocol.own_keys_only = self._own_keys_only
        self.lookout = Lookout(self.clock, self.budgets, self.limits, self.scheduler) if beside.shared else None
        self.hooks = Hooks(self.engine, self.documents, sealer)
        self.telling = Telling(
            self.engine,
            self.documents,
            CheckedOutgoing(http, self.clock),
            sealer,
            shared=beside.shared,
            environment=environment,
            secrets=self.vault.of,
        )
        self.desk = Desk(
            self.engine,
            self.queue,
            run_streams,
            providers=frozenset(self.providers),
            activities=frozenset(activities or ()),
            schedules=self.schedules,
            scheduler=self.scheduler,
            gate=self.gate,
            budgets=self.budgets,
            vault=self.vault,
            tenants=self.tenants,
            quotas=self.quotas,
            webhooks=self.telling.webhooks,
            hooks=self.hooks,
        )
        self.desk.watching.listens = self.ledger.listens
        self.retention: Retention | None = None
        if isinstance(log, KeptLog):
            keeping = log.keeping(self.folder)
            self.retention = self.desk.retention = Retention(self.engine, keeping, retention_of(environment))
            self.desk.eraser = Eraser(self.engine, keeping, self.cache)
        library = Library(self.engine, frozenset(self.providers), frozenset(activities or ()))
        records = Records(self.engine)
        self.auth = Auth(self.documents, self.clock, sealer)
        self.desk.closing = Closing(self.desk, log, self.auth, self.telling.webhooks, self.hooks)
        self.tickets = MemoryTickets(self.clock)
        self.doors = Doors(
            self.desk,
            library,
            records,
            self.protocol,
            self.files,
            self.documents,
            self.worker.accept,
            Views(self.desk, library, records, self.protocol),
            self.auth,
            self._price,
            Models(configured(self.providers), partial(every_price, prices, demo="demo" in self.providers)),
            partial(cache_inventory_beside, log),
            KeptAnswers(self.documents, self.clock, sealer),
            self.quotas,
            self.telling.webhooks,
            self.telling.links,
            self.hooks,
            HookDoor(self.engine, self.hooks),
            health=Health(self.engine, self.queue, self.folder, lambda: self._tasks, self.database_time),
            metrics=Metrics(self.engine, self.queue, self.limits),
            feed=Feed(self.engine),
            texts=Texts(self.engine, run_streams),
            uploads=Uploads(self.documents, self.clock),
            issue_ticket=self.tickets.issue,
            identify_token=self.tickets.identify,
            finished=self._finished_answers(),
            admit_connection=self._admit_connection,
        )
        self._work, self._schedules_run = work, run_schedules
        self._tasks: list[asyncio.Task[Any]] = []

    def _finished_answers(self) -> FinishedAnswers:
        finished = FinishedAnswers(sole=self.engine.others is None)
        self.engine.listen(lambda lane, _: finished.forget(lane.run.id))
        self.engine.forgotten = self._forget
        return finished

    def _forget(self, row: RunRow) -> None:
        self.doors.finished.forget(row.id)
        self.desk.showing.forget(row.id)

    def _admit_connection(self, caller: Caller) -> Callable[[], None]:
        held = contextlib.ExitStack()
        held.enter_context(self.quotas.connection(caller.tenant))
        return held.close

    async def _own_keys_only(self, tenant: str) -> bool:
        return (await self.tenants.of(tenant)).own_keys_only

    def _price(self, provider: str, model: str) -> Price | None:
        return self.providers[provider].price(model) if provider in self.providers else None

    async def __aenter__(self) -> Self:
        if self.database_time is not None:
            await self.database_time.open()
        if self.engine.others is not None:
            await self.engine.others.require_room()
        self.engine.open()
        await self.vault.open()
        await self.gate.open()
        await self.budgets.open()
        await self.warden.recover()
        if self.neighbours is not None:
            await self.neighbours.open()
        if self.texts_of_neighbours is not None:
            self._tasks.append(texts := self.engine.spawn(self.texts_of_neighbours.run(), ""))
            texts.set_name("headgate-texts")
        self.factors.seed(await self.engine.log.estimates(ESTIMATES_MAX))
        loop = asyncio.get_running_loop()
        self._tasks.append(loop.create_task(self.warden.run(), name="headgate-warden"))
        self._tasks.append(loop.create_task(self.ledger.watch_periods(self.clock), name="headgate-periods"))
        if self.database_time is not None:
            self._tasks.append(loop.create_task(self.database_time.run(), name="headgate-database-time"))
        if self._budget_command is not None:
            self._tasks.append(loop.create_task(self._budget_command.run(), name="headgate-budget-alerts"))
        if self.retention is not None:
            self._tasks.append(loop.create_task(self.retention.run(), name="headgate-retention"))
        if self._work or self._schedules_run:
            self._tasks.append(loop.create_task(self.telling.run(), name="headgate-telling"))
        if self.lookout is not None:
            self._tasks.append(loop.create_task(self.lookout.run(), name="headgate-lookout"))
        if self._schedules_run:
            self._tasks.append(loop.create_task(self.scheduler.run(), name="headgate-scheduler"))
        if self._work:
            self._tasks.append(loop.create_task(self.worker.run(), name="headgate-worker"))
        return self

    async def __aexit__(self, *_: object) -> None:
        async with contextlib.AsyncExitStack() as closing:
            for close in reversed(self._in_closing_order()):
                closing.push_async_callback(close)  # each is called, whatever fails or is cancelled before it

    def _in_closing_order(self) -> list[Callable[[], Awaitable[None]]]:
        return [
            *([self.telling.finish] if self._work or self._schedules_run else []),
            self._end_tasks,
            self.worker.close,
            self.builtins.close,
            *([self.neighbours.close] if self.neighbours is not None else []),
            self.gate.close,
            self.engine.close,
            self.cache.close,
            self.streams.close,
            partial(close_providers, self.providers),
            self.engine.log.close,
            self._remove_folder,
        ]

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _remove_folder(self) -> None:
        if self._folder_is_ours:
            shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.asynccontextmanager
async def stateless_activities(
    environment: Mapping[str, str],
    *,
    prices_in: Path,
    scripted: ScriptedProvider | None = None,
    offline: bool = False,
    demo_pace_seconds: float = 0.0,
    policies: Mapping[str, Any] | None = None,
    private_addresses: tuple[str, ...] | None = None,
) -> AsyncGenerator[Mapping[str, ActivityFunction]]:
    """Yield the built-in activities that need nothing of what lies beside a database: any process may have them.

    `private_addresses`: those that `http_request` may reach; None: all.

    Of the folder `prices_in` only the prices are read, so that workers and owner reckon alike.
    """
    clock, scratch = WallClock(), Path(tempfile.mkdtemp(prefix="headgate-worker-"))
    providers = build_providers(
        environment,
        scripted=scripted,
        offline=offline,
        demo_pace_seconds=demo_pace_seconds,
        prices=open_prices(environment, prices_in),
    )
    http = HttpSettings(private_addresses="all" if private_addresses is None else private_addresses)
    builtins = Builtins(
        providers, PolicyGuards(policies), clock, http=http, scripts=ScriptSettings(), frames=scratch / "frames"
    )
    try:
        yield builtins.stateless
    finally:
        await builtins.close()
        await close_providers(providers)
        shutil.rmtree(scratch, ignore_errors=True)
