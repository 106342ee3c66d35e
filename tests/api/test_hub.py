"""The hub: what is said once reaches every member once, whenever it came and however far it had read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from headgate.api import hub as hub_module
from headgate.api.http.event_sockets import _tell
from headgate.api.http.texts import _join, _TextTopic
from headgate.api.hub import Hub, Topic
from headgate.ports import Tokens


class Listener:
    """A member that remembers; it has an open socket's words, too."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.closed: tuple[int, str] | None = None
        self.ends: list[Callable[[], None]] = []

    def send(self, data: bytes) -> None:
        self.heard.append(data)

    def close(self, code: int, reason: str = "") -> None:
        self.closed = (code, reason)
        for end in self.ends:
            end()

    async def drained(self) -> None:
        await asyncio.sleep(0)

    def at_end(self, call: Callable[[], None]) -> None:
        self.ends.append(call)


def on_a_loop(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(test())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


async def for_ever(topic: Topic) -> None:
    await asyncio.Event().wait()


@on_a_loop
async def test_a_member_that_has_read_further_than_the_topic_hears_nothing_twice():
    hub, topic, behind, ahead, far = Hub(), Topic(5), Listener(), Listener(), Listener()
    hub.begin("t", topic, for_ever)
    for member, known in ((behind, 5), (ahead, 7), (far, 8)):
        hub.join("t", member, known)

    await topic.tell([(6, b"6"), (7, b"7"), (8, b"8")], 8)

    assert (behind.heard, ahead.heard, far.heard) == ([b"678"], [b"8"], [])


def numbered(*numbers: int) -> list[tuple[int, bytes]]:
    return [(number, b"%d" % number) for number in numbers]


class Script:
    """A source whose log is longer than its first page, and whose pump begins while that is read and gets so far."""

    key = "scripted"

    def __init__(self, hub: Hub, *, first_page: int, pumped: int) -> None:
        self._hub = hub
        self._first_page = first_page
        self._pumped = pumped
        self.asked: list[int] = []

    async def position_of(self, event: str) -> int:
        return 0

    async def page(self, after: int) -> Any:
        self.asked.append(after)
        if after == 0:
            topic = Topic(0)
            self._hub.begin(self.key, topic, for_ever)
            await topic.tell(numbered(*range(1, self._pumped + 1)), self._pumped)
        last = self._first_page if after == 0 else 3
        return last, numbered(*range(after + 1, last + 1))

    async def pump(self, topic: Topic) -> None:
        raise AssertionError("there is a topic already")


@on_a_loop
async def test_a_member_that_is_behind_the_topic_reads_on_before_it_joins():
    hub, listener = Hub(), Listener()
    source = Script(hub, first_page=2, pumped=3)

    await _tell(hub, source, 0, listener)
    topic = hub.find(source.key)
    assert topic is not None
    await topic.tell(numbered(4), 4)

    assert listener.heard == [b"1", b"2", b"3", b"4"]
    assert source.asked == [0, 2]


@on_a_loop
async def test_a_member_that_is_ahead_of_the_topic_joins_where_it_is():
    hub, listener = Hub(), Listener()
    source = Script(hub, first_page=3, pumped=2)

    await _tell(hub, source, 0, listener)
    topic = hub.find(source.key)
    assert topic is not None
    await topic.tell(numbered(3, 4), 4)

    assert listener.heard == [b"1", b"2", b"3", b"4"]
    assert source.asked == [0]


@on_a_loop
async def test_a_topic_ends_with_its_last_member_and_its_pump_with_it():
    hub, one, other = Hub(), Listener(), Listener()
    ended: list[str] = []
    hub.begin("t", Topic(close=lambda: ended.append("closed")), for_ever)
    pump = hub._pumps["t"]
    hub.join("t", one)
    hub.join("t", other)

    hub.leave("t", one)
    hub.leave("t", one)
    assert (hub.find("t") is not None, ended) == (True, [])
    hub.leave("t", other)
    await asyncio.gather(pump, return_exceptions=True)

    assert (hub.find("t"), ended, pump.cancelled()) == (None, ["closed"], True)


@on_a_loop
async def test_when_a_pump_ends_or_fails_its_members_are_told_and_may_leave():
    for pump, code in ((lambda topic: asyncio.sleep(0), 1000), (lambda topic: asyncio.to_thread(lambda: 1 / 0), 1011)):
        hub, listener = Hub(), Listener()
        hub.begin("t", Topic(), pump)
        task = hub._pumps["t"]
        hub.join("t", listener)
        listener.at_end(lambda: hub.leave("t", listener))  # noqa: B023 - it leaves within this turn

        await task

        assert listener.closed is not None
        assert listener.closed[0] == code
        assert hub.find("t") is None


def test_while_many_are_told_others_have_the_loop(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub_module, "TOLD_TOGETHER", 10)
    turns: list[int] = []

    async def whole() -> None:
        topic, listeners = Topic(), [Listener() for _ in range(100)]
        for listener in listeners:
            topic.members[listener] = 0

        async def other() -> None:
            while True:
                turns.append(sum(bool(listener.heard) for listener in listeners))
                await asyncio.sleep(0)

        work = asyncio.create_task(other())
        await topic.tell([(1, b"x")], 1)
        work.cancel()

    asyncio.run(whole())
    assert turns[:10] == [*range(10, 101, 10)]


# --- Texts ---------------------------------------------------------------------------------------------------------


class Reading:
    """A reading of a text that several read: `said` is what there is, `at` how far this one is."""

    def __init__(self, said: list[str], at: int) -> None:
        self._said = said
        self._at = at
        self.over = False
        self.wake = asyncio.Event()

    def close(self) -> None:
        """There is nothing to close."""

    async def ready(self) -> AsyncIterator[Tokens]:
        while self._at < len(self._said):
            self._at += 1
            yield Tokens("say", 1, self._at - 1, self._said[self._at - 1])


@on_a_loop
async def test_a_reader_joins_a_text_only_where_everybody_is_at_the_same_place():
    hub, said = Hub(), ["a", "b", "c"]
    earlier, later = Listener(), Listener()
    topic = _TextTopic(Reading(said, 1))
    hub.begin("t", topic, for_ever)
    hub.join("t", earlier)

    kept = await _join(hub, "t", Reading(said, 2), later, for_ever)
    said.append("d")
    await topic.say()

    assert (kept, texts_of(earlier), texts_of(later)) == (False, ["b", "c", "d"], ["c", "d"])


def texts_of(listener: Listener) -> list[str]:
    return [msgspec.json.decode(frame[frame.index(b"{") :])["text"] for frame in listener.heard]
