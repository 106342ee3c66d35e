"""The ring and its spill: against a model of what they hold, and what they do when the disk does not take it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headgate.core.errors import Unavailable
from headgate.ports import Chunk, Ended, Gap, Position, Tokens
from headgate.stores import stream_spill, streams
from headgate.stores.stream_spill import StreamSpill
from headgate.stores.streams import RingStreams
from headgate.testing.clock import VirtualClock
from headgate.testing.log_conformance import on_a_loop
from headgate.testing.stream_conformance import Heard, at_hand


class ScratchTables:
    """A `Scratch` in memory. While `broken` nothing can be written; `held` makes writers wait."""

    def __init__(self) -> None:
        self.database = apsw.Connection(":memory:")
        self.broken = False
        self.held: asyncio.Event | None = None

    async def change(self, statement: str, *parameters: Any) -> int:
        if self.held is not None:
            await self.held.wait()
        if self.broken:
            raise Unavailable("The disk is full.")
        self.database.execute(statement, parameters)
        return self.database.changes()

    def read(self, statement: str, *parameters: Any) -> list[Any]:
        return list(self.database.execute(statement, parameters))

    def close(self) -> None:
        self.database.close()

    @property
    def offsets(self) -> list[int]:
        return [offset for (offset,) in self.read("select offset from streams order by id")]


async def written() -> None:
    """Let the spill write what waits."""
    for _ in range(20):
        await asyncio.sleep(0)


# --- Against a model -----------------------------------------------------------------------------------------------

PLACES = st.sampled_from(["a", "b"])
READERS = st.integers(0, 3)
STEPS = st.one_of(
    st.tuples(st.just("say"), PLACES, st.text("aé二🦉", min_size=1, max_size=12)),
    st.tuples(st.just("pass"), st.integers(0, 40_000)),
    st.tuples(st.just("restart"), PLACES),
    st.tuples(st.just("attempt"), PLACES),
    st.tuples(st.just("finish"), PLACES),
    st.tuples(st.just("join"), READERS),
    st.tuples(st.just("cut"), READERS),
    st.tuples(st.just("read"), READERS),
    st.tuples(st.just("write")),
)


class World:
    """Streams, readers that come, are cut off and come back, and what all of it should come to."""

    def __init__(self, text_bytes_max: int) -> None:
        self.clock = VirtualClock()
        spill = StreamSpill(ScratchTables(), text_bytes_max=text_bytes_max)
        self.streams = RingStreams(self.clock, spill, ring_bytes_max=9)
        self.epochs: dict[str, list[str]] = {"a": [""], "b": [""]}
        self.attempts = {"a": 1, "b": 1}
        self.ended: dict[str, bool] = {"a": False, "b": False}
        self.readers: dict[int, Any] = {}
        self.heard: dict[tuple[int, str], Heard] = {}
        self.gaps = 0

    async def step(self, name: str, *given: Any) -> None:
        match name:
            case "say" if not self.ended[given[0]]:
                place, text = given
                self.streams.publish("run", place, self.attempts[place], text)
                self.epochs[place][-1] += text
            case "pass":
                self.clock.advance(to=self.clock.now() + given[0])
                await written()
            case "restart" if not self.ended[given[0]]:
                self.streams.restart("run", given[0], self.attempts[given[0]])
                self._begin(given[0])
            case "attempt":
                self.attempts[given[0]] += 1
                self.ended[given[0]] = False
                self._begin(given[0])
            case "finish" if self.epochs[given[0]][-1]:
                self.streams.finish("run", given[0], self.attempts[given[0]], "completed")
                self.ended[given[0]] = True
            case "join" | "cut":
                self.join(given[0], comes_back=name == "cut")
            case "read" if given[0] in self.readers:
                for chunk in await at_hand(self.readers[given[0]]):
                    self.check(given[0], chunk)
            case "write":
                await written()
            case _:
                pass

    def _begin(self, place: str) -> None:
        if self.epochs[place][-1]:
            self.epochs[place].append("")

    def join(self, number: int, *, comes_back: bool) -> None:
        if number in self.readers:
            self.readers.pop(number).close()
        resume: list[Position] = []
        for place in ("a", "b"):
            heard = self.heard.pop((number, place), None)
            if comes_back and heard is not None and heard.position is not None:
                self.heard[number, place] = heard
                resume.append(heard.position)
        self.readers[number] = self.streams.subscribe("run", resume=resume)

    def check(self, number: int, chunk: Chunk) -> None:
        """See that a chunk follows what this reader has, and says what was said there."""
        name = (number, chunk.place)
        self.heard[name] = Heard.of([chunk], self.heard.get(name))
        said = self.epochs[chunk.place][chunk.epoch - 1].encode()
        if isinstance(chunk, Tokens):
            data = chunk.text.encode()
            assert said[chunk.offset : chunk.offset + len(data)] == data
        elif isinstance(chunk, Gap):
            self.gaps += 1
        elif isinstance(chunk, Ended):
            assert chunk.offset == len(said)
            del self.heard[name]

    async def end(self) -> None:
        self.clock.advance(seconds=1)
        await written()
        for number, reader in self.readers.items():
            await self.step("read", number)
            for place, epochs in self.epochs.items():
                heard = self.heard.get((number, place))
                if epochs[-1] and not self.ended[place]:
                    assert heard is not None, f"reader {number} was told nothing of {place}"
                    assert heard.position == Position(place, len(epochs), len(epochs[-1].encode()), self.streams.origin)
                    assert heard.gaps or heard.text == epochs[-1]
            reader.close()
        await self.streams.close()


@given(st.lists(STEPS, max_size=80), st.sampled_from([30, 1_000_000]))
@example([("join", 0), ("say", "a", "二🦉"), ("read", 0), ("say", "a", "x"), ("cut", 0), ("finish", "a")], 30)
def test_whatever_happens_a_reader_is_told_what_was_said_where_it_was_said_or_that_it_is_gone(
    steps: list[tuple[Any, ...]], text_bytes_max: int
):
    async def play() -> None:
        world = World(text_bytes_max)
        for step in steps:
            await world.step(*step)
        await world.end()
        assert text_bytes_max == 30 or not world.gaps

    asyncio.run(play())


# --- The spill -----------------------------------------------------------------------------------------------------


@on_a_loop
async def test_blocks_are_written_together_and_read_before_and_after():
    tables = ScratchTables()
    spill = StreamSpill(tables)
    for number in range(5):
        spill.keep("run", "a", 1, number * 3, b"abc")

    before = spill.find("run", "a", 1, 4)
    await written()

    assert before == spill.find("run", "a", 1, 4) == (4, b"bc")
    assert tables.offsets == [0, 3, 6, 9, 12]
    assert spill.find("run", "a", 1, 15) is None
    assert spill.find("run", "a", 2, 0) is None


@on_a_loop
async def test_the_oldest_of_a_text_and_of_all_go_when_there_are_too_many_and_no_row_is_left_of_them():
    tables = ScratchTables()
    spill = StreamSpill(tables, text_bytes_max=9, total_bytes_max=12)
    for number in range(5):
        spill.keep("run", "a", 1, number * 3, b"abc")
        await written()
    assert tables.offsets == [6, 9, 12]
    assert spill.find("run", "a", 1, 0) == (6, b"abc")

    for number in range(3):
        spill.keep("run", "b", 1, number * 3, b"xyz")
    await written()

    assert tables.offsets == [12, 0, 3, 6]
    spill.drop("run", "b", 1)
    spill.drop("run", "a", 1)
    await written()
    assert tables.offsets == []
    assert (spill._bytes, spill._texts, spill._sizes) == (0, {}, {})


@on_a_loop
async def test_of_a_text_that_ends_while_it_is_written_no_row_is_left():
    tables = ScratchTables()
    tables.held = asyncio.Event()
    spill = StreamSpill(tables)
    spill.keep("run", "a", 1, 0, b"abc")
    await written()

    spill.drop("run", "a", 1)
    tables.held.set()
    await written()

    assert tables.offsets == []


@on_a_loop
async def test_what_cannot_be_written_is_told_as_a_gap_and_what_comes_later_is_kept(caplog: pytest.LogCaptureFixture):
    tables, clock = ScratchTables(), VirtualClock()
    ring = RingStreams(clock, StreamSpill(tables), ring_bytes_max=4)
    tables.broken = True
    ring.publish("run", "a", 1, "lost text")
    await written()
    tables.broken = False
    ring.publish("run", "a", 1, " and kept")
    await written()
    clock.advance(seconds=1)
    await written()

    assert await at_hand(ring.subscribe("run")) == [
        Gap("a", 1, 0, 9, 1, ring.origin),
        Tokens("a", 1, 9, " and kept", 1, ring.origin),
    ]
    assert "parts of streams were not kept: The disk is full." in caplog.text
    await ring.close()


@on_a_loop
async def test_no_token_waits_for_the_disk_and_what_waits_for_it_has_a_maximum(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stream_spill, "WAITING_BYTES_MAX", 10)
    tables, clock = ScratchTables(), VirtualClock()
    tables.held = asyncio.Event()
    ring = RingStreams(clock, StreamSpill(tables), ring_bytes_max=1)
    reader = ring.subscribe("run")
    heard = None
    for _ in range(8):
        ring.publish("run", "a", 1, "four")
        clock.advance(seconds=0.025)
        heard = Heard.of(await at_hand(reader), heard)
    late = Heard.of(await at_hand(ring.subscribe("run")))
    tables.held.set()
    await written()

    assert heard is not None
    assert heard.position == Position("a", 1, 32, ring.origin)
    assert late.gaps == 1
    await ring.close()


@on_a_loop
async def test_nothing_of_a_spill_is_under_any_name_and_it_begins_anew_after_it_was_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path))
    spill = StreamSpill()
    spill.keep("run", "a", 1, 0, b"abc" * stream_spill.BLOCK_BYTES * 40)
    await written()

    found = spill.find("run", "a", 1, 6)
    names = [*tmp_path.glob("*")]  # noqa: ASYNC240 - a folder of our own, and empty
    await spill.close()

    assert found is not None
    assert found[1][:3] == b"abc"
    assert names == []


# --- The ring ------------------------------------------------------------------------------------------------------


@on_a_loop
async def test_when_all_rings_together_are_full_the_quiet_ones_are_emptied_first():
    tables, clock = ScratchTables(), VirtualClock()
    ring = RingStreams(clock, StreamSpill(tables), ring_bytes_max=100, rings_bytes_max=100)
    for place in ("quiet", "busy"):
        clock.advance(seconds=1)
        ring.publish("run", place, 1, "x" * 60)
    await written()

    assert tables.read("select place from streams") == [("quiet",)]
    assert ring._bytes == 60
    assert {Heard.of([chunk]).text for chunk in await at_hand(ring.subscribe("run"))} == {"x" * 60}
    await ring.close()


@on_a_loop
async def test_of_places_beyond_the_maximum_nothing_is_streamed_but_that_they_have_ended(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(streams, "PLACES_MAX", 1)
    ring = RingStreams(VirtualClock())
    reader = ring.subscribe("run")
    for place in ("a", "b"):
        ring.publish("run", place, 1, "x")
        ring.finish("run", "b", 1, "completed")

    assert [chunk for chunk in await at_hand(reader) if chunk.place == "b"] == [
        Ended("b", 1, 0, "completed", 1, ring.origin)
    ]


@on_a_loop
async def test_an_ended_place_that_was_forgotten_gets_no_epoch_twice(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(streams, "ENDED_MAX", 1)
    ring = RingStreams(VirtualClock())
    for attempt in (1, 2):
        ring.publish("run", "a", attempt, "one")
    ring.finish("run", "a", 2, "failed")
    ring.publish("run", "b", 1, "other")
    ring.finish("run", "b", 1, "failed")
    ring.publish("run", "a", 3, "three")

    (chunk,) = await at_hand(ring.subscribe("run"))

    assert (chunk.place, chunk.epoch) == ("a", 3)


@on_a_loop
async def test_what_was_shown_meanwhile_is_not_what_the_flusher_came_for():
    clock = VirtualClock()
    ring = RingStreams(clock)
    reader = ring.subscribe("run")
    for after, text in ((0, "a"), (5_000, "b"), (25_000, "c"), (1_000, "d")):
        clock.advance(to=clock.now() + after)
        ring.publish("run", "p", 1, text)

    assert Heard.of(await at_hand(reader)).text == "abc"
    clock.advance(seconds=0.024)
    await written()
    heard = await at_hand(reader)
    assert [chunk.text for chunk in heard if isinstance(chunk, Tokens)] == ["d"]
    await ring.close()


@on_a_loop
async def test_half_of_a_character_that_no_text_can_hold_is_replaced():
    ring = RingStreams(VirtualClock())
    ring.publish("run", "a", 1, "x\ud83d")

    assert [chunk.text for chunk in await at_hand(ring.subscribe("run")) if isinstance(chunk, Tokens)] == ["x?"]
