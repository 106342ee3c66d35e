"""The policy `rate_limit`: a definition holds its own calls to a rate, and nobody else's."""

from __future__ import annotations

from typing import Any

import pytest
from tests.engine.gate_lab import SECOND, Lab, asking, most_in_a_minute

from headgate.authoring import load_definition
from headgate.core import gate_events as g
from headgate.core.values import Usage
from headgate.engine import limits, lines, model_choice
from headgate.ports import RateLimit

FAN = """
name: NAME
policies: [{use: rate_limit, RATE}]
activities:
  a:
    use: llm_prompt
    for_each: "{{INPUT.items}}"
    with: {model: lab/m, prompt: "{{ITEM}}", max_tokens: 50}
"""


def fan(rate: str, name: str = "held") -> str:
    return FAN.replace("RATE", rate).replace("NAME", name)


def held(rate: str, model: str = "lab/m") -> str:
    return f"policies: [{{use: rate_limit, {rate}}}]\n{asking(model)}"


def test_all_runs_of_a_workflow_keep_its_rate_together_and_no_other_workflow_does(gated):
    async def scene(bench: Any, lab: Lab) -> None:
        runs = [await bench.start(fan("requests: 20"), {"items": list(range(25))}) for _ in range(2)]
        await bench.rest()
        free = await bench.start(asking())
        assert (await bench.finished(free)).head.status == "completed"

        await bench.live_until_done(*runs)

        times = [at for at, _, prompt in lab.asked if prompt != "x"]
        assert len(times) == 50
        assert most_in_a_minute(times) <= 20
        assert times[-1] - times[0] < 160 * SECOND  # and no slower than it must be
        assert {(await bench.log.run(run)).head.status for run in runs} == {"completed"}

    gated(scene)


def test_a_call_waits_for_the_rate_however_long_says_so_and_holds_no_money(gated, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lines, "WAIT_SECONDS_MAX", 90)

    async def scene(bench: Any, lab: Lab) -> None:
        definition = f"budget: 1\npolicies: [{{use: rate_limit, requests: 1, per: 10m}}]\n{asking(retry=1)}"
        runs = [await bench.start(definition) for _ in range(3)]
        await bench.rest()

        view = await bench.app.desk.show(runs[1])
        assert view.waiting_for == "waits for the rate of workflow t: 1 request in 600 s, 10 min"
        assert view.reserved == 0
        await bench.live_until_done(*runs)

        assert [(await bench.log.run(run)).head.status for run in runs] == ["completed"] * 3
        assert [at - lab.asked[0][0] for at, _, _ in lab.asked] == [0, 600 * SECOND, 1_200 * SECOND]
        assert bench.app.gate.waiting == 0

    gated(scene)


