"""An outbox: one receiver's way through the log, on which nothing is lost and little is told twice.

How far a receiver has been told is a document of its own. Everything before its `position` was delivered, or given up
after so many attempts; of what comes behind, the document names what is delivered already and what has failed.
Whoever wants to deliver first writes into the document that it does (a lease, by compare-and-set), sends a few messages
side by side (so they may overtake one another), and writes down what came of it. A process that is killed in between
has written nothing: the next one sends the same messages once more, under the same ids. So each message arrives at
least once; and as only one process holds the lease, two nodes do not send the same one at a time.

An idle outbox writes nothing: what concerns its receiver is looked for first, and the lease is taken only for that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

import msgspec

from headgate.core.errors import HeadgateError, Unavailable
from headgate.ports import Clock, Delivered, Document, Documents, EventRow, Log, Undelivered

__all__ = [
    "ATTEMPTS_MAX",
    "OUTBOX",
    "SENDING_MAX",
    "Message",
    "Outbox",
    "Receiver",
    "Standing",
    "feed_end",
    "standing_of",
]

OUTBOX = "outbox"
"""The kind of the documents."""

PAGE_EVENTS = 500
TOGETHER_MAX = 8
ATTEMPTS_MAX = 8
"""Of one message; then it is given up, with a warning in the log."""
BACKOFF_SECONDS = 5.0
BACKOFF_FACTOR = 4.0
BACKOFF_SECONDS_MAX = 3_600.0
LEASE_MICROSECONDS = 60_000_000
"""Longer than any message takes to be sent or to fail; a lease is not renewed."""
POLL_MICROSECONDS = 5_000_000
"""How often another node's commits are looked for, where there may be other nodes."""
AGAIN_MICROSECONDS = 5_000_000
"""When to come back after the log or the documents could not be read or written."""
PASSED_EVENTS_MAX = 10_000
"""So many events that do not concern the receiver are passed before that is written: a start reads them again."""
RECENT_MAX = 20
SENDING_MAX = 32
"""Messages of all outboxes of a process that are under way at a time."""

logger = logging.getLogger("headgate.outbox")


class Message(msgspec.Struct, frozen=True):
    """Something to tell a receiver. `id` is the same in every process; `about` is the receiver's own affair."""

    id: str
    type: str
    position: int
    about: object = None


class Receiver(Protocol):
    """Who is told. `alone`: all messages go to one address, so when one fails the others wait."""

    alone: bool

    def wants(self, event_type: str) -> bool: ...

    async def messages(self, row: EventRow) -> Sequence[Message]:
        """Return what the event means for this receiver."""
        ...

    async def send(self, message: Message) -> int:
        """Return the answer's status. Raises `Undelivered`."""
        ...

    async def failing(self, standing: Standing, error: str, *, hopeless: bool) -> None:
        """Called after a round in which nothing arrived: it may want to be told nothing more."""
        ...


class Failing(msgspec.Struct, frozen=True, array_like=True):
    attempts: int
    retry_at: int


