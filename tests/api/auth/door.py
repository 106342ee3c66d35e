"""A server with a login, and whoever asks it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import msgspec

from headgate.api.http import HttpApplication, HttpServer
from headgate.api.http.table import ROUTES
from headgate.app import App
from headgate.stores.memory import MemoryLog

PASSWORD = "correct horse battery"


class Door:
    """A server that wants to know who asks, and a client of it that says nothing by itself."""

    def __init__(self, app: App, client: httpx2.AsyncClient) -> None:
        self.auth = app.doors.auth
        self._client = client

    async def ask(self, method: str, path: str, token: str = "", **rest: Any) -> httpx2.Response:
        headers = {**({"authorization": f"Bearer {token}"} if token else {}), **rest.pop("headers", {})}
        self._client.cookies.clear()
        return await self._client.request(method, path, headers=headers, **rest)

    async def secret(self, *scopes: str, name: str = "billing") -> str:
        return (await self.auth.clients.create("default", name, scopes or ("runs:read",), by="test")).secret

    async def token(self, *scopes: str, name: str = "billing") -> str:
        secret = await self.secret(*scopes, name=name)
        return (await self.auth.token_for_client(name, secret)).access_token


@asynccontextmanager
async def opened() -> AsyncGenerator[Door]:
    async with App(MemoryLog(), environment={}, work=False) as app:
        doors = msgspec.structs.replace(app.doors, mode="serve")
        application = HttpApplication(ROUTES, doors, identify=app.auth.identify)
        async with (
            HttpServer(application, "127.0.0.1", 0) as server,
            httpx2.AsyncClient(base_url=server.url, timeout=30) as client,
        ):
            yield Door(app, client)


def play(scene: Callable[[Door], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with opened() as door, asyncio.timeout(60):
            await scene(door)

    asyncio.run(whole())
