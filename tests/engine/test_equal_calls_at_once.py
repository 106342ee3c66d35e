"""Equal model calls at the same time: one is made, the others wait for it."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from tests.engine.call_cache_lab import PRICE, reused

from headgate.core import gate_events as g
from headgate.core.values import Candidate, Usage
from headgate.engine.call_cache import SAME_CALL_SECONDS_MAX
from headgate.ports import CallRequest, Completed, Denied, Hit, Kept, Settlement
from headgate.stores.cache import MemoryCache

REQUEST = CallRequest("h", (Candidate("lab/m", 100, PRICE),), reuse=("asked",))
TWO = """
name: two
activities:
  one: {use: llm_prompt, with: {model: demo/large, prompt: x}, cache: true}
  two: {use: llm_prompt, with: {model: demo/large, prompt: x}, cache: true}
"""


def at_once(play: Any, scene: Any, cache: Any = None, limit: int | None = None) -> None:
    """Play a scene with the claims of two activities, which no worker works on."""

    async def whole(bench: Any) -> None:
        run_id = await bench.start(TWO, limit=limit)
        protocol = bench.app.protocol
        tasks = await protocol.poll(["std"], worker_id="t", count=2, wait_seconds=5)
        await scene(bench, run_id, [task.activity_id for task in tasks])

    play(whole, work=False, cache=cache)


def test_an_equal_call_waits_for_the_first_and_takes_its_answer(play: Any):
    async def scene(bench: Any, run_id: str, claims: list[str]) -> None:
        protocol = bench.app.protocol
        await protocol.admit(claims[0], call_id="c1", request=REQUEST)
        second = asyncio.ensure_future(protocol.admit(claims[1], call_id="c2", request=REQUEST))
        await bench.until(lambda: bench.app.gate.calls._waiting)
        assert not second.done()

        await protocol.settle(
            claims[0], call_id="c1", settlement=Settlement.used(Usage(cost_nano=9), answers=(Kept({"a": 1}),))
        )

        assert await second == Hit("lab/m", ({"a": 1},))
        assert [hit.saved for hit in await reused(bench, run_id)] == [9]

    at_once(play, scene)


@pytest.mark.parametrize("outcome", ["never_sent", "lost"])
def test_when_the_first_call_comes_to_nothing_the_one_that_waited_is_made(play: Any, outcome: Any):
    async def scene(bench: Any, run_id: str, claims: list[str]) -> None:
        protocol = bench.app.protocol
        await protocol.admit(claims[0], call_id="c1", request=REQUEST)
        second = asyncio.ensure_future(protocol.admit(claims[1], call_id="c2", request=REQUEST))
        await bench.until(lambda: bench.app.gate.calls._waiting)

        await protocol.settle(claims[0], call_id="c1", settlement=Settlement(outcome))

        assert (await second).model == "lab/m"
        assert await reused(bench, run_id) == []

    at_once(play, scene)


def test_a_call_waits_for_an_equal_one_only_so_long(play: Any):
    async def scene(bench: Any, run_id: str, claims: list[str]) -> None:
        protocol = bench.app.protocol
        await protocol.admit(claims[0], call_id="c1", request=REQUEST)
        second = asyncio.ensure_future(protocol.admit(claims[1], call_id="c2", request=REQUEST))
        await bench.until(lambda: bench.app.gate.calls._waiting)

        bench.clock.advance(seconds=SAME_CALL_SECONDS_MAX)

        assert (await second).model == "lab/m"

    at_once(play, scene)


def test_whoever_waits_for_a_call_whose_attempt_ends_without_settling_it_asks_by_itself(play: Any):
    async def scene(bench: Any, run_id: str, claims: list[str]) -> None:
        protocol = bench.app.protocol
        await protocol.admit(claims[0], call_id="c1", request=REQUEST)
        second = asyncio.ensure_future(protocol.admit(claims[1], call_id="c2", request=REQUEST))
        await bench.until(lambda: bench.app.gate.calls._waiting)

        await protocol.report([Completed(claims[0], "done")], worker_id="t")

        assert (await second).model == "lab/m"
        assert not bench.app.gate.calls._open.keys() - {(run_id, "c2")}

    at_once(play, scene)


def test_an_admission_that_is_asked_for_again_is_answered_as_before_or_refused_where_the_answer_is_gone(play: Any):
    cache = MemoryCache()

    async def scene(bench: Any, run_id: str, claims: list[str]) -> None:
        protocol = bench.app.protocol
        await protocol.admit(claims[0], call_id="c1", request=REQUEST)
        await protocol.settle(
            claims[0], call_id="c1", settlement=Settlement.used(Usage(cost_nano=9), answers=(Kept(1),))
        )

        asked = [await protocol.admit(claims[1], call_id="c2", request=REQUEST) for _ in range(2)]
        cache._kept.clear()
        gone = await protocol.admit(claims[1], call_id="c2", request=REQUEST)
        made = await protocol.admit(claims[0], call_id="c1", request=REQUEST)

        assert asked == [Hit("lab/m", (1,))] * 2
        assert isinstance(gone, Denied)
        assert gone.error.retryable
        assert made.reservation == 100
        assert len(await reused(bench, run_id)) == 1

    at_once(play, scene, cache)


@pytest.mark.parametrize(
    "answers",
    [(), (Kept(1), Kept(2)), (Kept(1, share=0),), (Kept(float("nan")),)],
    ids=["none", "too many", "no share", "no JSON"],
)
def test_answers_that_cannot_be_kept_are_not_and_the_call_is_settled_all_the_same(play: Any, answers: Any):
    cache = MemoryCache()

    async def scene(bench: Any, run_id: str, claims: list[str]) -> None:
        protocol = bench.app.protocol
        await protocol.admit(claims[0], call_id="c1", request=REQUEST)
        await protocol.settle(claims[0], call_id="c1", settlement=Settlement.used(Usage(cost_nano=9), answers=answers))

        assert any(isinstance(event, g.CallSettled) for event in await bench.events(run_id))
        assert not cache._kept

    at_once(play, scene, cache)


def test_an_answer_of_a_model_that_the_budget_fell_back_to_is_that_models(play: Any):
    first, second = Candidate("lab/m", 100, PRICE), Candidate("lab/n", 10, PRICE)

    async def scene(bench: Any, run_id: str, claims: list[str]) -> None:
        protocol = bench.app.protocol
        both = msgspec.structs.replace(REQUEST, candidates=(first, second))
        admitted = await protocol.admit(claims[0], call_id="c1", request=both)
        assert (admitted.model, admitted.skipped) == ("lab/n", ("lab/m",))
        assert not bench.app.gate.calls._being_made  # whoever wants an answer of the first model waits for none
        await protocol.settle(
            claims[0], call_id="c1", settlement=Settlement.used(Usage(cost_nano=9), answers=(Kept(1),))
        )

        alone = msgspec.structs.replace(REQUEST, candidates=(second,))
        assert await protocol.admit(claims[1], call_id="c2", request=alone) == Hit("lab/n", (1,))
        assert isinstance(await protocol.admit(claims[1], call_id="c3", request=REQUEST), Denied)

    at_once(play, scene, limit=50)


def test_a_call_that_was_not_used_is_not_kept_whatever_comes_with_its_settlement(play: Any):
    cache = MemoryCache()

    async def scene(bench: Any, run_id: str, claims: list[str]) -> None:
        protocol = bench.app.protocol
        await protocol.admit(claims[0], call_id="c1", request=REQUEST)
        await protocol.settle(claims[0], call_id="c1", settlement=Settlement("never_sent", answers=(Kept(1),)))
        assert not cache._kept

    at_once(play, scene, cache)