class Standing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a receiver has been told. Times in microseconds."""

    position: int
    done: tuple[str, ...] = ()
    failing: dict[str, Failing] = {}
    failures: int = 0
    """Rounds in a row in which nothing arrived, since `failing_since`."""
    failing_since: int = 0
    retry_at: int = 0
    holder: str = ""
    until: int = 0
    recent: tuple[Delivered, ...] = ()


def standing_of(document: Document) -> Standing:
    return msgspec.json.decode(document.body, type=Standing)


async def feed_end(log: Log) -> int:
    """Return the position behind which the feed has nothing yet, by asking it a few dozen times for one event."""
    low, high = 0, 1
    while rows := await log.feed(high, 1):
        low, high = rows[0].pos, max(high * 2, rows[0].pos)
    while low < high:
        middle = (low + high) // 2
        if rows := await log.feed(middle, 1):
            low = rows[0].pos
        else:
            high = middle
    return low


class Outbox:
    """One receiver's. `run` delivers until it is cancelled; `wake` says that something may have been committed.

    `node` names this process in leases; `polls` where other processes write to the log too. `room` bounds what all
    outboxes of the process send at a time.
    """

    def __init__(
        self,
        name: tuple[str, str],
        receiver: Receiver,
        documents: Documents,
        log: Log,
        clock: Clock,
        *,
        node: str,
        polls: bool,
        room: asyncio.Semaphore,
    ) -> None:
        self._tenant, self._name = name
        self._receiver = receiver
        self._documents = documents
        self._log = log
        self._clock = clock
        self._node = node
        self._polls = polls
        self._room = room
        self._passed = (0, 0)
        """The position up to which nothing concerns the receiver, and how many events that were."""
        self.wake = asyncio.Event()
        self._resting = asyncio.Event()

    def wants(self, event_type: str) -> bool:
        return self._receiver.wants(event_type)

    async def settled(self) -> None:
        """Return when nothing can be delivered now: all is, or waits for its next attempt. `run` must be running."""
        self._resting.clear()
        self.wake.set()
        await self._resting.wait()

    async def run(self) -> None:
        """Deliver what concerns the receiver, for ever, or until its document is gone."""
        while True:
            try:
                again = await self.round()
            except Unavailable as error:
                logger.warning("outbox %s waits, for the log cannot be used: %s", self._name, error)
                again = self._clock.now() + AGAIN_MICROSECONDS
            if again is None and self._polls:
                again = self._clock.now() + POLL_MICROSECONDS
            if again is None or again > self._clock.now():
                self._resting.set()
                await self._clock.wait(again, self.wake)
                self._resting.clear()
            else:
                await asyncio.sleep(0)

    async def round(self) -> int | None:
        """Look at the next page and try to deliver of it what is due; return when to come back (None: when woken)."""
        document = await self._documents.get(OUTBOX, self._tenant, self._name)
        if document is None:
            return None
        standing, now = standing_of(document), self._clock.now()
        if standing.holder not in ("", self._node) and standing.until > now:
            return standing.until
        page = await self._log.feed(max(standing.position, self._passed[0]), PAGE_EVENTS)
        concerning = [
            message for row in page if self._receiver.wants(row.type) for message in await self._receiver.messages(row)
        ]
        waiting = [message for message in concerning if message.id not in standing.done]
        if not waiting:
            return await self._pass(page, standing, document)
        if self._receiver.alone and standing.retry_at > now:
            return standing.retry_at
        due = [message for message in waiting if _retry_at(standing, message) <= now]
        if not due:
            return min(_retry_at(standing, message) for message in waiting)
        lease = msgspec.structs.replace(standing, holder=self._node, until=now + LEASE_MICROSECONDS)
        held = await self._save(lease, document.revision)
        if held is None:
            return now
        together = due[: 1 if self._receiver.alone and standing.failures else TOGETHER_MAX]
        outcomes = await asyncio.gather(*(self._attempt(message, standing) for message in together))
        after = self._after(standing, concerning, page[-1].pos, list(zip(together, outcomes, strict=True)))
        await self._save(after, held)
        self._passed = (0, 0)
        if after.failures > standing.failures:
            hopeless = any(error is not None and error.hopeless for _, error in outcomes)
            await self._receiver.failing(after, after.recent[0].error, hopeless=hopeless)
        return now

    async def _pass(self, page: Sequence[EventRow], standing: Standing, document: Document) -> int | None:
        """Go past a page that has nothing for the receiver."""
        if page:
            self._passed = (page[-1].pos, self._passed[1] + len(page))
        if self._passed[1] >= PASSED_EVENTS_MAX:
            passed = msgspec.structs.replace(standing, position=self._passed[0], done=(), failing={})
            await self._save(passed, document.revision)
            self._passed = (self._passed[0], 0)
        return self._clock.now() if len(page) == PAGE_EVENTS else None

    async def _attempt(self, message: Message, standing: Standing) -> tuple[Delivered, Undelivered | None]:
        error: Undelivered | None = None
        status = 0
        async with self._room:
            try:
                status = await self._receiver.send(message)
            except Undelivered as undelivered:
                error, status = undelivered, undelivered.status
            except HeadgateError as other:  # its secret cannot be opened, say
                error = Undelivered(other.message)
        known = standing.failing.get(message.id)
        attempt = 1 if known is None else known.attempts + 1
        text = "" if error is None else error.message
        return Delivered(message.id, message.type, self._clock.now(), attempt, status, text), error

    def _after(
        self,
        before: Standing,
        concerning: Sequence[Message],
        end: int,
        outcomes: Sequence[tuple[Message, tuple[Delivered, Undelivered | None]]],
    ) -> Standing:
        """Return how things stand after a round."""
        now = self._clock.now()
        done, failing = set(before.done), dict(before.failing)
        arrived = False
        for message, (delivered, error) in outcomes:
            hopeless = error is not None and error.hopeless and not self._receiver.alone
            given_up = hopeless or (error is not None and delivered.attempt >= ATTEMPTS_MAX)
            if given_up:
                logger.warning("%s was not delivered, and is given up: %s", message.id, error)
            if error is None or given_up:
                done.add(message.id)
                failing.pop(message.id, None)
            else:
                failing[message.id] = Failing(delivered.attempt, now + _backoff(delivered.attempt))
            arrived = arrived or error is None
        position = next((one.position - 1 for one in concerning if one.id not in done), end)
        behind = {one.id for one in concerning if one.position > position}
        failures = 0 if arrived else before.failures + 1
        recent = tuple(reversed([delivered for _, (delivered, _) in outcomes]))
        return Standing(
            position=position,
            done=tuple(sorted(done & behind)),
            failing={name: one for name, one in failing.items() if name in behind},
            failures=failures,
            failing_since=0 if arrived else before.failing_since or now,
            retry_at=now + _backoff(failures) if failures else 0,
            recent=(*recent, *before.recent)[:RECENT_MAX],
        )

    async def _save(self, standing: Standing, expected: int) -> int | None:
        body = msgspec.json.encode(standing)
        at = self._clock.now()
        return await self._documents.put(OUTBOX, self._tenant, self._name, body, at=at, expected=expected)


def _retry_at(standing: Standing, message: Message) -> int:
    known = standing.failing.get(message.id)
    return 0 if known is None else known.retry_at


def _backoff(failures: int) -> int:
    """Return how long to wait after so many failures, in microseconds."""
    seconds = BACKOFF_SECONDS * BACKOFF_FACTOR ** min(failures - 1, 20)
    return int(min(seconds, BACKOFF_SECONDS_MAX) * 1_000_000)
