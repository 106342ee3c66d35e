"""`headgate test`: which cases it runs, what it says of them, and what its exit code means."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from tests.flow_with_cases import CASES, FLOW

from headgate.cli.program import run_program


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "w.yaml").write_text(FLOW)
    (tmp_path / "flows" / "w.test.yaml").write_text(CASES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    return tmp_path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        run_program(["test", *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_each_case_has_its_line_and_a_failed_one_its_difference(folder: Path, capsys: pytest.CaptureFixture[str]):
    code = run()

    said = capsys.readouterr()
    assert code == 1
    assert said.out.splitlines() == [
        "✓ flows/w.test.yaml: three is three",
        "✗ flows/w.test.yaml:5: three is four",
        "    outputs.n: another value",
        "      expected  4",
        "      got       3",
    ]
    assert said.err == "1 case passed, 1 failed\n"


def test_cases_can_be_chosen_by_a_part_of_their_name(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert run("-k", "IS THREE") == 0
    assert capsys.readouterr().err == "1 case passed, 0 failed\n"


def test_nothing_is_written_by_a_test(folder: Path):
    before = sorted(folder.rglob("*"))

    run()

    assert sorted(folder.rglob("*")) == before


def test_json_is_one_document(folder: Path, capsys: pytest.CaptureFixture[str]):
    code = run("--json", "flows")

    form = msgspec.json.decode(capsys.readouterr().out)
    assert code == 1
    assert (form["passed"], form["failed"]) == (1, 1)
    assert form["cases"][1]["mismatches"] == [
        {"where": "outputs.n", "message": "another value", "expected": 4, "got": 3}
    ]


def test_a_wrong_test_file_is_invalid_before_anything_runs(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "flows" / "w.test.yaml").write_text(CASES.replace("expect", "expcet"))

    code = run()

    said = capsys.readouterr()
    assert code == 2
    assert said.out == ""
    assert 'flows/w.test.yaml:4:5: unknown key "expcet" in a case. Did you mean "expect"?' in said.err


def test_a_folder_without_test_files_says_how_they_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)

    assert run() == 0
    assert "NAME.test.yaml" in capsys.readouterr().err


def test_activities_of_ones_own_are_taken_from_a_module(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "mine.py").write_text("def greet(parameters, ctx):\n    return 'Hello ' + parameters['name']\n")
    (folder / "own.yaml").write_text(
        "name: own\nactivities:\n  a: {use: greet, with: {name: Ann}}\noutputs: {said: '{{ a.result }}'}\n"
    )
    (folder / "own.test.yaml").write_text("cases: [{name: greets, expect: {outputs: {said: Hello Ann}}}]\n")

    assert run("own.test.yaml", "--activities", str(folder / "mine.py")) == 0, capsys.readouterr()
