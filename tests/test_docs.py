"""What the documents say is so: their examples run, their links lead somewhere, and every promise has its test.

- The ```python blocks of a page are one program, in the order of the page.
- A ```yaml block with `activities:` is a workflow that Headgate accepts.
- A ```console block's `$ headgate …` lines run in the order of the page, in a folder that holds `examples/`. They end
  with 0, or with what a comment on the line says: `$ headgate check typo.yaml  # ends with 2`. A block whose first line
  is `# name.ext` (in a template `{# name.ext #}`) is a file of that name, there for the examples of its page.
"""

from __future__ import annotations

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from headgate.authoring import given_files, load_definition

ROOT = Path(__file__).parents[1]
GUARANTEES = ROOT / "docs" / "GUARANTEES.md"
FENCE = re.compile(r"^( *)```([\w-]*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
ENDS_WITH = re.compile(r"\s+#.*\bends with (\d+)\b.*$")
PROOF = re.compile(r"\[`(test_\w+)`\]\(([^)]+\.py)\)")
SECONDS_MAX = 60


class Block(NamedTuple):
    """A fenced block: its language, its text, and the line of the page on which the text begins."""

    language: str
    text: str
    line: int


class Page(NamedTuple):
    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def blocks(self, language: str) -> list[Block]:
        return [block for block in blocks_of(self.text) if block.language == language]


def blocks_of(text: str) -> Iterator[Block]:
    for found in FENCE.finditer(text):
        yield Block(found[2], found[3], text.count("\n", 0, found.start(3)) + 1)


def pages() -> list[Page]:
    found = [
        *ROOT.glob("*.md"),
        *ROOT.glob("deploy/*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("examples/**/*.md"),
        *ROOT.glob("bench/*.md"),
    ]
    return [Page(path) for path in sorted(found)]


def pages_with(language: str) -> list[pytest.param]:
    return [pytest.param(page, id=page.name) for page in pages() if page.blocks(language)]


# --- Examples ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_with("python"))
def test_the_python_of_a_page_runs(page: Page, tmp_path: Path):
    lay_out(page, tmp_path)
    program = "".join(f"{block.text}\n" for block in page.blocks("python"))
    (tmp_path / "example.py").write_text(program, encoding="utf-8")

    done = run([sys.executable, "-W", "error", "example.py"], tmp_path)

    assert done.returncode == 0, f"The ```python blocks of {page.name}, as one program, fail:\n{done.stderr}"


@pytest.mark.parametrize("page", pages_with("yaml"))
def test_every_workflow_on_a_page_is_accepted(page: Page):
    for block in page.blocks("yaml"):
        if re.search(r"^activities:", block.text, re.MULTILINE):
            load_definition(block.text, source=f"{page.name}:{block.line}", read=given_files(files_of(page)))


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_with("console"))
def test_the_commands_of_a_page_run(page: Page, tmp_path: Path):
    lay_out(page, tmp_path)

    for block in page.blocks("console"):
        for command in commands_of(block.text):
            if not command.startswith("headgate"):
                continue
            expected = int(found[1]) if (found := ENDS_WITH.search(command)) else 0
            done = run(["bash", "-c", ENDS_WITH.sub("", command)], tmp_path)
            assert done.returncode == expected, (
                f"{page.name}, block at line {block.line}: `{command}` ended with {done.returncode}, not {expected}."
                f" If that is right, say it there: `# ends with {done.returncode}`.\n{done.stdout}{done.stderr}"
            )


def test_every_make_target_that_a_page_names_exists():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))

    named = {
        (page.name, word)
        for page in pages()
        for text in [*(block.text for block in page.blocks("console")), *re.findall(r"`([^`\n]+)`", page.text)]
        for word in re.findall(r"^(?:\$ )?make (\w+)$", text, re.MULTILINE)
    }

    assert named, "No page tells how to start."
    assert {(page, word) for page, word in named if word not in targets} == set()


# --- References --------------------------------------------------------------------------------------------


def test_every_verb_of_the_command_line_is_documented():
    from headgate.cli.program import program

    reference = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    verbs = program.list_commands(program.make_context("headgate", [], resilient_parsing=True))

    assert verbs
    assert [verb for verb in verbs if f"## `headgate {verb}`" not in reference] == []


def test_every_part_of_the_engine_is_in_the_table_of_its_architecture():
    told = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    parts = {file.name for file in (ROOT / "src/headgate/engine").glob("*.py")} - {"__init__.py"}

    assert {part for part in parts if f"`{part}`" not in told} == set()


