"""`headgate record`: a run of a database becomes a case of a file, which `headgate test` runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from headgate.cli.program import run_program

FLOW = """# kept as it is
name: w
inputs: {letter: string}
activities:
  a:
    use: llm_prompt
    with:
      model: demo/small
      prompt: "Summarise the letter in one sentence.\\n\\n<letter>\\n{{ INPUT.letter }}\\n</letter>"
      max_tokens: 50
outputs: {said: "{{ a.content }}"}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with a workflow, and a database with a finished run of it."""
    (tmp_path / "w.yaml").write_text(FLOW)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    assert run("run", "w.yaml", "--offline", "--input", "letter=The train was late. My name is Mortimer.") == 0
    capsys.readouterr()
    return tmp_path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        run_program([*arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_a_recorded_run_passes_at_once_and_under_test(folder: Path, capsys: pytest.CaptureFixture[str]):
    code = run("record", "-", "--name", "a late train")

    assert code == 0
    assert capsys.readouterr().out == "w.test.yaml: a late train, passes\n"
    assert run("test") == 0
    assert "✓ w.test.yaml: a late train" in capsys.readouterr().out


def test_a_second_case_is_added_and_one_of_the_same_name_is_not(folder: Path, capsys: pytest.CaptureFixture[str]):
    run("record", "-", "--name", "first")
    before = (folder / "w.test.yaml").read_text()

    added, again = run("record", "-", "--name", "second"), run("record", "-", "--name", "second")

    assert (added, again) == (0, 2)
    assert (folder / "w.test.yaml").read_text().startswith(before)
    assert 'has a case "second" already' in capsys.readouterr().err
    assert run("test", "-q") == 0


def test_values_of_secrets_are_masked_and_that_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("HEADGATE_SECRET_NAME", "Mortimer")

    code = run("record", "-")

    assert code == 0
    assert "masked" in capsys.readouterr().err
    assert "Mortimer" not in (folder / "w.test.yaml").read_text()


def test_another_folder_gets_a_file_that_names_the_workflow(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "tests").mkdir()

    code = run("record", "-", "--out", "tests/late.test.yaml", "--workflow", "w.yaml")

    assert code == 0, capsys.readouterr()
    assert (folder / "tests" / "late.test.yaml").read_text().startswith('workflow: "../w.yaml"\n')


def test_a_workflow_that_has_changed_since_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "w.yaml").write_text(FLOW.replace("one sentence", "two sentences"))

    code = run("record", "-")

    assert code == 2
    assert "--workflow" in capsys.readouterr().err
    assert not (folder / "w.test.yaml").exists()


def test_a_file_of_another_name_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert run("record", "-", "--out", "w.yaml") == 2
    assert (folder / "w.yaml").read_text() == FLOW
    assert "NAME.test.yaml" in capsys.readouterr().err
