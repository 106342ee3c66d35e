"""`headgate init`: what it writes works at once, for nothing and offline, and what was there stays there."""

from __future__ import annotations

import json
import re
import shlex
import socket
from pathlib import Path

import pytest

from headgate.authoring import load_with_warnings
from headgate.cli import exit_codes
from headgate.cli.init_verb import FOLDER, TEMPLATES
from headgate.cli.program import VERBS, run_program
from headgate.testing.case_file import load_cases
from headgate.testing.case_runner import run_case

NAMES = list(TEMPLATES)
SHARED = {".env.example", "AGENTS.md", "README.md"}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """No socket may be connected; what tried to is listed."""
    tried: list[object] = []

    def refuse(_socket: socket.socket, address: object) -> None:
        tried.append(address)
        raise AssertionError(f"a connection to {address} was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("HEADGATE_DB", raising=False)
    return tried


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def headgate(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        run_program(list(words))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def initialised(name: str, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """Write a template here; return the commands that it names, in words."""
    assert headgate("init", "--template", name) == 0
    lines = capsys.readouterr().out.splitlines()
    return [shlex.split(line)[1:] for line in lines]


# --- What it writes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_commands_that_a_template_names_work_as_they_stand_and_offline(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str], offline: list[object]
):
    check, test, run = initialised(name, capsys)

    codes = headgate(*check, "--strict"), headgate(*test), headgate(*run)

    assert codes == (0, 0, exit_codes.WAITS_FOR_PERSON if TEMPLATES[name].waits else exit_codes.COMPLETED)
    assert "warning" not in capsys.readouterr().out
    assert offline == []


def test_the_run_that_waits_is_approved_with_one_more_command(folder: Path, capsys: pytest.CaptureFixture[str]):
    *_, run = initialised("approval", capsys)
    headgate(*run)
    headgate("approve", "-", "--work")
    capsys.readouterr()

    headgate("show", "-", "--outputs")

    outputs = json.loads(capsys.readouterr().out)
    assert (outputs["filed"], outputs["department"]) == (True, "repairs")
    assert "leaks at the lower valve" in outputs["summary"]


@pytest.mark.parametrize("name", NAMES)
def test_a_template_has_a_workflow_a_test_of_several_cases_input_and_what_one_needs_to_know(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
):
    initialised(name, capsys)

    written = set(contents(folder))
    assert {f"{name}.yaml", f"{name}.test.yaml"} | SHARED < written
    assert len(load_cases(folder / f"{name}.test.yaml")) >= 2


@pytest.mark.parametrize("name", NAMES)
def test_a_template_has_one_line_that_names_its_model_and_says_how_to_change_it(name: str):
    text = (FOLDER / name / f"{name}.yaml").read_text(encoding="utf-8")

    lines = [line for line in text.splitlines() if "demo/small" in line and not line.startswith("#")]
    assert len(lines) == 1
    assert "change the one line that says `demo/small`" in " ".join(text.split("\n# "))
    assert (
        load_with_warnings(text.replace(lines[0], lines[0].replace("demo/small", "openai/gpt-5-mini"))).warnings == ()
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_cases_of_a_template_stay_green_and_free_with_a_real_model(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str], offline: list[object]
):
    initialised(name, capsys)
    flow = folder / f"{name}.yaml"
    flow.write_text(flow.read_text().replace("default: demo/small", "default: openai/gpt-5-mini"))

    assert headgate("test") == 0
    assert offline == []


def test_another_text_has_another_outcome(folder: Path, capsys: pytest.CaptureFixture[str]):
    initialised("script", capsys)

    headgate("run", "script.yaml", "--quiet", "--input", "sales=day,shop,amount\n2026-01-01,Quay,7.50\n")

    outputs = json.loads(capsys.readouterr().out)
    assert outputs["shops"] == [{"shop": "Quay", "amount": "7.50"}]
    assert "Quay" in outputs["sentence"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("page", ["AGENTS.md", "README.md"])
def test_what_the_pages_name_is_there(name: str, page: str, folder: Path, capsys: pytest.CaptureFixture[str]):
    initialised(name, capsys)

    text = (folder / page).read_text(encoding="utf-8")

    words = re.findall(r"headgate ([a-z]+)", text)
    linked = re.findall(r"\]\(([^)]+)\)", text)
    assert len(words) > 5
    assert set(words) <= set(VERBS)
    assert all((folder / link).is_file() for link in linked)
    assert not re.search(r"\{(name|about|run|commands)\}", text)


def test_the_format_that_agents_are_told_is_the_one_that_works(folder: Path, capsys: pytest.CaptureFixture[str]):
    initialised("approval", capsys)
    flow, case = re.findall(r"```yaml\n(.*?)```", (folder / "AGENTS.md").read_text(encoding="utf-8"), re.DOTALL)
    (folder / "example.yaml").write_text(flow)
    (folder / "example.test.yaml").write_text(case)

    loaded = load_with_warnings(flow)
    [result] = [run_case(case) for case in load_cases(folder / "example.test.yaml")]

    assert loaded.warnings == ()
    assert result.mismatches == ()
    assert result.crashes == 1


# --- What was there ------------------------------------------------------------------------------------------------


def test_a_second_init_refuses_and_loses_nothing(folder: Path, capsys: pytest.CaptureFixture[str]):
    initialised("approval", capsys)
    (folder / "approval.yaml").write_text("mine now")
    before = contents(folder)

    code = headgate("init")

    assert code == exit_codes.INVALID
    assert contents(folder) == before
    assert "approval.yaml, approval.test.yaml" in (said := capsys.readouterr().err)
    assert "--force" in said


def test_where_one_file_is_in_the_way_no_other_is_written(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "README.md").write_text("mine")

    code = headgate("init")

    assert code == exit_codes.INVALID
    assert contents(folder) == {"README.md": b"mine"}
    assert "README.md already" in capsys.readouterr().err


def test_files_of_other_names_stay_as_they_are(folder: Path):
    (folder / "notes.txt").write_text("mine")
    (folder / ".env").write_text("OPENAI_API_KEY=k")

    assert headgate("init", "--template", "batch") == 0

    assert contents(folder)["notes.txt"] == b"mine"
    assert contents(folder)[".env"] == b"OPENAI_API_KEY=k"


def test_force_replaces_and_leaves_alone_what_a_link_leads_to(folder: Path):
    (folder / "elsewhere").write_text("mine")
    (folder / "approval.yaml").symlink_to(folder / "elsewhere")
    (folder / "README.md").write_text("mine")

    assert headgate("init", "--force") == 0

    assert (folder / "elsewhere").read_text() == "mine"
    assert not (folder / "approval.yaml").is_symlink()
    assert (folder / "README.md").read_text().startswith("# approval")


def test_a_link_that_leads_nowhere_is_in_the_way_too(folder: Path):
    (folder / "approval.yaml").symlink_to(folder / "nowhere")

    assert headgate("init") == exit_codes.INVALID
    assert not (folder / "nowhere").exists()


def test_a_folder_is_made_and_the_way_there_is_told(folder: Path, capsys: pytest.CaptureFixture[str]):
    code = headgate("init", "a/new folder", "--template", "script")

    said = capsys.readouterr().out.splitlines()
    assert code == 0
    assert said[0] == "cd 'a/new folder'"
    assert len(said) == 4
    assert (folder / "a" / "new folder" / "script.yaml").is_file()


def test_what_is_no_folder_is_named(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "taken").write_text("")

    assert headgate("init", "taken") == exit_codes.INVALID
    assert "taken cannot be written" in capsys.readouterr().err


# --- Which there are -----------------------------------------------------------------------------------------------


def test_the_list_names_every_template_and_writes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert headgate("init", "--list") == 0

    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == NAMES
    assert contents(folder) == {}
    assert {path.name for path in FOLDER.iterdir()} == {*NAMES, "shared"}


def test_an_unknown_template_is_answered_with_those_there_are(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert headgate("init", "--template", "rag") == exit_codes.INVALID

    assert "'rag'; there are approval, batch, rag-chat, script" in capsys.readouterr().err
    assert contents(folder) == {}


def test_as_json_the_files_and_the_next_commands_come_as_data(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert headgate("init", "--json") == 0

    said = json.loads(capsys.readouterr().out)
    assert set(said["files"]) == set(contents(folder))
    assert said["next"][1] == "headgate test"


def test_every_variable_of_the_environment_has_a_word_of_what_it_is_for():
    lines = (FOLDER / "shared" / "env.example").read_text(encoding="utf-8").splitlines()

    variables = {line for line in lines if re.fullmatch(r"#[A-Z_]+=", line)}
    assert {"#OPENAI_API_KEY=", "#MISTRAL_API_KEY=", "#OLLAMA_BASE_URL=", "#AZURE_OPENAI_ENDPOINT="} <= variables
    for index, line in enumerate(lines):
        if line in variables:
            said = next(other for other in reversed(lines[:index]) if other not in variables)
            assert said.startswith("# ")
