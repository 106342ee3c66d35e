"""`headgate gc` and `headgate erase`: with an owner at work and without one, asked for and refused."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from headgate.cli import exit_codes
from headgate.cli.program import program
from headgate.cli.session import Engine, open_session
from headgate.ports import StartRequest

WORD = "planted-Emma-Bovary"
ECHO = """
name: echoes
inputs: {text: string}
activities:
  say: {use: echo, with: {text: "{{ INPUT.text }}"}}
"""
ASKS = """
name: asks
activities:
  ask: {use: approval, with: {title: "Go on?"}}
"""


def call(database: Path, *words: str) -> Result:
    return CliRunner().invoke(program, [*words, "--db", str(database)], standalone_mode=False)


def on_disk(database: Path) -> bytes:
    return b"".join(file.read_bytes() for file in database.parent.glob("log.db*") if file.is_file())


async def fill(database: Path, definition: str = ECHO, runs: int = 3) -> list[str]:
    async with open_session(database, Engine(offline=True)) as session:
        started = [
            await session.client.start(
                StartRequest(
                    definition=definition,
                    input={"text": f"{WORD} {number}"} if definition is ECHO else {},
                    labels={"n": str(number)},
                )
            )
            for number in range(runs)
        ]
        await session.client.settled()
    return [run.id for run in started]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def owner(database: Path) -> Iterator[None]:
    """Somebody else owns the database, and works."""
    ready, loop, stop = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    async def own() -> None:
        async with open_session(database, Engine(offline=True)):
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(own()))
    thread.start()
    assert ready.wait(20)
    yield
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


def test_gc_deletes_what_is_older_than_it_is_told(database: Path):
    asyncio.run(fill(database))

    dry = call(database, "gc", "--older", "0s", "--dry-run", "--json")
    kept = call(database, "gc", "--json")
    done = call(database, "gc", "--older", "0s", "--json")
    said = call(database, "audit", "verify")

    assert json.loads(dry.stdout)["runs"] == 3
    assert json.loads(kept.stdout)["runs"] == 0
    assert json.loads(done.stdout)["runs"] == 2
    assert said.return_value == exit_codes.COMPLETED
    assert said.stdout.count("was deleted at") == 2
    assert "1 run checked, 0 faults" in said.stdout


@pytest.mark.usefixtures("owner")
def test_gc_and_erase_go_through_the_owner(database: Path):
    runs = asyncio.run(fill(database))

    erased = call(database, "erase", runs[-1], "--yes", "--json")
    deleted = call(database, "gc", "--older", "0s", "--json")

    assert json.loads(erased.stdout)["runs"] == [runs[-1]]
    assert json.loads(deleted.stdout)["runs"] == 2
    assert WORD.encode() not in on_disk(database)


def test_an_age_that_is_none_is_refused(database: Path):
    asyncio.run(fill(database, runs=1))

    result = call(database, "gc", "--older", "soon")

    assert "expected a duration" in str(result.exception or result.stderr)


def test_erase_takes_every_byte_of_the_contents_and_show_says_so(database: Path):
    runs = asyncio.run(fill(database))
    assert WORD.encode() in on_disk(database)

    done = call(database, "erase", *runs, "--yes")
    shown = call(database, "show", runs[0])
    as_json = json.loads(call(database, "show", runs[0], "--json").stdout)

    assert "of 3 runs" in done.stdout
    assert WORD.encode() not in on_disk(database)
    assert "erased" in shown.stdout
    assert (as_json["erased"], as_json["status"], as_json["input"]) == (True, "completed", None)
    assert call(database, "audit", "verify").return_value == exit_codes.COMPLETED


def test_erase_by_label_and_again(database: Path):
    runs = asyncio.run(fill(database))

    first = json.loads(call(database, "erase", "--label", "n=1", "--yes", "--json").stdout)
    second = json.loads(call(database, "erase", "--label", "n=1", "--yes", "--json").stdout)

    assert (first["runs"], first["before"]) == ([runs[1]], [])
    assert (second["runs"], second["before"]) == ([], [runs[1]])


def test_nothing_is_erased_where_nobody_can_be_asked(database: Path):
    runs = asyncio.run(fill(database))

    result = call(database, "erase", runs[0])

    assert "Say --yes" in str(result.exception)
    assert WORD.encode() in on_disk(database)


def test_a_run_that_has_not_ended_is_refused_until_it_is_cancelled(database: Path):
    (run,) = asyncio.run(fill(database, ASKS, runs=1))

    refused = call(database, "erase", run, "--yes")
    call(database, "cancel", run)
    done = call(database, "erase", run, "--yes")

    assert "have not ended" in str(refused.exception)
    assert "of 1 run." in done.stdout


def test_copies_that_still_hold_what_was_erased_are_named(database: Path):
    runs = asyncio.run(fill(database))
    copy = database.with_name("log.db.schema-1")
    copy.write_bytes(b"old")

    result = call(database, "erase", runs[0], "--yes")

    assert str(copy) in result.stdout
