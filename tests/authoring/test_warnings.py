"""What looks like a mistake though it can run, and what cannot run because of money or time."""

from __future__ import annotations

from typing import Any

import pytest

from headgate.authoring import InvalidDefinition, load_definition, load_with_warnings
from headgate.authoring.estimate import Pricing
from headgate.core.values import Price

PRICES = {"openai/dear": Price(input=1_000_000_000, output=10_000_000_000), "demo/small": Price(simulated=True)}


def count(activity: str, model: str, parameters: dict[str, Any]) -> int:
    return len(str(parameters.get("prompt", "")))


PRICING = Pricing(PRICES.get, count, 1_000)

HEAD = "name: x\nactivities:\n"
FETCH = "  fetch: {use: http_request, with: {url: 'http://localhost'}}\n"


def marked(text: str) -> tuple[str, int, int]:
    before = text[: text.index("§")]
    return text.replace("§", ""), before.count("\n") + 1, len(before) - before.rfind("\n")


def dear(more: str, head: str = "") -> str:
    return f"{head}{HEAD}  p:\n    use: llm_prompt\n    {more}\n    with: {{model: openai/dear, prompt: hello}}\n"


WARNINGS = {
    "a `when` that is always false": (HEAD + "  a: {use: echo, §when: false}\n", "a never runs: its `when`"),
    "a condition that is always false": (
        HEAD + "  a: {use: echo}\n  b: {use: echo, after: [§{activity_key: a, condition: '1 == 2'}]}\n",
        "its condition on a is always false",
    ),
    "an output of what may be skipped": (
        HEAD + '  a: {use: echo, when: "{{ INPUT.x }}"}\noutputs: {y: "{{ §a.echo }}"}\n',
        "a may be skipped",
    ),
    "an output of what stands behind a condition": (
        HEAD + "  a: {use: echo}\n  b: {use: echo, after: [{activity_key: a, condition: a.echo.x}]}\n"
        '  c: {use: echo, after: [b]}\noutputs: {y: "{{ §c.echo }}"}\n',
        "c may be skipped",
    ),
    "an activity's budget above the run's": (
        f"budget: 0.1\n{HEAD}  a: {{use: echo, budget: §0.2}}\n",
        "the budget of a ($0.20) is more than the run's ($0.10)",
    ),
    "a model without price": (
        HEAD + "  p: {use: llm_prompt, with: {model: §openai/new, prompt: x}}\n",
        "no price is known of openai/new: its calls are counted",
    ),
    "one of two without price, under a budget": (
        f"budget: 1\n{HEAD}  p: {{use: llm_prompt, with: {{model: §[openai/new, openai/dear], prompt: x}}}}\n",
        "no price is known of openai/new: under a budget it is never asked",
    ),
    "a budget too small for what need not run": (
        "budget: §0.001\n" + HEAD + "  p:\n    use: llm_prompt\n    when: INPUT.x\n"
        "    with: {model: openai/dear, prompt: hello}\n",
        "one call of p reserves at least $0.01 ",
    ),
    "an approval's end without a time": (
        HEAD + "  a: {use: approval, with: {title: x, on_timeout: §reject}}\n",
        "`on_timeout` does nothing without a `timeout`",
    ),
    "a reminder that nobody gets": (
        HEAD + "  a: {use: approval, with: {title: x, remind_after: §1d}}\n",
        "`remind_after` reminds nobody",
    ),
    "a signal's end without a time": (
        HEAD + "  a: {wait_for: {event_name: x, on_timeout: §skip}}\n",
        "`on_timeout: skip` does nothing without a `timeout`",
    ),
    "an empty list of items": (HEAD + "  a: {use: echo, for_each: §[]}\n", "completes without doing anything"),
}


@pytest.mark.parametrize(("text", "said"), WARNINGS.values(), ids=WARNINGS.keys())
def test_what_looks_like_a_mistake_is_a_warning_at_its_place(text: str, said: str):
    text, line, column = marked(text)

    (warning,) = load_with_warnings(text, source="f.yaml", pricing=PRICING).warnings

    assert said in warning.message
    assert (warning.source, warning.line, warning.column) == ("f.yaml", line, column)


SOUND = {
    "a default for what may be skipped": (
        HEAD + '  a: {use: echo, when: "{{ INPUT.x }}"}\noutputs: {y: "{{ a.echo | default(\'\') }}"}\n'
    ),
    "a branch that asks for a status": (
        HEAD + "  a: {use: echo}\n  b: {use: echo, after: [{activity_key: a, condition: \"a.status == 'failed'\"}]}\n"
    ),
    "an output of what always runs": HEAD + "  a: {use: echo}\n  b: {use: echo, after: [a]}\noutputs: {y: '{{ b }}'}\n",
    "an alert": dear("budget: {limit: 0.001, action: alert}"),
    "a budget that one call fits": dear("budget: 0.02"),
    "a budget that asks": dear("budget: {limit: 0.001, action: ask}"),
    "a model that a template names": (
        "budget: 0.0001\n" + HEAD + '  p: {use: llm_prompt, with: {model: "{{ INPUT.m }}", prompt: x}}\n'
    ),
    "max_tokens that a template says": (
        "budget: 0.001\n" + HEAD + "  p:\n    use: llm_prompt\n"
        '    with: {model: openai/dear, prompt: x, max_tokens: "{{ INPUT.n }}"}\n'
    ),
    "fields that there are": (
        HEAD
        + FETCH
        + '  b: {use: echo, with: {x: "{{ fetch.response.body.anything }}{{ fetch.status }}{{ fetch.success }}"}}\n'
    ),
    "a declared output": (
        HEAD + "  fetch: {use: http_request, outputs: [page], with: {url: 'http://localhost'}}\n"
        '  b: {use: echo, with: {x: "{{ fetch.page.body }}"}}\n'
    ),
    "a model's own JSON": (
        HEAD
        + "  p: {use: llm_prompt, with: {model: demo/small, prompt: x}}\n"
        + '  b: {use: echo, with: {x: "{{ p.findings }}"}}\n'
    ),
    "the fields of many items": (
        HEAD + "  fetch: {use: http_request, for_each: [1], with: {url: 'http://localhost'}}\n"
        '  b: {use: echo, with: {x: "{{ fetch.response.anything }}"}}\n'
    ),
    "an approval with a time": HEAD + "  a: {use: approval, with: {title: x, timeout: 2h, on_timeout: reject}}\n",
    "a wait for a template": HEAD + '  a: {use: wait, with: {duration: "{{ INPUT.d }}"}}\n',
    "items from an input": f"inputs: {{docs: array}}\n{HEAD}  a: {{use: echo, for_each: '{{{{ INPUT.docs }}}}'}}\n",
}


