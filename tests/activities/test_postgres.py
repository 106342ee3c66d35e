"""`postgres_query` and `postgres_transaction` on a real server: types, transactions, and a lost connection."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from tests.servers import postgres_server, private_pooler

from headgate.activities.postgres import Postgres
from headgate.core.values import Failure
from headgate.ports import ActivityContext, Attempt

pytestmark = pytest.mark.slow
CONTEXT: ActivityContext = None  # these activities ask nothing of it


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgres_server() as url:
        yield url


def within(work: Callable[[Postgres], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        postgres = Postgres()
        try:
            return await work(postgres)
        finally:
            await postgres.close()

    return asyncio.run(run())


def query(url: str, text: str, *params: Any) -> dict[str, Any]:
    return within(lambda pg: pg.query({"db_url": url, "query": text, "params": list(params)}, CONTEXT))


def failure_of(call: Callable[[], Any]) -> Failure:
    with pytest.raises(Attempt) as caught:
        call()
    return caught.value.failure


TYPES = [
    ("smallint", "-32768", -32768),
    ("bigint", "9223372036854775807", 9223372036854775807),
    ("real", "0.1", 0.1),
    ("double precision", "0.1", 0.1),
    ("double precision", "NaN", "NaN"),
    ("double precision", "-Infinity", "-Infinity"),
    ("numeric", "12345678901234567890.000000000100", "12345678901234567890.000000000100"),
    ("numeric(10,2)", "12.50", "12.50"),
    ("boolean", "t", True),
    ("boolean", "false", False),
    ("text", "naïve ☃ 'q'", "naïve ☃ 'q'"),
    ("varchar(9)", "007", "007"),
    ("char(4)", "ab", "ab  "),
    ("uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("date", "2026-02-28", "2026-02-28"),
    ("date", "infinity", "infinity"),
    ("time", "23:59:59.000001", "23:59:59.000001"),
    ("timetz", "23:59:59+05:30", "23:59:59+05:30"),
    ("timestamp", "2026-02-28 12:00:00.25", "2026-02-28T12:00:00.25"),
    ("timestamptz", "2026-02-28T12:00:00+02:00", "2026-02-28T10:00:00+00:00"),
    ("timestamptz", "infinity", "infinity"),
    ("timestamp", "0044-03-15 12:00:00 BC", "0044-03-15 12:00:00 BC"),
    ("interval", "P1Y2M3DT4H5M6.5S", "P1Y2M3DT4H5M6.5S"),
    ("bytea", base64.b64encode(b"\x00\xff").decode(), base64.b64encode(b"\x00\xff").decode()),
    ("json", {"b": [1, None, "x"]}, {"b": [1, None, "x"]}),
    ("jsonb", [1, {"a": 1.5}], [1, {"a": 1.5}]),
    ("jsonb", '{"a": 1}', {"a": 1}),
    ("jsonb", "plain", "plain"),
    ("jsonb", None, None),
    ("integer[]", [1, None, 3], [1, None, 3]),
    ("text[]", ["a,b", 'q"', "", None], ["a,b", 'q"', "", None]),
    ("numeric[]", ["1.10", "2"], ["1.10", "2"]),
    ("integer[]", [[1, 2], [3, 4]], [[1, 2], [3, 4]]),
    ("timestamptz[]", ["2026-01-01T00:00:00Z"], ["2026-01-01T00:00:00+00:00"]),
    ("uuid[]", ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"], ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]),
    ("inet", "10.0.0.1/8", "10.0.0.1/8"),
    ("cidr", "10.0.0.0/8", "10.0.0.0/8"),
    ("macaddr", "08:00:2b:01:02:03", "08:00:2b:01:02:03"),
    ("point", "(1.5,2)", "(1.5,2)"),
    ("bit(3)", "101", "101"),
    ("tsvector", "'fat' 'rat'", "'fat' 'rat'"),
    ("money", "$12.50", "$12.50"),
    ("oid", 7, 7),
]


@pytest.mark.parametrize(("kind", "given", "shown"), TYPES)
def test_every_type_goes_in_and_comes_out_unchanged(url: str, kind: str, given: Any, shown: Any):
    rows = query(url, f"select $1::{kind} as value, pg_typeof($1::{kind})::text as kind", given)["rows"]

    assert rows[0]["value"] == shown
    assert type(rows[0]["value"]) is type(shown)


def test_types_that_the_server_was_taught_work_as_text(url: str):
    for statement in (
        "drop table if exists taught",
        "drop type if exists mood",
        "drop type if exists pair",
        "create type mood as enum ('sad', 'glad')",
        "create type pair as (n integer, t text)",
        "create table taught (m mood, p pair)",
    ):
        query(url, statement)

    query(url, "insert into taught values ($1, row($2::int, $3::text)::pair)", "glad", 7, "seven")

    assert query(url, "select m, to_jsonb(p) as p from taught")["rows"] == [{"m": "glad", "p": {"n": 7, "t": "seven"}}]


@pytest.mark.parametrize(
    ("text", "params"), [("select int4range(1, 5) as r", []), ("select lower($1::int4range) as l", ["[1,5)"])]
)
def test_a_type_that_the_driver_cannot_read_is_named_with_the_way_out(url: str, text: str, params: list[Any]):
    failure = failure_of(lambda: query(url, text, *params))

    assert (failure.code, failure.retryable) == ("query_failed", False)
    assert "int4range" in failure.message
    assert "$1::text::its_type" in failure.message
    assert query(url, "select int4range(1, 5)::text as r, lower($1::text::int4range) as l", "[1,5)")["rows"] == [
        {"r": "[1,5)", "l": 1}
    ]


def test_a_parameter_is_bound_as_the_type_that_the_server_infers_and_as_text_where_it_infers_none(url: str):
    rows = query(url, "select $1::int + 1 as n, $2 as t, length($3) as l", "41", "plain", "four")["rows"]

    assert rows == [{"n": 42, "t": "plain", "l": 4}]


def test_rows_affected_is_what_was_written(url: str):
    query(url, "create table if not exists written (id int primary key)")
    query(url, "truncate written")

    inserted = query(url, "insert into written select generate_series(1, 3) returning id")
    deleted = query(url, "delete from written where id > $1", 1)
    read = query(url, "select * from written")

    assert (inserted["row_count"], inserted["rows_affected"]) == (3, 3)
    assert (deleted["row_count"], deleted["rows_affected"]) == (0, 2)
    assert (read["row_count"], read["rows_affected"]) == (1, 0)


def test_a_transaction_is_all_or_nothing_and_names_the_statement_that_failed(url: str):
    query(url, "create table if not exists ledger (id int primary key, amount numeric)")
    query(url, "truncate ledger")
    statements = [
        {"query": "insert into ledger values ($1, $2)", "params": [1, "10.50"]},
        {"query": "insert into ledger values (2, $1)", "params": ["20"]},
    ]

    done = within(lambda pg: pg.transaction({"db_url": url, "statements": statements}, CONTEXT))
    failure = failure_of(
        lambda: within(
            lambda pg: pg.transaction(
                {
                    "db_url": url,
                    "isolation_level": "SERIALIZABLE",
                    "statements": [{"query": "insert into ledger values (3, 1)"}, statements[0]],
                },
                CONTEXT,
            )
        )
    )

    assert (done["success"], done["statements_executed"], done["results"][1]["rows_affected"]) == (True, 2, 1)
    assert (failure.code, failure.retryable) == ("query_failed", False)
    assert "statement 2 of 2" in failure.message
    assert "23505" in failure.message
    assert query(url, "select id from ledger order by id")["rows"] == [{"id": 1}, {"id": 2}]


def test_a_wrong_number_of_parameters_is_said_before_anything_runs(url: str):
    failure = failure_of(lambda: query(url, "select $1::int, $2::int", 1))

    assert "the statement has 2 parameters, 1 were given" in failure.message


@pytest.mark.parametrize(
    ("text", "params", "says"),
    [
        ("selec 1", [], "42601"),
        ("select $1::int as n", ["many"], "invalid input syntax"),
        ("select 1 as a, 2 as a", [], "two columns are called 'a'"),
    ],
)
def test_what_the_server_refuses_is_not_tried_again(url: str, text: str, params: list[Any], says: str):
    failure = failure_of(lambda: query(url, text, *params))

    assert (failure.code, failure.retryable) == ("query_failed", False)
    assert says in failure.message


def test_a_server_that_is_not_there_may_be_tried_again_and_its_password_is_not_told():
    failure = failure_of(lambda: query("postgresql://me:hush-hush@127.0.0.1:1/db", "select 1"))

    assert (failure.code, failure.retryable) == ("database_unavailable", True)
    assert "hush-hush" not in failure.message


@pytest.mark.parametrize(
    ("text", "code", "retryable"),
    [
        ("select pg_terminate_backend(pg_backend_pid())", "database_unavailable", True),
        ("insert into gone select 1 from pg_terminate_backend(pg_backend_pid())", "outcome_unknown", False),
    ],
)
def test_a_connection_lost_on_the_way_leaves_a_read_repeatable_and_a_write_unknown(
    url: str, text: str, code: str, retryable: bool
):
    query(url, "create table if not exists gone (n int)")

    failure = failure_of(lambda: query(url, text))

    assert (failure.code, failure.retryable) == (code, retryable)


def test_connections_are_used_again_and_bounded(url: str):
    async def work(pg: Postgres) -> list[int]:
        given = {"db_url": url, "query": "select pg_backend_pid() as pid, pg_sleep(0.01)::text as s"}
        results = await asyncio.gather(*(pg.query(given, CONTEXT) for _ in range(60)))
        return [result["rows"][0]["pid"] for result in results]

    pids = within(work)

    assert len(set(pids)) <= 10


def test_a_stopped_attempt_stops_its_statement_on_the_server(url: str):
    async def work(pg: Postgres) -> int:
        running = asyncio.ensure_future(pg.query({"db_url": url, "query": "select pg_sleep(60)::text as s"}, CONTEXT))
        counting = {
            "db_url": url,
            "query": "select count(*)::int as n from pg_stat_activity where query like $1",
            "params": ["select pg_sleep(60)%"],
        }
        active = {**counting, "query": counting["query"] + " and state = 'active'"}
        while not (await pg.query(active, CONTEXT))["rows"][0]["n"]:
            pass
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        for _ in range(1_000):
            if not (left := (await pg.query(active, CONTEXT))["rows"][0]["n"]):
                break
        return left

    assert within(work) == 0


def test_through_a_pooler_that_keeps_sessions_values_come_back_as_without_it(url: str):
    values = "interval '90 s' as i, timestamptz '2026-02-28 12:00+02' as t, '\\x00ff'::bytea as b"

    async def twice(postgres: Postgres, url: str) -> list[Any]:
        wanted = {"db_url": url, "query": f"select {values}"}
        return [(await postgres.query(wanted, CONTEXT))["rows"] for _ in range(2)]  # over one connection, one by one

    with private_pooler(url, pool_mode="session") as pooler:
        through = within(lambda postgres: twice(postgres, pooler.url))

    assert through == [[{"i": "PT1M30S", "t": "2026-02-28T10:00:00+00:00", "b": "AP8="}]] * 2
    assert through == within(lambda postgres: twice(postgres, url))
