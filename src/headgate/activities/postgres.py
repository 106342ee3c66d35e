"""The activities `postgres_query` and `postgres_transaction`: SQL on a PostgreSQL server, its rows as data.

What may be repeated: a statement that the server refused changed nothing, so it may be tried again where that can help
(deadlocks, serialization, a server that is starting or full). A connection that breaks while a statement that writes,
or a commit, is under way leaves an outcome that nobody knows: that ends as `outcome_unknown`, once, rather than have it
done twice. A result is recorded after the commit; a process that is killed in between has the activity run once more,
so a statement that writes should say what is true afterwards (`insert … on conflict`), not what to add.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from headgate.activities.parameters import parameters_of
from headgate.activities.postgres_types import set_codecs, set_session
from headgate.activities.sql_rows import objects, query_failed
from headgate.ports import ActivityContext, ActivityFunction, Attempt

if TYPE_CHECKING:
    from asyncpg import Pool
    from asyncpg.pool import PoolConnectionProxy
    from asyncpg.prepared_stmt import PreparedStatement

__all__ = ["Postgres"]

QUERY, TRANSACTION = "postgres_query", "postgres_transaction"
READS = ("select", "show", "values", "table", "explain")
CONNECTIONS_MAX = 10
"""Per server and person; further calls wait for one to be free."""
POOLS_MAX = 32
STATEMENTS_MAX = 1_000
AGAIN_STATES = ("40001", "40P01", "55P03", "53")
"""What another attempt may cure: serialization, deadlock, a lock, a server without room."""
WAYS_OUT = (
    "Write `value::text` in a result, `to_jsonb(value)` for a composite one, and `$1::text::its_type` for a parameter."
)
REFUSED_STATES = ("28", "3D")
"""A wrong name or password, a database that is not there: asking again does not help."""
LOST_STATES = ("57P0", "08")
"""The server went away, or the connection to it."""


class _Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    db_url: str
    query: str
    params: list[Any] = []


class _Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    query: str
    params: list[Any] = []


class _Transaction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    db_url: str
    statements: list[_Statement]
    isolation_level: Literal[
        "read_committed", "repeatable_read", "serializable", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"
    ] = "read_committed"


class Postgres:
    """Both activities over pools of connections, one pool for each address; `close` ends them."""

    def __init__(self) -> None:
        self._pools: dict[str, Pool[Any]] = {}

    @property
    def activities(self) -> dict[str, ActivityFunction]:
        return {QUERY: self.query, TRANSACTION: self.transaction}

    async def query(self, parameters: dict[str, Any], ctx: ActivityContext) -> Any:
        """Run `query` with `params` for `$1`, `$2`… in a transaction of its own; return `rows` (objects in the query's
        order), `row_count` and `rows_affected`.

        Raises `Attempt`: `invalid_parameters`, `query_failed` (with the server's SQLSTATE), `result_too_large`,
        `database_unavailable` (tried again), `outcome_unknown`.
        """
        wanted = parameters_of(QUERY, parameters, _Query)
        async with self._connection(QUERY, wanted.db_url) as connection:
            with _named(lambda: QUERY, reads=_reads(wanted.query)):
                return await _run(QUERY, connection, wanted.query, wanted.params)

    async def transaction(self, parameters: dict[str, Any], ctx: ActivityContext) -> Any:
        """Run `statements` in one transaction: all of them or none. Return `success`, `statements_executed` and
        `results`, one for each statement as `postgres_query` gives it.

        Raises `Attempt` as `postgres_query` does; a failure names the statement by its number, from 1.
        """
        wanted = parameters_of(TRANSACTION, parameters, _Transaction)
        if len(wanted.statements) > STATEMENTS_MAX:
            message = f"{TRANSACTION}: {len(wanted.statements)} statements are more than {STATEMENTS_MAX}."
            raise Attempt.failed("invalid_parameters", message, retryable=False)
        isolation: Any = wanted.isolation_level.lower().replace(" ", "_")
        results: list[Any] = []
        async with self._connection(TRANSACTION, wanted.db_url) as connection:
            place = f"{TRANSACTION}, statement {{}} of {len(wanted.statements)}"
            reads = all(_reads(statement.query) for statement in wanted.statements)
            with _named(lambda: place.format(min(len(results) + 1, len(wanted.statements))), reads=reads):
                async with connection.transaction(isolation=isolation):
                    for statement in wanted.statements:
                        results.append(await _run(TRANSACTION, connection, statement.query, statement.params))
        return {"success": True, "statements_executed": len(results), "results": results}

    async def close(self) -> None:
        """End all connections. A second call does nothing."""
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.terminate()

    @asynccontextmanager
    async def _connection(self, activity: str, url: str) -> AsyncGenerator[PoolConnectionProxy[Any]]:
        """Yield a connection of the address's pool. Raises `database_unavailable`: nothing was sent."""
        pool = await self._pool(activity, url)
        asyncpg = _asyncpg(activity)
        try:
            connection = await pool.acquire()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
            refused = getattr(error, "sqlstate", "").startswith(REFUSED_STATES)
            message = f"{activity}: no connection to the database: {_without_url(error, url)}"
            raise Attempt.failed("database_unavailable", message, retryable=not refused) from None
        try:
            yield connection
        finally:
            await asyncio.shield(pool.release(connection))

    async def _pool(self, activity: str, url: str) -> Pool[Any]:
        asyncpg = _asyncpg(activity)
        pool = self._pools.get(url)
        if pool is None:
            while len(self._pools) >= POOLS_MAX:
                self._pools.pop(next(iter(self._pools))).terminate()
            try:
                pool = asyncpg.create_pool(
                    url,
                    min_size=0,
                    max_size=CONNECTIONS_MAX,
                    init=set_codecs,
                    setup=set_session,
                    max_inactive_connection_lifetime=60.0,
                )
            except (ValueError, asyncpg.InterfaceError) as error:
                message = f"{activity}: db_url cannot be read: {_without_url(error, url)}"
                raise Attempt.failed("invalid_parameters", message, retryable=False) from None
            self._pools[url] = await pool  # opens nothing yet, so nobody can come in between
        return pool


async def _run(
    activity: str, connection: PoolConnectionProxy[Any], query: str, params: Sequence[Any]
) -> dict[str, Any]:
    statement = await connection.prepare(query)
    columns = [column.name for column in statement.get_attributes()]
    records = await statement.fetch(*_bound(activity, statement, params))
    rows = objects(activity, columns, ([_plain(value) for value in record] for record in records))
    return {"rows": rows, "row_count": len(rows), "rows_affected": _affected(statement.get_statusmsg())}


def _bound(activity: str, statement: PreparedStatement[Any], params: Sequence[Any]) -> list[Any]:
    wanted = statement.get_parameters()
    if len(wanted) != len(params):
        raise query_failed(activity, f"the statement has {len(wanted)} parameters, {len(params)} were given.")
    return [
        value if value is None or kind.kind == "array" or kind.name in ("json", "jsonb") else _scalar(value)
        for value, kind in zip(params, wanted, strict=True)
    ]


def _scalar(value: Any) -> Any:
    """A list or map where no array or JSON is wanted goes as its JSON text."""
    return msgspec.json.encode(value).decode() if isinstance(value, (list, dict)) else value


def _plain(value: Any) -> Any:
    """Arrays and composite values as lists and objects of what the codecs made."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if hasattr(value, "items"):  # a composite value, or what JSON held
        return {str(key): _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else str(value)


def _affected(status: str | None) -> int:
    last = (status or "").rpartition(" ")[2]
    return int(last) if last.isdigit() and not (status or "").startswith("SELECT") else 0


def _reads(query: str) -> bool:
    return query.lstrip(" \t\n(").lower().startswith(READS)


@contextmanager
def _named(place: Callable[[], str], *, reads: bool) -> Generator[None]:
    """Turn the driver's errors within the block into failures of the attempt, at this place."""
    asyncpg = _asyncpg(place())
    try:
        yield
    except asyncpg.PostgresError as error:
        state = str(error.sqlstate or "")
        if state.startswith(LOST_STATES):
            raise _lost(place(), error, reads=reads) from None
        again = state.startswith(AGAIN_STATES)
        raise query_failed(place(), f"{error} (SQLSTATE {state}). Nothing was changed.", retryable=again) from None
    except asyncpg.UnsupportedClientFeatureError as error:
        raise query_failed(place(), f"{error}. {WAYS_OUT} Nothing was changed.") from None
    except (asyncpg.DataError, ValueError, TypeError) as error:
        raise query_failed(place(), f"{error}. Nothing was changed.") from None
    except (asyncpg.InterfaceError, OSError) as error:
        raise _lost(place(), error, reads=reads) from None


def _lost(place: str, error: BaseException, *, reads: bool) -> Attempt:
    why = str(error) or type(error).__name__
    if reads:
        return Attempt.failed("database_unavailable", f"{place}: the connection was lost: {why}")
    message = (
        f"{place}: the connection was lost while it ran ({why}), and nobody knows whether it was carried out. "
        "Look at the data; a retry of the run does it once more."
    )
    return Attempt.failed("outcome_unknown", message, retryable=False)


def _without_url(error: BaseException, url: str) -> str:
    """Return the error's text without the address, whose password it may hold."""
    return (str(error) or type(error).__name__).replace(url, "the address given")


def _asyncpg(activity: str) -> Any:
    try:
        import asyncpg
    except ImportError:
        message = f'{activity} needs asyncpg: pip install "headgate[postgres]".'
        raise Attempt.failed("missing_extra", message, retryable=False) from None
    return asyncpg
