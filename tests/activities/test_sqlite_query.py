"""`sqlite_query`: every type there and back, one statement, all of it or nothing, clear refusals."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import apsw
import pytest

from headgate.activities.sqlite_query import sqlite_query
from headgate.core.values import Failure
from headgate.ports import ActivityContext, Attempt

CONTEXT: ActivityContext = None  # this activity asks nothing of it


def query(db: Path | str, text: str, params: Any = ()) -> dict[str, Any]:
    given = {"db_url": str(db), "query": text, "params": params or []}
    return asyncio.run(_call(given))


async def _call(given: dict[str, Any]) -> Any:
    return await sqlite_query(given, CONTEXT)


def failure_of(db: Path | str, text: str, params: Any = ()) -> Failure:
    with pytest.raises(Attempt) as caught:
        query(db, text, params)
    return caught.value.failure


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    query(tmp_path / "shop.db", "create table orders (id integer primary key, item text unique, price real, raw blob)")
    return tmp_path / "shop.db"


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("9223372036854775807", 9223372036854775807),
        ("-0.1", -0.1),
        ("9e999", "Infinity"),
        ("'naïve ☃ ''quoted'''", "naïve ☃ 'quoted'"),
        ("x'00ff10'", base64.b64encode(b"\x00\xff\x10").decode()),
        ("null", None),
        ("''", ""),
        ("'0012'", "0012"),
    ],
)
def test_every_type_of_value_is_shown_as_it_is_stored(tmp_path: Path, stored: str, shown: Any):
    result = query(tmp_path / "a.db", f"select {stored} as value")

    assert result == {"rows": [{"value": shown}], "row_count": 1, "rows_affected": 0}


@pytest.mark.parametrize("value", [0, 2**62, 1.5, "007", "", None, "☃"])
def test_a_parameter_comes_back_as_it_was_given(tmp_path: Path, value: Any):
    assert query(tmp_path / "a.db", "select ? as value", [value])["rows"] == [{"value": value}]


def test_lists_maps_and_truth_are_bound_as_sqlite_can_hold_them(tmp_path: Path):
    rows = query(
        tmp_path / "a.db",
        "select :a as a, :b as b, json_extract(:c, '$.d[1]') as c",
        {"a": True, "b": [1, 2], "c": {"d": [7, 8]}},
    )["rows"]

    assert rows == [{"a": 1, "b": "[1,2]", "c": 8}]


def test_writing_says_how_many_rows_it_changed(shop: Path):
    inserted = query(shop, "insert into orders (item) values ('a'), ('b') returning id, item")
    updated = query(shop, "update orders set price = 2.5 where id > ?", [0])
    nothing = query(shop, "select * from orders where id = 99")

    assert inserted == {"rows": [{"id": 1, "item": "a"}, {"id": 2, "item": "b"}], "row_count": 2, "rows_affected": 2}
    assert (updated["rows_affected"], updated["rows"]) == (2, [])
    assert nothing == {"rows": [], "row_count": 0, "rows_affected": 0}


def test_a_statement_that_fails_has_changed_nothing_and_is_not_tried_again(shop: Path):
    query(shop, "insert into orders (item) values ('a')")

    failure = failure_of(shop, "insert into orders (item) values ('b'), ('c'), ('a')")

    assert (failure.code, failure.retryable) == ("query_failed", False)
    assert "UNIQUE constraint failed: orders.item" in failure.message
    assert query(shop, "select count(*) as n from orders")["rows"] == [{"n": 1}]


def test_a_second_statement_is_refused_and_the_first_is_taken_back(shop: Path):
    failure = failure_of(shop, "insert into orders (item) values ('a'); delete from orders")

    assert "one statement at a time" in failure.message
    assert query(shop, "select count(*) as n from orders")["rows"] == [{"n": 0}]


def test_two_columns_of_one_name_are_refused_rather_than_one_lost(shop: Path):
    query(shop, "insert into orders (item) values ('a')")

    assert "two columns are called 'id'" in failure_of(shop, "select id, item as id from orders").message


def test_a_result_beyond_the_bound_fails_and_says_so(tmp_path: Path):
    many = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 100001) select i from n"

    assert failure_of(tmp_path / "a.db", many).code == "result_too_large"


def test_another_writer_is_waited_for_and_then_the_attempt_may_be_tried_again(
    shop: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("headgate.activities.sqlite_query.BUSY_MILLISECONDS_MAX", 20)
    other = apsw.Connection(str(shop))
    other.execute("begin immediate")

    failure = failure_of(shop, "insert into orders (item) values ('a')")
    other.execute("rollback")
    other.close()

    assert (failure.code, failure.retryable) == ("database_busy", True)
    assert query(shop, "insert into orders (item) values ('a')")["rows_affected"] == 1


@pytest.mark.parametrize("form", ["{}", "sqlite:///{}"])
def test_the_file_is_named_by_a_path_or_an_address(shop: Path, form: str):
    assert query(form.format(shop), "select count(*) as n from orders")["row_count"] == 1


def test_a_file_that_cannot_be_opened_is_named_without_its_folder(tmp_path: Path):
    failure = failure_of(tmp_path / "nowhere" / "a.db", "select 1")

    assert failure.code == "database_unavailable"
    assert "a.db cannot be opened" in failure.message
    assert "nowhere" not in failure.message


def test_parameters_that_are_not_known_are_named(tmp_path: Path):
    with pytest.raises(Attempt) as caught:
        asyncio.run(_call({"db_url": "a.db", "query": "select 1", "parms": []}))

    assert "parms" in caught.value.failure.message
    assert caught.value.failure.code == "invalid_parameters"
