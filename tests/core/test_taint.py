"""Which texts anybody may have written, which a model made of these, and which effects a person is asked about."""

from __future__ import annotations

import pytest

from headgate.authoring import load_definition
from headgate.core.plan import Plan, compile_plan

HEAD = """
name: t
policies: [{use: side_effects, after_untrusted: approve}]
inputs: {good: string, bad: {type: string, trusted: false}, doc: file, own: {type: file, trusted: true}}
activities:
  page: {use: http_request, with: {url: "https://example.com/"}}
  model: {use: llm_prompt, with: {model: scripted/m, prompt: "Say {{page.response.body}}"}}
"""


def plan(text: str, head: str = HEAD) -> Plan:
    return compile_plan(load_definition(head + text, activities=frozenset({"mine"})))


def keys(found: Plan, indices: frozenset[int]) -> set[str]:
    return {found.activities[index].key for index in indices}


def asked(text: str, head: str = HEAD) -> set[str]:
    found = plan(text, head)
    return keys(found, found.asks_first) - {"page", "model"}


@pytest.mark.parametrize(
    ("activity", "untrusted", "steered"),
    [
        ("use: transform, with: {x: '{{INPUT.good}}'}", False, False),
        ("use: transform, with: {x: '{{INPUT.bad}}'}", True, False),
        ("use: transform, with: {x: '{{INPUT.doc}}'}", True, False),
        ("use: transform, with: {x: '{{INPUT.own}}'}", False, False),
        ("use: transform, with: {x: '{{INPUT}}'}", True, False),
        ("use: transform, with: {x: '{{page.response.body}}'}", True, False),
        ("use: transform, with: {x: '{{page.status}}'}", False, False),
        ("use: transform, with: {x: '{{page.error.message}}'}", True, False),
        ("use: transform, trusted: true, with: {x: '{{page.response.body}}'}", False, False),
        ("use: transform, trusted: false, with: {x: 1}", True, False),
        ("use: transform, for_each: '{{page.response.body}}', with: {x: '{{ITEM}}'}", True, False),
        ("use: transform, for_each: [1, 2], with: {x: '{{ITEM}}'}", False, False),
        ("use: mine, with: {x: '{{model.content}}'}", True, True),
        ("use: script, with: {script: 'OUTPUT = 1'}, after: [model]", True, True),
        ("use: script, with: {script: 'OUTPUT = 1'}", True, False),
        ("use: sqlite_query, with: {db_url: x, query: 'select 1'}", True, False),
        ("use: llm_prompt, with: {model: scripted/m, prompt: '{{INPUT.good}}'}", False, False),
        ("use: llm_prompt, with: {model: scripted/m, prompt: '{{INPUT.bad}}'}", True, True),
        ("use: approval, with: {title: '{{model.content}}'}", False, False),
        ("workflow: other", True, False),
    ],
)
def test_a_text_is_what_it_was_made_of(activity: str, untrusted: bool, steered: bool):
    found = plan(f"  it: {{{activity}}}\n")

    index = found.index["it"]
    assert (index in found.taint.untrusted, index in found.taint.steered) == (untrusted, steered)


def test_a_loop_hands_on_what_its_later_rounds_read():
    found = plan(
        "  first:\n"
        "    use: transform\n"
        "    with: {x: '{{second.result}}'}\n"
        "    after: [{activity_key: second, condition: 'false'}]\n"
        "  second: {use: transform, with: {x: '{{first.result}}{{INPUT.bad}}'}, after: [first]}\n"
    )

    assert {"first", "second"} <= keys(found, found.taint.untrusted)


