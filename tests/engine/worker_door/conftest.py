"""A site for each test of the worker door."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.engine.worker_door.site import Site

from headgate.api.socket import SocketServer
from headgate.api.worker_door import WorkerDoor
from headgate.client.address import Address


@pytest.fixture
def at(play: Any, tmp_path: Path) -> Callable[..., None]:
    """Return a function that plays a scene on an owner that takes workers and works on nothing by itself."""

    def run(scene: Callable[[Site], Awaitable[None]], *, work: bool = False, **settings: Any) -> None:
        async def whole(bench: Any) -> None:
            app = bench.app
            async with AsyncExitStack() as stack:
                door = WorkerDoor(app.protocol, lose=app.protocol.lose, keep=app.worker.accept)
                address = Address(path=str(tmp_path / "s.sock"))
                server = await stack.enter_async_context(SocketServer(app.desk, address, door))
                await scene(Site(bench, server, stack))

        play(whole, work=work, **settings)

    return run
