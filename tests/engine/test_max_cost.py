"""`max_cost`: the most that each single call of an activity may cost, as its parameters say it."""

from __future__ import annotations

from typing import Any

import pytest

from headgate.core import gate_events as g
from headgate.llm.scripted import ScriptedProvider

SCRIPT = b"models: {a: [{text: one}, {text: two}]}\nprices: {dear: {output: 1000}, cheap: {output: 1}}"
EMBEDDING = (
    "name: t\nactivities:\n  a: {use: embedding, retry: 1, "
    'with: {model: scripted/dear, input: hello, max_cost: "{{ INPUT.c }}"}}'
)


def flow(cost: str, models: str = "scripted/dear", *, more: str = "max_tokens: 20") -> str:
    """`scripted/dear` with 20 tokens costs $0.02 at most."""
    return (
        "name: t\nactivities:\n  a: {use: llm_prompt, retry: 1, "
        f"with: {{model: {models}, prompt: hello, {more}, max_cost: {cost}}}}}"
    )


async def ended(bench: Any, text: str) -> tuple[str, str]:
    row = await bench.finished(await bench.start(text))
    return row.head.status, row.head.error


@pytest.mark.parametrize("cost", ["0.02", "'0.02'", "1"])
def test_a_call_that_can_cost_no_more_is_made(play: Any, cost: str):
    async def scene(bench: Any) -> None:
        assert (await ended(bench, flow(cost)))[0] == "completed"

    play(scene, scripted=ScriptedProvider.from_file(SCRIPT))


def test_a_call_that_could_cost_more_goes_to_the_next_model_or_is_not_made(play: Any):
    async def scene(bench: Any) -> None:
        refused = await ended(bench, flow("0.019"))
        run_id = await bench.start(flow("0.019", "[scripted/dear, scripted/cheap]"))
        row = await bench.finished(run_id)

        assert refused[0] == "failed"
        assert "the call's max_cost has $0.019 left of $0.019" in refused[1]
        assert row.head.status == "completed"
        (skipped,) = [event for event in await bench.events(run_id) if isinstance(event, g.ModelSkipped)]
        assert skipped.model == "scripted/dear"

    play(scene, scripted=ScriptedProvider.from_file(SCRIPT))


def test_without_max_tokens_the_worst_case_is_bounded_as_under_a_budget(play: Any):
    async def scene(bench: Any) -> None:
        refused = await ended(bench, flow("1", more="seed: 1"))

        assert refused[0] == "failed"
        assert "scripted/dear would cost up to $1.02" in refused[1]

    play(scene, scripted=ScriptedProvider.from_file(SCRIPT))


@pytest.mark.parametrize("use", ["llm_prompt", "embedding"])
@pytest.mark.parametrize("cost", ["much", "-1", "true", "[1]", "nan"])
def test_what_is_no_amount_of_dollars_fails_the_attempt(play: Any, use: str, cost: str):
    text = flow('"{{ INPUT.c }}"') if use == "llm_prompt" else EMBEDDING

    async def scene(bench: Any) -> None:
        row = await bench.finished(await bench.start(text, {"c": {"true": True, "[1]": [1]}.get(cost, cost)}))

        assert row.head.status == "failed"
        assert f"{use}: expected max_cost to be US dollars such as 0.02" in row.head.error

    play(scene, scripted=ScriptedProvider.from_file(SCRIPT))
