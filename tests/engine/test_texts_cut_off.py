"""Texts of neighbours when something breaks, and what they may take."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest
from tests.conformance.test_streams import Nobody
from tests.engine.neighbours_lab import ASK, Node, begun, play, running, said
from tests.engine.tapped import TEXT, in_pieces
from tests.engine.two_nodes.nodes import until
from tests.postgres_logs import SCHEMA, Proxy, empty_postgres_log, server_url

from headgate.engine import texts_of_neighbours, texts_passed_on
from headgate.engine.text_messages import Passed, messages_of
from headgate.engine.texts_of_neighbours import TextsOfNeighbours
from headgate.ports import Chunk, Ended, Restarted, Tokens
from headgate.stores.mirror_streams import MirroringStreams
from headgate.stores.postgres_texts import PostgresNeighbourhood, channel_of
from headgate.testing.clock import VirtualClock
from headgate.testing.stream_conformance import at_hand

# --- What breaks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [(0,), (1,), (0, 1)], ids=["of the worker", "of the reader", "of both"])
def test_a_connection_that_is_cut_costs_the_reader_at_the_other_node_nothing(
    cut: Sequence[int], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(texts_of_neighbours, "RENEW_SECONDS", 1e6)  # what heals it is that both say so

    async def whole() -> None:
        async with Proxy(server_url()) as one, Proxy(server_url()) as two:
            worker, reader = Node(work=True, url=one.url), Node(work=False, url=two.url)
            third = Node(work=False)
            async with running(worker, reader, third), asyncio.timeout(60):
                run_id = await third.start()
                there = reader.watch(run_id)
                worker.tap.say(*in_pieces(TEXT[:300]))
                await until(lambda: said(there) == TEXT[:300])

                for number in cut:
                    (one, two)[number].drop()
                await until(lambda: not all((worker, reader)[number].hears for number in cut))
                worker.tap.say(*in_pieces(TEXT[300:]))
                await until(lambda: said(there) == TEXT)
                worker.tap.end(TEXT)
                await there.end()

                assert there.heard()[:4] == (TEXT, 0, 0, "completed")

    asyncio.run(empty_postgres_log().close())
    asyncio.run(whole())


def test_when_the_node_that_works_ends_the_text_begins_again_at_whichever_goes_on():
    async def whole() -> None:
        first, second, reader = Node(work=True), Node(work=True), Node(work=False)
        async with running(reader), asyncio.timeout(60):
            async with running(first):
                run_id = await first.start()
                there = reader.watch(run_id)
                first.tap.say("Half a sen")
                await until(lambda: said(there) == "Half a sen")
            async with running(second):
                second.tap.say(*in_pieces(TEXT))
                await until(lambda: said(there) == TEXT)
                second.tap.end(TEXT)
                await there.end()

        assert there.heard().text == TEXT
        assert there.heard().restarts >= 1
        assert [chunk.attempt for chunk in there.chunks() if isinstance(chunk, Ended)] == [2]

    asyncio.run(empty_postgres_log().close())
    asyncio.run(whole())


def test_a_message_that_got_lost_is_asked_for_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(texts_of_neighbours, "ASK_AGAIN_SECONDS", 0.0)

    async def scene(worker: Node, reader: Node) -> None:
        there = await begun(worker, reader, "One ")
        with deaf(reader) as lost:
            worker.tap.say("two ")
            await until(lambda: lost)
        worker.tap.say("three")
        await until(lambda: said(there) == "One two three")

    play(scene)


def test_an_end_whose_last_words_do_not_come_is_told_with_the_result(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(texts_of_neighbours, "HELD_SECONDS", 0.2)

    async def scene(worker: Node, reader: Node) -> None:
        there = await begun(worker, reader, "Half a ")
        with deaf(reader):
            worker.tap.say("sentence")
            worker.tap.end("Half a sentence")
            await there.end()

        assert there.heard()[:4] == ("Half a sentence", 1, 0, "completed")

    play(scene)


def test_a_watch_does_not_end_before_a_text_that_ends_while_the_newest_run_is_read():
    async def scene(worker: Node, reader: Node) -> None:
        run_id, read = await worker.start(), reader.app.desk.watching._newest

        async def newest(run_id: str, watcher: Any) -> Any:
            view = await read(run_id, watcher)
            if watcher.last is not None:
                await until(lambda: lost)
                for message in lost:
                    type(reader.texts)._passed(reader.texts, *message)
            return view

        there = reader.watch(run_id)
        worker.tap.say("Once")
        await until(lambda: said(there) == "Once")
        with deaf(reader) as lost:
            reader.app.desk.watching._newest = newest
            worker.tap.end("Once")
            await there.end()

        assert there.heard()[:4] == ("Once", 0, 0, "completed")

    play(scene)


class deaf:  # noqa: N801 - reads as a word
    """Within it nothing of what is passed on to the node is heard."""

    def __init__(self, node: Node) -> None:
        self._texts = node.texts
        self._lost: list[Any] = []

    def __enter__(self) -> list[Any]:
        self._texts._passed = lambda *message: self._lost.append(message)
        return self._lost

    def __exit__(self, *_: object) -> None:
        del self._texts._passed


def test_a_run_that_is_retried_is_not_ended_again_for_who_comes_then():
    async def whole() -> None:
        texts = TextsOfNeighbours(MirroringStreams(VirtualClock()), Nobody())

        def hear(chunk: Chunk) -> None:
            for message in messages_of(Passed("run", chunk)):
                texts._heard(message)

        early = texts.subscribe("run")
        hear(Tokens("p", 1, 0, "one", 1, "other"))
        texts.finish("run", "p", 1, "failed")
        texts.end("run", "failed")
        assert not early.over
        hear(Ended("p", 1, 3, "failed", 1, "other"))
        assert early.over

        late = texts.subscribe("run")
        hear(Tokens("p", 2, 0, "two", 2, "other"))
        texts.finish("run", "p", 2, "completed")
        hear(Ended("p", 2, 3, "completed", 2, "other"))

        assert [type(chunk) for chunk in await at_hand(late)] == [Tokens, Ended]
        assert not late.over
        await texts.close()

    asyncio.run(whole())


def test_the_end_of_another_text_of_the_attempt_is_not_the_end_of_the_one_that_is_read(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(texts_of_neighbours, "HELD_SECONDS", 0.05)

    async def whole() -> None:
        texts = TextsOfNeighbours(MirroringStreams(VirtualClock()), Nobody())
        reader = texts.subscribe("run")
        for chunk in (
            Tokens("p", 1, 0, "half", 1, "a node that was killed"),
            Tokens("p", 1, 0, "the rest", 1, "as it came back"),
            Ended("p", 1, 8, "completed", 1, "as it came back"),
        ):
            for message in messages_of(Passed("run", chunk)):
                texts._heard(message)

        texts.finish("run", "p", 1, "completed")

        told = [await reader.next()]
        while not isinstance(told[-1], Ended):
            told.append(await reader.next())
        assert [(type(chunk), chunk.epoch) for chunk in told] == [(Tokens, 1), (Restarted, 2), (Ended, 2)]
        assert told[-1].offset == 0, "so that the result is told instead"
        await texts.close()

    asyncio.run(whole())


# --- What it costs, and its bounds ------------------------------------------------------------------------------------


def test_where_nobody_reads_nothing_is_said_and_where_nobody_else_does_no_text_is():
    async def scene(worker: Node, reader: Node) -> None:
        heard: list[tuple[str, str]] = []
        connection = await asyncpg.connect(server_url())
        await connection.execute(f"insert into {SCHEMA}.meta values ('texts_channel', 7) on conflict do nothing")
        secret = await connection.fetchval(f"select value from {SCHEMA}.meta where name = 'texts_channel'")
        channels = [channel_of(secret, node) for node in ("", worker.texts.origin, reader.texts.origin)]
        for channel in channels:
            await connection.add_listener(channel, lambda _, __, channel, text: heard.append((channel, text)))

        async def spoken(*, at: Node | None) -> list[str]:
            run_id = await worker.start()
            heard.clear()
            watcher = None if at is None else at.watch(run_id)
            worker.tap.say(*in_pieces(TEXT))
            if watcher is not None:
                await until(lambda: said(watcher) == TEXT)
            worker.tap.end(TEXT)
            if watcher is not None:
                await watcher.end()
            await worker.app.engine.finished(run_id)
            await connection.execute("notify " + channels[0] + ", 'last'")
            await until(lambda: heard and heard[-1][1] == "last")
            return [channel for channel, _ in heard[:-1]]

        assert await spoken(at=None) == []
        assert set(await spoken(at=worker)) == {channels[0]}
        assert channels[2] in await spoken(at=reader)
        await connection.close()

    play(scene)


def test_runs_beyond_what_a_node_passes_on_are_read_there_when_they_have_ended(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(texts_passed_on, "PASSED_ON_MAX", 1)

    async def scene(worker: Node, reader: Node) -> None:
        first = await worker.start()
        passed = reader.watch(first)
        await until(lambda: worker.texts._passed_on._readings)
        second = await worker.start(ASK.replace("one", "three"))
        beyond = reader.watch(second)
        worker.tap.say(TEXT)
        worker.tap.say(TEXT, model="three")
        await until(lambda: said(passed) == TEXT)
        assert not beyond.chunks()

        worker.tap.end(TEXT, model="three")
        await beyond.end()

        assert beyond.heard()[:4] == (TEXT, 0, 0, "completed")

    play(scene)


def test_what_is_said_in_one_round_has_a_maximum_and_the_rest_comes_in_the_next(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(texts_passed_on, "ROUND_BYTES_MAX", 1_000)
    rounds: list[int] = []
    say = PostgresNeighbourhood.say

    async def counted(self: Any, messages: Sequence[tuple[str, str]]) -> bool:
        rounds.append(len([text for node, text in messages if node]))
        return await say(self, messages)

    monkeypatch.setattr(PostgresNeighbourhood, "say", counted)

    async def scene(worker: Node, reader: Node) -> None:
        runs = [await worker.start(ASK.replace("tap/one", f"tap/m{number}")) for number in range(3)]
        there = [reader.watch(run_id) for run_id in runs]
        await until(lambda: len(worker.texts._passed_on._readings) == 3)
        for number in range(3):
            worker.tap.say(TEXT, model=f"m{number}")
        for watcher in there:
            await until(lambda watcher=watcher: said(watcher) == TEXT)

        assert [count for count in rounds if count] == [1, 1, 1]
        assert all(isinstance(watcher.chunks()[0], Tokens) for watcher in there)

    play(scene)


def test_a_node_that_asks_no_more_is_forgotten(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(texts_passed_on, "LEASE_SECONDS", 0.1)

    async def scene(worker: Node, reader: Node) -> None:
        there = await begun(worker, reader, "Once")

        await until(lambda: not worker.texts._passed_on._readings)
        assert said(there) == "Once"

    play(scene)