@pytest.mark.parametrize("text", SOUND.values(), ids=SOUND.keys())
def test_what_could_be_meant_is_neither_refused_nor_warned_of(text: str):
    assert load_with_warnings(text, pricing=PRICING).warnings == ()


REFUSED = {
    "a field that a response never has": (
        HEAD + FETCH + '  b: {use: echo, with: {x: "{{ §fetch.response.boddy }}"}}\n',
        'fetch.response has no field "boddy", for http_request returns none. Did you mean "body"?',
    ),
    "the same without the output's name": (
        HEAD + FETCH + '  b: {use: echo, with: {x: "{{ §fetch.boddy }}"}}\n',
        'fetch has no field "boddy"',
    ),
    "a field that an answer never has": (
        HEAD
        + "  p: {use: llm_prompt, with: {model: demo/small, prompt: x}}\n"
        + "  b: {use: echo, with: {x: '{{ §p.result.contnt }}'}}\n",
        'Did you mean "content"?',
    ),
    "a field that a decision never has": (
        HEAD + "  ok: {use: approval, with: {title: x}}\n  b: {use: echo, when: '§ok.aproved'}\n",
        'Did you mean "approved"?',
    ),
    "no price under a budget": (
        f"budget: 1\n{HEAD}  p: {{use: llm_prompt, with: {{model: §openai/new, prompt: x}}}}\n",
        "under a budget every call of 'p' would be refused: no price is known of openai/new",
    ),
    "an activity's budget that no call fits": (
        dear("budget: §0.001"),
        "the budget of p is $0.001, but one call of p reserves at least $0.01 ",
    ),
    "a run's budget that no call fits": (dear("retry: 1", "budget: §0.001\n"), "the budget of the run is $0.001"),
    "a max_cost that no call fits": (
        HEAD + "  p: {use: llm_prompt, with: {model: openai/dear, prompt: hello, max_cost: §0.001}}\n",
        "max_cost of p is $0.001, but one call of p reserves at least $0.01 ",
    ),
    "items in a text": (HEAD + "  a: {use: echo, for_each: §all}\n", 'a list, or a template of one, got "all"'),
    "items that are an activity's name": (
        HEAD + "  a: {use: echo}\n  b: {use: echo, for_each: §a, after: [a]}\n",
        "It is an activity: write {{ a.… }}.",
    ),
    "items in a constant": (HEAD + "  a: {use: echo, for_each: §'{{ 1 + 2 }}'}\n", "for_each needs a list, got 3"),
    "items in an input that is none": (
        f"inputs: {{n: integer}}\n{HEAD}  a: {{use: echo, for_each: §'{{{{ INPUT.n }}}}'}}\n",
        "the input n is declared as integer",
    ),
    "a wait without sense": (HEAD + "  a: {use: wait, with: {duration: §soon}}\n", "expected a duration such as 30s"),
    "a wait until no time": (HEAD + "  a: {use: wait, with: {until: §noon}}\n", "expected a time such as 2030"),
    "a wait for nothing": (HEAD + "  a: {use: wait, with: {seconds: §null}}\n", "expected a time to wait for"),
    "a wait for two things": (
        HEAD + "  a: {use: wait, with: {seconds: 3, §duration: 3s}}\n",
        "a wait takes one of seconds, duration and until, got seconds and duration",
    ),
    "an approval by nobody": (HEAD + "  a: {use: approval, with: {title: x, approvers: §[]}}\n", "nobody can decide"),
    "an approval without time": (
        HEAD + "  a: {use: approval, with: {title: x, timeout: §0s}}\n",
        "it times out at once",
    ),
}


@pytest.mark.parametrize(("text", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_work_is_refused_at_its_place(text: str, said: str):
    text, line, column = marked(text)

    with pytest.raises(InvalidDefinition) as refused:
        load_with_warnings(text, source="f.yaml", pricing=PRICING)

    (problem,) = refused.value.problems
    assert said in problem.message
    assert (problem.line, problem.column) == (line, column)


def test_what_stands_behind_what_never_runs_never_runs_either():
    text, line, column = marked(HEAD + "  a: {use: echo, when: false}\n  b: {use: echo, after: [§a]}\n")

    first, second = load_with_warnings(text).warnings

    assert "a never runs" in first.message
    assert "b never runs: a, which it depends on, never runs" in second.message
    assert (second.line, second.column) == (line, column)


def test_a_refusal_has_the_warnings_too():
    with pytest.raises(InvalidDefinition) as refused:
        load_definition(HEAD + "  a: {use: echo, when: false}\n  b: {use: ecko}\n")

    assert len(refused.value.problems) == len(refused.value.warnings) == 1
