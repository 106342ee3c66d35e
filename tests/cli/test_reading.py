"""A person's reading of a run goes on where it was, whoever tells it."""

import asyncio

import pytest

from headgate.cli.follow import Reading
from headgate.client.frames import OwnerGone
from headgate.ports import Ended, Position, ReaderTooSlow, Restarted, Tokens


class Source:
    """Tells what it was given, then fails or ends; notes from where it was asked to."""

    def __init__(self, *told, error=None):
        self.told = told
        self.error = error
        self.resumed = []

    async def watch(self, run, *, tokens, place, resume):
        self.resumed.append(list(resume))
        for chunk in self.told:
            yield chunk
        error, self.error = self.error, None
        if error is not None:
            raise error


async def read(reading, source):
    return [update async for update in reading.updates(source)]


def test_after_the_owner_has_gone_only_what_is_new_is_told():
    reading = Reading("run")
    first = Source(
        Tokens("a", 1, 0, "one", 1, "x"),
        Ended("a", 1, 3, "completed", 1, "x"),
        Tokens("b", 1, 0, "é", 1, "x"),
        error=OwnerGone("It has ended."),
    )
    second = Source(Tokens("a", 1, 0, "one", 1, "result"), Restarted("b", 1, 2, "y"), Tokens("b", 1, 0, "two", 2, "y"))

    with pytest.raises(OwnerGone):
        asyncio.run(read(reading, first))
    told = asyncio.run(read(reading, second))

    assert second.resumed == [[Position("b", 1, 2, "x")]]
    assert told == list(second.told[1:])


def test_a_reader_that_was_cut_off_comes_back_by_itself():
    source = Source(Tokens("a", 1, 0, "one", 1, "x"), error=ReaderTooSlow("Too much waits."))

    asyncio.run(read(Reading("run"), source))

    assert source.resumed == [[], [Position("a", 1, 3, "x")]]
