"""Which workers are let in, and what they may say."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from tests.engine.worker_door.site import MANY, REQUEST, TEN, Site, cut, kinds

from headgate.api import worker_door
from headgate.client import worker as client_worker
from headgate.client.frames import Request
from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.core.errors import Invalid, Refused, Unavailable
from headgate.core.values import Usage
from headgate.ports import (
    Settlement,
)


def test_another_revision_of_the_protocol_is_refused_and_says_which(at: Any):
    async def scene(site: Site) -> None:
        protocol = site.connect()
        protocol._hello = msgspec.structs.replace(protocol._hello, protocol=99)
        with pytest.raises(Refused, match="speaks revision 99 of the worker protocol"):
            await protocol.poll(["gpu"], worker_id="w", count=1, wait_seconds=0)

    at(scene)


def test_a_name_that_is_taken_may_be_tried_again_later(at: Any):
    async def scene(site: Site) -> None:
        first, second = site.connect("same"), site.connect("same")
        assert await first.poll(["gpu"], worker_id="w", count=1, wait_seconds=0) == []
        with pytest.raises(Unavailable, match="'same' is here already"):
            await second.poll(["gpu"], worker_id="w", count=1, wait_seconds=0)
        await first.close()
        await site.bench.until(lambda: not site.door.workers)
        assert await second.poll(["gpu"], worker_id="w", count=1, wait_seconds=0) == []

    at(scene)


@pytest.mark.parametrize(
    ("verb", "arguments", "says"),
    [
        ("start", {}, "A worker has no verb 'start'"),
        ("admit", {"activity_id": "x"}, "admit: "),
        ("report", {"reports": [{"activity_id": "nonsense"}]}, None),
        ("begin_effect", {"activity_id": "nonsense", "what": "x"}, "is not an activity id"),
    ],
)
def test_what_cannot_be_understood_is_answered_and_the_connection_goes_on(
    at: Any, verb: str, arguments: dict[str, Any], says: str | None
):
    async def scene(site: Site) -> None:
        protocol = site.connect()
        link = await protocol._linked()
        if says is None:
            (told,) = await link.ask(verb, arguments)
            assert "is not an activity id" in told.stale
        else:
            with pytest.raises(Invalid, match=says):
                await link.ask(verb, arguments)
        link._writer.write(b"no json\n")
        assert await protocol.poll(["gpu"], worker_id="w", count=1, wait_seconds=0) == []

    at(scene)


def test_an_owner_that_takes_no_workers_says_so(at: Any):
    async def scene(site: Site) -> None:
        site.server.workers = None
        with pytest.raises(Invalid, match="no verb 'work'"):
            await site.connect().poll(["gpu"], worker_id="w", count=1, wait_seconds=0)

    at(scene)


def test_a_request_is_refused_where_too_many_are_under_way(at: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worker_door, "REQUESTS_MAX", 1)

    async def scene(site: Site) -> None:
        protocol = site.connect()
        polling = asyncio.ensure_future(protocol.poll(["gpu"], worker_id="w", count=1, wait_seconds=30))
        await site.bench.until(lambda: site.bench.app.queue._waiting)
        with pytest.raises(Unavailable, match="1 requests of this worker are under way"):
            await protocol.poll(["gpu"], worker_id="w", count=1, wait_seconds=0)
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
        await site.bench.until(lambda: not site.bench.app.queue._waiting)

    at(scene)


def test_a_token_is_asked_of_workers_where_one_is_needed(at: Any):
    async def scene(site: Site) -> None:
        line = msgspec.json.encode(Request(1, "work", {"worker_id": "w", "activities": []}, "wrong")) + b"\n"
        site.server.address = msgspec.structs.replace(site.server.address, token="right")
        reader, writer = await asyncio.open_unix_connection(site.server.address.path)
        writer.write(line)
        assert b"The token is not that of the lock file" in await reader.readline()
        writer.close()

    at(scene)


def test_a_claim_that_was_brought_along_from_a_connection_before_is_lost_with_the_one_that_uses_it(at: Any):
    async def scene(site: Site) -> None:
        run_id, _, task = await site.begin()
        other = site.connect("other")
        await other.admit(task.activity_id, call_id="c1", request=REQUEST)

        await cut(other)
        await site.bench.until(lambda: site.bench.app.queue.depth("gpu") == 1)

        assert [event.attempt for event in await kinds(site, run_id, e.AttemptLost)] == [1]
        assert [event.call_id for event in await kinds(site, run_id, g.CallForfeited)] == ["c1"]

    at(scene)


def test_a_settlement_is_asked_for_again_until_there_is_an_owner(at: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client_worker, "OWNER_PAUSE_SECONDS", 0.001)

    async def scene(site: Site) -> None:
        run_id, protocol, task = await site.begin()
        await protocol.admit(task.activity_id, call_id="c1", request=REQUEST)
        await cut(protocol)
        found = [None, None, site.server.address]
        protocol._find = lambda: found.pop(0)

        await protocol.settle(task.activity_id, call_id="c1", settlement=Settlement.used(Usage(cost_nano=60)))

        assert [event.cost for event in await kinds(site, run_id, g.CallSettled)] == [60]

    at(scene)


def test_tasks_whose_poll_is_given_up_while_they_are_made_ready_are_offered_again(at: Any):
    async def scene(site: Site) -> None:
        engine, reading = site.bench.app.engine, asyncio.Event()

        async def never(*_: Any) -> Any:
            reading.set()
            await asyncio.Event().wait()

        await site.bench.start(TEN, MANY)
        load_values, engine.load_values = engine.load_values, never
        polling = asyncio.ensure_future(site.bench.app.protocol.poll(["gpu"], worker_id="w", count=3, wait_seconds=5))
        await asyncio.wait_for(reading.wait(), 10)
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
        engine.load_values = load_values

        tasks = await site.connect().poll(["gpu"], worker_id="w", count=10, wait_seconds=5)
        assert len(tasks) == 10

    at(scene)
