"""Two tenants at one server, for each test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from tests.api.conftest import Desk
from tests.api.tenants.routes import by_header

from headgate.api.http import HttpApplication
from headgate.api.http.table import ROUTES
from headgate.app import App
from headgate.ports import Log
from headgate.stores.memory import MemoryLog
from headgate.stores.sqlite import SqliteLog

LOGS: dict[str, Callable[[Path], Log]] = {
    "memory": lambda _: MemoryLog(),
    "sqlite": lambda folder: SqliteLog(folder / "log.db"),
}
Scene = Callable[[Desk, Desk], Awaitable[None]]


@pytest.fixture(params=sorted(LOGS))
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Scene], None]:
    """Return a function that plays a scene with `acme` and `bolt` at the same server."""

    def run(scene: Scene) -> None:
        async def whole() -> None:
            async with (
                asyncio.timeout(60),
                App(LOGS[request.param](tmp_path), environment={}, folder=tmp_path) as app,
                caller_of(app, "acme") as acme,
                caller_of(app, "bolt") as bolt,
            ):
                await scene(acme, bolt)

        asyncio.run(whole())

    return run


@asynccontextmanager
async def caller_of(app: App, tenant: str) -> AsyncGenerator[Desk]:
    """Yield a client of the HTTP application itself: sockets would add nothing but time."""
    transport = httpx2.ASGITransport(HttpApplication(ROUTES, app.doors, identify=by_header))
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://server/api/v1", headers={"x-tenant": tenant}
    ) as client:
        yield Desk(app, client)
