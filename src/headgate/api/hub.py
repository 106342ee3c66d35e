"""The hub: who is told the same. What is said in a topic is made once, and handed to every member as it is.

A topic has one task, its pump, as long as it has members; a member has none. A member that comes reads by itself what
was said before, up to where the topic stands, and joins then: between its last look and its joining nothing runs, so
nothing is missed and nothing comes twice. Each member has the number of the last thing that it knows, for it may have
read further than the pump.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Protocol

from headgate.core.errors import HeadgateError

__all__ = ["CLOSED_BY_FAULT", "CLOSED_WHOLE", "Hub", "Member", "Pump", "Topic"]

TOLD_TOGETHER = 500
"""Members that are told in one turn of the loop; the others wait until everybody else had theirs."""
CLOSED_WHOLE = 1000
CLOSED_BY_FAULT = 1011

logger = logging.getLogger("headgate.http")


class Member(Protocol):
    """One of many who are told the same. Neither call waits or fails; both do nothing for one that has gone."""

    def send(self, data: bytes) -> None: ...

    def close(self, code: int, reason: str = "") -> None: ...


class Topic:
    """What is told, to whom, and how far it was told."""

    def __init__(self, position: int = 0, *, close: Callable[[], None] = lambda: None) -> None:
        self.position = position
        self.close = close
        """Called when it ends, however that is."""
        self.members: dict[Member, int] = {}
        self.lock = asyncio.Lock()
        """Held by whoever has something told that takes several steps."""

    async def tell(self, said: Sequence[tuple[int, bytes]], position: int) -> None:
        """Tell every member what it does not know, by number; from now on the topic stands at `position`."""
        self.position = position
        if said:
            await self._tell(said)
        await asyncio.sleep(0)  # there may be much more to be told, and others have the loop, too

    async def _tell(self, said: Sequence[tuple[int, bytes]]) -> None:
        members, whole = list(self.members.items()), b"".join(data for _, data in said)
        first, last = said[0][0], said[-1][0]
        for count, (member, known) in enumerate(members, 1):
            if known < first:
                member.send(whole)
            elif known < last:
                member.send(b"".join(data for number, data in said if number > known))
            if not count % TOLD_TOGETHER:
                await asyncio.sleep(0)


Pump = Callable[[Topic], Awaitable[None]]


class Hub:
    """The topics of a process that have members."""

    def __init__(self) -> None:
        self._topics: dict[Hashable, Topic] = {}
        self._pumps: dict[Hashable, asyncio.Task[None]] = {}

    def find(self, key: Hashable) -> Topic | None:
        return self._topics.get(key)

    def begin(self, key: Hashable, topic: Topic, pump: Pump) -> None:
        """Begin a topic. It ends, and its members' connections with it, when `pump` returns."""
        self._topics[key] = topic
        self._pumps[key] = asyncio.get_running_loop().create_task(self._run(key, topic, pump), name="headgate-topic")

    async def _run(self, key: Hashable, topic: Topic, pump: Pump) -> None:
        code, reason = CLOSED_WHOLE, "this is all"
        try:
            await pump(topic)
        except HeadgateError as error:
            code, reason = CLOSED_BY_FAULT, error.code
        except Exception:
            logger.exception("what is told over sockets ended with a fault")
            code, reason = CLOSED_BY_FAULT, "a fault in Headgate; connect again"
        if self._topics.get(key) is topic:
            self._forget(key)
        for member in list(topic.members):
            member.close(code, reason)

    def join(self, key: Hashable, member: Member, known: int = 0) -> None:
        """Have `member` told everything behind number `known`."""
        self._topics[key].members[member] = known

    def leave(self, key: Hashable, member: Member) -> None:
        """Tell `member` nothing more. The topic ends with its last member."""
        topic = self._topics.get(key)
        if topic is None or topic.members.pop(member, None) is None or topic.members:
            return
        pump = self._pumps[key]
        self._forget(key)
        pump.cancel()

    def _forget(self, key: Hashable) -> None:
        del self._pumps[key]
        self._topics.pop(key).close()