def test_every_environment_variable_that_is_read_is_documented():
    reference = (ROOT / "docs" / "reference" / "environment.md").read_text(encoding="utf-8")
    ours = re.compile(r"\b((?:HEADGATE|KRUXIAFLOW)_[A-Z_]*[A-Z]|[A-Z_]+_(?:API_KEY|BASE_URL|ENDPOINT)|NO_COLOR)\b")

    read = {
        name
        for path in (ROOT / "src").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value
        for name in ours.findall(node.value)
    }

    assert read
    assert sorted(name for name in read if name not in reference) == []


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in pages()])
def test_every_link_leads_somewhere(page: Page):
    prose = FENCE.sub("", page.text)
    dead = [target for target in LINK.findall(prose) if not leads_somewhere(page, target)]

    assert dead == [], f"{page.name} links to what is not there: {', '.join(dead)}"


def limits() -> list[tuple[str, str]]:
    """The rows of docs/LIMITS.md: a constant of the package, and its value as written."""
    text = (ROOT / "docs" / "LIMITS.md").read_text(encoding="utf-8")
    return re.findall(r"^\|[^|]+\| `([\w.]+)` \| ([\d,]+) \|", text, re.MULTILINE)


@pytest.mark.parametrize(("constant", "written"), limits())
def test_every_limit_is_the_one_in_the_code(constant: str, written: str):
    module, _, name = constant.rpartition(".")

    value = getattr(importlib.import_module(f"headgate.{module}"), name)

    assert f"{value:,.0f}" == written, f"docs/LIMITS.md says {written} for {constant}, which is {value:,.0f}."


def test_there_are_limits():
    assert len(limits()) > 10


# --- Promises ----------------------------------------------------------------------------------------------


def promises() -> list[str]:
    """The rows of the tables: a promise, and its proofs."""
    rows = re.findall(r"^\|(.+)\|$", GUARANTEES.read_text(encoding="utf-8"), re.MULTILINE)
    return [row.strip() for row in rows if not re.match(r"\s*(-+|promise)\s*\|", row)]


@pytest.mark.parametrize("promise", [pytest.param(row, id=row.split("|")[0].strip()[:60]) for row in promises()])
def test_every_promise_names_tests_that_exist(promise: str):
    proofs = PROOF.findall(promise)

    assert proofs, f"Nothing proves it. Name a test as [`test_…`](../tests/….py), or do not promise it: {promise}"
    for name, link in proofs:
        path = (GUARANTEES.parent / link).resolve()
        assert path.is_file(), f"{link} is not there."
        assert name in functions_of(path), f"{link} has no {name}. Was it renamed?"


def test_there_are_promises():
    assert len(promises()) > 10


@cache
def functions_of(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


# --- How ---------------------------------------------------------------------------------------------------


def lay_out(page: Page, folder: Path) -> None:
    """Put the examples, and the files that the page shows, where its programs and commands will look for them."""
    if (ROOT / "examples").is_dir():
        shutil.copytree(ROOT / "examples", folder / "examples")
    for name, text in files_of(page).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def files_of(page: Page) -> dict[str, str]:
    """The files that the page shows, by their names."""
    named_by = re.compile(r"(?:#|//|\{#) ([\w./@-]+\.\w+)(?: #\})?\n")
    blocks = [(named_by.match(block.text), block) for block in blocks_of(page.text)]
    return {named[1]: block.text for named, block in blocks if named}


def commands_of(text: str) -> list[str]:
    joined = text.replace("\\\n", " ")
    return [line.removeprefix("$ ").strip() for line in joined.splitlines() if line.startswith("$ ")]


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run to its end in `folder`, without a terminal and without the keys that this machine's owner may have."""
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return subprocess.run(
        command,
        cwd=folder,
        env=kept | {"PATH": path, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )


def leads_somewhere(page: Page, target: str) -> bool:
    """Whether a relative link has its file, and its `#anchor` a heading. Other links are left to the reader."""
    if re.match(r"[a-z]+:", target):
        return True
    name, _, anchor = target.partition("#")
    path = (page.path.parent / name).resolve() if name else page.path
    if not path.exists() or not path.is_relative_to(ROOT):
        return False
    return not anchor or anchor in {anchor_of(heading) for heading in HEADING.findall(path.read_text(encoding="utf-8"))}


def anchor_of(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
