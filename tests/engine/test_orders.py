"""What becomes of commands whose senders have gone."""

from __future__ import annotations

import asyncio
import gc

import pytest

from headgate.core import commands as c
from headgate.core.errors import Unavailable
from headgate.engine.lane import Order
from headgate.testing.log_conformance import NOON


@pytest.mark.parametrize("how", ["failed by the log", "refused by the decision"])
def test_a_command_that_nobody_waits_for_fails_in_silence(how: str):
    said: list[object] = []

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: said.append(context["message"]))
        order = Order(c.Tick(at=NOON), loop.create_future())
        if how == "failed by the log":
            order.fail(Unavailable("The engine is shutting down."))
        else:
            order.failure = Unavailable("The engine is shutting down.")
            order.tell()
        answer = order.answer
        del order
        with pytest.raises(Unavailable):
            await answer  # who does wait is told
        other = Order(c.Tick(at=NOON), loop.create_future())
        other.fail(Unavailable("The engine is shutting down."))
        del other
        gc.collect()

    asyncio.run(scene())

    assert said == []
