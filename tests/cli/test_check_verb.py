"""`headgate check` and `headgate schema` as programs use them: exit codes, the JSON of a report, warnings apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from headgate.cli.program import run_program

FLOW = """name: x
inputs: {docs: array}
budget: 0.25
activities:
  each:
    use: llm_prompt
    for_each: "{{ INPUT.docs }}"
    retry: 2
    with: {model: demo/small, template: sum@1, max_tokens: 100}
  last: {use: http_request, after: [each], with: {url: "http://localhost", method: POST}}
"""
WARNED = "name: x\nactivities:\n  a: {use: echo, when: false}\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "sum@1.md").write_text("Summarise: {{ ITEM }}")
    (tmp_path / "flow.yaml").write_text(FLOW)
    (tmp_path / "warned.yaml").write_text(WARNED)
    return tmp_path


def headgate(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        run_program(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    headgate("check", "--json", *arguments)
    (found,) = json.loads(capsys.readouterr().out)
    return found


def test_what_holds_for_each_activity_is_told(capsys: pytest.CaptureFixture[str]):
    each, last = report(capsys, "flow.yaml")["activities"]

    assert (each["attempts"], each["attempts_note"], each["timeout_seconds"]) == (2, "retry", 300.0)
    assert each["max_tokens"] == 100
    assert each["prompt"].startswith("sum@1#")
    assert last["attempts"] == 4
    assert "sent again only when" in last["attempts_note"]


def test_warnings_are_apart_and_count_as_errors_only_with_strict(capsys: pytest.CaptureFixture[str]):
    code = headgate("check", "warned.yaml")
    printed = capsys.readouterr().out
    strict = headgate("check", "--strict", "warned.yaml")

    assert (code, strict) == (0, 2)
    assert printed.startswith("warning: warned.yaml:3:18: a never runs")


def test_the_json_of_a_report_keeps_its_fields(capsys: pytest.CaptureFixture[str]):
    found = report(capsys, "warned.yaml")

    assert found.keys() == {"file", "valid", "problems", "warnings", "name", "version", "activities"}
    (warning,) = found["warnings"]
    assert warning.keys() == {"message", "path", "line", "column", "source", "text"}
    assert (found["valid"], warning["line"], warning["source"]) == (True, 3, "warned.yaml")


def test_a_missing_version_of_a_prompt_is_told_with_those_there_are(capsys: pytest.CaptureFixture[str], folder: Path):
    (folder / "flow.yaml").write_text(FLOW.replace("sum@1", "sum@2"))

    code = headgate("check", "flow.yaml")

    assert code == 2
    assert 'flow.yaml:9:41: there is no version "2" of the prompt sum' in (printed := capsys.readouterr().out)
    assert "There is 1." in printed


def test_with_a_sample_input_the_most_that_a_run_costs_is_told(capsys: pytest.CaptureFixture[str]):
    found = report(capsys, "flow.yaml", "--input", 'docs=["a", "bb"]')["estimate"]

    (each,) = found["activities"]
    assert (each["calls"], each["attempts"], each["simulated"]) == (2, 2, True)
    assert found["most_usd"] == 0
    assert found["simulated_usd"] == each["most_usd"] > each["per_attempt_usd"] > 0
    assert found["budget_usd"] == 0.25


def test_the_estimate_of_an_attempt_is_what_the_engine_reserves_for_it(
    capsys: pytest.CaptureFixture[str], folder: Path
):
    (folder / "flow.yaml").write_text(FLOW[: FLOW.index("  last:")])
    sample = ("--input", f'docs=["{"Ships carry grain up the river. " * 20}"]')

    told = report(capsys, "flow.yaml", *sample)["estimate"]["activities"][0]["per_attempt_usd"]
    headgate("run", "flow.yaml", "--quiet", *sample)
    capsys.readouterr()
    headgate("events", "-", "--json")

    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    reserved = [float(event["fields"]["reservation_usd"]) for event in events if event["type"] == "call_admitted"]
    assert reserved == [told]


def test_a_price_that_was_set_counts(capsys: pytest.CaptureFixture[str], folder: Path):
    text = "name: x\nbudget: 1\nactivities:\n  p: {use: llm_prompt, with: {model: openai/ours, prompt: x}}\n"
    (folder / "own.yaml").write_text(text)

    before = headgate("check", "own.yaml")
    said = capsys.readouterr().out
    headgate("prices", "set", "openai/ours", "--input", "1", "--output", "2")

    assert (before, headgate("check", "own.yaml")) == (2, 0)
    assert "own.yaml:4:38: under a budget every call of 'p' would be refused: no price is known of openai/ours" in said


def test_a_misspelt_model_is_answered_with_the_one_that_it_may_have_been(
    capsys: pytest.CaptureFixture[str], folder: Path
):
    text = "name: x\nactivities:\n  p: {use: llm_prompt, with: {model: mistral/mistral-larg, prompt: x}}\n"
    (folder / "own.yaml").write_text(text)

    headgate("check", "own.yaml")

    assert "no price is known of mistral/mistral-larg (did you mean mistral/mistral-large" in capsys.readouterr().out


def test_a_sample_input_that_does_not_fit_is_refused(capsys: pytest.CaptureFixture[str]):
    code = headgate("check", "flow.yaml", "--input", "docs=3")

    assert code == 2
    assert "expected docs to be a list, got 3" in capsys.readouterr().out


def test_the_estimate_reads_like_a_bill_with_its_assumptions(capsys: pytest.CaptureFixture[str]):
    headgate("check", "flow.yaml", "--input", 'docs=["a"]')

    printed = capsys.readouterr().out
    assert "each: 1 × 2 attempts of at most $" in printed
    assert "(demo prices)" in printed
    assert "supposing that every attempt fails but the last" in printed


def test_a_run_takes_its_prompt_from_the_folder_of_its_file(capsys: pytest.CaptureFixture[str], folder: Path):
    (folder / "flows" / "prompts").mkdir(parents=True)
    (folder / "flows" / "prompts" / "say@1.txt").write_text("Summarise: {{ INPUT.text }}")
    (folder / "flows" / "f.yaml").write_text(
        "name: f\nactivities:\n  p: {use: llm_prompt, with: {model: demo/small, template: say@1, max_tokens: 60}}\n"
        "outputs: {said: '{{ p.content }}'}\n"
    )
    text = "Rivers carry ships. Ships carry grain. Grain feeds the town through the winter."

    code = headgate("run", "flows/f.yaml", "--input", f"text={text}", "--quiet")

    assert code == 0
    assert json.loads(capsys.readouterr().out)["said"]


def test_the_schema_is_printed_or_written(capsys: pytest.CaptureFixture[str], folder: Path):
    assert headgate("schema") == 0
    printed = json.loads(capsys.readouterr().out)

    assert headgate("schema", "--out", "schema.json") == 0

    assert printed == json.loads((folder / "schema.json").read_text())
    assert printed["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_a_schema_that_cannot_be_written_is_refused(capsys: pytest.CaptureFixture[str]):
    assert headgate("schema", "--out", "absent/schema.json") == 2
    assert "absent/schema.json cannot be written" in capsys.readouterr().err


def test_of_many_files_those_with_cases_are_left_to_their_own_verb(capsys: pytest.CaptureFixture[str]):
    Path("flow.test.yaml").write_text("cases: []\n")

    code = headgate("check", "flow.yaml", "flow.test.yaml")

    assert code == 0
    assert "`headgate test` runs them" in capsys.readouterr().err
