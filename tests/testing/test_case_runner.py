"""Cases are run through the real engine: what they answer is used, what they do not answer fails them."""

from __future__ import annotations

from typing import Any

import pytest

from headgate.core.errors import Invalid
from headgate.core.money import nano
from headgate.testing.case_runner import run_case
from headgate.testing.cases import Case, CaseResult, CaseSignal, Crash, Expected, Moment

DAY = 86_400_000_000

ASK = """
name: ask
inputs: {question: string}
activities:
  answer:
    use: llm_prompt
    retry: {max_attempts: 2, base_seconds: 3600}
    with: {model: openai/gpt-5-mini, prompt: "{{ INPUT.question }}", max_tokens: 10}
outputs: {answer: "{{ answer.content }}"}
"""

SEQUENCE = """
name: sequence
activities:
  first: {use: llm_prompt, with: {model: scripted/a, prompt: first}}
  second: {use: llm_prompt, after: [first], with: {model: scripted/a, prompt: second}}
  third: {use: llm_prompt, after: [second], with: {model: scripted/a, prompt: third}}
outputs: {said: ["{{ first.content }}", "{{ second.content }}", "{{ third.content }}"]}
"""

PEOPLE = """
name: people
activities:
  rest: {use: wait, with: {duration: 3w}}
  legal: {use: approval, after: [rest], with: {title: legal?, timeout: 7d, on_timeout: reject}}
  money: {use: approval, after: [legal], with: {title: money?, timeout: 7d, on_timeout: reject}}
  post: {wait_for_signal: {event_name: posted}, after: [money], use: echo, with: {by: "{{ SIGNAL.by }}"}}
outputs: {legal: "{{ legal.approved }}", money: "{{ money.approved }}", post: "{{ post.echo.by }}"}
"""

ALARM = """
name: alarm
activities:
  call: {use: http_request, with: {method: POST, url: "https://example.com/", headers: {key: "{{ SECRET.KEY }}"}}}
  tell: {use: echo, after: [call], with: {status: "{{ call.response.status }}"}}
outputs: {told: "{{ tell.echo.status }}"}
"""


def case(workflow: str, **rest: Any) -> Case:
    return Case(name="a case", workflow=workflow, **rest)


def ask(**rest: Any) -> Case:
    return case(ASK, input={"question": "Is it late?"}, **rest)


def said(result: CaseResult) -> str:
    return "\n".join(f"{mismatch.where}: {mismatch.message}" for mismatch in result.mismatches)


# --- Models --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["answer", "openai/gpt-5-mini", "gpt-5-mini"])
def test_a_real_model_is_answered_by_activity_or_by_name(key: str):
    result = run_case(ask(models={key: ({"text": "yes"},)}, expect=Expected(outputs={"answer": "yes"}, calls=1)))

    assert result.passed, said(result)
    assert [request.messages[-1].content for request in result.requests] == ["Is it late?"]


def test_a_call_without_an_answer_fails_the_case_and_says_what_was_asked():
    result = run_case(ask(expect=Expected(status="failed")))

    assert not result.passed
    assert "openai/gpt-5-mini was called by answer" in said(result)
    assert "Is it late?" in said(result)


def test_a_call_beyond_the_last_answer_fails_the_case():
    error = {"error": {"status": 503, "message": "busy"}}

    result = run_case(ask(models={"answer": (error,)}, expect=Expected(status="failed")))

    assert "models.answer: " in said(result)
    assert "used up" in said(result)


def test_answers_that_nobody_asked_for_fail_the_case():
    answers = {"answer": ({"text": "yes"}, {"text": "no"})}

    strict, lax = run_case(ask(models=answers)), run_case(ask(models=answers, unused="allowed"))

    assert said(strict).startswith("models.answer: 1 of 2 answers were not asked for")
    assert lax.passed


def test_a_scripted_error_is_retried_in_no_real_time():
    answers = ({"error": {"status": 429, "message": "slow down"}}, {"text": "yes"})

    result = run_case(
        ask(models={"answer": answers}, expect=Expected(calls={"answer": 2}, events={"retry_scheduled": 1}))
    )

    assert result.passed, said(result)
    assert result.view is not None
    assert result.view.updated_at - result.view.created_at >= 200_000_000


def test_the_cost_is_that_of_the_real_models_prices():
    answer = {"text": "yes", "usage": {"input_tokens": 1_000_000, "output_tokens": 10}}

    result = run_case(ask(models={"answer": (answer,)}, expect=Expected(cost=nano("0.25002"))))

    assert result.passed, said(result)


