"""Connections to PostgreSQL: so many for one trade, made when they are needed, made anew when they break."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from headgate.core.errors import HeadgateError, Unavailable
from headgate.stores.postgres_errors import READ_ONLY_STATE, Address, kind_of
from headgate.stores.postgres_rows import RowTypes, take_rows
from headgate.stores.postgres_schema import look_at_schema, settle_schema
from headgate.stores.postgres_session import TakesNoWrites, begin_session

if TYPE_CHECKING:
    from asyncpg import Connection

__all__ = ["SETTINGS_TO_APPEND", "SETTINGS_TO_HURRY", "Line", "Lines", "Patience", "dial"]

Result = TypeVar("Result")

CLOSE_SECONDS_MAX = 2.0
PAUSE_SECONDS = 0.02
PAUSE_SECONDS_MAX = 1.0

SESSION = {
    "application_name": "headgate",
    "synchronous_commit": "on",  # what is acknowledged is on disk, whatever the database's default
    "jit": "off",
    "idle_in_transaction_session_timeout": "60s",  # a held snapshot keeps dead rows, and the feed, from everybody
}

SETTINGS_TO_APPEND = {
    # A plan that was made while a table was small must not read all of it when it is large.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}

READ_ONLY = {"default_transaction_read_only": "on"}
SETTINGS_TO_HURRY = {"synchronous_commit": "off"}


class Line(NamedTuple):
    """A connection, what is added to the transaction ids of its server, and its numbers for what appends take."""

    connection: Connection[Any]
    position_offset: int
    row_types: RowTypes


async def dial(
    address: Address, schema: str, settings: Mapping[str, str], *, read_only: bool = False, rows: bool = False
) -> Line:
    """Connect, and see to it that the tables are there; `read_only`: raise `NotFound` where they are not. With
    `rows` it takes them as bytes (`postgres_rows.py`). Raises what the driver raises, `Refused`, `Invalid`,
    `TakesNoWrites`."""
    wanted = {**SESSION, **settings, **(READ_ONLY if read_only else {}), "search_path": schema}
    connection = await begin_session(address, wanted, read_only=read_only)
    try:
        settle = look_at_schema if read_only else settle_schema
        position_offset = await settle(connection, schema, address.place)
        return Line(connection, position_offset, await take_rows(connection, schema) if rows else {})
    except BaseException:
        connection.terminate()
        raise


class Patience:
    """How long to try again: `wait` pauses, a little longer each time, until the time is over."""

    def __init__(self, seconds: float) -> None:
        self._clock = asyncio.get_running_loop().time
        self._until = self._clock() + seconds
        self._pause = PAUSE_SECONDS

    @property
    def over(self) -> bool:
        return self._clock() >= self._until

    async def wait(self) -> None:
        await asyncio.sleep(self._pause)
        self._pause = min(self._pause * 2, PAUSE_SECONDS_MAX)


class Lines:
    """At most `count` connections; whoever finds none free waits for one. They belong to the loop they are made on."""

    def __init__(
        self,
        address: Address,
        schema: str,
        count: int,
        settings: Mapping[str, str] = MappingProxyType({}),
        *,
        read_only: bool = False,
        rows: bool = False,
    ) -> None:
        self._address, self._schema, self._count, self._settings = address, schema, count, settings
        self._read_only, self._rows = read_only, rows
        self._idle: list[Line] = []
        self._free: asyncio.Semaphore | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._connected_once = False

    def refuse_if_closed(self) -> None:
        if self._closed:
            raise Unavailable(f"This log at {self._address.place} is closed; nothing was read or written.")

    @asynccontextmanager
    async def line(self, patience: Patience) -> AsyncGenerator[Line]:
        """Yield a connection that is free. Raises `Refused`, or `Unavailable`: nothing was sent."""
        self.refuse_if_closed()
        async with self._here():
            line = await self._reach(patience)
            try:
                yield line
            except BaseException as error:
                state = getattr(error, "sqlstate", None)
                if line.connection.is_closed() or state in (None, READ_ONLY_STATE):
                    line.connection.terminate()  # nobody knows what it is about to say, or another server takes writes
                raise
            finally:
                if not line.connection.is_closed():
                    self._idle.append(line)

    async def asked(self, ask: Callable[[Line], Awaitable[Result]], *, patience_seconds: float, so_far: str) -> Result:
        """Do what may be done twice, on any connection that works. Raises what `ask` raises of ours, and `Unavailable`,
        which says `so_far`, when patience is over."""
        patience = Patience(patience_seconds)
        while True:
            try:
                async with self.line(patience) as line:
                    return await ask(line)
            except HeadgateError:
                raise
            except Exception as error:
                kind = kind_of(error)
                if kind == "ours":
                    raise
                if kind not in ("lost", "again") or patience.over:
                    raise self._address.problem(error, so_far) from None
            await patience.wait()

    def _here(self) -> asyncio.Semaphore:
        """Return what is waited for on this loop. What was made on another, which is over, is forgotten."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop or self._free is None:
            self._loop, self._free = loop, asyncio.Semaphore(self._count)
            self._idle.clear()
        return self._free

    async def _reach(self, patience: Patience) -> Line:
        while True:
            self.refuse_if_closed()
            while self._idle:
                line = self._idle.pop()
                if not line.connection.is_closed():
                    return line
            try:
                line = await self._dial()
                self._connected_once = True
                return line
            except TakesNoWrites:
                if not self._connected_once or patience.over:  # else one of its standbys is about to be promoted
                    raise
            except HeadgateError:
                raise
            except Exception as error:  # noqa: BLE001 - each is judged
                problem = self._address.problem(error, "Nothing was read or written.")
                if not self._worth_waiting(error) or patience.over:
                    raise problem from None
            await patience.wait()

    async def _dial(self) -> Line:
        more = {"read_only": self._read_only, "rows": self._rows}
        return await dial(self._address, self._schema, self._settings, **more)

    def _worth_waiting(self, error: BaseException) -> bool:
        """A server that was never reached is more likely misnamed than down; one that says it is starting, starts. What
        a pooler says for itself (08…) is neither."""
        if kind_of(error) in ("refused", "ours"):
            return False
        return self._connected_once or not (getattr(error, "sqlstate", None) or "08").startswith("08")

    async def close(self) -> None:
        """Close each connection when it is free. A second call does nothing."""
        self._closed = True
        if self._loop is not asyncio.get_running_loop() or self._free is None:
            return
        for _ in range(self._count):
            await self._free.acquire()
        lines, self._idle, self._free = self._idle, [], None
        for line in lines:
            with contextlib.suppress(Exception):
                await line.connection.close(timeout=CLOSE_SECONDS_MAX)
