"""Reports that come together go in few requests, and each caller is answered as if it had asked alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from headgate.client.gathered_reports import CROWD, GATHERED_MAX, REQUESTS_MAX, GatheredReports
from headgate.client.http_line import ServerAway
from headgate.core.errors import Invalid
from headgate.ports import Acknowledged, Completed, Report


class Server:
    """Answers when it is let; refuses what is named `wrong`."""

    def __init__(self) -> None:
        self.requests: list[list[str]] = []
        self.let = asyncio.Event()
        self.away = False

    async def take(self, reports: Sequence[Report]) -> list[Acknowledged]:
        names = [report.activity_id for report in reports]
        self.requests.append(names)
        let = self.let
        await let.wait()
        if self.away:
            raise ServerAway("nobody there")
        if "wrong" in names:
            raise Invalid("wrong is no id")
        return [Acknowledged(name) for name in names]


def report_of(name: str) -> Report:
    return Completed(name, None)


def play(scene) -> None:
    async def whole() -> None:
        server = Server()
        async with asyncio.timeout(10):
            await scene(server, GatheredReports(server.take))

    asyncio.run(whole())


def asked(gathered: GatheredReports, *names: str) -> asyncio.Task[list[Acknowledged]]:
    return asyncio.ensure_future(gathered.report([report_of(name) for name in names]))


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_what_comes_while_requests_are_under_way_goes_together_in_the_next():
    async def scene(server: Server, gathered: GatheredReports) -> None:
        first = []
        for number in range(REQUESTS_MAX):
            first.append(asked(gathered, f"first{number}"))
            await turns()
        more = [asked(gathered, f"more{number}", f"too{number}") for number in range(20)]
        await turns()
        assert server.requests == [[f"first{number}"] for number in range(REQUESTS_MAX)]
        server.let.set()
        answers = await asyncio.gather(*first, *more)
        assert len(server.requests) == REQUESTS_MAX + 1
        told = [[one.activity_id for one in answer] for answer in answers[REQUESTS_MAX:]]
        assert told == [[f"more{number}", f"too{number}"] for number in range(20)]

    play(scene)


def test_where_many_are_under_way_two_requests_are_enough():
    async def scene(server: Server, gathered: GatheredReports) -> None:
        crowd = [f"crowd{number}" for number in range(CROWD)]
        under_way = []
        for names in (crowd, ["second"], ["third"], ["fourth"]):
            under_way.append(asked(gathered, *names))
            await turns()
        assert server.requests == [crowd, ["second"]]

        server.let.set()
        await asyncio.gather(*under_way)
        assert server.requests == [crowd, ["second"], ["third", "fourth"]]

        server.let.clear()
        few = []
        for name in ("a", "b", "c"):
            few.append(asked(gathered, name))
            await turns()
        assert server.requests[3:] == [["a"], ["b"], ["c"]], "the crowd is over"
        server.let.set()
        await asyncio.gather(*few)

    play(scene)


def test_requests_for_few_become_fewer_when_many_come():
    async def scene(server: Server, gathered: GatheredReports) -> None:
        first, under_way = server.let, [asked(gathered, "a")]
        await turns()
        server.let = asyncio.Event()
        for names in (["b"], ["c"], ["d"], [f"crowd{number}" for number in range(CROWD)], ["e"], ["f"]):
            under_way.append(asked(gathered, *names))
            await turns()
        assert len(server.requests) == 5

        first.set()
        await under_way[0]
        await turns()
        assert len(server.requests) == 5, "what waits does so for one of those that are under way"
        server.let.set()
        await asyncio.gather(*under_way)
        assert server.requests[5:] == [["e", "f"]]

    play(scene)


def test_one_that_is_wrong_is_refused_alone():
    async def scene(server: Server, gathered: GatheredReports) -> None:
        server.let.set()
        good, wrong, other = asked(gathered, "good"), asked(gathered, "wrong"), asked(gathered, "other")
        assert [(await one)[0].activity_id for one in (good, other)] == ["good", "other"]
        with pytest.raises(Invalid, match="wrong is no id"):
            await wrong

    play(scene)


def test_a_server_that_is_away_is_told_to_all_and_asked_once():
    async def scene(server: Server, gathered: GatheredReports) -> None:
        server.away = True
        server.let.set()
        for one in [asked(gathered, "a"), asked(gathered, "b")]:
            with pytest.raises(ServerAway):
                await one
        assert server.requests == [["a", "b"]]

    play(scene)


def test_no_request_is_larger_than_the_server_takes():
    async def scene(server: Server, gathered: GatheredReports) -> None:
        server.let.set()
        many = [asked(gathered, *(f"{number}-{one}" for one in range(100))) for number in range(12)]
        await asyncio.gather(*many)
        assert max(map(len, server.requests)) <= GATHERED_MAX
        assert sum(map(len, server.requests)) == 1_200

    play(scene)


def test_nobody_is_forgotten_who_comes_as_the_last_requests_are_answered():
    async def scene(server: Server, gathered: GatheredReports) -> None:
        async def twice() -> None:
            await gathered.report([report_of("first")])
            await gathered.report([report_of("again")])

        first = asyncio.ensure_future(twice())
        await turns()
        others = []
        for number in range(1, REQUESTS_MAX):
            others.append(asked(gathered, str(number)))
            await turns()
        assert len(server.requests) == REQUESTS_MAX
        server.let.set()  # all are answered in one turn of the loop, and only one of them has more to report
        await asyncio.gather(first, *others)

    play(scene)
