"""The folder of a workflow file: what is in it is read, what is not is refused, whatever way leads there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headgate.authoring import UnreadableFile
from headgate.cli.definition_folder import FILE_BYTES_MAX, DefinitionFolder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "outside.txt").write_text("secret")
    (tmp_path / "flows" / "prompts").mkdir(parents=True)
    return tmp_path / "flows"


def refusal(folder: Path, path: str) -> UnreadableFile:
    with pytest.raises(UnreadableFile) as refused:
        DefinitionFolder(folder).read(path)
    assert "secret" not in str(refused.value)
    return refused.value


def test_a_file_is_read_once_and_kept_to_be_sent_along(folder: Path):
    (folder / "prompts" / "a@1").write_text("first")
    files = DefinitionFolder(folder)

    before = files.read("prompts/a@1")
    (folder / "prompts" / "a@1").write_text("second")

    assert (before, files.read("prompts/a@1")) == ("first", "first")
    assert files.texts == {"prompts/a@1": "first"}


@pytest.mark.parametrize("path", ["../outside.txt", "prompts/../../outside.txt", "a\x00b"])
def test_a_way_out_of_the_folder_is_refused(folder: Path, path: str):
    assert "not inside of the workflow's folder" in str(refusal(folder, path))


def test_an_absolute_path_is_refused(folder: Path):
    assert "not inside of the workflow's folder" in str(refusal(folder, str(folder.parent / "outside.txt")))


def test_a_link_that_leads_out_is_refused_and_one_that_stays_is_followed(folder: Path):
    (folder / "out").symlink_to(folder.parent / "outside.txt")
    (folder / "real.py").write_text("OUTPUT = 1")
    (folder / "in.py").symlink_to("real.py")

    assert "a link that leads out" in str(refusal(folder, "out"))
    assert DefinitionFolder(folder).read("in.py") == "OUTPUT = 1"


def test_a_folder_that_is_a_link_out_is_refused_and_its_names_are_not_told(folder: Path):
    (folder / "linked").symlink_to(folder.parent)

    assert "a link that leads out" in str(refusal(folder, "linked/outside.txt"))
    assert refusal(folder, "linked/absent").neighbours == ()


def test_the_workflows_folder_itself_may_be_a_link(folder: Path, tmp_path: Path):
    (folder / "a.py").write_text("x")
    (tmp_path / "link").symlink_to(folder)

    assert DefinitionFolder(tmp_path / "link").read("a.py") == "x"


def test_what_is_no_plain_file_is_refused(folder: Path):
    os.mkfifo(folder / "pipe")
    (folder / "round").symlink_to("round")

    assert "no plain file" in str(refusal(folder, "pipe"))
    assert "a folder" in str(refusal(folder, "prompts"))
    assert "cannot be read" in str(refusal(folder, "round"))


def test_a_file_has_at_most_a_mebibyte(folder: Path):
    (folder / "most").write_text("x" * FILE_BYTES_MAX)
    (folder / "more").write_text("x" * (FILE_BYTES_MAX + 1))

    assert len(DefinitionFolder(folder).read("most")) == FILE_BYTES_MAX
    assert "at most 1,048,576 bytes" in str(refusal(folder, "more"))


def test_what_is_not_utf_8_is_refused_without_its_content(folder: Path):
    (folder / "latin").write_bytes(b"secret \xe9")

    assert "not UTF-8 text (byte 7)" in str(refusal(folder, "latin"))


def test_a_missing_file_is_told_with_its_neighbours(folder: Path):
    (folder / "prompts" / "a@1").write_text("")

    error = refusal(folder, "prompts/a@2")

    assert (error.missing, error.neighbours) == (True, ("a@1",))
