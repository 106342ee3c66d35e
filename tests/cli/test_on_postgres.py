"""The verbs on a database in PostgreSQL: the same as on a file, but for what only a file has."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.cli.conftest import Verb
from tests.postgres_logs import server_url

from headgate.activities.conversation_store import Conversations, Turn
from headgate.cli import exit_codes
from headgate.cli.session import Engine, open_session
from headgate.core.errors import Unavailable
from headgate.engine.audit import verify
from headgate.engine.clock import WallClock
from headgate.ports import BudgetRule, RateLimit, Schedule, SpendWanted, StartRequest
from headgate.stores import moving
from headgate.stores.ownership import Ownership
from headgate.stores.places import folder_of, open_log, place_of
from headgate.stores.postgres import PostgresLog
from headgate.stores.sqlite import SqliteLog

SCHEMA = "verbs"
FLOW = """
name: greets
inputs: {who: string}
activities:
  hello: {use: echo, with: {to: "{{INPUT.who}}"}, cache: {ttl: 1h}}
  asks: {use: llm_prompt, with: {model: demo/small, prompt: "Summarise: It rained. It was cold."}}
outputs: {to: "{{hello.to}}"}
"""
ASKS = """
name: asks
inputs: {text: string}
activities:
  say: {use: echo, with: {text: "{{ INPUT.text }}"}}
  ask: {use: approval, with: {title: "Go on?"}, after: say}
