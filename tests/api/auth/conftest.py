"""Who asks, without a server: `Auth` over documents in memory, under a clock that stands until it is moved."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from headgate.api.auth import Auth
from headgate.api.caller import Caller
from headgate.engine.sealing import KEY_BYTES, Sealer
from headgate.stores.documents import MemoryDocuments

NOON = 1_800_000_000_000_000


class StandingClock:
    """`ports.Clock` that nobody waits by."""

    def __init__(self) -> None:
        self.time = NOON

    def now(self) -> int:
        return self.time

    def pass_by(self, seconds: float) -> None:
        self.time += int(seconds * 1_000_000)

    async def wait(self, until: int | None, wake: asyncio.Event) -> None:
        raise AssertionError("nothing here waits by the clock")


class House:
    """Any number of nodes on the same documents."""

    def __init__(self) -> None:
        self.clock = StandingClock()
        self.documents = MemoryDocuments()
        self.auth = self.node()

    def node(self) -> Auth:
        return Auth(self.documents, self.clock, lambda: Sealer(bytes(KEY_BYTES)))

    async def client(self, name: str = "billing", *scopes: str, tenant: str = "default") -> str:
        """Make a client; return its secret."""
        return (await self.auth.clients.create(tenant, name, scopes or ("runs:read",), by="test")).secret

    async def token(self, name: str = "billing", *scopes: str, tenant: str = "default") -> str:
        """Make a client; return a token of its."""
        secret = await self.client(name, *scopes, tenant=tenant)
        client_id = name if tenant == "default" else f"{tenant}/{name}"
        return (await self.auth.token_for_client(client_id, secret)).access_token

    async def asks(self, token: str, node: Auth | None = None, **headers: str) -> Caller:
        return await (node or self.auth).identify({"authorization": f"Bearer {token}", **headers})


Scene = Callable[[House], Awaitable[None]]


@pytest.fixture
def play() -> Callable[[Scene], None]:
    """Return a function that plays a scene in a new house."""

    def run(scene: Callable[[House], Coroutine[Any, Any, None]]) -> None:
        asyncio.run(scene(House()))

    return run
