"""Rows that we pack ourselves are to PostgreSQL what its driver would have sent."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.postgres_logs import server_url

from headgate.stores.postgres_rows import (
    N,
    Rows,
    bytes_head,
    number_or_null,
    numbers_of,
    row,
    rows,
    text,
    text_or_null,
    value,
    words,
)

NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 7])
TEXTS = st.text(st.characters(codec="utf-8")) | st.sampled_from(["", "std", "a\0b"])
VALUES = st.binary() | st.just(b"same")
ROWS = st.lists(
    st.tuples(
        *(NUMBERS, NUMBERS, st.none() | NUMBERS, TEXTS, st.none() | TEXTS, VALUES, st.none() | VALUES),
        *(TEXTS, st.booleans()),
    ),
    max_size=40,
)
KIND = "(a bigint, b bigint, c bigint, d text, e text, f bytea, g bytea, h text, i boolean)"

_two_numbers = numbers_of(2)


def packed(given: list[tuple[Any, ...]]) -> Rows:
    return rows(
        "some_row",
        [
            row(
                9,
                _two_numbers(N, a, N, b),
                *(number_or_null(c), text(d), text_or_null(e), bytes_head(len(f)), f, value(g), words(h, i)),
            )
            for a, b, c, d, e, f, g, h, i in given
        ],
    )


async def read_back(given: Rows) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(server_url())
    try:
        async with connection.transaction():
            await connection.execute(f"create type pg_temp.some_row as {KIND}")
            await connection.execute("create domain pg_temp.some_rows as pg_temp.some_row[]")
            schema = await connection.fetchval("select nspname from pg_namespace where oid = pg_my_temp_schema()")
            await connection.set_builtin_type_codec("some_rows", schema=schema, codec_name="bytea", format="binary")
            number = await connection.fetchval("select 'pg_temp.some_row'::regtype::oid")
            found = await connection.fetch(
                "select * from unnest($1::pg_temp.some_rows)", given.of({"some_row": number})
            )
            raise _TakenBack(list(map(tuple, found)))
    except _TakenBack as taken_back:
        return taken_back.args[0]
    finally:
        await connection.close()


class _TakenBack(Exception):
    """What was read, while the transaction that made the types is undone."""


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_packed_rows_are_read_as_what_they_were_made_of(given: list[tuple[Any, ...]]):
    found = asyncio.run(read_back(packed(given)))

    assert found == [
        tuple(cell.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(cell, str) else cell for cell in one)
        for one in given
    ]
