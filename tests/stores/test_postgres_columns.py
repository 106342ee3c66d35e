"""Columns that we pack ourselves are to PostgreSQL what its driver would have sent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.postgres_logs import server_url

from headgate.stores.postgres_columns import Columns, numbers, take_columns, texts, truths, values

TYPES = ("bigint", "text", "bytea", "boolean")
READ_BACK = "select " + ", ".join(
    f"${number}::{domain}::{kind}[]"
    for number, (domain, kind) in enumerate(
        zip(("number_column", "text_column", "value_column", "truth_column"), TYPES, strict=True), 1
    )
)
ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 7]),
        st.none() | st.text(st.characters(codec="utf-8")) | st.sampled_from(["", "std", "a\0b"]),
        st.none() | st.binary() | st.just(b"same"),
        st.booleans(),
    ),
    max_size=40,
)


async def read_back(columns: Sequence[bytes]) -> list[Any]:
    connection = await asyncpg.connect(server_url())
    try:
        async with connection.transaction():
            for kind, domain in zip(TYPES, ("number", "text", "value", "truth"), strict=True):
                await connection.execute(f"create domain pg_temp.{domain}_column as {kind}[]")
            schema = await connection.fetchval("select nspname from pg_namespace where oid = pg_my_temp_schema()")
            await take_columns(connection, schema)
            row = await connection.fetchrow(READ_BACK, *columns)
            raise _TakenBack(list(row))
    except _TakenBack as taken_back:
        return taken_back.args[0]
    finally:
        await connection.close()


class _TakenBack(Exception):
    """What was read, while the transaction that made the domains is undone."""


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_packed_columns_are_read_as_what_they_were_made_of(rows: list[tuple[Any, ...]]):
    packed = Columns(numbers, texts, values, truths).of(rows)

    found = asyncio.run(read_back(packed))

    expected = [list(column) for column in zip(*rows, strict=True)] if rows else [[], [], [], []]
    expected[1] = [text and text.replace("\0", "\N{REPLACEMENT CHARACTER}") for text in expected[1]]
    assert found == expected


def test_a_column_of_equal_elements_is_packed_as_one_of_different_ones_is():
    assert numbers([5, 5]) == numbers([5, 6])[:-1] + b"\5"
    assert texts(["a", "a"]) == texts(["a", "b"])[:-1] + b"a"
