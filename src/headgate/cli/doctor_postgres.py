"""What `headgate doctor` says of a database in PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from headgate.cli.doctor_providers import Finding
from headgate.cli.words import plural, span
from headgate.core.errors import HeadgateError, NotFound

if TYPE_CHECKING:
    from headgate.stores.places import Address
    from headgate.stores.postgres import PostgresLog

__all__ = ["look_at_postgres"]


def look_at_postgres(place: Address) -> Iterator[Finding]:
    """Say whether it answers, how durable its commits are, how far its feed is behind, and whose clock is wrong."""
    try:
        yield from asyncio.run(_look(place))
    except NotFound as error:
        yield Finding("database", "note", error.message)
    except HeadgateError as error:
        yield Finding("database", "bad", error.message)


async def _look(place: Address) -> list[Finding]:
    from headgate.engine.clock import WallClock
    from headgate.engine.database_time import DatabaseTime
    from headgate.engine.health import FEED_LAG_SECONDS_MAX
    from headgate.stores.postgres import PostgresLog

    log = PostgresLog(place.url, schema=place.schema, read_only=True, patience_seconds=0)
    try:
        settings, lag = await log.server_settings(), await log.feed_lag()
        time = DatabaseTime(log, WallClock())
        await time.look()
        room = await _of_room(log)
    finally:
        await log.close()
    behind = f"{plural(lag.events, 'event')} not in the feed yet, the oldest for {span(int(lag.seconds * 1_000_000))}"
    return [
        _database(place, settings),
        *room,
        Finding(
            "feed", "note" if lag.seconds > FEED_LAG_SECONDS_MAX else "good", behind if lag.events else "up to date"
        ),
        _clock(time.ahead_seconds),
    ]


def _database(place: Address, settings: Mapping[str, str]) -> Finding:
    from headgate.stores.postgres_schema import POSTGRES_SCHEMA_VERSION

    server = f"PostgreSQL {settings['server_version'].split()[0]}, schema {POSTGRES_SCHEMA_VERSION}"
    if settings["in_hot_standby"] == "on":
        return Finding("database", "bad", f"{place}: a standby, {server}; it takes no writes until it is promoted")
    durable = settings["fsync"] == "on" and settings["full_page_writes"] == "on"
    how = f"fsync {settings['fsync']}, full_page_writes {settings['full_page_writes']}"
    if settings["synchronous_standby_names"]:
        how += f", synchronous standbys {settings['synchronous_standby_names']}"
    if not durable:
        how += ": what is acknowledged can be lost; set both on in postgresql.conf"
    return Finding("database", "good" if durable else "bad", f"{place}: answers, {server}, {how}")


async def _of_room(log: PostgresLog) -> list[Finding]:
    from headgate.stores.postgres_session import PoolTooSmall

    try:
        await log.require_room()
    except PoolTooSmall as error:
        return [Finding("pooler", "note", f"There is no room for one node more. {error.message}")]
    return []


def _clock(ahead_seconds: float) -> Finding:
    from headgate.engine.database_time import AHEAD_SECONDS_MAX, told_apart

    if abs(ahead_seconds) > AHEAD_SECONDS_MAX:
        return Finding("clock", "note", told_apart(ahead_seconds))
    return Finding("clock", "good", "this machine's and the database's agree")
