"""A database whose server falls and whose standby takes over, or that lies behind a pooler that is killed.

Nodes are real processes that work by themselves; a witness works for them too, and remembers what was acknowledged.
`MOVING_RUNS=300` is the size that was asked for.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import httpx2
import pytest
from tests.e2e.http_site import LOOK_SECONDS, PATIENCE_SECONDS, Site, Witness
from tests.servers import PrivatePostgres, private_pooler, private_postgres, private_standby

from headgate.client.http import HttpClient
from headgate.core import events as e
from headgate.core.codec import content_value
from headgate.ports import StartRequest
from headgate.stores.postgres_session import NODE_SESSIONS_MAX
from headgate.testing.crash_evidence import Evidence, gather_from, problems_of_log

pytestmark = pytest.mark.slow

RUNS = int(os.environ.get("MOVING_RUNS", "60"))
POOLER_KILLS = 3
SPARE_SESSIONS = 10
"""For the verbs that begin meanwhile."""
FLOW = """
name: steps
inputs: {n: integer}
activities:
  ask: {use: llm_prompt, retry: 5, with: {model: fake/m, prompt: "Is {{ INPUT.n }} a number?", max_tokens: 50}}
  note: {use: note, with: {n: "{{ INPUT.n }}"}, depends_on: [ask]}
  tell: {use: tell, queue: witness, with: {n: "{{ INPUT.n }}"}, depends_on: [note]}
"""


class Story:
    """Two nodes, and runs that are started at both while something happens to their database."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._started: dict[int, str] = {}
        self._witness = Witness(site)

    async def told(self, happens: Callable[[], Awaitable[None]]) -> Evidence:
        """Have it happen when half of the runs are started; see them all to their end, and return the evidence."""
        site = self._site
        for _ in range(2):
            site.begin_node(works=True)
        await asyncio.gather(*(node.ready() for node in site.nodes))
        clients = [site.client(node) for node in site.nodes]
        await clients[0].deploy(FLOW)
        witnessing = [asyncio.ensure_future(self._witness.work(node)) for node in site.nodes]
        starting = asyncio.gather(*(self._start(number, clients[number % 2]) for number in range(RUNS // 2)))
        await site.until(lambda: self._witness.accepted, "some outcome is acknowledged")
        more = asyncio.gather(*(self._start(number, clients[number % 2]) for number in range(RUNS // 2, RUNS)))

        await happens()

        await starting
        await more
        await site.until(self._all_have_ended, "all runs have ended")
        for task in witnessing:
            task.cancel()
        assert [await node.end() for node in site.nodes] == [0, 0]
        async with site.log() as log:
            return await gather_from(log, site.journal)

    async def _start(self, number: int, client: HttpClient) -> None:
        request = StartRequest(workflow="steps", input={"n": number}, command_id=f"start-{number}")
        self._started[number] = (await client.start(request)).id

    async def _all_have_ended(self) -> bool:
        async with self._site.log() as log:
            return not await log.unfinished()

    def hold(self, evidence: Evidence) -> None:
        """Nothing that was acknowledged is lost, and nothing was done twice that was not lost."""
        assert set(self._started.values()) == set(evidence.runs)
        assert {run.head.status for run in evidence.runs.values()} == {"completed"}
        assert problems_of_log(evidence) == []
        told = {
            content_value(row.content)["by"]
            for row, event in zip(evidence.rows, evidence.events, strict=True)
            if isinstance(event, e.ActivityCompleted) and event.place == "tell" and row.content is not None
        }
        assert self._witness.accepted <= told
        executed = Counter((line["run"], line["place"], line["attempt"]) for line in self._site.executed)
        assert set(executed.values()) == {1}


def test_when_the_primary_is_killed_and_its_synchronous_standby_promoted_nothing_acknowledged_is_lost(tmp_path: Path):
    async def scene() -> None:
        with private_postgres() as primary, private_standby(primary) as standby:
            await wait_for_standbys(primary)
            async with Site(tmp_path, primary, address=hosts_of(primary, standby)) as site:

                async def falls() -> None:
                    primary.kill()
                    await site.until(lambda: all("is a standby" in node.said for node in site.nodes), "both say so")
                    await site.until(lambda: health_says(site, "is a standby"), "its health does too")
                    await asyncio.to_thread(standby.promote)

                story = Story(site)
                story.hold(await story.told(falls))

    asyncio.run(scene())


def test_when_the_pooler_is_killed_again_and_again_nothing_is_lost_or_done_twice(tmp_path: Path):
    async def scene() -> None:
        sessions = 2 * NODE_SESSIONS_MAX + SPARE_SESSIONS
        with (
            private_postgres() as server,
            private_pooler(server.url, pool_mode="session", default_pool_size=sessions) as pooler,
        ):
            async with Site(tmp_path, server, address=pooler.url) as site:

                async def fails() -> None:
                    for _ in range(POOLER_KILLS):
                        pooler.kill()
                        pooler.begin()
                        await asyncio.gather(*(node.ready() for node in site.nodes))

                story = Story(site)
                story.hold(await story.told(fails))

    asyncio.run(scene())


async def wait_for_standbys(primary: PrivatePostgres) -> None:
    """From here on what the primary acknowledges is with its standby."""
    connection = await asyncpg.connect(primary.url)
    await connection.execute("alter system set synchronous_standby_names = '*'")
    await connection.execute("select pg_reload_conf()")
    followed = "select count(*) from pg_stat_replication where sync_state = 'sync'"
    while not await connection.fetchval(followed):  # noqa: ASYNC110 - only the server knows
        await asyncio.sleep(LOOK_SECONDS)
    await connection.close()


def hosts_of(*servers: PrivatePostgres) -> str:
    """Return an address that names them all."""
    hosts = ",".join(server.url.partition("@")[2].partition("/")[0] for server in servers)
    return f"postgresql://postgres@{hosts}/postgres"


async def health_says(site: Site, words: str) -> bool:
    """Return whether the first node's health says so: it is a second old at most."""
    async with httpx2.AsyncClient(timeout=PATIENCE_SECONDS) as client:
        return words in (await client.get(f"{site.nodes[0].url}/api/v1/health")).text
