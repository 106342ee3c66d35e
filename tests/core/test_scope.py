"""What names mean: `<key>` in every kind of activity, and secrets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headgate.core.expression import ExpressionError, compile_condition, compile_value
from headgate.core.scope import ActivityView, MarkedSecrets, SecretView, View
from headgate.core.values import Failure


def activity(output: object = None, iterations: list[object] | None = None, **changes: Any) -> ActivityView:
    told: dict[str, Any] = {
        "key": "a",
        "own": "result",
        "declared": (),
        "status": "completed",
        "error": None,
        "iteration": 2,
        "cost_nano": 1_500_000,
        "accumulated_cost_nano": 2_000_000_000,
        "remaining_budget_nano": 250_000_000,
        "results": lambda: output,
        "history": lambda: [output] if iterations is None else iterations,
    }
    return ActivityView(**(told | changes))


def read(text: str, view: View, name: str = "a") -> object:
    return compile_value(f"{{{{ {text} }}}}", where="here").render({name: view})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.status", "completed"),
        ("a.error", None),
        ("a.iteration", 2),
        ("a.cost_usd", 0.0015),
        ("a.accumulated_cost_usd", 2.0),
        ("a.total_cost_usd", 2.0),
        ("a.remaining_budget_usd", 0.25),
        ("a.result.status", 404),
        ("a.result.cost_usd", 9),
        ("a.body", "B"),
        ("a.tpyo", None),
        ("a['body']", "B"),
        ("a", {"result": {"status": 404, "cost_usd": 9, "body": "B"}, "status": "completed"}),
        ("[a]", [{"result": {"status": 404, "cost_usd": 9, "body": "B"}, "status": "completed"}]),
    ],
)
def test_a_status_word_comes_first_then_the_own_output_then_a_field(text: str, expected: object):
    view = activity({"status": 404, "cost_usd": 9, "body": "B"})

    assert read(text, view) == expected


def test_the_own_output_name_is_that_of_the_activitys_kind():
    view = activity({"status": 200, "body": {"id": 7}}, own="response")

    assert read("a.response.body.id", view) == 7
    assert read("a.response.status", view) == 200
    assert read("a.result", view) is None


@pytest.mark.parametrize("error", [Failure("timed_out", "too slow"), {"code": "timed_out", "message": "too slow"}])
def test_an_error_has_code_and_message(error: object):
    view = activity(status="failed", error=error)

    assert read("a.error", view) == {"code": "timed_out", "message": "too slow"}
    assert compile_condition("{{a.error.code}} == 'timed_out'", where="here").truth({"a": view})


def test_no_budget_is_null():
    assert read("a.remaining_budget_usd", activity(remaining_budget_nano=None)) is None


def test_the_only_declared_output_is_the_whole_result():
    view = activity({"embeddings": [[1.0]], "cost_usd": 0.1}, declared=("embeddings",))

    assert read("a.embeddings.embeddings", view) == [[1.0]]
    assert read("a.embeddings.cost_usd", view) == 0.1
    assert read("a.result.embeddings", view) == [[1.0]]


def test_one_of_several_declared_outputs_is_the_results_field():
    view = activity({"x": 1, "y": 2}, declared=("x", "y", "z"))

    assert read("[a.x, a.y, a.z]", view) == [1, 2, None]


@pytest.mark.parametrize("declared", [(), ("result",), ("url",), ("url", "result")])
def test_an_output_that_somebody_elses_activity_names_is_read_by_that_name_first(declared: tuple[str, ...]):
    view = activity({"result": {"n": 1}, "url": "u", "status": 404}, declared=declared, custom=True)

    assert (read("a.result.n", view), read("a.url", view), read("a.status", view)) == (1, "u", "completed")


def test_what_somebody_elses_activity_does_not_name_is_the_whole_result():
    view = activity({"n": 1}, declared=("answer",), custom=True)

    assert (read("a.result.n", view), read("a.answer.n", view), read("a.n", view)) == (1, 1, 1)
    assert read("a.result", activity("text", custom=True)) == "text"


def test_a_declared_output_of_a_script_is_the_results_field_where_there_is_one():
    view = activity({"stats": {"mean": 3}}, declared=("stats",), script=True)

    assert read("a.stats.mean", view) == 3
    assert read("a.result.stats.mean", view) == 3


def test_a_models_json_text_lends_its_fields():
    view = activity({"content": ' {"sufficient": true, "gaps": ["g"], "content": "inner"}', "model": "m"}, llm=True)
    declared = activity({"content": '{"sufficient": true}', "model": "m"}, llm=True, declared=("sufficient",))

    assert read("a.gaps", view) == ["g"]
    assert read("a.model", view) == "m"
    assert str(read("a.content", view)).startswith(" {")
    assert read("a.sufficient", declared) is True


@pytest.mark.parametrize("content", ["plain text", "{broken", "[1]", "", None])
def test_a_models_other_text_lends_nothing(content: object):
    whole = {"content": content, "model": "m"}

    assert read("a.gaps", activity(whole, llm=True)) is None
    assert read("a.answer", activity(whole, llm=True, declared=("answer",))) == whole


def test_json_text_of_another_activity_stays_text():
    assert read("a.gaps", activity({"content": '{"gaps": 1}'})) is None


def test_what_has_not_run_is_null_all_the_way_down():
    view = activity(None, iterations=[], status="not_scheduled")

    assert read("a.result", view) is None
    assert read("a.result.content.deeper", view) is None
    assert read("a.result.content | default('none yet')", view) == "none yet"
    assert read("a.result | length", view) == 0
    assert read("a[*].result", view) == []
    assert compile_condition("a.result == null && !a.result", where="here").truth({"a": view})
    assert compile_value("{% for x in a.result %}x{% endfor %}.", where="here").render({"a": view}) == "."


def test_all_iterations_are_read_with_a_star():
    view = activity({"n": 2}, iterations=[{"n": 1}, None, {"n": 2}])

    assert read("a[*].result", view) == [{"n": 1}, None, {"n": 2}]
    assert read("a[*].result.n", view) == [1, None, 2]
    assert read("a[*].n", view) == [1, None, 2]
    assert read("a[*].n | length", view) == 3
    assert read("a.n", view) == 2
    assert read("a[*]", view) == [{"n": 1}, None, {"n": 2}]


def test_an_iteration_scoped_output_is_an_array_that_reads_as_its_latest():
    view = activity({"content": "two"}, iterations=[{"content": "one"}, {"content": "two"}], scoped=True)

    assert read("a.result", view) == [{"content": "one"}, {"content": "two"}]
    assert read("a.result.content", view) == "two"
    assert read("a.content", view) == "two"
    assert read("a.result | length", view) == 2
    assert read("a.result[0].content", view) == "one"
    assert json.loads(str(read("a.result | json", view))) == [{"content": "one"}, {"content": "two"}]


def test_an_iteration_scoped_output_is_empty_before_the_first():
    view = activity(None, iterations=[], scoped=True)

    assert read("a.result", view) == []
    assert read("a.result.content", view) is None
    assert read("a.result | length", view) == 0


def test_a_field_of_a_fan_out_is_mapped_over_its_items():
    view = activity([{"content": "x"}, None, {"content": "z"}], fan_out=True)

    assert read("a.content", view) == ["x", None, "z"]
    assert read("a.result.content", view) == ["x", None, "z"]
    assert read("a.result", view) == [{"content": "x"}, None, {"content": "z"}]
    assert read("a.result[2].content", view) == "z"
    assert read("a.content | first", view) == "x"
    assert compile_value("all: {{ a.content }}", where="here").render({"a": view}) == 'all: ["x",null,"z"]'
    assert (
        compile_value("{% for c in a.content %}{{ c }};{% endfor %}", where="here").render({"a": view}) == "x;null;z;"
    )


def test_a_fan_out_over_models_reads_their_json_text():
    view = activity([{"content": '{"score": 1}'}, {"content": '{"score": 2}'}], fan_out=True, llm=True)

    assert read("a.score | sum", view) == 3


def test_an_empty_fan_out_is_an_empty_list():
    assert read("a.content", activity([], fan_out=True)) == []


def test_outputs_are_loaded_when_they_are_needed_and_once():
    loads: list[str] = []

    def results() -> object:
        loads.append("latest")
        return {"x": 1}

    def history() -> list[object]:
        loads.append("history")
        return [{"x": 1}]

    view = activity(results=results, history=history)

    assert read("[a.status, a.iteration, a.error]", view) == ["completed", 2, None]
    assert loads == []

    assert read("[a.x, a.result.x, a[*].x, a[*].result.x]", view) == [1, 1, [1], [1]]
    assert loads == ["latest", "history"]


def test_a_secret_is_read_by_name():
    template = compile_value("Bearer {{ SECRET.api_key }}", where="here")

    assert template.render({"SECRET": SecretView({"API_KEY": "s3cret"})}) == "Bearer s3cret"


@pytest.mark.parametrize("text", ["SECRET.api_kee", "SECRET['api_kee']", "SECRET.api_kee | default('x')"])
def test_an_unknown_secret_names_its_variable_and_no_value(text: str):
    with pytest.raises(ExpressionError, match="HEADGATE_SECRET_API_KEE") as caught:
        read(text, SecretView({"api_key": "s3cret"}), "SECRET")

    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("text", ["SECRET", "SECRET | json", "[SECRET]", "SECRET ~ ''", "SECRET.keys()", "SECRET[*]"])
@pytest.mark.parametrize("secrets", [SecretView({"api_key": "s3cret"}), MarkedSecrets()])
def test_all_secrets_at_once_cannot_be_had(text: str, secrets: View):
    with pytest.raises(ExpressionError, match="name the secret"):
        read(text, secrets, "SECRET")


def test_for_the_hash_a_secret_is_its_name():
    template = compile_value({"key": "{{ SECRET.api_key }}"}, where="here")

    assert template.render({"SECRET": MarkedSecrets()}) == {"key": "secret:API_KEY"}