@pytest.mark.parametrize(
    "effect",
    [
        "use: http_request, with: {url: x, method: POST, body: '{{model.content}}'}",
        "use: http_request, with: {url: x, method: '{{model.content}}'}",
        "use: email_send, with: {smtp_url: x, from: a, to: '{{model.content}}', subject: s}",
        "use: file_write, with: {path: a, content: '{{model.content}}'}",
        "use: sqlite_query, with: {db_url: x, query: 'delete from t', params: ['{{model.content}}']}",
        "use: sqlite_query, with: {db_url: x, query: 'with a as (b) insert into t ?', params: ['{{model.content}}']}",
        "use: sqlite_query, with: {db_url: x, query: '{{model.content}}'}",
        "use: postgres_transaction, with: {db_url: x, statements: ['{{model.content}}']}",
        "workflow: other, with: {x: '{{model.content}}'}",
        "use: file_write, when: '{{ model.content == 1 }}', with: {path: a, content: b}",
        "workflow: other, after: [{activity_key: model, condition: '{{ model.content == 1 }}'}]",
        "use: file_write, for_each: '{{model.parsed.items}}', with: {path: '{{ITEM}}', content: b}",
        "use: file_write, with: {path: a, content: '{{SIGNAL.x}}{{model.content}}'}, wait_for: go",
    ],
)
def test_an_effect_that_a_model_steers_is_asked_about(effect: str):
    assert asked(f"  it: {{{effect}}}\n") == {"it"}


@pytest.mark.parametrize(
    "harmless",
    [
        "use: http_request, with: {url: '{{model.content}}'}",
        "use: sqlite_query, with: {db_url: x, query: 'select * from t where a = ?', params: ['{{model.content}}']}",
        "use: script, with: {script: 'OUTPUT = 1', x: '{{model.content}}'}",
        "use: file_write, with: {path: a, content: '{{page.response.body}}'}",
        "use: file_write, with: {path: a, content: '{{model.cost_usd}}'}",
        "use: file_write, when: \"{{ model.status == 'completed' }}\", with: {path: a, content: b}",
        "use: file_write, with: {path: a, content: b}, after: [model]",
    ],
)
def test_what_has_no_effect_or_is_not_steered_is_not_asked_about(harmless: str):
    assert asked(f"  it: {{{harmless}}}\n") == set()


def test_what_runs_only_because_of_a_steered_condition_before_it_is_asked_about():
    text = (
        "  urgent: {use: transform, when: '{{ model.content == 1 }}', with: {x: 1}}\n"
        "  it: {use: file_write, with: {path: a, content: b}, after: [urgent]}\n"
    )

    assert asked(text) == {"it"}


APPROVED = """
  ok: {use: approval, with: {title: "{{%s.content}}"}}
  it:
    use: file_write
    with: {path: a, content: "{{model.content}}"}
    after: [{activity_key: ok, conditions: ["{{ ok.approved }}"]}]
"""


def test_who_was_asked_by_the_author_is_not_asked_again():
    assert asked(APPROVED % "model") == set()


def test_an_approval_that_came_before_the_model_does_not_count():
    assert asked(APPROVED.replace("%s.content", "page.response.body")) == {"it"}


def test_an_approval_that_no_condition_reads_does_not_count():
    text = (APPROVED % "model").replace('after: [{activity_key: ok, conditions: ["{{ ok.approved }}"]}]', "after: [ok]")

    assert asked(text) == {"it"}


def test_an_author_may_name_further_activities_and_leave_single_ones_out():
    head = HEAD.replace("after_untrusted: approve", "after_untrusted: approve, also: [script, mine]")
    text = (
        "  one: {use: script, with: {script: x}, after: [model]}\n"
        "  two: {use: mine, with: {x: '{{model.content}}'}}\n"
        "  three:\n    use: mine\n    with: {x: '{{model.content}}'}\n"
        "    policies: [{use: side_effects, after_untrusted: approve}]\n"
    )

    assert asked(text, head) == {"one", "two"}


def test_nobody_is_asked_where_no_policy_says_so():
    found = plan(
        "  it: {use: file_write, with: {path: a, content: '{{model.content}}'}}\n",
        HEAD.replace("policies", "labels").replace("[{use: side_effects, after_untrusted: approve}]", "{}"),
    )

    assert found.asks_first == frozenset()
