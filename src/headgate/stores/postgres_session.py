"""A session at the server that takes writes: which of several that is, and whether a pooler leaves it ours.

A session of ours is told once where the tables are (`search_path`) and that what is committed is on disk; it prepares
its statements, and listens. A pooler that gives each transaction whichever connection of its own is free (PgBouncer's
`pool_mode = transaction`) loses all of that, some of it without a word, and leaves our settings to whoever comes next.
So it is refused before anything is set.

A pooler shows by the number of the server's process: it tells one of its own making, and the server another. Whether it
keeps sessions shows when a second connection asks too: it hands out the session that was used last, which is the first
one's then, or each in turn, and then the first one gets another. Only others that ask at the same moment can hide that;
what fails later for the want of a session says so (`postgres_errors.SESSION_LOST_STATES`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headgate.core.errors import HeadgateError, Invalid, Unavailable
from headgate.stores.postgres_errors import SESSIONS_NEEDED, Address, PoolerSharesSessions, kind_of
from headgate.stores.queries import load_queries

if TYPE_CHECKING:
    from asyncpg import Connection

__all__ = ["PoolTooSmall", "TakesNoWrites", "begin_session", "require_room"]

CONNECT_SECONDS_MAX = 5.0
"""For each server that the address names."""
STATEMENT_SECONDS_MAX = 60.0
"""A server that has not answered by then counts as lost."""

NODE_SESSIONS_MAX = 13
"""What a node has at once: two that append, four that read, two for what need not be durable, one that claims, one that
renews, two that listen, and one more for a moment when numbers of runs are taken."""

logger = logging.getLogger("headgate.postgres")

SQL = load_queries("postgres.sql")


class TakesNoWrites(Unavailable):
    """The server that answers is a standby, or was set read-only."""

    code = "database_read_only"


class PoolTooSmall(Unavailable):
    """The pooler at the address has fewer sessions to give than a node needs: some part of it would wait for ever."""

    code = "pool_too_small"

    def __init__(self, address: Address, given: int) -> None:
        super().__init__(
            f"At {address.place} is a pooler that gave {given} of {NODE_SESSIONS_MAX} sessions within "
            f"{CONNECT_SECONDS_MAX:g} s; a node would wait for the rest for ever. Let there be {NODE_SESSIONS_MAX} for "
            "each node (default_pool_size in PgBouncer, max_connections in PostgreSQL)."
        )


async def begin_session(address: Address, settings: Mapping[str, str], *, read_only: bool) -> Connection[Any]:
    """Return a connection that these settings hold for. Of several servers it is to the one that takes writes; to a
    single one that takes none only where we are `read_only`.

    Raises what the driver raises, `PoolerSharesSessions`, `TakesNoWrites`.
    """
    problems: list[Exception] = []
    for server in list(address.servers):
        try:
            connection = await _begin(address, server, settings, writes=not read_only or len(address.servers) > 1)
        except Exception as error:
            problems.append(error)
            if not _another_may_do(error):
                raise
        else:
            address.servers.sort(key=lambda one: one != server)
            _tell(address, "")
            return connection
    problem = next((error for error in problems if isinstance(error, TakesNoWrites)), problems[0])
    _tell(address, str(address.problem(problem, "It is waited for.")))
    raise problem


def _tell(address: Address, trouble: str) -> None:
    """Keep what is wrong for who asks, and say it where it is news: who never got in is told by an error."""
    if trouble and not address.trouble and address.servers_with_sessions:
        logger.warning("%s", trouble)
    elif address.trouble and not trouble:
        logger.info("PostgreSQL at %s answers again", address.place)
    address.trouble = trouble


async def require_room(connection: Connection[Any], address: Address) -> None:
    """See that a pooler, where there is one, has as many sessions as a node wants. Raises `PoolTooSmall`."""
    if await connection.fetchval(SQL["process"]) == connection.get_server_pid():
        return
    others: list[Connection[Any]] = []
    given = 1
    try:
        async with asyncio.timeout(CONNECT_SECONDS_MAX):
            while given < NODE_SESSIONS_MAX:
                others.append(await _connect(address.servers[0]))
                await others[-1].fetchval(SQL["process"])
                given += 1
    except TimeoutError:
        raise PoolTooSmall(address, given) from None
    finally:
        for other in others:
            other.terminate()


def _another_may_do(error: Exception) -> bool:
    if isinstance(error, HeadgateError):
        return isinstance(error, TakesNoWrites)
    return kind_of(error) not in ("refused", "ours")


async def _begin(address: Address, server: str, settings: Mapping[str, str], *, writes: bool) -> Connection[Any]:
    connection = await _connect(server)
    try:
        if server not in address.servers_with_sessions:
            await _require_sessions(connection, address, server)
        if writes:
            await _require_writes(connection, address)
        await connection.execute(SQL["set_session"], list(settings), list(settings.values()))
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _connect(server: str) -> Connection[Any]:
    try:
        import asyncpg
    except ImportError:
        raise Invalid("PostgreSQL needs the package asyncpg: pip install 'headgate[postgres]'.") from None
    return await asyncpg.connect(server, timeout=CONNECT_SECONDS_MAX, command_timeout=STATEMENT_SECONDS_MAX)


async def _require_sessions(connection: Connection[Any], address: Address, server: str) -> None:
    process = await connection.fetchval(SQL["process"])
    if process != connection.get_server_pid():
        other = await _connect(server)
        try:
            of_other = await other.fetchval(SQL["process"])
            if of_other == process or await connection.fetchval(SQL["process"]) != process:
                raise PoolerSharesSessions(
                    f"At {address.place} is a pooler {SESSIONS_NEEDED} Nothing was read or written."
                )
        finally:
            other.terminate()
    address.servers_with_sessions.add(server)


async def _require_writes(connection: Connection[Any], address: Address) -> None:
    row = await connection.fetchrow(SQL["takes_writes"])
    assert row is not None
    if row["standby"]:
        raise TakesNoWrites(
            f"PostgreSQL at {address.place} is a standby, which takes no writes until it is promoted. Promote it, or "
            "name the primary; an address with both, postgresql://name:password@one,other/database, finds whichever it "
            "is. Nothing was written."
        )
    if row["read_only"]:
        raise TakesNoWrites(
            f"PostgreSQL at {address.place} takes no writes: default_transaction_read_only is on for the server, the "
            "database or the role. Nothing was written."
        )
