"""Texts of other nodes beside our own: each under its own numbers, whatever comes of them, and in whatever order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from headgate.ports import Ended, Gap, Position, Restarted, Tokens
from headgate.stores import mirror_streams
from headgate.stores.mirror_streams import MirroringStreams
from headgate.stores.stream_spill import StreamSpill
from headgate.testing.clock import VirtualClock
from headgate.testing.stream_conformance import Heard, at_hand


def on(scene: Callable[[MirroringStreams], Awaitable[None]], spill: StreamSpill | None = None, **bounds: int) -> None:
    async def whole() -> None:
        streams = MirroringStreams(VirtualClock(), spill, **bounds)
        await scene(streams)
        await streams.close()

    asyncio.run(whole())


def tokens(offset: int, text: str, *, epoch: int = 1, attempt: int = 1, origin: str = "other") -> Tokens:
    return Tokens("p", epoch, offset, text, attempt, origin)


def test_what_comes_twice_is_there_once_and_what_lacks_its_beginning_is_not_added():
    async def scene(streams: MirroringStreams) -> None:
        reader = streams.subscribe("run")

        assert streams.mirror("run", tokens(0, "one 二"))
        assert streams.mirror("run", tokens(4, "二 three"))
        assert streams.mirror("run", tokens(0, "one"))
        assert not streams.mirror("run", tokens(14, "five"))
        assert not streams.mirror("run", Ended("p", 1, 17, "completed", 1, "other"))
        assert streams.mirror("run", Ended("p", 1, 13, "completed", 1, "other"))
        streams.finish("run", "p", 1, "completed")

        assert Heard.of(await at_hand(reader)) == ("one 二 three", 0, 0, "completed", Position("p", 1, 13, "other"))
        assert streams.final("run", "p").origin == "other"

    on(scene)


def test_a_text_whose_beginning_is_missing_is_asked_for_and_one_that_is_void_is_not():
    async def scene(streams: MirroringStreams) -> None:
        assert not streams.mirror("run", tokens(3, "late"))
        assert streams.mirror("run", tokens(0, "two", attempt=2))
        assert streams.mirror("run", tokens(3, "void", epoch=9)) is None
        streams.finish("run", "p", 2, "completed")
        assert streams.mirror("run", tokens(3, "more", attempt=2)) is None

        assert await at_hand(streams.subscribe("run")) == []

    on(scene)


def test_of_two_texts_the_later_attempt_is_read_and_of_one_attempt_the_first_that_was_there():
    async def scene(streams: MirroringStreams) -> None:
        reader = streams.subscribe("run")
        streams.mirror("run", tokens(0, "first"))
        assert streams.mirror("run", tokens(0, "half", origin="third")) is None
        heard = Heard.of(await at_hand(reader))
        assert heard == ("first", 0, 0, "", Position("p", 1, 5, "other"))

        streams.publish("run", "p", 2, "ours")
        streams.mirror("run", tokens(0, "theirs", attempt=2))
        heard = Heard.of(await at_hand(reader), heard)
        assert heard[:2] == ("ours", 1)
        assert heard.position.origin == streams.origin

        streams.mirror("run", tokens(0, "third", attempt=3, epoch=2))
        heard = Heard.of(await at_hand(reader), heard)
        assert heard == ("third", 2, 0, "", Position("p", 2, 5, "other"))

        streams.publish("run", "p", 4, "ours again")
        again = Heard.of(await at_hand(reader), heard)
        assert again[:2] == ("ours again", 3)
        assert again.position.epoch == 3, "2 was ours before"

    on(scene)


def test_what_another_node_does_not_keep_any_more_is_a_gap_here_too():
    async def scene(streams: MirroringStreams) -> None:
        reader = streams.subscribe("run")
        streams.mirror("run", tokens(0, "kept"))
        assert Heard.of(await at_hand(reader)).text == "kept"

        assert streams.mirror("run", Gap("p", 1, 4, 100, 1, "other"))
        assert streams.mirror("run", tokens(100, "rest"))

        assert [type(chunk) for chunk in await at_hand(reader)] == [Gap, Tokens]

    on(scene)


def test_a_position_ahead_of_what_has_come_waits_for_it():
    async def scene(streams: MirroringStreams) -> None:
        reader = streams.subscribe("run", resume=[Position("p", 1, 8, "other")])
        streams.mirror("run", tokens(0, "known "))
        assert await at_hand(reader) == []

        streams.mirror("run", tokens(6, "a new"))

        assert (await at_hand(reader))[0] == tokens(8, "new")

    on(scene)


def test_what_is_forgotten_leaves_nothing_but_our_own():
    async def scene(streams: MirroringStreams) -> None:
        streams.publish("run", "mine", 1, "ours")
        streams.mirror("run", tokens(0, "theirs"))
        assert streams.mirrored("run", "p") == 1
        assert streams.mirrored("run", "mine") == 0

        streams.forget_mirrored("run")

        assert streams.mirrored("run", "p") == 0
        assert [chunk.text for chunk in await at_hand(streams.subscribe("run"))] == ["ours"]
        assert streams._bytes == 4

    on(scene)


def test_places_beyond_the_maximum_are_not_kept(monkeypatch: Any):
    monkeypatch.setattr(mirror_streams, "PLACES_MAX", 1)

    async def scene(streams: MirroringStreams) -> None:
        streams.mirror("run", tokens(0, "one"))

        assert streams.mirror("other run", tokens(0, "two")) is None

        assert streams.mirrored("other run", "p") == 0

    on(scene)


@given(st.data())
def test_whatever_is_lost_or_said_again_a_reader_hears_the_text_from_its_beginning_without_gap_or_repeat(data: Any):
    words = [f"{number} 二🦉 " for number in range(12)]

    async def scene(streams: MirroringStreams) -> None:
        source = MirroringStreams(VirtualClock(), ring_bytes_max=1 << 16)
        passing, reader, heard, epoch = source.subscribe("run"), streams.subscribe("run"), None, 0
        for word in words:
            match data.draw(st.sampled_from(["say", "say", "say", "restart", "lose", "again"])):
                case "restart":
                    source.restart("run", "p", 1)
                    epoch += 1
                case "lose":
                    await at_hand(passing)
                case "again":
                    passing.close()
                    passing = source.subscribe("run")
            source.publish("run", "p", 1, word)
            source._clock.advance(seconds=1)
            for chunk in await at_hand(passing):
                if not streams.mirror("run", chunk):
                    passing.close()
                    passing = source.subscribe("run")
                    for one in await at_hand(passing):
                        assert streams.mirror("run", one)
                    break
            heard = Heard.of(await at_hand(reader), heard)
        assert heard is not None
        assert heard.gaps == 0
        assert heard.text == Heard.of(await at_hand(source.subscribe("run"))).text
        assert not any(isinstance(chunk, Restarted) for chunk in await at_hand(streams.subscribe("run")))
        await source.close()

    on(scene, StreamSpill(), ring_bytes_max=16)
