"""An issuer that answers, and `Auth` that asks it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.api.auth.oidc.fake_issuer import FakeIssuer, settings_of

Scene = Callable[[Any, FakeIssuer], Awaitable[None]]


@pytest.fixture
def with_issuer(play: Any) -> Callable[..., None]:
    """Return a function that plays a scene with `Auth` and an issuer that answers."""

    def run(scene: Scene, **more: str) -> None:
        async def whole(house: Any) -> None:
            issuer = FakeIssuer()
            async with issuer.listening():
                house.auth.use_issuer(settings_of(issuer, **more))
                await scene(house, issuer)

        play(whole)

    return run
