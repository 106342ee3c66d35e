"""A run's lane: at most one append in flight; what arrives meanwhile is decided after it, and goes together.

The life of a command: it waits in the lane; on its turn the contents it needs are at hand (or are read); it is decided
upon the run; its events are encoded and chained; they go to the appender with those of its neighbours; after the commit
it is answered. A failed append drops the run, for it holds events that the log does not; whoever needs the run next
reads it again. On a conflict the commands are decided once more upon what another writer made of the run.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from headgate.core import commands as c
from headgate.core.codec import TYPE_NAMES, chain, content_bytes, digest, encode
from headgate.core.decide import advance, wanted
from headgate.core.decision import Decision
from headgate.core.errors import HeadgateError, Refused, Unavailable
from headgate.core.run import Run
from headgate.engine.command_ids import answer_of
from headgate.engine.spend import spend_of
from headgate.ports import Append, Head, Outcome, OverBudget, RunRow, SpendRow

if TYPE_CHECKING:
    from headgate.engine.engine import Engine

__all__ = ["INLINE_BYTES_MAX", "AlreadyThere", "Lane", "Order", "head_of"]

WAITING_MAX = 10_000
DECIDED_TOGETHER_MAX = 1_000
CONFLICTS_MAX = 20
ASKS_FOR_MONEY = (c.AdmitCall, c.FreeBudget)
INLINE_BYTES_MAX = 64 * 1024


class AlreadyThere(Refused):
    """A run of this id or key, or an answer to this command id, was there before."""

    code = "already_there"


class Order:
    """A command in a lane, and who is to be told its decision."""

    __slots__ = ("answer", "command", "decision", "failure", "tries")

    def __init__(self, command: c.Command, answer: asyncio.Future[Decision]) -> None:
        self.command = command
        self.answer = answer
        self.decision: Decision | None = None
        self.failure: HeadgateError | None = None
        self.tries = 0

    def tell(self) -> None:
        if self.answer.done():
            return
        if self.failure is not None:
            self.fail(self.failure)
        elif self.decision is not None:
            self.answer.set_result(self.decision)

    def fail(self, error: BaseException) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)
            # Who gave the command may be gone, as when the engine closes: then it is no news to anybody.
            self.answer.exception()


class Lane:
    """One loaded run and the commands that wait for it."""

    __slots__ = ("_busy", "_engine", "_gone", "_orders", "_together", "hash", "head", "row", "run")

    def __init__(self, engine: Engine, run: Run, row: RunRow, head_hash: bytes) -> None:
        self._engine = engine
        self.run = run
        self.row = row
        """The run as it was listed when it was loaded; what changes is in `head`."""
        self.head = row.head
        self.hash = head_hash
        self._orders: deque[Order] = deque()
        self._together: list[Order] = []
        self._busy = False
        self._gone = False
        """Dropped, for its run may differ from the log: whoever still holds it is passed on to the run's new lane."""

    @property
    def listed(self) -> RunRow:
        """The run as a list shows it: what is durable."""
        return msgspec.structs.replace(self.row, head=self.head)

    @property
    def durable(self) -> bool:
        """Whether all that has been decided upon the run is in the log: only then may somebody be told of its state."""
        return self.run.version == self.head.version

    @property
    def idle(self) -> bool:
        return not self._busy and not self._orders

    def submit(self, command: c.Command) -> asyncio.Future[Decision]:
        """Put the command in the lane. The future holds its decision after the commit, or raises why there is none."""
        if self._gone:
            return self._engine.submit_soon(self.run.id, command)
        answer: asyncio.Future[Decision] = self._engine.loop.create_future()
        if len(self._orders) >= WAITING_MAX:
            answer.set_exception(
                Unavailable(f"Run {self.run.id} has {WAITING_MAX} commands waiting; try again in a moment.")
            )
            return answer
        self._orders.append(Order(command, answer))
        if not self._busy:
            self._busy = True
            if self._engine.gathering is None:
                self.turn()
            else:
                self._engine.gathering.append(self)
        return answer

    # --- Deciding ------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Decide what waits, as far as its contents are at hand; read them first where they are not."""
        command = self._orders[0].command
        if isinstance(command, ASKS_FOR_MONEY) and self._engine.shared.concern(self.run):
            self._engine.spawn(self._look_at_budgets_then_decide(command), self.row.trace_id)
            return
        versions = wanted(self.run, command)
        if not versions:
            self._decide({})
        elif self._engine.contents.missing(self.row.key, versions):
            self._engine.spawn(self._read_then_decide(versions), self.row.trace_id)
        else:
            self._decide(self._engine.contents.values(self.row.key, versions))

    async def _read_then_decide(self, versions: set[int]) -> None:
        try:
            values = await self._engine.load_values(self.row.key, versions)
        except HeadgateError as error:
            self._abandon([self._orders.popleft()], error)
            return
        self._decide(values)

    async def _look_at_budgets_then_decide(self, command: c.AdmitCall | c.FreeBudget) -> None:
        try:
            self._orders[0].command = await self._engine.shared.told(self.run, command)
        except HeadgateError as error:
            self._abandon([self._orders.popleft()], error)
            return
        self._decide({})

    def _decide(self, values: dict[int, object]) -> None:
        """Decide the first order, which reads `values`, and those behind it that can go with it."""
        item = Append(self.row.key, self.run.version, [], self.head)
        contents = self._engine.contents
        together = self._together = []
        while self._orders and len(together) < DECIDED_TOGETHER_MAX:
            if together:
                command = self._orders[0].command
                if self._must_begin_an_append(command):
                    break
                versions = wanted(self.run, command)
                if versions and contents.missing(self.row.key, versions):
                    break
                values = contents.values(self.row.key, versions) if versions else {}
            order = self._orders.popleft()
            together.append(order)
            try:
                self._decide_one(order, item, values)
            except Exception as error:  # noqa: BLE001 - a fault of ours, or of a template: the run is as the log has it
                self._forget(item)
                self._orders.extendleft(reversed(together[:-1]))
                self._abandon(together[-1:], error)
                return
        if not item.rows:
            if self._engine.others is None:
                self._finish(together)
            else:
                self._engine.spawn(self._finish_if_newest(together), self.row.trace_id)
            return
        item.head = head_of(self.run, self.hash)
        if item.expected_version == 0:
            item.new = msgspec.structs.replace(self.row, head=item.head)
        try:
            self._engine.appender.append(item, self._appended)
        except Unavailable as error:
            self._forget(item)
            self._abandon(together, error)

    async def _finish_if_newest(self, together: list[Order]) -> None:
        """Answer what appends nothing, unless another process has made of the run what is not known here."""
        assert self._engine.others is not None
        try:
            versions = await self._engine.others.versions([self.run.id])
        except HeadgateError as error:
            self._abandon(together, error)
            return
        if versions.get(self.run.id, 0) == self.run.version:
            self._finish(together)
        else:
            self._again(together)

    def _must_begin_an_append(self, command: c.Command) -> bool:
        """Whether the command cannot be decided together with those before it: a budget above the run is looked at for
        one reservation at a time, and a repeated command id is known only once the first is in the log."""
        if isinstance(command, ASKS_FOR_MONEY) and self._engine.shared.concern(self.run):
            return True
        return bool(command.command_id) and any(
            order.command.command_id == command.command_id for order in self._together
        )

    def _forget(self, item: Append) -> None:
        for row in item.rows:
            self._engine.contents.forget(row[0], row[1])

    def _decide_one(self, order: Order, item: Append, values: dict[int, object]) -> None:
        command = order.command
        order.failure = order.decision = None
        before, spent = self.run.version, self.run.spent
        settled = self.run.calls.get(command.call_id) if type(command) is c.SettleCall else None
        try:
            decision = order.decision = advance(self.run, command, values)
        except HeadgateError as error:
            if self.run.version != before:
                raise
            order.failure = error
            return
        self._encode(decision, item)
        if self._engine.rows is not None:
            self._engine.rows.add(item, self.run, decision.events)
        if type(command) is c.RaiseBudget and not command.key and decision.events:
            item.limit = self.run.limit
        rows: list[SpendRow] = []
        if self.run.spent != spent or _may_be_listed(command):
            rows = spend_of(self.run, self.row, decision.events, settled)
            item.spend = [*item.spend, *rows]
        if self.run.calls or settled is not None or self._engine.shared.concern(self.run):
            item.moves = [*item.moves, *self._engine.shared.moves(self.run, decision.events, rows)]
        if decision.events and command.command_id:
            answer = answer_of(self.row.id, command.fingerprint)
            item.commands = [*item.commands, (self.row.tenant, command.command_id, command.at, answer)]

    def _encode(self, decision: Decision, item: Append) -> None:
        """Make rows of the decision's events: encoded, chained, each with its content beside it."""
        key, contents, rows = self.row.key, decision.contents, item.rows
        for event in decision.events:
            version = event.version
            content = named = None
            if version in contents:
                encoded = decision.encoded.get(version) or content_bytes(contents[version])
                named, content = self._place_content(version, contents[version], encoded, item)
            data = encode(event, named)
            self.hash = hashed = chain(self.hash, data)
            item.size += len(data)
            rows.append((key, version, event.at, TYPE_NAMES[type(event)], data, hashed, content))

    def _place_content(self, version: int, value: object, content: bytes, item: Append) -> tuple[bytes, bytes | None]:
        """Return the content's digest, and its bytes unless they are so many that they go into a blob."""
        named = digest(self.row.content_key, content)
        size = len(content)
        item.size += size
        self._engine.contents.keep(self.row.key, version, value, size)
        if size <= INLINE_BYTES_MAX:
            return named, content
        item.blobs = [*item.blobs, (named, content)]
        return named, None

    # --- After the commit ----------------------------------------------------------------------------------------

    def _appended(self, item: Append, outcome: Outcome) -> None:
        together = self._together
        if outcome == "accepted":
            self.head = item.head
            if item.limit is not None:
                self.row = msgspec.structs.replace(self.row, limit=item.limit)
            self._engine.committed(self, [order.decision for order in together if order.decision is not None], item)
            self._finish(together)
            return
        self._forget(item)
        if outcome == "version_conflict":
            self._again(together)
        elif isinstance(outcome, OverBudget):
            self._again([_told(order, outcome) for order in together])
        elif outcome == "repeated" and item.new is None:
            self._again(together)
        elif isinstance(outcome, BaseException):
            self._abandon(together, outcome)
        else:
            self._abandon(together, AlreadyThere(f"Run {self.run.id}, or this command of it, was recorded before."))

    def _finish(self, together: list[Order]) -> None:
        for order in together:
            order.tell()
        if self._orders:
            self.turn()
        else:
            self._busy = False
            self._engine.idle(self)

    def _again(self, together: list[Order]) -> None:
        """Decide once more, upon the run as the log has it now."""
        for order in together:
            order.tries += 1
            order.failure = order.decision = None
        if any(order.tries > CONFLICTS_MAX for order in together):
            self._abandon(together, Unavailable(f"Run {self.run.id} is contended; try again."))
            return
        waiting = [*together, *self._orders]
        self._orders.clear()
        self._gone = True
        self._engine.drop(self)
        self._engine.spawn(self._engine.resubmit(self.run.id, waiting), self.row.trace_id)

    def _abandon(self, together: list[Order], error: BaseException) -> None:
        waiting = list(self._orders)
        self._orders.clear()
        self._gone = True
        self._engine.drop(self)
        for order in together:
            order.fail(error)
        if waiting:
            self._engine.spawn(self._engine.resubmit(self.run.id, waiting), self.row.trace_id)

    def take_over(self, orders: list[Order]) -> None:
        """Go on with orders that another lane of the same run could not finish."""
        if self._gone:
            self._engine.spawn(self._engine.resubmit(self.run.id, orders), self.row.trace_id)
            return
        self._orders.extendleft(reversed(orders))
        if not self._busy and self._orders:
            self._busy = True
            self.turn()


def _may_be_listed(command: c.Command) -> bool:
    """Whether the command may have rows of spend though it changes none: of usage without cost, of what was reused."""
    return bool(getattr(command, "usage", None)) or getattr(command, "cached", False) or type(command) is c.ReuseCall


def head_of(run: Run, head_hash: bytes) -> Head:
    """Return the run's head row: what a list shows, and when the warden must look."""
    return Head(
        run.shown_status,
        run.version,
        head_hash,
        run.attention_at,
        len(run.tasks),
        run.total_cost,
        run.reserved,
        run.at,
        run.finished_at or None,
        run.error,
        run.simulated,
        len(run.approvals),
    )


def _told(order: Order, over: OverBudget) -> Order:
    if isinstance(order.command, c.AdmitCall | c.FreeBudget):
        fact = (over.budget, over.limit, over.spent, over.reserved)
        order.command = msgspec.structs.replace(order.command, over=fact)
    return order
