"""Reports of many tasks in few requests: those that come while many are under way go together in the next one.

Tasks that end at one time would else make a request each, a commit each, and be followed by tasks that come one by one.
Where there are few, none waits for another: a request may take as long as the server's disk does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from headgate.core.errors import HeadgateError, Unavailable
from headgate.ports import Acknowledged, Report

__all__ = ["GatheredReports"]

REQUESTS_MAX = 8
"""Under way at a time."""
CROWDED_REQUESTS_MAX = 2
CROWD = 12
"""With so many reports under way there are fewer requests: more would only make them smaller."""
GATHERED_MAX = 500
"""Reports of one request: half of what the server takes, for one caller may bring many."""

Send = Callable[[Sequence[Report]], Awaitable[list[Acknowledged]]]
_Waiting = tuple[Sequence[Report], "asyncio.Future[list[Acknowledged]]"]


class GatheredReports:
    """In front of `send`, which reports to the server. Each caller is answered as if it had asked alone.

    What waits is at most what a worker has in hand.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waiting: list[_Waiting] = []
        self._sending: set[asyncio.Task[None]] = set()
        self._lanes = 0
        self._under_way = 0

    async def report(self, reports: Sequence[Report]) -> list[Acknowledged]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Acknowledged]] = loop.create_future()
        self._waiting.append((reports, answer))
        if self._lanes < self._lanes_max:
            self._lanes += 1
            sending = loop.create_task(self._send_all())
            self._sending.add(sending)
            sending.add_done_callback(self._sending.discard)
        return await answer

    @property
    def _lanes_max(self) -> int:
        return REQUESTS_MAX if self._under_way < CROWD else CROWDED_REQUESTS_MAX

    async def _send_all(self) -> None:
        """Send until nothing waits, or others are enough. The lane is given back in the same turn of the loop that
        finds nothing, so that whoever comes next finds it free."""
        try:
            while self._waiting and self._lanes <= self._lanes_max:
                await asyncio.sleep(0)  # what ends in the same turn of the loop goes along
                if gathered := self._gathered():
                    await self._send_together(gathered)
        finally:
            self._lanes -= 1

    def _gathered(self) -> list[_Waiting]:
        gathered: list[_Waiting] = []
        count = 0
        while self._waiting and (not gathered or count + len(self._waiting[0][0]) <= GATHERED_MAX):
            gathered.append(self._waiting.pop(0))
            count += len(gathered[-1][0])
        return gathered

    async def _send_together(self, gathered: list[_Waiting]) -> None:
        together = [report for reports, _ in gathered for report in reports]
        self._under_way += len(together)
        try:
            answers = iter(await self._send(together))
        except Exception as error:  # noqa: BLE001 - whoever reported is told
            if len(gathered) > 1 and isinstance(error, HeadgateError) and not isinstance(error, Unavailable):
                for one in gathered:  # what is wrong with one of them is not the others' fault
                    await self._send_together([one])
                return
            for _, answer in gathered:
                if not answer.done():
                    answer.set_exception(error)
            return
        finally:
            self._under_way -= len(together)
        for reports, answer in gathered:
            told = [next(answers) for _ in reports]
            if not answer.done():
                answer.set_result(told)
