"""The most that a run may cost: a number where every factor is known, and a reason where one is not."""

from __future__ import annotations

from typing import Any

import pytest

from headgate.authoring import load_definition
from headgate.authoring.estimate import ActivityEstimate, Estimate, Pricing, estimate_cost
from headgate.core.values import Price

NANO_PER_TOKEN = 1_000_000
"""In a price per million tokens: one nano-dollar a token."""
PRICES = {
    "openai/one": Price(input=NANO_PER_TOKEN, output=2 * NANO_PER_TOKEN),
    "openai/two": Price(input=NANO_PER_TOKEN, output=NANO_PER_TOKEN),
    "ollama/own": Price(id="free"),
    "demo/small": Price(input=NANO_PER_TOKEN, output=NANO_PER_TOKEN, simulated=True),
}


def count(activity: str, model: str, parameters: dict[str, Any]) -> int:
    """A token for each character of the prompt, or of the inputs."""
    return sum(map(len, parameters["input"])) if activity == "embedding" else len(parameters["prompt"])


def estimate(activities: str, value: object = None, *, head: str = "") -> Estimate:
    definition = load_definition(f"name: x\n{head}\nactivities:\n{activities}")
    return estimate_cost(definition, value if value is not None else {}, Pricing(PRICES.get, count, 1_000))


def only(activities: str, value: object = None, *, head: str = "") -> ActivityEstimate:
    (found,) = estimate(activities, value, head=head).activities
    return found


def prompt(
    more: str = "", *, key: str = "p", model: str = "openai/one", text: str = "hello", tokens: str = "10"
) -> str:
    limit = f", max_tokens: {tokens}" if tokens else ""
    return f'  {key}: {{use: llm_prompt, with: {{model: {model}, prompt: "{text}"{limit}}}, retry: 1{more}}}\n'


def test_a_call_costs_its_text_and_max_tokens_at_the_models_price():
    found = only(prompt())

    assert found == ActivityEstimate("p", calls=1, attempts=1, per_attempt=5 + 20, most=25)


def test_the_sample_input_is_rendered_into_the_text():
    assert only(prompt(text="{{ INPUT.t }}"), {"t": "x" * 100}).most == 100 + 20


def test_attempts_multiply_it_by_default_four_times():
    assert only(prompt().replace(", retry: 1", "")).most == 4 * 25
    assert only(prompt().replace("retry: 1", "retry: 3")).most == 3 * 25


def test_attempts_of_a_model_multiply_its_part():
    assert only(prompt(model="[{model: openai/one, attempts: 3}, openai/two]")).most == 3 * 25 + 15


def test_every_model_of_a_list_may_be_asked_in_one_attempt():
    assert only(prompt(model="[openai/one, openai/two]")).most == (5 + 20) + (5 + 10)


def test_each_item_is_counted_with_its_own_text():
    found = only(prompt(', for_each: "{{ INPUT.docs }}"', text="{{ ITEM }}{{ INDEX }}"), {"docs": ["a", "bbb"]})

    assert (found.calls, found.per_attempt) == (2, 4 + 20)
    assert found.most == (2 + 20) + (4 + 20)


LOOP = """  again: {use: echo, %s after: [{activity_key: p, condition: "{{ p.status == 'x' }}"}]}
"""


@pytest.mark.parametrize(("limit", "rounds"), [("iteration_limit: 7,", 7), ("", 100)])
def test_a_loop_goes_round_as_often_as_its_limit_allows(limit: str, rounds: int):
    found = estimate(LOOP % limit + prompt(", after: [again]"))

    assert found.activities[0].calls == rounds
    assert found.most == rounds * 25
    assert any(f"the loop at again goes round {rounds} times" in said for said in found.assumptions)


def test_loops_in_each_other_multiply():
    nested = (
        "  outer: {use: echo, iteration_limit: 3, after: [{activity_key: tail, condition: \"tail.status == 'x'\"}]}\n"
        "  inner: {use: echo, iteration_limit: 5, after: [outer, {activity_key: p, condition: \"p.status == 'x'\"}]}\n"
        "  tail: {use: echo, after: [p]}\n"
    )

    assert only(nested + prompt(", after: [inner]")).calls == 3 * 5


def test_an_embedding_has_no_output_tokens():
    text = "  e: {use: embedding, with: {model: openai/one, input: [abc, de]}, retry: 1}\n"

    assert only(text).most == 5


def test_a_model_on_ones_own_machine_costs_nothing_however_long_its_answer():
    assert only(prompt(model="ollama/own", tokens="")).most == 0


UNKNOWN = {
    "an earlier output": (
        prompt(text="{{ a.echo }}") + "  a: {use: echo}\n",
        "the size of its input depends on a",
    ),
    "items of an earlier output": (
        prompt(', for_each: "{{ a.echo.list }}"') + "  a: {use: echo}\n",
        "the number of its items depends on a",
    ),
    "a missing price": (prompt(model="openai/new"), "no price is known of openai/new"),
    "no max_tokens": (prompt(tokens=""), "it sets no max_tokens"),
    "items that are none": (prompt(', for_each: "{{ INPUT.none }}"'), "its items are no list with this input"),
    "an activity of one's own": ("  p: {use: mine, queue: mine}\n", "what an activity of your own costs"),
    "another workflow": ("  p: {workflow: other}\n", "what the workflow other costs"),
}


@pytest.mark.parametrize(("text", "why"), UNKNOWN.values(), ids=UNKNOWN.keys())
def test_what_cannot_be_said_before_the_run_is_unknown_with_its_reason(text: str, why: str):
    found = estimate(text)

    assert found.most is None
    assert found.activities[0].most is None
    assert why in found.activities[0].unknown


def test_one_unknown_makes_the_whole_unknown():
    found = estimate(prompt() + prompt(key="q", tokens=""))

    assert [activity.most for activity in found.activities] == [25, None]
    assert found.most is None


def test_an_activitys_budget_bounds_what_is_known_and_what_is_not():
    known, unknown = estimate(
        prompt(", budget: 0.00000001")
        + prompt(", budget: 0.00000002", key="q", text="{{ a.echo }}")
        + "  a: {use: echo}\n"
    ).activities

    assert (known.most, known.bounded_by) == (10, "its budget")
    assert (unknown.most, unknown.bounded_by) == (20, "its budget")


def test_a_budget_that_only_alerts_bounds_nothing():
    assert only(prompt(", budget: {limit: 0.00000001, action: alert}")).most == 25


def test_under_a_budget_max_tokens_is_set_and_a_model_without_price_is_never_asked():
    head = "budget: 1"

    assert only(prompt(tokens=""), head=head).most == 5 + 2_000
    assert only(prompt(model="[openai/one, openai/new]"), head=head).most == 25
    assert estimate(prompt(), head=head).limit == 1_000_000_000


def test_a_sub_workflow_with_a_budget_costs_at_most_that():
    assert only("  p: {workflow: {name: other, budget: 0.00000007}, for_each: [1, 2], retry: 1}\n").most == 140


def test_notional_money_is_never_added_to_real_money():
    found = estimate(prompt() + prompt(key="d", model="demo/small") + prompt(key="m", model="[openai/one, demo/small]"))

    assert [activity.simulated for activity in found.activities] == [False, True, False]
    assert (found.most, found.simulated) == (25 + 25, 15)


def test_what_asks_no_model_costs_nothing():
    found = estimate("  a: {use: echo}\n  h: {use: http_request, with: {url: 'http://localhost'}}\n")

    assert (found.activities, found.most) == ((), 0)
