"""A real HTTP server in front of an engine in memory, and a client of it, on one loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import msgspec
import pytest

from headgate.api.http import HttpApplication, HttpServer
from headgate.api.http.table import ROUTES, SOCKETS
from headgate.app import App
from headgate.stores.memory import MemoryLog


class Desk:
    """What a test of the HTTP door needs: `get`, `post`, and what stands behind."""

    def __init__(
        self,
        app: App,
        client: httpx2.AsyncClient,
        application: HttpApplication | None = None,
        server: HttpServer | None = None,
    ) -> None:
        self.app = app
        self.client = client
        self.application = application
        self.server = server

    async def get(self, path: str, **rest: Any) -> httpx2.Response:
        return await self.client.get(path, **rest)

    async def post(self, path: str, json: Any = None, **rest: Any) -> httpx2.Response:
        return (
            await self.client.post(path, json=json, **rest)
            if json is not None
            else await self.client.post(path, **rest)
        )

    async def deploy(self, text: str) -> dict[str, Any]:
        answer = await self.client.post("/workflow_definitions", content=text)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    async def start(self, name: str, wait: float = 0, **body: Any) -> dict[str, Any]:
        answer = await self.post(f"/workflows?wait={wait}", {"definition_name": name, **body})
        assert answer.status_code == 201, answer.text
        return answer.json()


Scene = Callable[[Desk], Awaitable[None]]


@asynccontextmanager
async def serving(app: App, *, doors: Any = None, **rest: Any) -> AsyncGenerator[Desk]:
    """Serve; `doors`: what stands behind the routes in the place of the usual."""
    behind = msgspec.structs.replace(app.doors, **(doors or {}))
    rest.setdefault("identify", app.tickets.identify_request)
    application = HttpApplication(ROUTES, behind, sockets=SOCKETS, **rest)
    async with (
        HttpServer(application, "127.0.0.1", 0) as server,
        httpx2.AsyncClient(base_url=f"{server.url}/api/v1", timeout=30) as client,
    ):
        yield Desk(app, client, application, server)


@pytest.fixture
def play() -> Callable[[Scene], None]:
    """Return a function that plays a scene against a server."""

    def run(scene: Scene, **rest: Any) -> None:
        async def whole() -> None:
            names = ("activities", "environment", "work")
            app_settings = {"environment": {}} | {name: rest.pop(name) for name in names if name in rest}
            async with App(MemoryLog(), **app_settings) as app, serving(app, **rest) as desk:
                async with asyncio.timeout(60):
                    await scene(desk)

        asyncio.run(whole())

    return run
