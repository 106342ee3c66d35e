"""Texts that are read at another node than the one that has them, over either door, while processes are killed.

Two nodes and a PostgreSQL, all real processes. The words of each call of the model are its own, so that a reader that
is told two calls as one is found out at once. `TEXT_KILLS_SEED=$RANDOM` draws other moments; the seed is printed.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.e2e.http_site import PATIENCE_SECONDS, Process, Site
from tests.e2e.telling_model import WORDS, Call, TellingModel
from tests.e2e.text_reader import Door, TextReader
from tests.servers import PrivatePostgres, private_postgres

from headgate.client.http import HttpClient
from headgate.ports import StartRequest

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("TEXT_KILLS_SEED", "11"))
FLOW = """
name: tells
inputs: {n: integer}
activities: {tell: {use: llm_prompt, with: {model: fake/m, prompt: "Tell {{ INPUT.n }}", max_tokens: 999}}}
"""
DOORS: tuple[Door, ...] = ("stream", "ws")
ALLOWED_MORE = 40
"""How many words each text may go on by while something is killed."""


@pytest.fixture(scope="module")
def server() -> Iterator[PrivatePostgres]:
    with private_postgres() as started:
        yield started


class Telling:
    """A run whose text is under way, read at both nodes over both doors."""

    def __init__(self, site: Site, model: TellingModel, run: str, number: int) -> None:
        self.site = site
        self.model = model
        self.run = run
        self._prompt = f"Tell {number}"
        self.readers: list[TextReader] = []
        self._reading: list[asyncio.Task[None]] = []

    @property
    def calls(self) -> list[Call]:
        return self.model.of(self._prompt)

    async def maker(self) -> Process:
        """Return the node that makes the text, or whose worker does."""
        await self.until(lambda: self.calls, "the model is asked")
        return next(node for node in self.site.nodes if node.name == self.calls[-1].key)

    def read_at(self, *nodes: Process) -> list[TextReader]:
        """Begin to read at the first of the nodes, and to go on at the others."""
        begun = [TextReader(self.site, self.model, self.run, nodes, door) for door in DOORS]
        self.readers += begun
        self._reading += [asyncio.ensure_future(reader.read()) for reader in begun]
        return begun

    async def heard(self, readers: Sequence[TextReader], words: int) -> None:
        await self.until(lambda: all(reader.words >= words for reader in readers), f"{words} words are heard")

    async def until(self, holds: Callable[[], object], what: str) -> None:
        def held() -> object:
            for one in self._reading:
                if one.done():
                    one.result()
            return holds()

        await self.site.until(held, what)

    async def told(self, *nodes: Process) -> None:
        """Let the model tell the rest, and hold what each reader has heard to the result."""
        self.model.let(WORDS)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*self._reading)
            late = [reader for node in nodes for reader in self.read_at(node)]
            await asyncio.gather(*self._reading)
        run = await self.site.client(nodes[0]).show(self.run)
        assert run.status == "completed"
        for reader in (*self.readers, *late):
            assert reader.result is not None
            assert reader.told == reader.result["content"] == self.calls[-1].text


@asynccontextmanager
async def telling(
    folder: Path, server: PrivatePostgres, *, nodes_work: bool = True, worker: bool = False
) -> AsyncIterator[Telling]:
    """Yield a run whose model stands before its first word."""
    print(f"TEXT_KILLS_SEED={SEED}")
    model = TellingModel(SEED)
    async with Site(folder, server, model=model) as site:
        for _ in range(2):
            site.begin_node(works=nodes_work)
        await asyncio.gather(*(node.ready() for node in site.nodes))
        if worker:
            site.begin_worker(site.nodes[0], HEADGATE_PROVIDER_FAKE_API_KEY=site.nodes[0].name)
        yield await begun(site, model, 0)


async def begun(site: Site, model: TellingModel, number: int) -> Telling:
    client: HttpClient = site.client(site.nodes[number % 2])
    await client.deploy(FLOW)
    run = (await client.start(StartRequest(workflow="tells", input={"n": number}))).id
    return Telling(site, model, run, number)


async def half_told(one: Telling, draw: random.Random) -> tuple[Process, Process, list[TextReader], list[TextReader]]:
    """Return the node that has the text and the other one, and who reads at each, when all have heard some of it."""
    maker = await one.maker()
    (other,) = (node for node in one.site.nodes if node is not maker)
    here, there = one.read_at(maker, other), one.read_at(other, maker)
    words = draw.randrange(1, WORDS // 2)
    one.model.let(words + ALLOWED_MORE)
    await one.heard([*here, *there], words)
    return maker, other, here, there


def test_when_the_node_that_makes_a_text_is_killed_its_readers_begin_again_with_what_the_other_makes(
    tmp_path: Path, server: PrivatePostgres
):
    async def scene() -> None:
        async with telling(tmp_path, server) as one:
            maker, other, here, there = await half_told(one, random.Random(SEED))

            maker.kill()
            await one.until(lambda: len(one.calls) == 2, "the model is asked again")
            await one.told(other)

            assert [call.key for call in one.calls] == [maker.name, other.name]
            assert {reader.restarts for reader in (*here, *there)} == {1}
            assert {reader.connections for reader in there} == {1}

    asyncio.run(scene())


def test_when_the_node_that_is_read_at_is_killed_its_readers_go_on_at_the_other_where_they_were(
    tmp_path: Path, server: PrivatePostgres
):
    async def scene() -> None:
        async with telling(tmp_path, server) as one:
            maker, other, here, there = await half_told(one, random.Random(SEED + 1))

            other.kill()
            await one.until(lambda: all(reader.connections > 1 for reader in there), "its readers come to the other")
            other.begin()
            await other.ready()
            back = one.read_at(other)
            await one.heard(back, 1)
            await one.told(maker, other)

            assert len(one.calls) == 1
            assert {reader.restarts for reader in (*here, *there, *back)} == {0}

    asyncio.run(scene())


async def listeners_cut(one: Telling, server: PrivatePostgres) -> None:
    """Cut the connections over which nodes hear of each other's texts."""
    cut = await one.site.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'headgate-texts'"
    )
    assert len(cut) == 2