def test_prices_can_be_set_and_a_cost_above_the_greatest_fails():
    answer = {"text": "yes", "usage": {"input_tokens": 1_000_000, "output_tokens": 0}}
    prices = {"openai/gpt-5-mini": {"input": 3}}

    result = run_case(ask(models={"answer": (answer,)}, prices=prices, expect=Expected(cost_max=nano("2.5"))))

    assert [(mismatch.where, mismatch.expected, mismatch.got) for mismatch in result.mismatches] == [
        ("cost_max", "$2.5", "$3")
    ]


def test_a_demo_model_answers_itself_unless_the_case_does():
    workflow = ASK.replace("openai/gpt-5-mini", "demo/small")
    question = {"question": "Summarise this in one sentence.\n\n<text>\nThe train was late.\n</text>"}

    real = run_case(case(workflow, input=question))
    scripted = run_case(case(workflow, input=question, models={"demo/small": ({"text": "mine"},)}))

    assert real.view is not None
    assert scripted.view is not None
    assert real.view.outputs == {"answer": "The train was late."}
    assert scripted.view.outputs == {"answer": "mine"}


def test_items_are_answered_each_by_its_own_place():
    workflow = """
name: items
activities:
  each:
    use: llm_prompt
    for_each: [a, b, c]
    max_parallel: 3
    with: {model: mistral/x, prompt: "{{ ITEM }}"}
outputs: {all: "{{ each.content }}"}
"""
    models = {"each[1]": ({"text": "B"},), "each": ({"text": "A", "delay": 60}, {"text": "C"})}

    result = run_case(case(workflow, models=models, expect=Expected(outputs={"all": ["A", "B", "C"]})))

    assert result.passed, said(result)


def test_an_answer_that_takes_longer_than_the_time_limit_times_out():
    workflow = ASK.replace("    retry:", "    timeout: 90\n    retry:").replace("max_attempts: 2", "max_attempts: 1")
    late = {"text": "yes", "delay": 91.0}
    soon = {"text": "yes", "delay": 89.0}

    expected = Expected(status="failed", error_code="timed_out", events={"attempt_lost": 0})
    timed_out = run_case(case(workflow, input={"question": "?"}, models={"answer": (late,)}, expect=expected))
    in_time = run_case(case(workflow, input={"question": "?"}, models={"answer": (soon,)}))

    assert timed_out.passed, said(timed_out)
    assert in_time.passed, said(in_time)


# --- The outside world ----------------------------------------------------------------------------------------------


def test_what_would_reach_the_outside_world_is_an_error_without_an_answer():
    result = run_case(case(ALARM, secrets={"KEY": "open-sesame"}, expect=Expected(status="failed")))

    assert "activities.call: http_request of call was begun" in said(result)


def test_an_activitys_results_are_used_in_order_and_secrets_stay_secret():
    results = ({"error": {"code": "http_503", "message": "busy"}}, {"output": {"status": 201}})
    workflow = ALARM.replace("{use: http_request,", "{use: http_request, retry: 2,")

    result = run_case(
        case(
            workflow,
            activities={"call": results},
            secrets={"KEY": "open-sesame"},
            expect=Expected(outputs={"told": 201}),
        )
    )

    assert result.passed, said(result)
    assert "open-sesame" not in repr(result.events)


def test_a_script_runs_in_earnest():
    workflow = """
name: sums
activities:
  add: {use: script, queue: py-std, with: {script: "OUTPUT = {'sum': sum([1, 2, 3])}"}}
outputs: {sum: "{{ add.sum }}"}
"""

    result = run_case(case(workflow, expect=Expected(outputs={"sum": 6})))

    assert result.passed, said(result)


def test_activities_of_ones_own_run_or_are_answered_for():
    workflow = "name: own\nactivities:\n  a: {use: greet, with: {name: Ann}}\noutputs: {said: '{{ a.result }}'}\n"

    def greet(parameters: dict[str, Any], ctx: Any) -> str:
        return f"Hello {parameters['name']}"

    real = run_case(case(workflow, expect=Expected(outputs={"said": "Hello Ann"})), functions={"greet": greet})
    answered = run_case(case(workflow, activities={"a": ({"output": "Hi"},)}, expect=Expected(outputs={"said": "Hi"})))

    assert real.passed, said(real)
    assert answered.passed, said(answered)


# --- People and time ------------------------------------------------------------------------------------------------


