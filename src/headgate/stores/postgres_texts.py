"""What nodes on one PostgreSQL say to each other of texts that are streamed: over one connection of each, as `NOTIFY`.

It is a connection of its own, for `NOTIFY` holds a lock of the whole database to the end of its commit. These commits
wait for no disk; nothing that is recorded is in them. What is said while a connection is away is lost, and whoever
hears or says is told so.

PostgreSQL lets every role listen to any channel whose name it knows. So the names have a secret in them, which stands
in a table that the roles of readers cannot read.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from headgate.stores.postgres_errors import Address
from headgate.stores.postgres_lines import SETTINGS_TO_HURRY, dial
from headgate.stores.queries import load_queries

if TYPE_CHECKING:
    from asyncpg import Connection

__all__ = ["PostgresNeighbourhood", "channel_of"]

ANSWER_SECONDS_MAX = 5.0
"""A server that has not taken a message by then counts as lost."""
HEAR_AGAIN_SECONDS = 1.0
LOOK_SECONDS = 30.0
"""How often a connection that only hears is asked whether it still stands."""
CHANNEL_CHARACTERS_MAX = 63
SECRET_BITS = 63
SETTINGS = {**SETTINGS_TO_HURRY, "application_name": "headgate-texts"}

SQL = load_queries("postgres_texts.sql")


def channel_of(secret: int, node: str = "") -> str:
    """Return where a node listens; "": where all do."""
    return f"headgate_texts_{secret:x}_{node}"[:CHANNEL_CHARACTERS_MAX]


class PostgresNeighbourhood:
    """`ports.Neighbourhood`. It says nothing unless it hears."""

    def __init__(self, address: Address, schema: str) -> None:
        self._address, self._schema = address, schema
        self._connection: Connection[Any] | None = None
        self._secret = 0
        self._one_at_a_time = asyncio.Lock()

    async def say(self, messages: Sequence[tuple[str, str]]) -> bool:
        channels = [channel_of(self._secret, node) for node, _ in messages]
        return await self._execute("say", channels, [text for _, text in messages])

    async def _execute(self, name: str, *parameters: object) -> bool:
        async with self._one_at_a_time:
            connection = self._connection
            if connection is None:
                return False
            try:
                await connection.execute(SQL[name], *parameters, timeout=ANSWER_SECONDS_MAX)
            except Exception:  # noqa: BLE001 - whatever it was: this connection is of no use any more
                connection.terminate()
                return False
            return True

    async def hear(self, node: str, heard: Callable[[str], None], began: Callable[[], None]) -> None:
        while True:
            with contextlib.suppress(Exception):  # the next try tells
                await self._hear(node, heard, began)
            await asyncio.sleep(HEAR_AGAIN_SECONDS)

    async def _hear(self, node: str, heard: Callable[[str], None], began: Callable[[], None]) -> None:
        """Listen until the connection breaks."""
        broken = asyncio.Event()
        connection = (await dial(self._address, self._schema, SETTINGS)).connection

        def hear(_: object, __: int, ___: str, text: object) -> None:
            heard(str(text))

        try:
            connection.add_termination_listener(lambda _: broken.set())
            await connection.execute(SQL["make_secret"], secrets.randbits(SECRET_BITS))
            self._secret = await connection.fetchval(SQL["secret"])
            for channel in (channel_of(self._secret), channel_of(self._secret, node)):
                await connection.add_listener(channel, hear)
            self._connection = connection
            began()
            while not broken.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(broken.wait(), LOOK_SECONDS)
                    return
                await self._execute("still_there")
        finally:
            self._connection = None
            connection.terminate()
