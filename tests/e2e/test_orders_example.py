"""The example `orders` on a real PostgreSQL: booked whole or not at all, once, and never more than there is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.servers import postgres_server

from headgate.app import App
from headgate.core.view import RunView
from headgate.ports import StartRequest
from headgate.stores.sqlite import SqliteLog

pytestmark = pytest.mark.slow
EXAMPLE = Path(__file__).parents[2] / "examples" / "orders"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture
def url(server: str) -> str:
    asyncio.run(execute(server, "drop table if exists order_lines, orders, products"))
    asyncio.run(execute(server, (EXAMPLE / "tables.sql").read_text(encoding="utf-8")))
    return server


async def execute(url: str, script: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(script)
    await connection.close()


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    async def fetch() -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(url)
        found = await connection.fetch(query)
        await connection.close()
        return [tuple(row) for row in found]

    return asyncio.run(fetch())


def ordered(folder: Path, url: str, *orders: list[dict[str, Any]]) -> list[RunView]:
    """Run the example for each order, all at once."""

    async def run() -> list[RunView]:
        text = (EXAMPLE / "flow.yaml").read_text(encoding="utf-8")
        async with App(SqliteLog(folder / "runs.db"), environment={"HEADGATE_SECRET_ORDERS_DB": url}) as app:
            asked = [StartRequest(definition=text, input={"customer": "Ada", "lines": lines}) for lines in orders]
            started = await asyncio.gather(*(app.desk.start(request) for request in asked))
            await app.desk.settled()
            return [await app.desk.show(run.id) for run in started]

    return asyncio.run(run())


def test_an_order_is_booked_with_its_lines_and_the_stock_is_less_by_them(tmp_path: Path, url: str):
    [view] = ordered(tmp_path, url, [{"sku": "TC-3", "units": 2}, {"sku": "SR-2", "units": 3}])

    assert (view.status, view.outputs) == (
        "completed",
        {"booked": True, "order": view.id, "total": "107.30", "missing": []},
    )
    assert rows(url, "select sku, stock from products order by sku") == [("DT-4", 1), ("SR-2", 97), ("TC-3", 8)]
    assert rows(url, "select customer from orders") == [("Ada",)]


def test_an_order_for_what_is_not_there_books_nothing_and_names_it(tmp_path: Path, url: str):
    [view] = ordered(
        tmp_path, url, [{"sku": "TC-3", "units": 2}, {"sku": "NO-9", "units": 1}, {"sku": "DT-4", "units": 2}]
    )

    assert view.outputs is not None
    assert (view.outputs["booked"], view.outputs["missing"]) == (False, ["DT-4", "NO-9"])
    assert rows(url, "select count(*) from orders") == [(0,)]


def test_of_many_orders_for_the_last_piece_exactly_one_has_it(tmp_path: Path, url: str):
    views = ordered(tmp_path, url, *([{"sku": "DT-4", "units": 1}] for _ in range(6)))

    booked = [view for view in views if view.outputs and view.outputs["booked"]]
    assert len(booked) == 1
    assert rows(url, "select stock from products where sku = 'DT-4'") == [(0,)]
    assert rows(url, "select count(*) from order_lines") == [(1,)]


def test_no_password_of_the_database_reaches_the_log(tmp_path: Path, url: str):
    secret = url.replace("postgres@", "postgres:vErY-sEcReT@")  # the server trusts anybody, whatever the password

    ordered(tmp_path, secret, [{"sku": "TC-3", "units": 1}])

    files = [path.read_bytes() for path in tmp_path.glob("runs.db*")]
    assert files
    assert not any(b"vErY-sEcReT" in content for content in files)
