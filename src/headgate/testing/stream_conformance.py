"""What every adapter of `ports.Streams` keeps true, as tests: one class for each adapter, which says how it is opened.

class TestMine(StreamConformance):
    @asynccontextmanager
    async def opened(self, clock, **bounds):
        yield MyStreams(clock, **bounds)
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

from headgate.core.errors import HeadgateError, Invalid
from headgate.ports import (
    CHUNK_BYTES_MAX,
    Chunk,
    Clock,
    Ended,
    Gap,
    Position,
    ReaderTooSlow,
    Restarted,
    Streams,
    Subscription,
    Tokens,
    digest_of,
)
from headgate.testing.clock import VirtualClock
from headgate.testing.log_conformance import on_a_loop

__all__ = ["Heard", "StreamConformance", "at_hand"]

PAUSE_SECONDS = 0.025
TURNS = 12
"""So often the loop turns before what a reader waits for is taken not to come."""
LONG = "one 二 three 四 🦉 " * 60_000
"""More than a megabyte, with characters of one to four bytes."""


async def at_hand(reader: Subscription) -> list[Chunk]:
    """Return all that the reader gets without anything more happening."""
    chunks: list[Chunk] = []
    while True:
        taking = asyncio.ensure_future(reader.next())
        for _ in range(TURNS):
            if taking.done():
                break
            await asyncio.sleep(0)
        else:
            taking.cancel()
            return chunks
        if (chunk := taking.result()) is None:
            return chunks
        chunks.append(chunk)


class Heard(NamedTuple):
    """What a reader makes of the chunks of one place: the text of the newest epoch, and how it was told."""

    text: str
    restarts: int
    gaps: int
    status: str
    position: Position | None

    @classmethod
    def of(cls, chunks: Sequence[Chunk], before: Heard | None = None) -> Heard:
        """Fold the chunks, seeing to it that each stands where the one before it ended."""
        text, restarts, gaps, status, position = before or cls("", 0, 0, "", None)
        for chunk in chunks:
            assert not status, f"{chunk} comes after the end"
            match chunk:
                case Restarted():
                    text, restarts = "", restarts + 1
                case Gap():
                    assert (chunk.epoch, chunk.offset) == _stands(position, chunk)
                    assert chunk.until > chunk.offset
                    gaps += 1
                case Tokens():
                    assert (chunk.epoch, chunk.offset) == _stands(position, chunk), f"{chunk} does not follow"
                    assert 0 < len(chunk.text.encode()) <= CHUNK_BYTES_MAX
                    text += chunk.text
                case Ended():
                    assert (chunk.epoch, chunk.offset) == _stands(position, chunk)
                    status = chunk.status
            position = chunk.after
        return cls(text, restarts, gaps, status, position)


def _stands(position: Position | None, chunk: Chunk) -> tuple[int, int]:
    return (chunk.epoch, 0) if position is None else (position.epoch, position.offset)


class StreamConformance:
    """The tests. `opened` gives streams on a clock; `bounds` are `text_bytes_max` and `reader_bytes_max`: how much is
    kept of a text in all, and of ended texts for one reader."""

    def opened(self, clock: Clock, **bounds: int) -> AbstractAsyncContextManager[Streams]:
        raise NotImplementedError  # each adapter's own tests say how it is opened

    # --- What a reader gets --------------------------------------------------------------------------------------

    @on_a_loop
    async def test_a_reader_gets_the_text_as_it_comes_and_then_the_outcome(self) -> None:
        clock = VirtualClock()
        async with self.opened(clock) as streams:
            reader = streams.subscribe("run")
            streams.publish("run", "a", 1, "Hello ")
            first = await at_hand(reader)
            clock.advance(seconds=PAUSE_SECONDS)
            streams.publish("run", "a", 1, "world")
            streams.finish("run", "a", 1, "completed")
            rest = await at_hand(reader)

            assert first == [Tokens("a", 1, 0, "Hello ", 1, streams.origin)]
            assert rest == [
                Tokens("a", 1, 6, "world", 1, streams.origin),
                Ended("a", 1, 11, "completed", 1, streams.origin),
            ]

    @on_a_loop
    async def test_a_late_reader_gets_all_of_the_newest_epoch(self) -> None:
        async with self.opened(VirtualClock()) as streams:
            streams.publish("run", "a", 1, "void")
            streams.restart("run", "a", 1)
            for word in ("it ", "begins ", "again"):
                streams.publish("run", "a", 1, word)
            streams.publish("run", "b", 1, "other")
            reader = streams.subscribe("run")
            streams.end("run", "completed")
            chunks = await at_hand(reader)

            assert Heard.of([chunk for chunk in chunks if chunk.place == "a"])[:4] == (
                *("it begins again", 0, 0),
                "completed",
            )
            assert Heard.of([chunk for chunk in chunks if chunk.place == "b"]).text == "other"

    @on_a_loop
    async def test_the_first_text_goes_at_once_and_what_follows_goes_together(self) -> None:
        clock = VirtualClock()
        async with self.opened(clock) as streams:
            reader = streams.subscribe("run")
            heard: list[list[str]] = []
            streams.publish("run", "p", 1, "first")
            assert _without_waiting(reader) == Tokens("p", 1, 0, "first", 1, streams.origin)
            clock.advance(seconds=1)
            for words in (["a"], ["b", "c"], [], ["d"], ["e"]):
                for word in words:
                    streams.publish("run", "p", 1, word)
                heard.append([chunk.text for chunk in await at_hand(reader) if isinstance(chunk, Tokens)])
                clock.advance(seconds=PAUSE_SECONDS / 2)
            clock.advance(seconds=PAUSE_SECONDS)
            heard.append([chunk.text for chunk in await at_hand(reader) if isinstance(chunk, Tokens)])

            assert heard == [["a"], [], ["bc"], [], ["de"], []]

    @on_a_loop
    async def test_only_the_wanted_place_or_activity_is_told(self) -> None:
        async with self.opened(VirtualClock()) as streams:
            readers = [streams.subscribe("run", place=wanted) for wanted in ("a", "a[1]", "")]
            for place in ("a[0]", "a[1]", "a@2", "ab", "b"):
                streams.publish("run", place, 1, "x")
            streams.publish("another run", "a", 1, "x")
            told = [[chunk.place for chunk in await at_hand(reader)] for reader in readers]

            assert told == [["a[0]", "a[1]", "a@2"], ["a[1]"], ["a[0]", "a[1]", "a@2", "ab", "b"]]
            streams.end("run", "completed")
            ended = [[chunk.place for chunk in await at_hand(reader)] for reader in readers]
            assert ended == told

    @on_a_loop
    async def test_a_megabyte_in_one_piece_arrives_whole_and_no_character_is_cut(self) -> None:
        async with self.opened(VirtualClock()) as streams:
            early = streams.subscribe("run")
            streams.publish("run", "a", 1, LONG)
            late = streams.subscribe("run")
            streams.finish("run", "a", 1, "completed")

            for reader in (early, late):
                heard = Heard.of(await at_hand(reader))
                assert (heard.gaps, heard.status, heard.text == LONG) == (0, "completed", True)

    # --- Epochs --------------------------------------------------------------------------------------------------

    @on_a_loop
    async def test_another_attempt_or_a_restart_is_another_epoch_and_told_before_its_text(self) -> None:
        clock = VirtualClock()
        async with self.opened(clock) as streams:
            reader = streams.subscribe("run")
            streams.publish("run", "a", 1, "one")
            before = await at_hand(reader)
            streams.restart("run", "a", 1)
            restarted = await at_hand(reader)
            streams.publish("run", "a", 2, "two")
            streams.publish("run", "a", 3, "three")
            after = await at_hand(reader)

            assert [(chunk.epoch, chunk.attempt) for chunk in before] == [(1, 1)]
            assert restarted == [Restarted("a", 2, 1, streams.origin)]
            assert after == [Restarted("a", 3, 3, streams.origin), Tokens("a", 3, 0, "three", 3, streams.origin)]

    @on_a_loop
    async def test_a_restart_where_nothing_was_said_begins_nothing(self) -> None:
        async with self.opened(VirtualClock()) as streams:
            reader = streams.subscribe("run")
            streams.restart("run", "a", 1)
            streams.publish("run", "a", 1, "")
            streams.publish("run", "a", 1, "x")

            assert await at_hand(reader) == [Tokens("a", 1, 0, "x", 1, streams.origin)]

    @on_a_loop
    async def test_text_of_an_attempt_that_is_over_is_dropped(self) -> None:
        clock = VirtualClock()
        async with self.opened(clock) as streams:
            reader = streams.subscribe("run")
            streams.publish("run", "a", 2, "new")
            streams.publish("run", "a", 1, "old")
            streams.restart("run", "a", 1)
            streams.finish("run", "a", 2, "failed")
            streams.publish("run", "a", 2, "late")
            clock.advance(seconds=1)

            heard = Heard.of(await at_hand(reader))
            assert (heard.text, heard.restarts, heard.status) == ("new", 0, "failed")

    @on_a_loop
    async def test_a_place_that_comes_again_counts_its_epochs_on(self) -> None:
        async with self.opened(VirtualClock()) as streams:
            streams.publish("run", "a", 1, "one")
            streams.finish("run", "a", 1, "failed")
            streams.publish("run", "a", 2, "two")
            reader = streams.subscribe("run", resume=[Position("a", 1, 3, streams.origin)])

            assert await at_hand(reader) == [
                Restarted("a", 2, 2, streams.origin),
                Tokens("a", 2, 0, "two", 2, streams.origin),
            ]

    # --- Resuming ------------------------------------------------------------------------------------------------

    @on_a_loop
    async def test_a_reader_that_comes_back_misses_nothing_and_gets_nothing_twice(self) -> None:
        clock = VirtualClock()
        async with self.opened(clock) as streams:
            heard = None
            for number in range(0, len(LONG), 50_000):
                streams.publish("run", "a", 1, LONG[number : number + 50_000])
                reader = streams.subscribe("run", resume=[heard.position] if heard and heard.position else [])
                if (chunk := await reader.next()) is not None:
                    heard = Heard.of([chunk], heard)
                reader.close()
                clock.advance(seconds=PAUSE_SECONDS)
            assert heard is not None
            assert heard.position is not None
            reader = streams.subscribe("run", resume=[heard.position])
            streams.finish("run", "a", 1, "completed")
            heard = Heard.of(await at_hand(reader), heard)

            assert (heard.restarts, heard.gaps, heard.status, heard.text == LONG) == (0, 0, "completed", True)

    @on_a_loop
    async def test_a_position_of_an_older_epoch_or_of_another_origin_begins_again_and_says_so(self) -> None:
        async with self.opened(VirtualClock()) as streams:
            streams.publish("run", "a", 1, "one")
            streams.restart("run", "a", 1)
            streams.publish("run", "a", 1, "two")
            for position in (Position("a", 1, 2, streams.origin), Position("a", 2, 2, "somebody else")):
                reader = streams.subscribe("run", resume=[position])

                assert await at_hand(reader) == [
                    Restarted("a", 2, 1, streams.origin),
                    Tokens("a", 2, 0, "two", 1, streams.origin),
                ]

    @on_a_loop
    async def test_a_position_that_cannot_be_is_invalid(self) -> None:
        async with self.opened(VirtualClock()) as streams:
            streams.publish("run", "a", 1, "🦉")

            inside = await _error(streams.subscribe("run", resume=[Position("a", 1, 2, streams.origin)]))
            beyond: HeadgateError | None = None
            try:
                streams.subscribe("run", resume=[Position("a", 1, 5, streams.origin)])
            except HeadgateError as error:
                beyond = error

            assert isinstance(inside, Invalid)
            assert "inside a character" in inside.message
            assert isinstance(beyond, Invalid)
            assert "no offset 5" in beyond.message

    # --- Bounds --------------------------------------------------------------------------------------------------

    @on_a_loop
    async def test_what_is_not_kept_is_told_as_a_gap_and_what_is_kept_is_read(self) -> None:
        clock = VirtualClock()
        async with self.opened(clock, text_bytes_max=200_000) as streams:
            early = streams.subscribe("run")
            for number in range(100):
                streams.publish("run", "a", 1, f"{number:9999} ")
                clock.advance(seconds=PAUSE_SECONDS)
            for reader in (early, streams.subscribe("run")):
                chunks = await at_hand(reader)
                heard = Heard.of(chunks)

                assert isinstance(chunks[0], Gap)
                assert heard.gaps == 1
                assert 100_000 < len(heard.text) < 1_000_000
                assert heard.text.endswith(f"{99:9999} ")
                assert heard.position == Position("a", 1, 1_000_000, streams.origin)

    @on_a_loop
    async def test_a_reader_for_whom_too_much_waits_is_cut_off_and_may_come_again(self) -> None:
        async with self.opened(VirtualClock(), reader_bytes_max=1_000) as streams:
            slow = streams.subscribe("run")
            for number in range(3):
                streams.publish("run", f"a[{number}]", 1, "x" * 400)
                streams.finish("run", f"a[{number}]", 1, "completed")
            error = await _error(slow)
            again = streams.subscribe("run")
            streams.publish("run", "b", 1, "more")

            assert isinstance(error, ReaderTooSlow)
            assert "1200 bytes of 3 ended places" in error.message
            assert [chunk.place for chunk in await at_hand(again)] == ["b"]

    @on_a_loop
    async def test_a_reader_that_reads_along_is_not_cut_off_however_much_it_has_read(self) -> None:
        async with self.opened(VirtualClock(), reader_bytes_max=1_000) as streams:
            reader = streams.subscribe("run")
            for number in range(10):
                streams.publish("run", f"a[{number}]", 1, "x" * 400)
                streams.finish("run", f"a[{number}]", 1, "completed")

                assert Heard.of(await at_hand(reader)).status == "completed"

    # --- Ends ----------------------------------------------------------------------------------------------------

    @on_a_loop
    async def test_a_run_that_ends_ends_its_readers_after_all_is_read(self) -> None:
        async with self.opened(VirtualClock()) as streams:
            reader = streams.subscribe("run")
            streams.publish("run", "a", 1, "text")
            streams.publish("run", "a", 1, " that waits")
            streams.end("run", "cancelled")
            chunks = await at_hand(reader)

            assert Heard.of(chunks)[:4] == ("text that waits", 0, 0, "cancelled")
            assert await reader.next() is None

    @on_a_loop
    async def test_a_place_that_ends_without_a_word_is_told_to_have_ended(self) -> None:
        async with self.opened(VirtualClock()) as streams:
            reader = streams.subscribe("run")
            streams.finish("run", "a", 4, "completed")

            assert await at_hand(reader) == [Ended("a", 1, 0, "completed", 4, streams.origin)]

    @on_a_loop
    async def test_how_an_ended_text_was_is_remembered(self) -> None:
        async with self.opened(VirtualClock()) as streams:
            streams.publish("run", "a", 1, "one")
            streams.publish("run", "a", 2, "二")
            streams.finish("run", "a", 2, "completed")
            final = streams.final("run", "a")

            assert final is not None
            assert (final.attempt, final.epoch, final.length) == (2, 2, 3)
            assert final.digest == digest_of("二".encode())
            assert streams.final("run", "b") is None


def _without_waiting(reader: Subscription) -> Chunk | None:
    """Return what the reader has now, before the loop has turned."""
    taking = reader.next()
    try:
        taking.send(None)
    except StopIteration as done:
        return done.value
    taking.close()
    return None


async def _error(reader: Subscription) -> HeadgateError | None:
    try:
        await reader.next()
    except HeadgateError as error:
        return error
    return None
