"""The example `full_cycle`: a mail in, a booked order and a mail out, through a warehouse that is in trouble twice."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import apsw
import pytest
from tests.mail_server import MailServer

from headgate.app import App
from headgate.authoring import load_definition
from headgate.core.view import RunView
from headgate.ports import EventView, StartRequest
from headgate.stores.sqlite import SqliteLog

EXAMPLE = Path(__file__).parents[2] / "examples" / "full_cycle"
FLOW = (EXAMPLE / "flow.yaml").read_text(encoding="utf-8").replace("base_seconds: 1}", "base_seconds: 0.01}")
MAIL = (EXAMPLE / "mail.txt").read_text(encoding="utf-8")
OTHER = """From: Piet Hollis <piet@hollis.example>
Subject: an order

Order number: PO-90002
Article number: SR-2
Quantity: 5

Answers to piet@hollis.example please.
"""


class Warehouse(ThreadingHTTPServer):
    """Says how many there are of each article, after `failures` answers that it is in trouble."""

    daemon_threads = True

    def __init__(self, failures: int) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.failures = failures
        self.asked: list[str] = []
        self.units = {"KT-17": 40, "SR-2": 3}


class _Answer(BaseHTTPRequestHandler):
    server: Warehouse

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        article = self.path.removeprefix("/").removesuffix(".json")
        status = 503 if len(self.server.asked) <= self.server.failures else 200
        body = json.dumps({"article": article, "units": self.server.units[article]}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def warehouse() -> Iterator[Warehouse]:
    server = Warehouse(failures=2)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class Office:
    """A folder with a log and a table of orders, a warehouse and a mail server beside it."""

    def __init__(self, folder: Path, warehouse: Warehouse, sink: MailServer) -> None:
        self.folder = folder
        self.warehouse = warehouse
        self.secrets = {"HEADGATE_SECRET_MAIL": sink.url}

    def receive(self, *mails: str) -> list[tuple[RunView, list[EventView]]]:
        """Run the example for each mail, one after the other."""

        async def run() -> list[tuple[RunView, list[EventView]]]:
            done: list[tuple[RunView, list[EventView]]] = []
            async with App(SqliteLog(self.folder / "runs.db"), environment=self.secrets, offline=True) as app:
                for mail in mails:
                    run = await app.desk.start(StartRequest(definition=FLOW, input=self.input(mail)))
                    await self.ended(app, run.id)
                    done.append((await app.desk.show(run.id), await app.desk.events(run.id)))
            return done

        return asyncio.run(run())

    @staticmethod
    async def ended(app: App, run: str) -> None:
        async with asyncio.timeout(30):
            async for _ in app.desk.watch(run):
                pass

    def input(self, mail: str) -> dict[str, object]:
        address = f"http://127.0.0.1:{self.warehouse.server_port}"
        return {"mail": mail, "warehouse": address, "database": str(self.folder / "orders.db")}

    def orders(self) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.folder / "orders.db")) as connection:
            query = "select number, article, quantity, email, deliverable from orders order by number"
            return connection.execute(query).fetchall()


@pytest.fixture
def office(tmp_path: Path, warehouse: Warehouse, sink: MailServer) -> Office:
    return Office(tmp_path, warehouse, sink)


def test_an_order_goes_from_the_mail_to_the_table_and_to_the_office(office: Office, sink: MailServer):
    [(view, _)] = office.receive(MAIL)

    assert (view.status, view.error) == ("completed", "")
    assert view.outputs == {
        "order": {
            "order_number": "PO-41877",
            "article_number": "KT-17",
            "quantity": 12,
            "email": "ottilie@brandt-floors.example",
        },
        "deliverable": True,
        "booked_before": False,
    }
    assert office.orders() == [("PO-41877", "KT-17", 12, "ottilie@brandt-floors.example", 1)]
    [mail] = sink.mails
    assert (mail["Subject"], mail["Reply-To"]) == ("Order PO-41877: deliver", "ottilie@brandt-floors.example")
    assert "In stock: 40." in mail.get_content()


def test_another_mail_has_another_order_and_what_is_not_in_stock_is_said(office: Office, sink: MailServer):
    [(view, _)] = office.receive(OTHER)

    assert view.outputs is not None
    assert (view.outputs["order"]["order_number"], view.outputs["deliverable"]) == ("PO-90002", False)
    assert office.orders() == [("PO-90002", "SR-2", 5, "piet@hollis.example", 0)]
    assert sink.mails[0]["Subject"] == "Order PO-90002: not enough in stock"


def test_a_warehouse_in_trouble_is_asked_again_and_nothing_else_is_done_again(office: Office, warehouse: Warehouse):
    [(view, events)] = office.receive(MAIL)

    assert warehouse.asked == ["/KT-17.json"] * 3
    attempts = {place.key: place.attempt for place in view.activities}
    assert attempts == {"order": 1, "stock": 3, "table": 1, "book": 1, "notify": 1}
    assert [event.place for event in events if event.type == "retry_scheduled"] == ["stock", "stock"]


def test_a_warehouse_that_stays_in_trouble_fails_the_run_before_anything_is_booked(
    office: Office, warehouse: Warehouse, sink: MailServer
):
    warehouse.failures = 99

    [(view, _)] = office.receive(MAIL)

    assert (view.status, view.error_code) == ("failed", "http_503")
    assert len(warehouse.asked) == 5
    assert office.orders() == []
    assert sink.mails == []


def test_the_same_order_in_two_mails_is_booked_and_told_once(office: Office, sink: MailServer):
    (first, _), (second, _) = office.receive(MAIL, f"{MAIL}\nPS: did you get this?\n")

    assert [(view.outputs or {})["booked_before"] for view in (first, second)] == [False, True]
    assert len(office.orders()) == len(sink.mails) == 1


def test_booking_that_a_crash_repeats_books_once_and_still_says_whose_order_it_is(office: Office):
    [(view, _)] = office.receive(MAIL)
    query = load_definition(FLOW).activities[3].parameters["query"]

    with closing(apsw.Connection(str(office.folder / "orders.db"))) as connection:
        again = list(connection.execute(query, ("PO-41877", view.id, "KT-17", 12, "o@b.example", 1)))

    assert again == [(view.id, 1)]
    assert len(office.orders()) == 1


def test_the_progress_of_a_run_is_seen_in_its_events(office: Office):
    [(view, events)] = office.receive(MAIL)

    completed = [event.place for event in events if event.type == "activity_completed"]
    assert completed.index("order") < completed.index("stock") < completed.index("book") < completed.index("notify")
    assert {"call_admitted", "call_settled", "attempt_failed", "retry_scheduled"} <= {event.type for event in events}
    printed = subprocess.run(
        [sys.executable, "-m", "headgate", "events", view.id, "--db", str(office.folder / "runs.db")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert printed.count("retry_scheduled") == 2
    assert "127.0.0.1:" not in "".join(line for line in printed.splitlines() if "smtp" in line)
