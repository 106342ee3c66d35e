"""What is open ends with whoever opened it: a stream may last for days, and a revoked client may not look on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from headgate.api.caller import Caller
from headgate.api.http import HttpApplication, HttpServer, application, socket_door
from headgate.api.http.table import ROUTES, SOCKETS
from headgate.app import App
from headgate.core.errors import Unavailable
from headgate.ports import StartRequest
from headgate.stores.memory import MemoryLog

WAITING = "name: waiting\nactivities: {ask: {use: approval, with: {title: Go on?}}}"


@pytest.fixture(autouse=True)
def looked_at_when_a_test_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(socket_door, "BEAT_SECONDS", 1e6)
    monkeypatch.setattr(application, "STREAM_SECONDS", 0)


class House:
    """A server that wants to know who asks, a client `watcher` with its token, and a run that waits."""

    def __init__(self, app: App, door: HttpApplication, url: str, token: str, run: str) -> None:
        self.app, self.door, self.run = app, door, run
        self.auth = app.auth
        self.url = f"{url}/api/v1"
        self.headers = {"authorization": f"Bearer {token}"}

    async def revoke(self) -> None:
        await self.auth.clients.revoke("default", "watcher", by="test")

    async def look(self) -> None:
        for _ in range(socket_door.SHARES):
            await self.door.sockets.revise()
            self.door.sockets.beat()

    @asynccontextmanager
    async def socket(self) -> AsyncGenerator[ClientConnection]:
        url = f"{self.url.replace('http', 'ws')}/workflow_events/ws?workflow_id={self.run}"
        async with connect(url, additional_headers=self.headers, compression=None) as connection:
            await connection.recv()
            yield connection


@asynccontextmanager
async def house() -> AsyncGenerator[House]:
    async with App(MemoryLog(), environment={}) as app, asyncio.timeout(60):
        auth = app.auth
        secret = (await auth.clients.create("default", "watcher", ("runs:read",), by="test")).secret
        token = (await auth.token_for_client("watcher", secret)).access_token
        doors = msgspec.structs.replace(app.doors, identify_token=auth.identify_token, still_may=auth.still_may)
        door = HttpApplication(ROUTES, doors, identify=auth.identify, sockets=SOCKETS)
        run = (await app.desk.start(StartRequest(definition=WAITING))).id
        async with HttpServer(door, "127.0.0.1", 0) as server:
            yield House(app, door, server.url, token, run)


async def ended_with(connection: ClientConnection) -> int | None:
    try:
        while True:
            await connection.recv()
    except ConnectionClosed:
        return connection.close_code


def test_a_socket_ends_when_the_client_that_opened_it_is_revoked_and_stays_before():
    async def scene() -> None:
        async with house() as here, here.socket() as connection:
            await here.look()
            assert here.door.sockets.connections == 1

            await here.revoke()
            await here.look()

            assert await ended_with(connection) == 4001
            assert here.door.sockets.connections == 0

    asyncio.run(scene())


def test_a_socket_that_was_opened_with_a_ticket_ends_with_whoever_the_ticket_was_issued_to():
    async def scene() -> None:
        async with house() as here:
            caller: Caller = await here.auth.identify(here.headers)
            here.headers = {"authorization": f"Bearer {await here.auth.issue_ticket(caller, here.run)}"}
            async with here.socket() as connection:
                await here.revoke()
                await here.look()

                assert await ended_with(connection) == 4001

    asyncio.run(scene())


def test_an_event_stream_says_no_more_when_the_client_that_opened_it_is_revoked():
    async def scene() -> None:
        async with house() as here, httpx2.AsyncClient(headers=here.headers, timeout=30) as client:
            accept = {"accept": "text/event-stream"}
            async with client.stream("GET", f"{here.url}/workflows/{here.run}/events", headers=accept) as answer:
                lines = answer.aiter_lines()
                async for line in lines:
                    if line == "event: activity_suspended":
                        break
                await here.revoke()
                await here.app.desk.cancel(here.run)

                rest = [line async for line in lines]

        assert "event: error" in rest
        assert not [line for line in rest if "cancel" in line]

    asyncio.run(scene())


def test_while_nobody_can_say_who_may_look_what_is_open_goes_on(monkeypatch: pytest.MonkeyPatch):
    async def unable(token: str) -> Any:
        raise Unavailable("The database is away.")

    async def scene() -> None:
        async with house() as here:
            doors = msgspec.structs.replace(here.door.doors, still_may=unable)
            monkeypatch.setattr(here.door.sockets, "_doors", doors)
            async with here.socket():
                with pytest.raises(Unavailable):
                    await here.look()

                assert here.door.sockets.connections == 1

    asyncio.run(scene())
