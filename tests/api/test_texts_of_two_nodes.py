"""Two nodes behind a load balancer: whichever a browser is sent to, it sees a text as it is made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
import msgspec
from tests.api.conftest import Desk, serving
from tests.api.sockets.watchers import TALKING, frames, refused, say, taken, watching
from tests.engine.two_nodes.nodes import until
from tests.postgres_logs import SCHEMA, empty_postgres_log, server_url

from headgate.api.caller import EVERYTHING, Caller
from headgate.app import App
from headgate.stores.postgres import PostgresLog

Scene = Callable[[Desk, Desk], Awaitable[None]]


def play(scene: Scene, **rest: Any) -> None:
    """Play a scene on the node whose worker streams, and on another."""

    async def whole() -> None:
        one, two = (
            App(PostgresLog(server_url(), schema=SCHEMA), environment={}, offline=True, work=False) for _ in range(2)
        )
        async with one, two, serving(one) as here, serving(two, **rest) as there, asyncio.timeout(60):
            await until(lambda: all(app.texts_of_neighbours._neighbourhood._connection for app in (one, two)))
            await scene(here, there)

    asyncio.run(empty_postgres_log().close())
    asyncio.run(whole())


async def told(stream: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    """Yield the frames of an event stream."""
    async for line in stream.aiter_lines():
        if line.startswith("data: "):
            yield msgspec.json.decode(line.removeprefix("data: "))


def test_a_browser_at_the_other_node_sees_a_text_as_it_is_made_over_either_door():
    async def scene(here: Desk, there: Desk) -> None:
        await here.deploy(TALKING)
        run = (await here.start("talking"))["workflow_id"]
        task, path = await taken(here), f"/workflows/{run}/activities/say"
        await say(here, task, "one ")
        async with watching(there, f"{path}/ws") as socket, there.client.stream("GET", f"{path}/stream") as stream:
            events = told(stream)
            assert (await frames(socket, until="token"))[-1]["text"] == (await anext(events))["text"] == "one "
            await say(here, task, "two")
            assert (await frames(socket, until="token"))[-1]["text"] == (await anext(events))["text"] == "two"
            await here.post(f"{task}/complete", {"worker_id": "w", "output": "one two"})

            ended = await frames(socket)
            assert ended[-1]["type"] == "complete"
            assert ended[-1]["result"] == "one two"
            assert [frame async for frame in events][-1] == ended[-1]

    play(scene)


def test_a_browser_that_is_sent_to_the_other_node_goes_on_where_it_was():
    async def scene(here: Desk, there: Desk) -> None:
        await here.deploy(TALKING)
        run = (await here.start("talking"))["workflow_id"]
        task, path = await taken(here), f"/workflows/{run}/activities/say"
        await say(here, task, "one ")
        async with watching(here, f"{path}/ws") as socket:
            (had,) = await frames(socket, until="token")
        await say(here, task, "two")
        async with there.client.stream("GET", f"{path}/stream", headers={"Last-Event-ID": had["id"]}) as stream:
            frame = await anext(told(stream))
        assert (frame["type"], frame["offset"], frame["text"]) == ("token", 4, "two")
        async with watching(here, f"{path}/ws?offset={frame['id']}") as socket:
            await say(here, task, " three")
            (last,) = await frames(socket, until="token")
        assert (last["type"], last["offset"], last["text"]) == ("token", 7, " three")

    play(scene)


def test_at_the_other_node_too_a_text_is_its_tenants_alone():
    async def stranger(_: Any) -> Caller:
        return Caller("bolt", "client:bolt", EVERYTHING)

    async def scene(here: Desk, there: Desk) -> None:
        await here.deploy(TALKING)
        run = (await here.start("talking"))["workflow_id"]
        task, path = await taken(here), f"/workflows/{run}/activities/say"
        await say(here, task, "a secret")

        assert (await there.get(f"{path}/stream")).status_code == 404
        assert await refused(there, f"{path}/ws") == (404, "NOT_FOUND")
        assert (await there.get(f"{task}/stream")).status_code == 404
        assert there.app.texts_of_neighbours.watched() == set()

    play(scene, identify=stranger)