async def connections_cut(one: Telling, server: PrivatePostgres) -> None:
    await one.site.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'headgate%'")


async def database_killed(one: Telling, server: PrivatePostgres) -> None:
    await asyncio.to_thread(server.kill)
    one.model.let(WORDS - 1)  # which is told while there is no database
    await asyncio.to_thread(server.start)


@pytest.mark.parametrize("broken", [listeners_cut, connections_cut, database_killed])
def test_whatever_breaks_between_nodes_and_database_readers_hear_one_text_without_gap_or_repeat(
    tmp_path: Path, server: PrivatePostgres, broken: Callable[[Telling, PrivatePostgres], Awaitable[None]]
):
    async def scene() -> None:
        async with telling(tmp_path, server) as one:
            maker, other, here, there = await half_told(one, random.Random(SEED + 2))

            await broken(one, server)
            await asyncio.gather(maker.ready(), other.ready())
            one.model.let(WORDS - 1)
            await one.heard([*here, *there], WORDS - 1)
            await one.told(other, maker)

            assert len(one.calls) == 1
            assert {reader.restarts for reader in (*here, *there)} == {0}

    asyncio.run(scene())


def test_when_the_node_is_killed_that_a_worker_tells_a_text_to_readers_get_it_whole(
    tmp_path: Path, server: PrivatePostgres
):
    async def scene() -> None:
        async with telling(tmp_path, server, nodes_work=False, worker=True) as one:
            maker, other, here, there = await half_told(one, random.Random(SEED + 3))

            maker.kill()
            one.model.let(WORDS - 20)
            maker.begin()
            await maker.ready()
            back = one.read_at(maker)
            await one.until(lambda: all(reader.connections for reader in back), "it is read at again")
            await one.told(maker, other)

            assert len(one.calls) == 1
            assert {reader.restarts for reader in (*here, *there)} == {1}

    asyncio.run(scene())
