"""`headgate audit`, `backup` and `restore`: what they say, what they refuse, and what a stranger can check."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

import apsw
import pytest
from click.testing import CliRunner, Result

from headgate.cli import exit_codes
from headgate.cli.program import program
from headgate.stores.ownership import Ownership
from headgate.stores.sqlite import SqliteLog
from headgate.testing.log_conformance import HandmadeRun

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "keep-and-erase.md"
LARGE = "ü" * 40_000


def call(database: Path, *words: str) -> Result:
    return CliRunner().invoke(program, [*words, "--db", str(database)], standalone_mode=False)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Two runs of four events."""

    async def fill() -> None:
        log = SqliteLog(tmp_path / "log.db")
        for name in ("run-a", "run-b"):
            assert await HandmadeRun(log, name).commit([{"n": 1.50}, None, "two\n", LARGE]) == "accepted"
        await log.close()

    asyncio.run(fill())
    return tmp_path / "log.db"


def tamper(database: Path, statement: str) -> None:
    connection = apsw.Connection(str(database))
    for name in ("events_are_never_changed", "contents_are_only_erased", "events_are_never_deleted"):
        connection.execute(f"drop trigger if exists {name}")
    connection.execute(statement)
    connection.close()


# --- verify ------------------------------------------------------------------------------------------------


def test_a_log_that_holds_ends_with_zero(database: Path):
    result = call(database, "audit", "verify")

    assert result.return_value == exit_codes.COMPLETED
    assert "2 runs checked, 0 faults" in result.stdout


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("update events set data = x'00' where pos = 6", {"run": "run-b", "version": 2, "position": 6, "kind": "hash"}),
        ("update events set hash = x'00' where pos = 3", {"run": "run-a", "version": 3, "position": 3, "kind": "hash"}),
        ("update events set content = x'31' where pos = 5", {"run": "run-b", "version": 1, "kind": "content"}),
        ("delete from blobs where run = 1", {"run": "run-a", "version": 4, "kind": "content"}),
        ("delete from events where pos = 6", {"run": "run-b", "version": 2, "kind": "missing", "position": 0}),
        ("update runs set hash = x'00' where key = 1", {"run": "run-a", "version": 4, "kind": "head"}),
        ("update events set at = 0 where pos = 1", {"run": "run-a", "version": 1, "kind": "columns"}),
        ("delete from runs where key = 1", {"run": "", "version": 0, "position": 1, "kind": "unexplained"}),
    ],
)
def test_a_log_that_does_not_hold_ends_with_one_and_names_the_first_event(database: Path, statement: str, fault: dict):
    tamper(database, statement)

    result = call(database, "audit", "verify", "--json")

    faults = json.loads(result.stdout)["faults"]
    assert result.return_value == exit_codes.FAILED
    assert any(fault.items() <= found.items() for found in faults)
    assert len({found["run"] for found in faults} - {""}) <= 1


def test_only_the_named_runs_are_verified(database: Path):
    tamper(database, "update events set data = x'00' where pos = 6")

    assert call(database, "audit", "verify", "run-a").return_value == exit_codes.COMPLETED
    assert call(database, "audit", "verify", "run-a", "run-b").return_value == exit_codes.FAILED


# --- export ------------------------------------------------------------------------------------------------


def stranger(text: str) -> subprocess.CompletedProcess[str]:
    """Check an export with the program of the how-to, which knows nothing of Headgate."""
    found = re.search(r"```python\n(# check_export\.py\n.*?)```", HOW_TO.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", found[1]],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("words", [(), ("--no-content",), ("run-a", "run-b")])
def test_a_stranger_can_check_an_export(database: Path, words: tuple[str, ...]):
    result = call(database, "audit", "export", *words)

    checked = stranger(result.stdout)

    assert len(result.stdout.splitlines()) == 8
    assert checked.stdout == "2 runs hold\n", checked.stderr


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("data", "AAAA", "its hash is wrong"),
        ("hash", "00" * 32, "its hash is wrong"),
        ("previous", "00" * 32, "it follows from another event"),
        ("content", '"three\\n"', "its content is another"),
        ("digest", "00" * 16, "it names another content"),
        ("version", 4, "the one before it is missing"),
    ],
)
def test_a_stranger_finds_what_was_changed_in_an_export(database: Path, field: str, value: object, said: str):
    lines = call(database, "audit", "export", "run-a").stdout.splitlines()
    changed = json.loads(lines[2]) | {field: value}

    checked = stranger("\n".join([*lines[:2], json.dumps(changed), *lines[3:]]))

    assert checked.returncode == 1
    assert said in checked.stderr


def test_an_export_without_contents_has_neither_contents_nor_keys(database: Path, tmp_path: Path):
    out = tmp_path / "out.jsonl"

    call(database, "audit", "export", "--no-content", "--out", str(out))

    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line for line in lines if "content" in line or "content_key" in line] == []
    assert lines[0]["digest"]


def test_an_export_has_the_events_since_a_time(database: Path):
    early = call(database, "audit", "export", "--since", "2000-01-01T00:00:00Z").stdout
    late = call(database, "audit", "export", "--since", "2100-01-01").stdout
    wrong = call(database, "audit", "export", "--since", "yesterday")

    assert (len(early.splitlines()), late) == (8, "")
    assert "--since: expected a time" in str(wrong.exception)


# --- backup and restore --------------------------------------------------------------------------------------


def test_a_backup_is_restored_and_the_old_database_kept(database: Path, tmp_path: Path):
    copy = tmp_path / "copy.db"
    backed_up = call(database, "backup", str(copy), "--json")
    tamper(database, "update runs set id = 'run-x' where key = 1")

    refused = call(database, "restore", str(copy))
    restored = call(database, "restore", str(copy), "--force", "--json")

    assert json.loads(backed_up.stdout)["bytes"] == copy.stat().st_size
    assert "There is a database" in str(refused.exception)
    assert call(database, "audit", "verify").return_value == exit_codes.COMPLETED
    aside = Path(json.loads(restored.stdout)["aside"])
    assert call(aside, "audit", "verify").return_value == exit_codes.FAILED


def test_a_backup_whose_chain_does_not_hold_is_refused(database: Path, tmp_path: Path):
    copy = tmp_path / "copy.db"
    call(database, "backup", str(copy))
    tamper(copy, "update events set data = x'00' where pos = 6")
    before = database.read_bytes()

    result = call(database, "restore", str(copy), "--force")

    assert "Run run-b, event 2" in str(result.exception)
    assert database.read_bytes() == before


def test_nothing_is_restored_while_a_process_owns_the_database(database: Path, tmp_path: Path):
    copy = tmp_path / "copy.db"
    call(database, "backup", str(copy))
    before = database.read_bytes()

    with Ownership.take(database):
        result = call(database, "restore", str(copy), "--force")

    assert "is owned by process" in str(result.exception)
    assert database.read_bytes() == before


def test_a_database_is_not_restored_onto_itself(database: Path):
    assert "is the database itself" in str(call(database, "restore", str(database), "--force").exception)
