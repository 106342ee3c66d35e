"""What a release has written, each later one reads, verifies, brings up to date, and goes on with."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from pathlib import Path

import apsw
import pytest
from click.testing import CliRunner

from headgate.app import App
from headgate.cli.program import program
from headgate.core.codec import decode
from headgate.engine.audit import verify
from headgate.engine.reader import Reader
from headgate.engine.spend import rebuild_spend
from headgate.ports import RunRow, SpendWanted
from headgate.stores.backup import check_backup
from headgate.stores.sqlite import SqliteLog
from headgate.stores.sqlite_file import ADDED_IN, SCHEMA_VERSION
from headgate.testing.log_conformance import on_a_loop

HISTORIES = sorted(Path(__file__).parent.glob("schema-*.sql.gz"))
WITH_SPEND = [history for history in HISTORIES if not history.name.startswith("schema-1.")]
"""Those that have spend rows."""
TABLES = ("runs", "events", "blobs", "definitions", "answers")
COLUMNS = {
    "definitions": "version, name, body, deployed_at",
    "runs": """key, id, tenant, workflow, definition, trace_id, parent, unique_key, labels, money_limit, content_key,
        created_at, status, version, hash, attention_at, tasks, cost, reserved, updated_at, finished_at, error,
        simulated""",
}
"""What was there before, where a table has more now."""


@pytest.fixture(params=[pytest.param(history, id=history.name.removesuffix(".sql.gz")) for history in HISTORIES])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "old.db"
    connection = apsw.Connection(str(path))
    connection.execute("pragma page_size = 8192")
    connection.execute(gzip.decompress(request.param.read_bytes()).decode())
    connection.close()
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def rows_of(path: Path) -> dict[str, list[object]]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return {
            name: list(connection.execute(f"select {COLUMNS.get(name, '*')} from {name} order by 1, 2"))
            for name in TABLES
        }
    finally:
        connection.close()


async def rows_by_status(log: SqliteLog) -> dict[str, RunRow]:
    return {row.head.status: row for row in await log.runs()}


def test_there_is_a_history_of_every_schema_before_this_one():
    kept = {int(history.name.removeprefix("schema-").removesuffix(".sql.gz")) for history in HISTORIES}

    assert kept == set(range(1, SCHEMA_VERSION))
    assert set(ADDED_IN) == set(range(2, SCHEMA_VERSION + 1))


@on_a_loop
async def test_it_is_read_as_it_is_run_by_run_at_every_version(database: Path):
    before = digest(database)
    log = SqliteLog(database, read_only=True)
    reader = Reader(log, lambda: 0)

    listed = await reader.runs()
    views = {run.status: await reader.show(run.id) for run in listed}
    asking = await log.with_approvals("default", 10)
    at_every_version = [
        await reader.show(run.id, at=version)
        for run in listed
        for version in range(1, (await reader.find(run.id)).head.version + 1)
    ]
    await log.close()

    assert sorted(views) == ["completed", "failed", "waiting"]
    assert views["completed"].outputs == {"letter": "dear Ada, yours", "by": "grace"}
    assert views["waiting"].waiting_for
    assert [(row.id, row.head.approvals) for row in asking] == [(views["waiting"].id, None)]
    assert "it broke" in views["failed"].error
    assert len(at_every_version) == sum(view.version for view in views.values())
    assert digest(database) == before


@on_a_loop
async def test_every_event_of_it_decodes_and_every_chain_holds(database: Path):
    log = SqliteLog(database, read_only=True)

    faults = await verify(log)
    names = [name for name, *_ in await log.definitions()]
    others = await log.definitions(tenant="acme")
    decoded = [decode(event.data)[0].type for event in await log.feed(0, 10_000)]
    stored = [event.type for event in await log.feed(0, 10_000)]
    await log.close()

    assert faults == []
    assert "letters" in names
    assert others == []
    assert decoded == stored
    assert len(stored) > 20


def test_the_reading_verbs_open_it_and_leave_it_as_it_is(database: Path):
    before = digest(database)
    verbs = (["runs"], ["show", "-"], ["state", "-", "--at", "3"], ["events", "-"], ["audit", "verify"])

    results = [CliRunner().invoke(program, [*words, "--db", str(database)], standalone_mode=False) for words in verbs]

    assert [(result.exception, result.return_value or 0) for result in results] == [(None, 0)] * len(verbs)
    assert "3 runs checked, 0 faults" in results[-1].output
    assert digest(database) == before


@on_a_loop
async def test_it_is_copied_and_brought_up_to_date_by_the_first_who_writes_to_it(database: Path):
    old = rows_of(database)
    schema = int(apsw.Connection(str(database)).pragma("user_version"))

    log = SqliteLog(database)
    copy = database.with_name(f"old.db.schema-{schema}")
    found = log.read("pragma user_version"), log.read("select count(*) from deletions")
    whose = set(log.read("select tenant from definitions"))
    faults = await verify(log)
    await log.close()

    assert found == ([(SCHEMA_VERSION,)], [(0,)])
    assert faults == []
    assert rows_of(database) == old
    assert whose == {("default",)}
    assert rows_of(copy) == old
    check_backup(copy)


@pytest.mark.parametrize("database", WITH_SPEND, indirect=True, ids=lambda history: history.name)
@on_a_loop
async def test_what_was_spent_in_it_is_read_before_and_after_and_is_the_same_from_the_log(database: Path):
    old = SqliteLog(database, read_only=True)
    finished = (await rows_by_status(old))["completed"]
    before = await old.spend_totals("model", SpendWanted()), await old.spend(finished.id)
    await old.close()

    log = SqliteLog(database)
    after = await log.spend_totals("model", SpendWanted()), await log.spend(finished.id)
    await rebuild_spend(log, finished.id)
    rebuilt = await log.spend(finished.id)
    await log.close()

    assert [(row.kind, row.model, row.tier, row.cost > 0) for row in before[1]] == [("call", "small", "", True)]
    assert before[0][0].calls == 2
    assert after == before
    assert rebuilt == before[1]


def test_a_run_that_waits_in_it_is_approved_and_goes_on_to_its_end(database: Path):
    async def go_on() -> tuple[list[str], str, object, int]:
        log = SqliteLog(database)
        waiting = (await rows_by_status(log))["waiting"]
        failed = (await rows_by_status(log))["failed"]
        async with App(log, offline=True, environment={"HEADGATE_RETENTION": "forever"}) as app:
            asking = await app.doors.records.of("default").approvals(limit=10)
            await app.desk.decide(waiting.id, approved=True, by="hopper")
            row = await app.engine.finished(waiting.id)
            outputs = (await app.desk.show(waiting.id)).outputs
            assert await verify(log) == []
            erased = await app.desk.erase([failed.id])
            assert await log.with_approvals("default", 10) == []
        return [one.run for one in asking.lines], row.head.status, outputs, len(erased.runs)

    asking, status, outputs, erased = asyncio.run(go_on())

    assert len(asking) == 1
    assert (status, outputs) == ("completed", {"letter": "dear Bob, yours", "by": "hopper"})
    assert erased == 1


@on_a_loop
async def test_repeats_and_unique_keys_of_it_are_known(database: Path):
    log = SqliteLog(database)
    rows = await rows_by_status(log)

    answer = await log.answer("default", "start-cy")
    holder = await log.run_by_unique_key("default", "bob")
    await log.close()

    assert answer == rows["failed"].id.encode()
    assert holder == rows["waiting"]
