"""The engine: commands in, decisions out, and everybody told after the commit.

It loads runs, keeps the lanes, and hands on what a commit has made due: tasks to the queue, messages to the courier,
times to the warden, news to those who wait. It decides nothing (`core.decide` does) and stores nothing (the log does).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from headgate.core import commands as c
from headgate.core.codec import GENESIS, content_value
from headgate.core.decision import Decision
from headgate.core.definition import Definition
from headgate.core.errors import NotFound, Refused, Unavailable, UniqueKeyHeld
from headgate.core.plan import Plan
from headgate.core.run import Run
from headgate.engine.appender import Appender
from headgate.engine.command_ids import CommandIdReused, run_answered
from headgate.engine.contents import ContentCache
from headgate.engine.definitions import Definitions
from headgate.engine.folding import fold_run
from headgate.engine.lane import AlreadyThere, Lane, Order
from headgate.engine.logs import current_trace
from headgate.engine.news import Listener, News
from headgate.engine.policy_settings import scrubbed_input
from headgate.engine.shared_budgets import SharedBudgets
from headgate.engine.start import Start, new_run_id, row_of, start_command
from headgate.engine.start_bounds import check_start
from headgate.engine.task_rows import TaskRows
from headgate.ports import NO_GUARDS, Append, Clock, Guards, Log, RunRow, SharedLog

if TYPE_CHECKING:
    from headgate.engine.quotas import Quotas

__all__ = ["Engine", "no_run"]

LANES_MAX = 20_000
"""Runs kept in memory; beyond that, the idle one that was used longest ago is dropped."""

BRINGS_CONTENT = (c.Retry, c.Signal, c.DecideApproval)
"""What people may ask of an ended run that would give it content again."""
INSIST_TRIES_MAX = 16
"""About four minutes in all; what cannot be written then is taken up by the next start of the process."""


class Engine:
    """One per process and database. Everything happens on the loop that `open` ran on."""

    def __init__(self, log: Log, clock: Clock, *, random_id: Callable[[], str] | None = None) -> None:
        self.log = log
        self.clock = clock
        self.loop: asyncio.AbstractEventLoop
        self.appender = Appender(log)
        self.contents = ContentCache()
        self.shared = SharedBudgets(self)
        self.random_id = random_id or new_run_id
        self.guards: Guards = NO_GUARDS
        """What cuts personal data out of inputs, where a definition says so."""
        self.definitions = Definitions(log, clock)
        self.quotas: Quotas | None = None
        """What tenants may use, where somebody says so."""
        self._lanes: OrderedDict[str, Lane] = OrderedDict()
        self._loading: dict[str, asyncio.Task[Lane]] = {}
        self._listeners: list[Listener] = []
        self.others: SharedLog | None = log if isinstance(log, SharedLog) else None
        """The log, where other processes write it, too: what is in memory here may be old."""
        self.news = News(self)
        self.rows: TaskRows | None = None
        """Makes rows of tasks, where others are to see them."""
        self.gathering: list[Lane] | None = None
        """Lanes that have something to decide at the end of `gather`."""
        self._dropped: set[str] = set()
        self._sealed: set[str] = set()
        self.read_again: Callable[[Lane], None] = lambda lane: None
        """Told of a run that had to be dropped, once it is loaded again: of its tasks some may have been let go."""
        self.forgotten: Callable[[RunRow], None] = lambda row: None
        """Told of a run that was erased or deleted."""
        self._ends: dict[str, list[asyncio.Future[RunRow]]] = {}
        self._work: set[asyncio.Task[Any]] = set()
        self.failures: list[BaseException] = []

    def open(self) -> None:
        """Begin, on the running loop."""
        self.loop = asyncio.get_running_loop()
        self.appender.start()

    async def close(self) -> None:
        """Commit what was decided, then stop. What is still running goes on at the next start."""
        for task in list(self._work):
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        await self.appender.close()

    def listen(self, listener: Listener) -> None:
        """Have `listener` called on the loop after each commit, with the decisions that it made durable."""
        self._listeners.append(listener)

    @property
    def open_calls(self) -> tuple[int, int]:
        """Return how many model calls of runs in memory are open, and what they have reserved (nano-dollars)."""
        runs = [lane.run for lane in self._lanes.values()]
        return sum(len(run.calls) for run in runs), sum(run.reserved for run in runs)

    def spawn(self, work: Coroutine[Any, Any, Any], trace_id: str) -> asyncio.Task[Any]:
        """Run something for a run beside the loop's other work; a failure of it is the engine's, is kept and logged."""
        context = copy_context()
        context.run(current_trace.set, trace_id)
        task = self.loop.create_task(work, context=context)
        self._work.add(task)
        task.add_done_callback(self._ended, context=context)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._work.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failures.append(error)
            self.loop.call_exception_handler({"message": "Headgate engine task failed", "exception": error})

    # --- Commands ------------------------------------------------------------------------------------------------

    async def start(self, start: Start) -> RunRow:
        """Start a run; return when that is durable.

        A `command_id` or `run_id` that was used before gives the run of then. Raises `Invalid` for an input that the
        definition does not take, `NotFound` for an unknown workflow, `Refused` when `unique_key` is taken,
        `OverQuota` when its tenant may not start another now, `Unavailable` when too much is waiting to be written.
        """
        from headgate.authoring import validate_input

        if (known := await self._started_before(start)) is not None:
            return known
        if self.appender.crowded:
            raise Unavailable(
                "More is waiting to be written than the disk keeps up with; start this run a little later."
            )
        plan = await self.definitions.plan(start.workflow, start.version, tenant=start.tenant)
        if start.parent is None:
            check_start(start, plan.definition)
        value = validate_input(plan.definition, {} if start.input is None else start.input)
        content_key = secrets.token_bytes(16)
        value = self.scrubbed(plan.definition, value, content_key)
        if self.quotas is None or start.parent is not None:
            return await self._start(start, plan, value, content_key)
        async with await self.quotas.starting(start.tenant):
            return await self._start(start, plan, value, content_key)

    async def _start(self, start: Start, plan: Plan, value: Any, content_key: bytes) -> RunRow:
        lane = self._new_lane(start, plan, content_key)
        try:
            await lane.submit(start_command(start, plan, value, lane.row, self.clock.now()))
        except AlreadyThere:
            # Another start with the same key or id was faster, between our look and our append.
            if (known := await self._started_before(start)) is not None:
                return known
            raise
        return lane.listed

    def scrubbed(self, definition: Definition, value: Any, content_key: bytes = b"") -> Any:
        """Return an input as it may be kept: without personal data, where the definition says `scrub: input`."""
        if definition.scrub != "input":
            return value
        return scrubbed_input(self.guards, definition, value, content_key or secrets.token_bytes(16))

    async def _started_before(self, start: Start) -> RunRow | None:
        if start.command_id and (answer := await self.log.answer(start.tenant, start.command_id)) is not None:
            return await self.row(run_answered(answer, start.command_id, start.fingerprint))
        if start.run_id and (row := await self.log.run(start.run_id)) is not None:
            return row
        if start.unique_key and (row := await self.log.run_by_unique_key(start.tenant, start.unique_key)) is not None:
            raise UniqueKeyHeld(start.unique_key, row.id, row.head.status)
        return None

    def _new_lane(self, start: Start, plan: Plan, content_key: bytes) -> Lane:
        run_id = start.run_id or self.random_id()
        if run_id in self._lanes:
            raise Refused(f"Run {run_id} is being started already.")
        row = row_of(start, plan, run_id, key=self.log.new_key(), content_key=content_key, at=self.clock.now())
        lane = self._lanes[run_id] = Lane(self, Run(run_id, plan), row, GENESIS)
        return lane

    async def submit(self, run_id: str, command: c.Command) -> Decision:
        """Have `command` decided; return the decision when it is durable. The same `command_id` again decides nothing.

        Raises what `decide` raises, `NotFound` for an unknown run, `Unavailable` when the log cannot be written.
        """
        lane = self._lanes.get(run_id) or await self.lane(run_id)
        if self._is_closed_to(lane, command):
            raise _erased(run_id)
        if command.command_id and (answer := await self.log.answer(lane.row.tenant, command.command_id)) is not None:
            run_answered(answer, command.command_id, command.fingerprint)
            return Decision(lane.run, {}, at=command.at, actor=command.actor, cause=command.command_id)
        return await lane.submit(command)

    def _is_closed_to(self, lane: Lane, command: c.Command) -> bool:
        """Whether the run was erased, or is being, and the command would bring it content."""
        return isinstance(command, BRINGS_CONTENT) and (lane.row.erased or lane.run.id in self._sealed)

    async def insist(self, run_id: str, command: c.Command) -> Decision:
        """The same, for what must not get lost: asked again, ever more rarely, while the log cannot be written."""
        for number in range(INSIST_TRIES_MAX - 1):
            try:
                return await self.submit(run_id, command)
            except Unavailable:
                await asyncio.sleep(min(2**number / 10, 30))
        return await self.submit(run_id, command)

    def submit_soon(self, run_id: str, command: c.Command) -> asyncio.Future[Decision]:
        """The same without waiting: where the run is loaded, the command is in its lane when this returns."""
        lane = self._lanes.get(run_id)
        if lane is not None:
            return lane.submit(command)
        return self.loop.create_task(self.submit(run_id, command))

    @contextlib.contextmanager
    def gather(self) -> Generator[None]:
        """Within it, what is submitted only waits in its lane; at its end each lane decides it all, for one append."""
        lanes = self.gathering = list[Lane]()
        try:
            yield
        finally:
            self.gathering = None
            for lane in lanes:
                lane.turn()

    async def resubmit(self, run_id: str, orders: list[Order]) -> None:
        """Put orders of a dropped lane into the run's new one."""
        try:
            lane = await self.lane(run_id)
            ids = {order.command.command_id for order in orders} - {""}
            answered = {name: answer for name in ids if (answer := await self.log.answer(lane.row.tenant, name))}
        except Exception as error:  # noqa: BLE001 - each caller is told
            for order in orders:
                order.fail(error)
            return
        closed = [order for order in orders if self._is_closed_to(lane, order.command)]
        for order in closed:
            order.fail(_erased(run_id))
        lane.take_over([order for order in orders if order not in closed and not self._repeats(lane, order, answered)])

    def _repeats(self, lane: Lane, order: Order, answered: Mapping[str, bytes]) -> bool:
        """Answer an order whose command is in the log already; return whether it is."""
        command = order.command
        if command.command_id not in answered:
            return False
        try:
            run_answered(answered[command.command_id], command.command_id, command.fingerprint)
        except CommandIdReused as error:
            order.fail(error)
            return True
        order.decision = Decision(lane.run, {}, at=command.at, actor=command.actor, cause=command.command_id)
        order.tell()
        return True

    # --- Runs ----------------------------------------------------------------------------------------------------

    def loaded(self, run_id: str) -> Lane | None:
        return self._lanes.get(run_id)

    async def lane(self, run_id: str) -> Lane:
        """Return the run's lane, loading the run if need be. Raises `NotFound`."""
        lane = self._lanes.get(run_id)
        if lane is not None:
            self._lanes.move_to_end(run_id)
            return lane
        loading = self._loading.get(run_id)
        if loading is None:
            loading = self._loading[run_id] = self.loop.create_task(self._load(run_id))
            loading.add_done_callback(lambda _: self._loading.pop(run_id, None))
        return await asyncio.shield(loading)

    async def _load(self, run_id: str) -> Lane:
        row = await self.row(run_id)
        plan = await self.definitions.plan(row.workflow, row.definition, tenant=row.tenant)
        run = await fold_run(self.log, row, plan)
        lane = self._lanes[run_id] = Lane(self, run, row, row.head.hash)
        if run_id in self._dropped:
            self._dropped.discard(run_id)
            self.read_again(lane)
        return lane

    async def row(self, run_id: str) -> RunRow:
        """Return the run's row as it is in the log. Raises `NotFound`."""
        row = await self.log.run(run_id)
        if row is None:
            raise no_run(run_id)
        return row

    def drop(self, lane: Lane) -> None:
        """Forget a run whose memory and log may differ, and read it again: what it has due is offered once more."""
        run_id = lane.run.id
        if self._lanes.get(run_id) is lane:
            del self._lanes[run_id]
        self._dropped.add(run_id)
        self.spawn(self._read_again(run_id), lane.row.trace_id)

    async def _read_again(self, run_id: str) -> None:
        with contextlib.suppress(NotFound, Unavailable):  # it never got into the log; or whoever needs it next reads it
            await self.lane(run_id)

    def idle(self, lane: Lane) -> None:
        """The lane has nothing to do: finished runs leave memory at once, others when there are too many."""
        if lane.run.finished and not lane.run.messages:
            self._lanes.pop(lane.run.id, None)
            self.contents.forget_run(lane.row.key)
        elif len(self._lanes) > LANES_MAX:
            for run_id, other in self._lanes.items():
                if other.idle:
                    del self._lanes[run_id]
                    return

    def forget(self, row: RunRow) -> None:
        """Forget an idle run that was erased or deleted; whoever needs it next reads it."""
        self._lanes.pop(row.id, None)
        self.contents.forget_run(row.key)
        self.forgotten(row)

    @contextlib.contextmanager
    def sealing(self, runs: set[str]) -> Generator[None]:
        """Within it, nothing that brings new content is taken for these runs."""
        self._sealed |= runs
        try:
            yield
        finally:
            self._sealed -= runs

    # --- Contents ------------------------------------------------------------------------------------------------

    async def load_values(self, run: int, versions: set[int]) -> dict[int, object]:
        """Return contents, from memory where they are. An erased one is null."""
        values = self.contents.values(run, versions)
        missing = sorted(versions - values.keys())
        if missing:
            found = await self.log.contents(run, missing)
            for version in missing:
                data = found.get(version)
                values[version] = None if data is None else content_value(data)
                self.contents.keep(run, version, values[version], len(data or b""))
        return values

    # --- After a commit ------------------------------------------------------------------------------------------

    def committed(self, lane: Lane, decisions: Sequence[Decision], item: Append) -> None:
        """Tell everybody whom the commit concerns."""
        for listener in self._listeners:
            listener(lane, decisions)
        if self.rows is not None:
            self.rows.committed(item)
        self.tell_end(lane)

    def tell_end(self, lane: Lane) -> None:
        """Tell those who wait for the end of the run, if it has come."""
        if lane.run.finished and (waiting := self._ends.pop(lane.run.id, None)):
            row = lane.listed
            for future in waiting:
                if not future.done():
                    future.set_result(row)

    @property
    def awaited(self) -> Iterable[str]:
        """The runs whose end somebody waits for."""
        return self._ends.keys()

    async def finished(self, run_id: str) -> RunRow:
        """Return the run's row once it has finished."""
        future: asyncio.Future[RunRow] = self.loop.create_future()
        self._ends.setdefault(run_id, []).append(future)
        lane = self._lanes.get(run_id)
        if lane is None or lane.head.finished_at is not None:
            row = await self.row(run_id)
            if row.head.finished_at is not None:
                with contextlib.suppress(KeyError, ValueError):
                    self._ends[run_id].remove(future)
                return row
        return await future


def _erased(run_id: str) -> Refused:
    return Refused(f"Run {run_id} was erased: nothing that would bring it new content is taken. Start another.")


def no_run(run_id: str) -> NotFound:
    """Return what is said of a run that is not there, or not for whoever asks."""
    return NotFound(f"There is no run {run_id!r}.")
