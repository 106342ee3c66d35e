"""What only PostgreSQL can get wrong: many nodes, a feed with many writers, and a server that goes away."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import AsyncExitStack
from urllib.parse import unquote, urlsplit

import asyncpg
import pytest
from tests.postgres_logs import SCHEMA, Proxy, empty_postgres_log, server_url
from tests.servers import PrivatePostgres, private_postgres

from headgate.core.errors import Invalid, Refused, Unavailable
from headgate.engine.audit import verify
from headgate.engine.lane import INLINE_BYTES_MAX
from headgate.ports import Append, Move, Opening, OverBudget
from headgate.stores import postgres_schema
from headgate.stores.postgres import KEYS_AT_HAND_MIN, KEYS_PER_BLOCK, CommitUnknown, PostgresLog
from headgate.stores.postgres_errors import Address
from headgate.stores.postgres_schema import POSTGRES_SCHEMA_VERSION, SchemaTooNew
from headgate.testing.log_conformance import NOON, HandmadeRun, on_a_loop

PATIENT_SECONDS = 60.0


@pytest.fixture
def log() -> PostgresLog:
    return empty_postgres_log()


@pytest.fixture(scope="module")
def own_server() -> Iterator[PrivatePostgres]:
    with private_postgres() as server:
        yield server


def another(**rest: object) -> PostgresLog:
    """Return one more node on the same tables."""
    return PostgresLog(server_url(), schema=SCHEMA, **rest)


async def sql(statement: str, *parameters: object, url: str = "") -> list[asyncpg.Record]:
    """Ask the tables themselves."""
    connection = await asyncpg.connect(url or server_url(), server_settings={"search_path": SCHEMA})
    try:
        return await connection.fetch(statement, *parameters)
    finally:
        await connection.close()


# --- Many nodes ------------------------------------------------------------------------------------------------


@on_a_loop
async def test_of_two_nodes_that_race_for_one_run_one_loses_and_leaves_no_trace(log: PostgresLog):
    other = another()
    run = HandmadeRun(log, "run-1")
    await run.commit(moves=[Move("team", limit=100)])

    for number in range(40):
        moves = [Move("team", reserve=1)] if number % 2 else []
        mine = run.append(["mine"], moves=moves, spend=[run.spent(1)])
        theirs = run.append(["theirs"], moves=moves, spend=[run.spent(2)])
        (first,), (second,) = await asyncio.gather(log.commit([mine]), other.commit([theirs]))
        assert sorted([first, second]) == ["accepted", "version_conflict"]
        run.settle(mine if first == "accepted" else theirs, "accepted")

    await other.close()
    assert await log.budget("team") == OverBudget("team", 100, 0, 20)
    assert len(await log.spend("run-1")) == 40
    assert await verify(log) == []


@on_a_loop
async def test_nodes_whose_batches_cross_do_not_deadlock(log: PostgresLog):
    nodes = [log, another(), another()]
    before = await deadlocks()
    async with asyncio.TaskGroup() as group:
        for number, node in enumerate(nodes):
            group.create_task(crossing(node, number))
    for node in nodes[1:]:
        await node.close()
    await log.close()

    assert await deadlocks() == before


async def crossing(node: PostgresLog, number: int) -> None:
    """Begin forty shared runs or go on with them, then move six shared budgets, each time in another order."""
    chance = random.Random(number)
    own = [HandmadeRun(node, f"own-{number}-{n}") for n in range(6)]
    for _ in range(15):
        runs = [HandmadeRun(node, f"run-{n}") for n in range(40)]
        known = {row.id: row for row in await node.runs(limit=40)}
        for run in runs:
            if run.id in known:
                run.row, run.head = known[run.id], known[run.id].head
        chance.shuffle(runs)
        await node.commit([run.append() for run in runs[:20]])
    for _ in range(60):
        budgets = [f"budget-{n}" for n in range(6)]
        chance.shuffle(budgets)
        items = [run.append(moves=[Move(name, spend=1, limit=9)]) for run, name in zip(own, budgets, strict=True)]
        for run, item, outcome in zip(own, items, await node.commit(items), strict=True):
            run.settle(item, outcome)


async def deadlocks() -> int:
    await sql("select pg_stat_force_next_flush()")
    return (await sql("select deadlocks from pg_stat_database where datname = current_database()"))[0][0]


@pytest.mark.parametrize(("table", "column"), [("runs", "id"), ("budgets", "id")])
@on_a_loop
async def test_who_waits_for_the_first_of_its_locks_holds_none_of_the_others(log: PostgresLog, table: str, column: str):
    names = [f"{letter}-of-many" for letter in "abcdefgh"]
    runs = [HandmadeRun(log, name) for name in names]
    items = [run.append(moves=[Move(run.id, limit=9)]) for run in runs]
    await log.commit(items)
    for run, item in zip(runs, items, strict=True):
        run.settle(item, "accepted")
    batch = [run.append(moves=[Move(run.id, spend=1)]) for run in reversed(runs)]
    other = await asyncpg.connect(server_url(), server_settings={"search_path": SCHEMA})
    lock = f"select from {table} where {column} = $1 for update nowait"

    async with other.transaction():
        await other.execute(lock, names[0])
        commit = asyncio.create_task(log.commit(batch))
        await until_blocked()
        for name in names[1:]:
            await other.execute(lock, name)

    assert await commit == ["accepted"] * 8
    await other.close()


@on_a_loop
async def test_who_waits_for_an_id_that_is_taken_holds_no_head_yet(log: PostgresLog):
    mine, taken = HandmadeRun(log, "mine"), HandmadeRun(log, "taken")
    begun = [mine.append(), taken.append()]
    await log.commit(begun)
    mine.settle(begun[0], "accepted")
    other = await asyncpg.connect(server_url(), server_settings={"search_path": SCHEMA})

    async with other.transaction():
        await other.execute("update runs set updated_at = updated_at + 1 where id = 'taken'")
        commit = asyncio.create_task(log.commit([mine.append(), HandmadeRun(log, "taken").append()]))
        await until_blocked()
        await other.execute("select from runs where id = 'mine' for update nowait")

    assert await commit == ["accepted", "run_exists"]
    await other.close()


@on_a_loop
async def test_a_batch_that_loses_a_deadlock_is_written_all_the_same(log: PostgresLog):
    one, two = HandmadeRun(log, "run-1"), HandmadeRun(log, "run-2")
    await log.commit([one.append(), two.append()])
    for run in (one, two):
        run.settle(run.append(), "accepted")
    other = await asyncpg.connect(server_url(), server_settings={"search_path": SCHEMA, "deadlock_timeout": "1h"})
    async with AsyncExitStack() as stack:
        stack.push_async_callback(other.close)
        async with other.transaction():
            await other.execute("select from runs where key = $1 for update", two.key)
            commit = asyncio.create_task(log.commit([one.append(["x"]), two.append(["y"])]))
            await until_blocked()
            await other.execute("select from runs where key = $1 for update", one.key)  # the log's side is the victim

        assert await commit == ["accepted", "accepted"]
    assert await log.contents(two.key, [2]) == {2: b'"y"'}


async def until_blocked(count: int = 1) -> None:
    waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and application_name = 'headgate'"
    while (await sql(waiting))[0][0] < count:  # noqa: ASYNC110 - only the server knows
        await asyncio.sleep(0)


@on_a_loop
async def test_nodes_never_give_out_the_same_number_however_many_are_asked_for_at_once(log: PostgresLog):
    other = another()

    keys = [node.new_key() for _ in range(3 * KEYS_PER_BLOCK) for node in (log, other)]

    assert len(set(keys)) == 6 * KEYS_PER_BLOCK
    assert min(keys) > 0
    await other.close()


@on_a_loop
async def test_numbers_are_taken_before_they_run_out(log: PostgresLog):
    await HandmadeRun(log, "run-1").commit()
    for _ in range(KEYS_PER_BLOCK - KEYS_AT_HAND_MIN + 1):
        log.new_key()
    assert log._refill is not None
    left = len(log._keys)

    await log._refill

    assert len(log._keys) == left + KEYS_PER_BLOCK


# --- The feed --------------------------------------------------------------------------------------------------


@on_a_loop
async def test_the_feed_waits_for_a_transaction_that_began_earlier_and_ends_later(log: PostgresLog):
    early = await asyncpg.connect(server_url(), server_settings={"search_path": SCHEMA})
    run = HandmadeRun(log, "run-1")
    await run.commit()
    seen = await log.feed(0, 10)

    async with early.transaction():
        await early.execute(
            "insert into events select (pg_current_xact_id()::text::bigint << 20) + 1, 99, 1, 0, 'x', '', '', null"
        )
        await run.commit()
        meanwhile = await log.feed(seen[-1].pos, 10)

    after = await log.feed(seen[-1].pos, 10)
    assert meanwhile == []
    assert [(row.run, row.version) for row in after] == [(99, 1), (run.key, 2)]
    await early.close()


@on_a_loop
async def test_followers_of_sixteen_nodes_see_every_event_once_whenever_they_start(log: PostgresLog):
    nodes = [log, *(another() for _ in range(15))]
    written: dict[int, int] = {}
    finished = asyncio.Event()
    shared = [HandmadeRun(log, f"shared-{number}") for number in range(4)]
    for run in shared:
        await run.commit()

    async with asyncio.TaskGroup() as group:
        followers = [group.create_task(follow(nodes[number], finished)) for number in range(2)]
        writers = [asyncio.create_task(write(node, number, written)) for number, node in enumerate(nodes)]
        contenders = [asyncio.create_task(contend(node, shared)) for node in nodes[:6]]
        await writers[3]
        followers += [group.create_task(follow(nodes[5], finished))]
        await asyncio.gather(*writers, *contenders)
        finished.set()

    for run in await log.runs(limit=1_000):
        written[run.key] = run.head.version
    for follower in followers:
        seen = follower.result()
        assert [pos for pos, _, _ in seen] == sorted({pos for pos, _, _ in seen})
        for key, versions in written.items():
            assert [version for _, run, version in seen if run == key] == list(range(1, versions + 1))
        assert len(seen) == sum(written.values())
    for node in nodes[1:]:
        await node.close()


async def write(node: PostgresLog, number: int, written: dict[int, int]) -> None:
    chance = random.Random(number)
    runs = [HandmadeRun(node, f"run-{number}-{n}") for n in range(8)]
    for _ in range(12):
        batch = chance.sample(runs, chance.randint(1, 8))
        items = [run.append([None] * chance.randint(1, 5)) for run in batch]
        for run, item, outcome in zip(batch, items, await node.commit(items), strict=True):
            assert outcome == "accepted"
            run.settle(item, outcome)


async def contend(node: PostgresLog, shared: list[HandmadeRun]) -> None:
    """Append to runs that other nodes append to as well, upon what the log says of them."""
    for number in range(24):
        run = HandmadeRun(node, shared[number % 4].id)
        row = await node.run(run.id)
        assert row is not None
        run.row, run.head = row, row.head
        assert await run.commit([None, None]) in ("accepted", "version_conflict")


async def follow(node: PostgresLog, finished: asyncio.Event) -> list[tuple[int, int, int]]:
    seen: list[tuple[int, int, int]] = []
    while True:
        last = finished.is_set()
        page = await node.feed(seen[-1][0] if seen else 0, 50)
        seen.extend((row.pos, row.run, row.version) for row in page)
        if last and not page:
            return seen


@on_a_loop
async def test_positions_go_on_in_a_server_whose_transaction_ids_are_lower(log: PostgresLog):
    run = HandmadeRun(log, "run-1")
    await run.commit()
    await sql("update meta set value = 1000000000 where name = 'position_offset'")
    there = another()
    seen = await there.feed(0, 10)
    run._log = there
    await run.commit()
    await there.close()
    await sql("update meta set value = 0 where name = 'position_offset'")  # dumped there, restored here

    here = another()
    run._log = here
    await run.commit()

    assert [row.version for row in await here.feed(0, 10)] == [1, 2, 3]
    assert [row.version for row in await here.feed(seen[-1].pos, 10)] == [2, 3]
    await here.close()
    await sql("update meta set value = 0 where name = 'position_offset'")


# --- What is written once --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "update events set data = 'x'",
        "update events set content = 'x'",
        "delete from events",
        "truncate events",
    ],
)
@on_a_loop
async def test_events_are_append_only_also_for_whoever_holds_the_password(log: PostgresLog, statement: str):
    run = HandmadeRun(log, "run-1")
    await run.commit(["content"])

    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        await sql(statement)

    assert await log.contents(run.key, [1]) == {1: b'"content"'}
    await sql("update events set content = null")
    assert await log.contents(run.key, [1]) == {}


@on_a_loop
async def test_a_text_with_nul_in_it_spoils_neither_its_run_nor_the_batch(log: PostgresLog):
    one, two = HandmadeRun(log, "run-1"), HandmadeRun(log, "run-2")

    outcomes = await log.commit(
        [
            one.append(error="a\0b", spend=[one.spent(1, version=1, prompt="p\0q", labels='{"team":"x\\u0000y"}')]),
            two.append(),
        ]
    )

    row = await log.run("run-1")
    assert outcomes == ["accepted", "accepted"]
    assert row is not None
    assert row.head.error == "a�b"
    assert [spend.prompt for spend in await log.spend("run-1")] == ["p�q"]


@pytest.mark.parametrize("refusal", ["over budget", "repeated", "version_conflict", "run_exists"])
@on_a_loop
async def test_what_is_refused_leaves_no_row_in_any_table(log: PostgresLog, refusal: str):
    first = HandmadeRun(log, "run-1")
    await first.commit(moves=[Move("team", limit=5)], commands=["known"])
    before = await everything()
    run = first if refusal == "version_conflict" else HandmadeRun(log, "run-1" if refusal == "run_exists" else "run-2")
    item = run.append(
        ["x" * (INLINE_BYTES_MAX + 1)],
        moves=[
            Move("another", limit=9),
            Move("another", spend=1),
            Move("team", reserve=9 * (refusal == "over budget")),
        ],
        commands=["unknown", "known" if refusal == "repeated" else "unheard-of"],
        spend=[run.spent(3)],
    )
    item.expected_version -= refusal == "version_conflict"

    (outcome,) = await log.commit([item])

    assert outcome == (OverBudget("team", 5, 0, 0) if refusal == "over budget" else refusal)
    assert await everything() == before


@on_a_loop
async def test_a_budget_that_begins_counts_the_rows_of_the_items_before_it_and_is_undone_with_its_item(
    log: PostgresLog,
):
    run, poor = HandmadeRun(log, "run-1"), HandmadeRun(log, "run-2")
    await log.commit([run.append(moves=[Move("team", limit=5), Move("zero", limit=1)]), poor.append()])
    for one in (run, poor):
        one.settle(one.append(), "accepted")
    spent = [run.spent(7, model="a_b%", provider="x"), run.spent(100, part=1, model="a-b%", provider="x")]
    opening = Opening("default", NOON, NOON + 1, model="x/a_b%")
    nothing = Append(0, 0, [], run.head, moves=[Move("new", limit=50, opening=opening), Move("new", spend=1)])

    outcomes = await log.commit(
        [
            run.append(spend=spent),
            poor.append(
                moves=[
                    Move("team", limit=9, opening=opening),
                    Move("team", limit=8, sets=True),
                    Move("zero", reserve=2),
                ],
                spend=[poor.spent(1_000, model="a_b%", provider="x")],
            ),
            nothing,
        ]
    )

    assert outcomes == ["accepted", OverBudget("zero", 1, 0, 0), "accepted"]
    assert await log.budget("team") == OverBudget("team", 5, 0, 0)
    assert await log.budget("new") == OverBudget("new", 50, 8, 0)
    assert [row.cost for row in await log.spend("run-1")] == [7, 100]
    assert await log.spend("run-2") == []


@on_a_loop
async def test_a_raised_limit_stands_in_the_runs_row(log: PostgresLog):
    run, other = HandmadeRun(log, "run-1"), HandmadeRun(log, "run-2")
    for one in (run, other):
        await one.commit()

    for moves in ([], [Move("team", limit=1)]):
        item = run.append(moves=moves)
        item.limit = 7 + len(moves)
        assert await log.commit([item, other.append()]) == ["accepted", "accepted"]
        run.settle(item, "accepted")
        other.settle(other.append(), "accepted")
        rows = {row.id: row.limit for row in await log.runs()}
        assert rows == {"run-1": item.limit, "run-2": None}


async def everything() -> dict[str, list[asyncpg.Record]]:
    return {name: await sql(f"select * from {name}") for name in TABLES}


TABLES = ("runs", "events", "blobs", "budgets", "answers", "spend")


# --- Getting in ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["", "log.db", "mysql://a:geheim@b/c", "postgresql://a:geheim@b:port/c"])
def test_what_is_no_address_of_postgresql_is_invalid_and_not_shown(url: str):
    with pytest.raises(Invalid, match="postgresql://name:password@host:port/database") as raised:
        PostgresLog(url)

    assert "geheim" not in str(raised.value)


def test_a_schema_that_cannot_stand_in_sql_is_invalid():
    with pytest.raises(Invalid, match="a name of a-z"):
        PostgresLog("postgresql://localhost/x", schema="x; drop table runs")


@pytest.mark.parametrize("password", ["geheim", "ge%2Fheim"])
def test_a_password_in_what_a_driver_says_is_not_passed_on(password: str):
    address = Address(f"postgresql://a:{password}@b/c")

    problem = address.problem(OSError("no way to a:ge/heim@b, nor to a:geheim@b, nor to a:ge%2Fheim@b"), "Nothing.")

    said = str(problem)
    assert password not in said
    assert unquote(password) not in said
    assert "b:5432/c cannot be reached" in said


@on_a_loop
async def test_a_wrong_password_is_refused_at_once_and_not_shown(own_server: PrivatePostgres):
    await sql("create role guarded login password 'richtig'", url=own_server.url)
    log = PostgresLog(own_server.url.replace("postgres@", "guarded:geheim@"))

    with pytest.raises(Refused, match=r"127\.0\.0\.1:\d+/postgres lets us not in.*guarded") as raised:
        await log.runs()

    assert "geheim" not in str(raised.value)
    with pytest.raises(Refused, match="lets us not in"):
        log.new_key()
    await sql("drop role guarded", url=own_server.url)


@on_a_loop
async def test_a_server_that_was_never_there_is_told_of_at_once():
    log = PostgresLog("postgresql://someone:geheim@127.0.0.1:1/x", patience_seconds=3_600)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1/x cannot be reached") as raised:
        await log.run("run-1")

    assert "geheim" not in str(raised.value)
    await log.close()


@on_a_loop
async def test_a_database_of_a_newer_release_is_refused_and_left_alone(log: PostgresLog):
    await HandmadeRun(log, "run-1").commit()
    await sql("update meta set value = $1 where name = 'schema'", POSTGRES_SCHEMA_VERSION + 1)
    try:
        newer = another()
        with pytest.raises(SchemaTooNew, match=f"schema {POSTGRES_SCHEMA_VERSION + 1}; this one knows"):
            await newer.runs()
        await newer.close()
    finally:
        await sql("update meta set value = $1 where name = 'schema'", POSTGRES_SCHEMA_VERSION)
    assert len(await log.runs()) == 1


@on_a_loop
async def test_tables_of_somebody_else_are_refused_and_left_alone():
    await sql("create schema strangers")
    await sql("create table strangers.books ()")
    log = PostgresLog(server_url(), schema="strangers")
    try:
        with pytest.raises(Refused, match="'books' is one"):
            await log.runs()
        assert await sql("select relname from pg_class where relnamespace = 'strangers'::regnamespace") == [("books",)]
    finally:
        await log.close()
        await sql("drop schema strangers cascade")


COUNT = """insert into meta values ('changes', 1) on conflict (name) do update set value = meta.value + 1"""


@on_a_loop
async def test_nodes_that_start_together_make_the_tables_once(monkeypatch: pytest.MonkeyPatch):
    nodes = [PostgresLog(server_url(), schema="together") for _ in range(8)]
    try:
        assert await asyncio.gather(*(node.runs() for node in nodes)) == [[]] * 8
        runs = [HandmadeRun(node, f"run-{number}") for number, node in enumerate(nodes)]
        assert await asyncio.gather(*(run.commit() for run in runs)) == ["accepted"] * 8
        monkeypatch.setattr(postgres_schema, "POSTGRES_SCHEMA_VERSION", 2)
        monkeypatch.setitem(postgres_schema.ADDED_IN, 2, (("later.sql", "count"),))
        monkeypatch.setattr(postgres_schema, "load_queries", lambda _: {"count": COUNT})
        later = [PostgresLog(server_url(), schema="together") for _ in range(8)]
        assert [len(rows) for rows in await asyncio.gather(*(node.runs() for node in later))] == [8] * 8
        nodes += later
        assert await sql("select value from together.meta where name = 'changes'") == [(1,)]
    finally:
        for node in nodes:
            await node.close()
        await sql("drop schema together cascade")


# --- Commits ---------------------------------------------------------------------------------------------------


@on_a_loop
async def test_a_batch_is_one_round_trip_whatever_is_in_it(log: PostgresLog):
    runs = [HandmadeRun(log, f"run-{number}") for number in range(5)]
    async with Proxy(server_url()) as proxy:
        far = PostgresLog(proxy.url, schema=SCHEMA)
        for _ in range(2):  # the first time the statement is prepared
            items = [run.append([None, "x"], moves=[Move("team", limit=99)], spend=[run.spent(1)]) for run in runs]
            before = proxy.asked
            assert await far.commit(items) == ["accepted"] * 5
            trips = proxy.asked - before
            for run, item in zip(runs, items, strict=True):
                run.settle(item, "accepted")
        await far.close()

    assert trips == 1


@on_a_loop
async def test_who_is_cancelled_while_the_server_writes_is_let_go_when_it_has(log: PostgresLog):
    run = HandmadeRun(log, "run-1")
    await run.commit()
    other = await asyncpg.connect(server_url(), server_settings={"search_path": SCHEMA})
    async with other.transaction():
        await other.execute("select from runs where key = $1 for update", run.key)
        commit = asyncio.create_task(log.commit([run.append(["x"])]))
        await until_blocked()
        commit.cancel()
        closing = asyncio.create_task(log.close())
        await asyncio.sleep(0)
        assert not commit.done()
    await other.close()

    with pytest.raises(asyncio.CancelledError):
        await commit
    await closing
    there = another()
    assert await there.contents(run.key, [2]) == {2: b'"x"'}
    await there.close()


# --- A server that goes away -----------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before the server has it", "after the server has done it"])
@on_a_loop
async def test_a_commit_whose_answer_is_lost_is_written_once_and_told_as_it_was(log: PostgresLog, when: str):
    run, stale, poor = (HandmadeRun(log, name) for name in ("run-1", "run-2", "run-3"))
    new = HandmadeRun(log, "run-4")
    for one in (run, stale, poor):
        await one.commit(moves=[Move("team", limit=10)])
    late = stale.append(["late"])
    await stale.commit(["first"])
    batch = [
        run.append(["x"], moves=[Move("team", reserve=4)], commands=["c-1"], spend=[run.spent(3)]),
        late,
        poor.append(moves=[Move("team", reserve=7)]),
        new.append(["n"]),
    ]
    async with Proxy(server_url()) as proxy:
        far = PostgresLog(proxy.url, schema=SCHEMA, patience_seconds=PATIENT_SECONDS)
        await far.commit([HandmadeRun(log, "warm").append()])
        proxy.cut(when)

        outcomes = await far.commit(batch)

        await far.close()
        assert proxy.cuts == 1
    assert outcomes == ["accepted", "version_conflict", OverBudget("team", 10, 0, 4), "accepted"]
    assert await log.contents(run.key, [2, 3]) == {2: b'"x"'}
    assert await log.budget("team") == OverBudget("team", 10, 0, 4)
    assert len(await log.spend("run-1")) == 1
    assert await verify(log) == []


@on_a_loop
async def test_a_commit_that_the_server_is_still_at_when_the_connection_breaks_is_written_once(log: PostgresLog):
    run = HandmadeRun(log, "run-1")
    await run.commit()
    item = run.append(["x"])
    holder = await asyncpg.connect(server_url(), server_settings={"search_path": SCHEMA})
    async with Proxy(server_url()) as proxy:
        far = PostgresLog(proxy.url, schema=SCHEMA, patience_seconds=PATIENT_SECONDS)
        await far.commit([HandmadeRun(log, "warm").append()])
        async with holder.transaction():
            await holder.execute("select from runs where key = $1 for update", run.key)
            commit = asyncio.create_task(far.commit([item]))
            await until_blocked()
            proxy.drop()
            await until_blocked(2)

        assert await commit == ["accepted"]
        await far.close()
    await holder.close()
    assert await log.contents(run.key, [2, 3]) == {2: b'"x"'}


@on_a_loop
async def test_a_commit_whose_outcome_stays_unknown_is_told_so_and_not_as_unwritten(log: PostgresLog):
    run = HandmadeRun(log, "run-1")
    await run.commit()
    async with Proxy(server_url()) as proxy:
        far = PostgresLog(proxy.url, schema=SCHEMA, patience_seconds=0)
        await far.commit([HandmadeRun(log, "warm").append()])
        proxy.cut("after the server has done it", for_good=True)

        with pytest.raises(CommitUnknown, match="may or may not be written"):
            await far.commit([run.append(["x"])])

        with pytest.raises(Unavailable, match=r"cannot be reached.*Nothing was") as raised:
            await far.commit([run.append(["y"])])
        assert not isinstance(raised.value, CommitUnknown)
        await far.close()
    assert await log.contents(run.key, [2]) == {2: b'"x"'}


@pytest.mark.slow
@on_a_loop
async def test_a_server_killed_in_the_middle_of_commits_loses_nothing_that_it_acknowledged(
    own_server: PrivatePostgres,
):
    nodes = [PostgresLog(own_server.url, schema="killed", patience_seconds=PATIENT_SECONDS) for _ in range(3)]
    acknowledged: dict[str, int] = {}
    stop = asyncio.Event()

    async def work(node: PostgresLog, number: int) -> None:
        chance = random.Random(number)
        runs = [HandmadeRun(node, f"run-{number}-{n}") for n in range(10)]
        while not stop.is_set():
            batch = chance.sample(runs, chance.randint(1, 10))
            items = [run.append([None] * chance.randint(1, 3), moves=[Move("all", spend=1, limit=0)]) for run in batch]
            for run, item, outcome in zip(batch, items, await node.commit(items), strict=True):
                assert outcome == "accepted"
                run.settle(item, outcome)
                acknowledged[run.id] = run.head.version
                appends[0] += 1

    async def more(count: int) -> None:
        wanted = appends[0] + count
        while appends[0] < wanted and not any(worker.done() for worker in workers):  # noqa: ASYNC110 - six of them
            await asyncio.sleep(0.001)

    appends = [0]
    workers = [asyncio.create_task(work(nodes[number % 3], number)) for number in range(6)]
    for _ in range(3):
        await more(300)
        await asyncio.to_thread(own_server.kill)
        await asyncio.to_thread(own_server.start)
    await more(300)
    stop.set()
    await asyncio.gather(*workers)

    rows = {row.id: row for row in await nodes[0].runs(limit=1_000)}
    assert {name: row.head.version for name, row in rows.items()} == acknowledged
    for row in rows.values():
        versions = [event.version for event in await nodes[0].events(row.key)]
        assert versions == list(range(1, row.head.version + 1))
    assert await nodes[0].budget("all") == OverBudget("all", 0, appends[0], 0)
    assert await verify(nodes[0]) == []
    for node in nodes:
        await node.close()


@on_a_loop
async def test_reads_and_appends_go_on_when_the_server_is_back(own_server: PrivatePostgres):
    log = PostgresLog(own_server.url, schema="back", patience_seconds=PATIENT_SECONDS)
    run = HandmadeRun(log, "run-1")
    await run.commit()
    await asyncio.gather(*(log.run("run-1") for _ in range(4)))

    await asyncio.to_thread(own_server.kill)
    reads = [asyncio.create_task(log.run("run-1")) for _ in range(6)]
    commit = asyncio.create_task(log.commit([run.append(["x"])]))
    await asyncio.to_thread(own_server.start)

    assert {row.id for row in await asyncio.gather(*reads) if row} == {"run-1"}
    assert await commit == ["accepted"]
    assert await log.contents(run.key, [2, 3]) == {2: b'"x"'}
    await log.close()


@on_a_loop
async def test_what_never_goes_through_is_given_up_and_says_why(log: PostgresLog):
    run = HandmadeRun(log, "run-1")
    await run.commit()
    stray = "insert into events values ((select max(pos) + 1 from events), $1, 2, 0, 'x', '', '', null)"
    await sql(stray, run.key)  # an event that its run's row knows nothing of

    with pytest.raises(Unavailable, match=r"events_by_run.*Nothing was written"):
        await log.commit([run.append(["x"])])

    row = await log.run("run-1")
    assert row is not None
    assert row.head == run.head


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
@on_a_loop
async def test_a_database_of_another_encoding_is_refused_and_nothing_is_made(encoding: str):
    name = f"in_{encoding.lower()}"
    url = urlsplit(server_url())._replace(path=f"/{name}").geturl()
    administrator = await asyncpg.connect(server_url())
    try:
        await administrator.execute(f"drop database if exists {name}")
        await administrator.execute(f"create database {name} encoding '{encoding}' locale 'C' template template0")
        log = PostgresLog(url)
        with pytest.raises(Refused, match=rf"encoding {encoding}; expected UTF8.*create database .* template0"):
            await log.runs()
        await log.close()

        there = await asyncpg.connect(url)
        assert await there.fetchval("select to_regnamespace('headgate')") is None
        await there.close()
    finally:
        await administrator.execute(f"drop database if exists {name} with (force)")
        await administrator.close()


@on_a_loop
async def test_a_role_that_may_not_make_its_tables_is_told_what_it_lacks():
    url = urlsplit(server_url())._replace(netloc=f"poor@{urlsplit(server_url()).netloc.partition('@')[2]}").geturl()
    administrator = await asyncpg.connect(server_url())
    try:
        await administrator.execute("drop role if exists poor; create role poor login")
        log = PostgresLog(url, schema="of_the_poor")
        with pytest.raises(Refused, match=r"says: permission denied for database.*Grant the role what it lacks"):
            await log.runs()
        await log.close()
    finally:
        await administrator.execute("drop role if exists poor")
        await administrator.close()
