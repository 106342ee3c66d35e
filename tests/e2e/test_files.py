"""Files go in, through and out of a run: as file values, as text where a template uses them, and back as bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from headgate.cli.program import program

PICTURE = bytes(range(256)) * 300
FLOW = """
name: files
inputs: {scan: {type: file}, note: {type: file}}
activities:
  echo: {use: echo, with: {scan: "{{ INPUT.scan }}", note: "{{ INPUT.note }}"}}
  made:
    use: transform
    with: {text: "noted: {{ INPUT.note }}"}
  report:
    use: script
    with: {text: "{{ made.text }}", script: "OUTPUT['letter'] = INPUT['text'] * 2; OUTPUT['n'] = 2"}
    outputs: [{name: letter, type: file}, n]
  used: {use: echo, with: {whole: "{{ report.letter }}", part: "<{{ report.letter }}>"}}
  copy: {use: file_write, with: {path: out/copy.bin, content: "{{ INPUT.scan }}"}}
  back: {use: file_read, after: [copy], with: {file: out/copy.bin}}
  again: {use: file_read, with: {file: "{{ copy.file }}", as: base64}}
outputs:
  same: "{{ back.content == again.content }}"
"""


def headgate(*arguments: str) -> Result:
    return CliRunner().invoke(program, list(arguments), standalone_mode=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flow.yaml").write_text(FLOW)
    (tmp_path / "scan.png").write_bytes(PICTURE)
    (tmp_path / "note.txt").write_text("Grüße ☃")
    return tmp_path


def outputs() -> dict[str, dict[str, object]]:
    shown = json.loads(headgate("show", "-", "--json").stdout)
    assert shown["status"] == "completed", shown
    return {activity["key"]: activity["output"] for activity in shown["activities"]}


def test_a_picture_goes_in_as_a_file_value_and_comes_out_as_the_same_bytes(folder: Path):
    result = headgate("run", "flow.yaml", "--input", "scan=@scan.png", "--input", "note=@note.txt")

    found = outputs()
    scan = found["echo"]["scan"]
    assert isinstance(scan, dict)
    assert (scan["name"], scan["size"], scan["media_type"]) == ("scan.png", len(PICTURE), "image/png")
    assert (folder / "out" / "copy.bin").read_bytes() == PICTURE
    assert json.loads(result.stdout) == {"same": True}
    headgate("files", "-", "INPUT.scan", "--out", "taken.png")
    assert (folder / "taken.png").read_bytes() == PICTURE


def test_the_bytes_of_a_picture_do_not_stand_in_the_log(folder: Path):
    headgate("run", "flow.yaml", "--input", "scan=@scan.png", "--input", "note=@note.txt")

    events = [json.loads(line) for line in headgate("events", "-", "--json").stdout.splitlines()]
    inputs = [event for event in events if event["type"] in ("run_started", "activity_completed")]
    assert all(len(json.dumps(event)) < 120_000 for event in inputs)
    assert len(json.dumps(inputs[0])) < 2_000


def test_a_text_file_is_text_and_an_output_declared_as_a_file_is_kept_and_read_again_as_text(folder: Path):
    headgate("run", "flow.yaml", "--input", "scan=@scan.png", "--input", "note=@note.txt")

    found = outputs()
    letter, text = found["report"]["letter"], "noted: Grüße ☃" * 2
    assert found["echo"]["note"] == "Grüße ☃"
    assert isinstance(letter, dict)
    assert (letter["name"], letter["size"]) == ("letter.txt", len(text.encode()))
    assert found["report"]["n"] == 2
    assert found["used"] == {"whole": text, "part": f"<{text}>"}
    listed = json.loads(headgate("files", "-", "--json").stdout)
    assert {file["at"] for file in listed} == {"INPUT.scan", "echo.scan", "report.letter", "copy.file"}


def test_a_file_that_is_not_there_is_named(folder: Path):
    headgate("run", "flow.yaml", "--input", "scan=@scan.png", "--input", "note=@note.txt")

    with pytest.raises(Exception, match=r"no file 'chart'; INPUT\.scan"):
        raise headgate("files", "-", "chart").exception or AssertionError("it was found")


def test_an_output_that_is_not_there_cannot_be_kept_as_a_file(folder: Path):
    (folder / "flow.yaml").write_text(FLOW.replace("OUTPUT['letter']", "OUTPUT['lettre']"))

    headgate("run", "flow.yaml", "--input", "scan=@scan.png", "--input", "note=@note.txt")

    shown = headgate("show", "-", "--json").stdout
    assert "declares the file 'letter'" in shown
    assert json.loads(shown)["status"] == "failed"


DOCUMENT = """
name: document
inputs: {page: {type: file}}
activities:
  read: {use: document_text, with: {file: "{{ INPUT.page }}"}}
  said: {use: echo, with: {text: "<{{ INPUT.page }}>"}}
"""


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("page.html", "<html><head><title>T</title></head><body><p>One</p>\n<p>Two</p></body></html>", "One"),
        ("page.txt", "One\nTwo\n", "One"),
    ],
)
def test_a_document_that_comes_in_is_read_as_what_it_is_and_used_in_a_text_as_its_own(
    folder: Path, name: str, content: str, text: str
):
    (folder / "flow.yaml").write_text(DOCUMENT)
    (folder / name).write_text(content)

    headgate("run", "flow.yaml", "--input", f"page=@{name}")

    found = outputs()
    assert str(found["read"]["text"]).startswith(text)
    assert "<p>" not in str(found["read"]["text"])
    assert found["said"]["text"] == f"<{content}>"