"""
LARGE = "large " * 20_000


@pytest.fixture
def url() -> Iterator[str]:
    """The address of a schema of its own, which nobody has made yet."""
    yield f"{server_url()}?schema={SCHEMA}"
    asyncio.run(sql(f"drop schema if exists {SCHEMA} cascade"))


async def sql(statement: str) -> list[tuple[Any, ...]]:
    async with administrator() as connection:
        return [tuple(row) for row in await connection.fetch(statement)]


@asynccontextmanager
async def administrator() -> AsyncGenerator[asyncpg.Connection]:
    connection = await asyncpg.connect(server_url(), server_settings={"search_path": SCHEMA})
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture(autouse=True)
def flows(tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text(FLOW)
    (tmp_path / "asks.yaml").write_text(ASKS)


def of(answer: tuple[int, str, str]) -> Any:
    assert answer[0] == exit_codes.COMPLETED, answer[2]
    return json.loads(answer[1])


# --- Verbs ------------------------------------------------------------------------------------------------------------


def test_a_run_is_started_read_and_audited(headgate: Verb, url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEADGATE_DB", url)
    assert headgate("runs")[0] != exit_codes.COMPLETED  # looking makes no tables
    assert asyncio.run(sql(f"select 1 from pg_namespace where nspname = '{SCHEMA}'")) == []

    code, _, said = headgate("run", "flow.yaml", "--input", "who=Ann", "--offline")
    assert code == exit_codes.COMPLETED, said

    (run,) = of(headgate("runs", "--json"))
    assert of(headgate("show", "-", "--outputs"))["to"] == "Ann"
    assert run["status"] == "completed"
    assert len(headgate("events", "-")[1].splitlines()) > 5
    assert headgate("watch", "-")[0] == exit_codes.COMPLETED
    assert "1 run checked, 0 faults" in headgate("audit", "verify")[1]
    assert [line["activity"] for line in of(headgate("cache", "list", "--json"))] == ["hello"]
    assert of(headgate("cache", "clear", "--json")) == {"forgotten": 1}
    assert of(headgate("rebuild", "--json")) == {"spend_rows": 1}
    assert len(of(headgate("costs", "--json"))) > 0
    headgate("run", "flow.yaml", "--input", "who=Bob", "--offline")
    assert of(headgate("gc", "--older", "0s", "--json"))["runs"] == 1  # the newest run stays
    assert f"Run {run['id']}" in headgate("audit", "verify")[1]
    assert "was deleted at" in headgate("show", run["id"])[2]
    assert of(headgate("erase", "-", "--yes", "--json"))["contents"] > 0
    assert "0 faults" in headgate("audit", "verify")[1]


def test_what_is_set_is_listed(headgate: Verb, url: str):
    assert headgate("schedule", "add", "beat", "asks.yaml", "--every", "1h", "--input", "text=x", "--db", url)[0] == 0
    assert headgate("limit", "set", "demo", "--requests", "5", "--db", url)[0] == 0

    assert [one["name"] for one in of(headgate("schedule", "list", "--json", "--db", url))] == ["beat"]
    assert "demo" in headgate("limit", "--db", url)[1]


def test_the_doctor_says_how_the_database_is(headgate: Verb, url: str, monkeypatch: pytest.MonkeyPatch):
    def findings() -> dict[str, Any]:
        found = json.loads(headgate("doctor", "--offline", "--json", "--db", url)[1])
        return (
            {one["name"]: one for one in found["findings"]}
            if isinstance(found, dict)
            else {o["name"]: o for o in found}
        )

    before = findings()["database"]
    headgate("run", "flow.yaml", "--input", "who=Ann", "--offline", "--db", url)
    after = findings()
    monkeypatch.setattr(WallClock, "wall", lambda _: time.time_ns() // 1_000 + 90_000_000)
    ahead = findings()["clock"]

    assert before["status"] == "note"
    assert after["clock"]["status"] == "good"
    assert (ahead["status"], "90 s ahead of the database's" in ahead["text"]) == ("note", True)
    assert "There is no Headgate database" in before["text"]
    assert "fsync" in after["database"]["text"]
    assert after["feed"]["text"] == "up to date"
    assert "owner" not in after


def test_what_only_a_file_has_is_refused_with_what_to_do_instead(headgate: Verb, url: str, tmp_path: Path):
    for words in (["backup", "copy.db"], ["restore", "copy.db"], ["worker"]):
        code, _, said = headgate(*words, "--db", url)
        assert code != exit_codes.COMPLETED
        assert ("pg_dump" if words[0] != "worker" else "HTTP") in said
        assert "postgresql://127.0.0.1" in said or "postgresql://localhost" in said
    assert not (tmp_path / "copy.db").exists()


@pytest.mark.parametrize("address", ["mysql://ann:hush@host/db", "postgre://host/db", "postgresql+asyncpg://host/db"])
def test_an_address_of_something_else_is_no_file(headgate: Verb, address: str):
    code, _, err = headgate("runs", "--db", address)

    assert (code, "hush" in err) == (2, False)
    assert "Expected a file, or postgresql://name:password@host/database" in err


def test_an_address_is_shown_without_its_password(headgate: Verb):
    code, out, said = headgate("runs", "--db", "postgresql://ann:tell-nobody@127.0.0.1:1/x")

    assert code == exit_codes.UNAVAILABLE
    assert "tell-nobody" not in out + said


def test_the_feed_lag_says_how_many_events_a_long_transaction_keeps_back(url: str):
    async def scene() -> None:
        log = PostgresLog(url)
        await log.runs()
        async with administrator() as connection, connection.transaction():
            await connection.fetchval("select pg_current_xact_id()")
            async with open_session(place_of(url), Engine(offline=True)) as session:
                await session.client.start(StartRequest(definition=ASKS, input={"text": "x"}))
                await session.client.settled()
            held = await log.feed_lag()
            fed = await log.feed(0, 100)
        assert held.events > 3
        assert held.seconds >= 0
        assert fed == []
        assert (await log.feed_lag()).events == 0
        assert len(await log.feed(0, 100)) == held.events
        await log.close()

    asyncio.run(scene())


# --- Moving -----------------------------------------------------------------------------------------------------------


async def live(file: Path) -> str:
    """Fill a file with an installation: a run that has ended, one that waits for a person, and all that lies beside."""
    async with open_session(file, Engine(offline=True)) as session:
        client = session.client
        await client.start(StartRequest(definition=FLOW, input={"who": "Ann\0"}, labels={"team": "re\0d"}))
        waits = await client.start(StartRequest(definition=ASKS, input={"text": LARGE}, unique_key="one"))
        await client.set_budget(BudgetRule(scope="tenant", period="day", limit=10**9))
        await client.set_limit(RateLimit(scope="demo", requests=50))
        schedule = Schedule(id="", name="beat", workflow="", every_seconds=3600.0, input={"text": "x"})
        await client.schedule(schedule, definition=ASKS, files={})
        await client.settled()
        return waits.id


def rows_of(file: Path) -> dict[str, int]:
    log = open_log(place_of(file), read_only=True)
    try:
        return {name: log.read(f"select count(*) from {name}")[0][0] for name in moving.TABLES}
    finally:
        asyncio.run(log.close())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "there").mkdir()
    return tmp_path / "there" / "log.db"


def test_an_installation_goes_on_in_postgresql_where_it_stood(headgate: Verb, url: str, file: Path):
    waits = asyncio.run(live(file))
    before, kept = rows_of(file), folder_of(file) / "files" / "ab" / ("ab" * 32)
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"kept")

    done = of(headgate("db", "copy", str(file), url, "--json"))

    assert (done["faults"], done["files"]) == ([], 1)
    assert done["rows"] == before
    assert all(before[name] for name in ("runs", "events", "blobs", "budgets", "spend", "documents", "limits", "cache"))
    assert (folder_of(place_of(url)) / "files" / "ab" / ("ab" * 32)).read_bytes() == b"kept"

    async def go_on() -> None:
        source, log = open_log(file, read_only=True), PostgresLog(url)
        position = 0
        for name in [row.id for row in await source.runs()]:
            old, new = await source.run(name), await log.run(name)
            assert old is not None
            assert new is not None
            assert (new.key, new.head, new.content_key) == (old.key, old.head, old.content_key)
            events = await source.events(old.key)
            assert [row[:7] for row in await log.events(new.key)] == [row[:7] for row in events]
            versions = [row.version for row in events]
            assert await log.contents(new.key, versions) == await source.contents(old.key, versions)
            position = max(position, *(row.pos for row in events))
        await source.close()
        (red,) = await log.spend_totals("label:team", SpendWanted(labels={"team": "re\0d"}))
        assert red.calls == 1
        async with open_session(place_of(url), Engine(offline=True)) as session:
            client = session.client
            (budget,) = await client.budgets()
            assert budget.spent + budget.demo_spent == sum(
                row.cost for row in await log.spend((await log.runs())[1].id)
            )
            assert [one.name for one in await client.schedules()] == ["beat"]
            await client.decide(waits, approved=True, by="ann")
            fresh = await client.start(StartRequest(definition=FLOW, input={"who": "Bob"}))
            await client.settled()
            assert {run.status for run in await client.runs()} == {"completed"}
        assert [row.id for row in await log.runs(limit=1)] == [fresh.id]
        assert min(row.pos for row in await log.events((await log.runs(limit=1))[0].key)) > position
        assert await verify(log) == []
        await log.close()

    asyncio.run(go_on())


def test_who_has_moved_is_told_which_key_the_nodes_need(headgate: Verb, url: str, file: Path):
    asyncio.run(live(file))
    key = folder_of(file) / "key"
    key.parent.mkdir(parents=True, exist_ok=True)
    key.write_text("A" * 43 + "=")

    code, _, err = headgate("db", "copy", str(file), url)

    assert code == 0
    assert f'HEADGATE_KEY="$(cat {key})"' in err


def test_every_table_of_either_end_is_copied(url: str, file: Path):
    async def names() -> tuple[set[str], set[str]]:
        there = PostgresLog(url)
        await there.runs()
        await there.close()
        here = SqliteLog(file)
        found = {name for (name,) in here.read("select name from sqlite_schema where type = 'table'")}
        await here.close()
        tables = await sql(
            f"select relname from pg_class where relnamespace = '{SCHEMA}'::regnamespace and relkind = 'r'"
        )
        return found, {name for (name,) in tables}

    here, there = asyncio.run(names())

    made_there = {"queue", "nodes", "readers"}  # projections, which nodes fill again; and roles, which no file has
    assert here == there - made_there == {*moving.TABLES, "meta"}


def test_nothing_is_copied_to_where_something_is(headgate: Verb, url: str, file: Path):
    asyncio.run(live(file))
    assert headgate("schedule", "add", "mine", "asks.yaml", "--every", "1h", "--input", "text=x", "--db", url)[0] == 0

    code, _, said = headgate("db", "copy", str(file), url)

    assert code != exit_codes.COMPLETED
    assert "holds definitions already" in said
    assert asyncio.run(sql("select count(*) from runs")) == [(0,)]


def test_all_is_copied_or_nothing_and_the_next_try_does_it(
    headgate: Verb, url: str, file: Path, monkeypatch: pytest.MonkeyPatch
):
    asyncio.run(live(file))
    copy_table = moving._copy_table

    async def fails_at_the_last(source: Any, connection: Any, schema: str, name: str) -> int:
        if name == "cache":
            raise Unavailable("the disk is full")
        return await copy_table(source, connection, schema, name)

    monkeypatch.setattr(moving, "_copy_table", fails_at_the_last)
    code, _, said = headgate("db", "copy", str(file), url)
    left = asyncio.run(sql("select (select count(*) from events), (select count(*) from documents)"))
    monkeypatch.undo()
    monkeypatch.chdir(file.parent.parent)

    assert code == exit_codes.UNAVAILABLE
    assert "the disk is full" in said
    assert left == [(0, 0)]
    assert of(headgate("db", "copy", str(file), url, "--no-cache", "--json"))["faults"] == []
    assert asyncio.run(sql("select count(*) from cache")) == [(0,)]


KILLED = """
import os, sys
from headgate.stores import backup, moving
from headgate.cli.program import run_program

