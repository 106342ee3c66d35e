"""A real worker over HTTP that is stopped beyond its lease: another takes over, and when it wakes it is fenced."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.e2e.http_site import LEASE_SECONDS, PATIENCE_SECONDS, Process, Site, Witness
from tests.servers import PrivatePostgres, private_postgres

from headgate.core import events as e
from headgate.core.codec import decode
from headgate.core.errors import StaleAttempt
from headgate.ports import Log, StartRequest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="SIGSTOP")]

FLOW = "name: one\nactivities: {note: {use: note, with: {n: 1}}}"
NOTICED_SECONDS_MAX = LEASE_SECONDS + 5 + 5
"""Five are promised; five are for a machine that has much else to do."""
OUTCOMES = (e.ActivityCompleted, e.AttemptFailed, e.AttemptLost, e.AttemptTimedOut)


@pytest.fixture(params=["file", "postgres"])
def server(request: pytest.FixtureRequest) -> Iterator[PrivatePostgres | None]:
    if request.param == "file":
        yield None
        return
    with private_postgres() as started:
        yield started


async def begun_by(site: Site, worker: Process, *, attempt: int) -> str:
    """Return the claim under which the worker's process has begun this attempt, when it has."""
    found: list[str] = []

    def has_begun() -> bool:
        found.extend(
            line["activity_id"] for line in site.executed if (line["process"], line["attempt"]) == (worker.pid, attempt)
        )
        return bool(found)

    await site.until(has_begun, f"{worker.name} has begun attempt {attempt}")
    return found[0]


async def events_of(log: Log, run_id: str) -> list[e.Event]:
    row = await log.run(run_id)
    assert row is not None
    return [decode(stored.data)[0] for stored in await log.events(row.key, limit=1_000)]


def test_a_worker_that_is_stopped_beyond_its_lease_is_fenced_when_it_wakes(
    tmp_path: Path, server: PrivatePostgres | None
):
    async def scene() -> None:
        async with Site(tmp_path, server) as site:
            node = site.begin_node()
            await node.ready()
            client = site.client(node)
            await client.deploy(FLOW)
            gates = [tmp_path / "first", tmp_path / "second"]
            zombie = site.begin_worker(node, WITNESS_GATE=str(gates[0]))
            run = (await client.start(StartRequest(workflow="one"))).id
            dead = await begun_by(site, zombie, attempt=1)
            zombie.signal(signal.SIGSTOP)
            stopped_at = time.time()
            heir = site.begin_worker(node, WITNESS_GATE=str(gates[1]))
            living = await begun_by(site, heir, attempt=2)

            gates[0].touch()
            zombie.signal(signal.SIGCONT)
            left = await zombie.end()  # it reports what it has done, and is answered, before it leaves
            protocol = site.protocol(node)
            again = await Witness(site).report(protocol, dead)
            with pytest.raises(StaleAttempt):
                await protocol.heartbeat(dead, worker_id=zombie.name)
            with suppress(StaleAttempt):
                await protocol.begin_effect(dead, what="of the dead")
            gates[1].touch()
            shown = await client.show(run, wait_seconds=PATIENCE_SECONDS)

            assert left == 0, zombie.said
            assert again.stale
            assert (shown.status, shown.outputs) == ("completed", {"note": {"by": living}})
            assert [line["activity_id"] for line in site.executed] == [dead, living]
            async with site.log() as log:
                events = await events_of(log, run)
            ended = [(type(event), event.attempt) for event in events if isinstance(event, OUTCOMES)]
            assert ended == [(e.AttemptLost, 1), (e.ActivityCompleted, 2)]
            assert not [event for event in events if isinstance(event, e.EffectBegun)]
            (lost,) = [event for event in events if isinstance(event, e.AttemptLost)]
            assert lost.at / 1e6 - stopped_at < NOTICED_SECONDS_MAX

    asyncio.run(scene())


def test_of_a_worker_that_is_killed_all_that_it_had_in_hand_is_given_to_another_within_its_lease_and_five_seconds(
    tmp_path: Path, server: PrivatePostgres | None
):
    async def scene() -> None:
        async with Site(tmp_path, server) as site:
            node = site.begin_node()
            await node.ready()
            client = site.client(node)
            await client.deploy(FLOW)
            doomed = site.begin_worker(node, concurrency=3, WITNESS_GATE=str(tmp_path / "never"))
            runs = [(await client.start(StartRequest(workflow="one"))).id for _ in range(3)]
            await site.until(lambda: len(site.executed) == 3, "all are under way")

            doomed.kill()
            killed_at = time.time()
            site.begin_worker(node)
            shown = [await client.show(run, wait_seconds=PATIENCE_SECONDS) for run in runs]

            assert {run.status for run in shown} == {"completed"}
            async with site.log() as log:
                events = [event for run in runs for event in await events_of(log, run)]
            lost = [event for event in events if isinstance(event, e.AttemptLost)]
            assert sorted(event.run_id for event in lost) == sorted(runs)
            assert max(event.at for event in lost) / 1e6 - killed_at < NOTICED_SECONDS_MAX

    asyncio.run(scene())