def test_weeks_pass_at_once_and_people_answer_when_the_case_says():
    signals = (
        CaseSignal(kind="signal", name="posted", after=Moment("money", DAY), data={"by": "Bo"}),
        CaseSignal(kind="approve", activity="money", after=Moment(delay=6 * DAY), by="Cy"),
        CaseSignal(kind="approve", activity="legal", by="Di"),
    )

    result = run_case(
        case(
            PEOPLE,
            signals=signals,
            expect=Expected(
                outputs={"legal": True, "money": True, "post": "Bo"}, path=("rest", "legal", "money", "post")
            ),
        )
    )

    assert result.passed, said(result)
    assert result.view is not None
    assert result.view.updated_at - result.view.created_at == 28 * DAY


def test_an_approval_that_comes_after_its_time_limit_is_never_sent():
    late = CaseSignal(kind="approve", activity="legal", after=Moment(delay=8 * DAY))
    post = CaseSignal(kind="signal", name="posted", data={"by": "Bo"})

    result = run_case(case(PEOPLE, signals=(late, post), expect=Expected(outputs={"legal": False, "post": "Bo"})))

    assert said(result) == "signals: approve for legal was never sent: the time for it never came"


def test_a_run_that_waits_for_ever_is_waiting_in_the_end():
    workflow = "name: w\nactivities:\n  a: {use: approval, with: {title: ok?}}\n"

    assert run_case(case(workflow, expect=Expected(status="waiting"))).passed
    assert "status: the run is waiting" in said(run_case(case(workflow)))


def test_a_run_begins_at_the_clock_of_its_case():
    workflow = "name: w\nactivities:\n  a: {use: wait, with: {until: '2030-01-02T00:00:00Z'}}\n"
    new_year = 1_893_456_000_000_000  # 2030-01-01

    result = run_case(case(workflow, clock=new_year))

    assert result.view is not None
    assert (result.view.created_at, result.view.finished_at) == (new_year, new_year + DAY)


# --- Crashes --------------------------------------------------------------------------------------------------------

ANSWERS = {"scripted/a": ({"text": "1"}, {"text": "2"}, {"text": "3"})}


@pytest.mark.parametrize("after", ["first", "second", 2, 3, 4, 7, 9, 12])
def test_after_a_crash_another_engine_goes_on_and_repeats_nothing_that_is_recorded(after: str | int):
    expected = Expected(outputs={"said": ["1", "2", "3"]}, path=("first", "second", "third"))

    result = run_case(case(SEQUENCE, models=ANSWERS, crash=Crash(after), expect=expected))

    assert result.passed, said(result)
    assert result.crashes == 1


def test_a_crash_swallows_what_was_under_way_and_it_is_asked_again():
    workflow = """
name: two
activities:
  quick: {use: llm_prompt, with: {model: scripted/q, prompt: q}}
  slow: {use: llm_prompt, with: {model: scripted/s, prompt: s}}
outputs: {said: ["{{ quick.content }}", "{{ slow.content }}"]}
"""
    models = {"quick": ({"text": "Q"},), "slow": ({"text": "S", "delay": 60},)}

    result = run_case(
        case(workflow, models=models, crash=Crash("quick"), expect=Expected(outputs={"said": ["Q", "S"]}))
    )

    assert result.passed, said(result)
    assert [request.activity_key for request in result.requests] == ["quick", "slow", "slow"]


def test_a_crash_that_never_comes_fails_the_case():
    result = run_case(case(SEQUENCE, models=ANSWERS, crash=Crash(10_000)))

    assert said(result) == "crash: the crash after 10000 never came"


# --- Others ---------------------------------------------------------------------------------------------------------


def test_a_workflow_that_another_one_starts_is_run_as_well():
    parent = "name: parent\nactivities:\n  sub: {workflow: {name: ask}, with: {question: Why}}\n"

    result = run_case(case(parent, children={"ask.yaml": ASK}, models={"answer": ({"text": "because"},)}))

    assert result.passed, said(result)


def test_a_wrong_input_fails_the_case_and_a_wrong_definition_is_invalid():
    wrong = run_case(case(ASK, input={"question": 3}))

    assert not wrong.passed
    assert "question" in said(wrong)
    with pytest.raises(Invalid, match="unknown key"):
        run_case(case("name: x\nactivitees: {}\n"))


def test_a_budget_given_at_the_start_holds():
    result = run_case(ask(limit=1, models={"answer": ({"text": "yes"},)}, unused="allowed"))

    assert result.view is not None
    assert result.view.error_code == "budget_exceeded"