def copy_files(source, target):
    os._exit(9)

async def before_rows(*_, **__):
    os._exit(9)

async def after_rows(*given, move=moving.move, **named):
    await move(*given, **named)
    os._exit(9)

if sys.argv[1] == "files":
    backup._copy_files = copy_files
else:
    moving.move = {"before": before_rows, "after": after_rows}[sys.argv[1]]
run_program(sys.argv[2:])
"""


@pytest.mark.parametrize("where", ["files", "before", "after"])
def test_a_copy_that_was_killed_is_finished_by_the_next_call(headgate: Verb, url: str, file: Path, where: str):
    asyncio.run(live(file))
    here, there = folder_of(file), folder_of(place_of(url))
    kept = Path("files", "ab", "ab" * 32)
    (here / kept).parent.mkdir(parents=True)
    (here / kept).write_bytes(b"kept")
    Conversations(here).append("c", "k", [Turn("user", "hello")])
    command = [sys.executable, "-c", KILLED, where, "db", "copy", str(file), url]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 9
    assert asyncio.run(sql("select count(*) > 0 from runs")) == [(where == "after",)]

    again = of(headgate("db", "copy", str(file), url, "--json"))

    assert (again["faults"], again["rows"]) == ([], rows_of(file))
    assert (there / kept).read_bytes() == b"kept"
    assert (there / "conversations.db").exists()


def test_a_copy_that_somebody_has_worked_on_since_is_not_taken_for_one_that_was_cut_off(
    headgate: Verb, url: str, file: Path
):
    asyncio.run(live(file))
    assert headgate("db", "copy", str(file), url)[0] == 0
    assert headgate("db", "copy", str(file), url)[0] == 0
    assert headgate("limit", "set", "demo", "--requests", "51", "--db", url)[0] == 0

    code, _, said = headgate("db", "copy", str(file), url)

    assert code != exit_codes.COMPLETED
    assert "holds definitions already" in said


def test_a_file_that_somebody_owns_is_not_copied_and_neither_are_other_ways(headgate: Verb, url: str, file: Path):
    asyncio.run(live(file))
    with Ownership.take(file):
        assert f"owned by process {os.getpid()}" in headgate("db", "copy", str(file), url)[2]
    assert "pg_dump" in headgate("db", "copy", url, url)[2]
    assert "headgate backup" in headgate("db", "copy", str(file), str(file))[2]
    assert "There is no database" in headgate("db", "copy", "nowhere.db", url)[2]