def test_the_rate_of_an_activity_stands_in_the_place_of_its_workflows(gated):
    async def scene(bench: Any, lab: Lab) -> None:
        ask = "use: llm_prompt, with: {model: lab/m, prompt: PROMPT}"
        own = f"own: {{{ask.replace('PROMPT', 'own')}, policies: [{{use: rate_limit, requests: 1, per: 10s}}]}}"
        shared = f"shared: {{{ask.replace('PROMPT', 'shared')}}}"
        text = f"name: t\npolicies: [{{use: rate_limit, requests: 1, per: 40s}}]\nactivities: {{{own}, {shared}}}"
        runs = [await bench.start(text) for _ in range(3)]

        await bench.live_until_done(*runs)

        begin = lab.asked[0][0]
        times = {
            prompt: [(at - begin) // SECOND for at, _, said in lab.asked if said == prompt]
            for prompt in ("own", "shared")
        }
        assert times == {"own": [0, 10, 20], "shared": [0, 40, 80]}

    gated(scene)


def test_each_tenant_has_the_rate_to_itself_and_runs_of_one_take_turns(gated):
    async def scene(bench: Any, lab: Lab) -> None:
        definition = load_definition(fan("requests: 1"), providers=frozenset({"lab"}))
        runs = [await bench.start(definition, {"items": [f"large {n}" for n in range(5)]}, tenant="one")]
        await bench.rest()
        runs.append(await bench.start(definition, {"items": ["small 0", "small 1"]}, tenant="one"))
        runs.append(await bench.start(definition, {"items": ["other 0"]}, tenant="another"))
        await bench.rest()
        assert [prompt for _, _, prompt in lab.asked] == ["large 0", "other 0"]

        await bench.live_until_done(*runs)

        asked = [prompt.split()[0] for _, _, prompt in lab.asked if "other" not in prompt]
        assert asked == ["large", "large", "small", "large", "small", "large", "large"]

    gated(scene)


@pytest.mark.parametrize("rate", ["tokens: 1500", "money: 0.0015"])
def test_tokens_and_money_are_estimated_and_put_right_after_the_call(gated, rate: str):
    async def scene(bench: Any, lab: Lab) -> None:
        lab.usage = Usage(input_tokens=10, output_tokens=5)
        run_id = await bench.start(fan(rate), {"items": list(range(8))})
        await bench.live_until_done(run_id)
        assert lab.asked[-1][0] - lab.asked[0][0] < 10 * SECOND  # 15 of 150 were used

        lab.usage = Usage(input_tokens=1_000, output_tokens=500)
        before = lab.asked[-1][0]
        run_id = await bench.start(fan(rate), {"items": [1, 2, 3]})
        await bench.live_until_done(run_id)
        assert lab.asked[-1][0] - before > 60 * SECOND

    gated(scene)


def test_a_call_that_waits_for_its_own_rate_is_in_nobodys_way_and_passes_nobody(gated):
    async def scene(bench: Any, lab: Lab) -> None:
        await bench.app.desk.set_limit(RateLimit(scope="lab", requests=1, seconds=30))
        first, second = [await bench.start(held("requests: 1, per: 40s")) for _ in range(2)]
        await bench.rest()
        others = [await bench.start(asking()) for _ in range(2)]

        await bench.live_until_done(first, second, *others)

        begin = lab.asked[0][0]
        ended = {run: ((await bench.log.run(run)).head.finished_at - begin) // SECOND for run in (second, *others)}
        assert ended == {others[0]: 30, others[1]: 60, second: 90}

    gated(scene)


def test_a_call_whose_own_rate_opens_does_not_go_past_a_large_one_that_waits_for_the_provider(gated):
    async def scene(bench: Any, lab: Lab) -> None:
        lab.count = lambda request: 1_000 if request.messages[-1].content == "large" else 100
        await bench.app.desk.set_limit(RateLimit(scope="lab", tokens=2_000))
        first, second = [await bench.start(held("requests: 1, per: 4s")) for _ in range(2)]
        await bench.rest()
        large = await bench.start(asking().replace("prompt: x", "prompt: large"))

        await bench.live_until_done(first, second, large)

        # At four seconds the rate of the provider would have had room for the small one, not yet for the large one.
        assert [prompt for _, _, prompt in lab.asked] == ["x", "large", "x"]

    gated(scene)


def test_how_long_a_call_has_waited_for_its_own_rate_does_not_count_where_it_waits_for_the_provider_then(
    gated, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lines, "WAIT_SECONDS_MAX", 90)

    async def scene(bench: Any, lab: Lab) -> None:
        await bench.app.desk.set_limit(RateLimit(scope="lab", requests=1))
        definition = f"policies: [{{use: rate_limit, requests: 1, per: 10m}}]\n{asking(retry=1)}"
        held = [await bench.start(definition) for _ in range(2)]
        await bench.rest()
        bench.clock.advance(seconds=590)
        free = await bench.start(asking())

        await bench.live_until_done(*held, free)

        assert (await bench.log.run(held[1])).head.status == "completed"
        assert [at - lab.asked[0][0] for at, _, _ in lab.asked] == [0, 590 * SECOND, 650 * SECOND]

    gated(scene)


def test_no_model_is_passed_over_for_a_rate_that_all_of_them_are_held_to(gated):
    async def scene(bench: Any, lab: Lab) -> None:
        lab.count = lambda request: 950 if request.model == "first" else 50
        model = "[{model: lab/first, when_limited: next}, lab/second]"
        definition = held("tokens: 10000, per: 20m", model)
        lab.usage = Usage(input_tokens=950, output_tokens=50)
        runs = [await bench.start(definition) for _ in range(2)]

        await bench.live_until_done(*runs)

        assert lab.models == ["first", "first"]
        assert lab.asked[1][0] - lab.asked[0][0] > model_choice.FALL_SECONDS * SECOND
        assert not [event for event in await bench.events(runs[1]) if isinstance(event, g.ModelSkipped)]

    gated(scene)


def test_another_rate_begins_anew(gated):
    async def scene(bench: Any, lab: Lab) -> None:
        for rate in ("requests: 1, per: 1h", "requests: 2, per: 1h", "requests: 1, per: 2h"):
            assert (await bench.finished(await bench.start(held(rate)))).head.status == "completed"

        assert [at - lab.asked[0][0] for at, _, _ in lab.asked] == [0, 0, 0]

    gated(scene)


def test_of_more_rates_than_a_maximum_calls_are_not_held_to_a_further_one_until_another_is_full_again(
    gated, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limits, "OWN_BUCKETS_MAX", 1)

    async def scene(bench: Any, lab: Lab) -> None:
        definitions = [held("requests: 1").replace("name: t", f"name: {name}") for name in ("one", "two")]
        for definition in (*definitions, definitions[1]):
            assert (await bench.finished(await bench.start(definition))).head.status == "completed"
        bench.clock.advance(seconds=60)

        assert (await bench.finished(await bench.start(definitions[1]))).head.status == "completed"
        waits = await bench.start(definitions[1])
        await bench.rest()

        assert len(lab.asked) == 4
        assert [cell.name for cell in await bench.app.limits.store.cells("own ")] == [
            "own requests workflow default two 1/60"
        ]
        await bench.live_until_done(waits)

    gated(scene)
