"""Texts that workers tell where pieces get lost or come again: what is shown is a beginning of the text."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.client import http_worker, stream_pieces
from headgate.client.http_worker import HttpProtocol
from headgate.engine import told_texts
from headgate.engine.told_texts import ToldTexts
from headgate.ports import Acknowledged, Completed


class Told:
    """Takes what an HTTP worker sends, as the engine does, so often as a test says; 0: it is lost."""

    def __init__(self, times: list[int]) -> None:
        self.shown = ""
        self.bodies: list[dict[str, Any]] = []
        self.take = asyncio.Event()
        self.take.set()
        self._times = times
        self._texts = ToldTexts()

    async def post(self, path: str, body: Any, answer: Any, **_: Any) -> Any:
        if path == "/workers/reports":
            return [Acknowledged(report.activity_id) for report in body["reports"]]
        await self.take.wait()
        self.bodies.append(body)
        for _ in range(self._times.pop(0) if self._times else 1):
            if path.endswith("restart"):
                self.shown = "" if self._texts.restart("claim", body["offset"]) else self.shown
            else:
                new = self._texts.add("claim", body["token"], body["offset"])
                self.shown = "" if new is None else self.shown + new
        return answer

    async def close(self) -> None:
        """There is nothing to close."""


async def quiet(protocol: HttpProtocol) -> None:
    """Return when all that was streamed is sent."""
    protocol._pieces.flush()
    await asyncio.gather(*protocol._sending)


@given(
    st.lists(st.sampled_from(["zwölf ", "🦉", "owls\n", None]), max_size=12), st.lists(st.integers(0, 2), max_size=12)
)
def test_whatever_is_lost_or_comes_again_what_is_shown_is_a_beginning_of_the_text(
    said: list[str | None], times: list[int]
):
    async def story() -> None:
        lost = [time == 0 for time in times] + [False] * len(said)
        told, text, whole = Told(list(times)), "", True
        protocol = HttpProtocol(told, activities=["say"])
        for number, piece in enumerate(said):
            if piece is None:
                protocol.restart_stream("claim")
                text, whole = "", not lost[number]
            else:
                protocol.stream("claim", piece)
                text, whole = text + piece, whole and not lost[number]
            await quiet(protocol)

            assert told.shown == text or not whole
            assert text.startswith(told.shown) or lost[number]

        await protocol.close()

    asyncio.run(story())


def test_what_a_crowded_worker_drops_is_missing_where_it_goes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http_worker, "STREAMS_MAX", 1)

    async def story() -> None:
        told = Told([])
        protocol = HttpProtocol(told, activities=["say"])
        protocol.stream("claim", "one ")
        protocol._pieces.flush()
        told.take.clear()
        await asyncio.sleep(0)
        protocol.stream("claim", "zwölf ")
        told.take.set()
        await quiet(protocol)
        protocol.stream("claim", "three")
        await quiet(protocol)

        assert told.bodies == [{"token": "one ", "offset": 0}, {"token": "three", "offset": 11}]
        assert told.shown == ""
        await protocol.close()

    asyncio.run(story())


def test_of_claims_beyond_the_maximum_something_is_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(told_texts, "CLAIMS_MAX", 1)
    texts = ToldTexts()
    texts.add("one", "a", 0)
    texts.add("two", "b", 0)

    assert texts.add("one", "a", 1) is None
    assert texts.add("two", "b", 1) == "b"


def test_of_a_claim_that_was_reported_nothing_is_remembered(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stream_pieces, "CLAIMS_MAX", 2)

    async def story() -> None:
        protocol = HttpProtocol(Told([]), activities=["say"])
        for claim in ("one", "two", "three"):
            protocol.stream(claim, "a")
            await quiet(protocol)
        assert list(protocol._pieces._sent) == ["two", "three"]

        await protocol.report([Completed("two", 1)], worker_id="w")

        assert list(protocol._pieces._sent) == ["three"]
        await protocol.close()

    asyncio.run(story())
